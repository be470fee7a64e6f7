import { html, nothing } from "../vendor/lit/index.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { LANGUAGES, language, t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";
import { scanPicture } from "./scanning.js";
import "./entry-dialog.js";
import "./people-bar.js";
import "./person-dialog.js";
import "./phone.js";
import "./panel.js";
import "./picture-viewer.js";
import "./tray.js";

/** Widths of a phone and of the codes, each with the space beside it, and of a screen for one phone alone; the style sheet's numbers. */
const PHONE = 404;
const TRAY = 372;
const NARROW = 760;

class App extends View {
  #resizes = new ResizeObserver(() => this.#measure());

  firstUpdated() {
    this.#resizes.observe(this.querySelector(".desk"));
    // A file that misses the phones must not take the page's place in the browser: at most it is a picture of a code.
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => this.#dropped(event));
  }

  #dropped(event) {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    const person = store.activePerson ?? store.people[0]?.user_id;
    if (file && person && !event.target.closest?.("share-panel")) scanPicture(file, person);
  }

  #measure() {
    const width = this.querySelector(".desk").clientWidth - TRAY;
    store.setRoom(innerWidth < NARROW ? 1 : Math.max(1, Math.floor(width / PHONE)));
  }

  updated() {
    const unread = [...store.unread.values()].reduce((sum, count) => sum + count, 0);
    document.title = unread > 0 ? `(${unread}) ${t("app.title")}` : t("app.title");
  }

  render() {
    return html`
      <header class="topbar">
        <h1 class="brand"><img src="icon.svg" alt="" width="28" height="28" /><span>ilink</span></h1>
        <people-bar></people-bar>
        <div class="tools">
          ${this.#link()}
          ${this.#panelButton("bots", "bot")} ${this.#panelButton("wire", "wire")}
          ${this.#panelButton("mischief", "bolt")} ${this.#panelButton("share", "share")}
          ${this.#languages()} ${this.#theme()}
        </div>
      </header>
      <main class="workshop" ?data-panel=${store.panel !== null}>
        <div class="desk">
          <code-tray></code-tray>
          <section class="stage" aria-label=${t("app.phones")}>${this.#phones()}</section>
        </div>
        <side-panel></side-panel>
      </main>
      <person-dialog></person-dialog>
      <entry-dialog></entry-dialog>
      <picture-viewer></picture-viewer>
      <div class="notices" role="alert">${repeat(store.notices, (notice) => notice.id, notice)}</div>
    `;
  }

  #phones() {
    if (!store.isReady) return html`<p class="loading" role="status">${t("app.loading")}</p>`;
    if (store.phones.length === 0) return html`<person-phone></person-phone>`;
    return repeat(
      store.phones,
      (userId) => userId,
      (userId) => html`<person-phone .userId=${userId} data-user-id=${userId}></person-phone>`,
    );
  }

  #link() {
    return html`
      <span class="link" data-link=${store.link} role="status" title=${t(`link.${store.link}.hint`)}>
        <span class="dot"></span><span class="words">${t(`link.${store.link}`)}</span>
      </span>
    `;
  }

  #panelButton(name, picture) {
    const isOpen = store.panel === name;
    return html`
      <button
        class="tool"
        data-panel-button=${name}
        aria-pressed=${isOpen}
        title=${t(`panel.${name}`)}
        @click=${() => store.showPanel(isOpen ? null : name)}
      >
        ${icon(picture)}<span class="words">${t(`panel.${name}`)}</span>
      </button>
    `;
  }

  #languages() {
    return html`
      <label class="language">
        <span class="unseen">${t("app.language")}</span>
        <select @change=${(event) => store.setLanguage(event.target.value)}>
          ${Object.entries(LANGUAGES).map(
            ([name, title]) => html`<option value=${name} lang=${name} ?selected=${name === language()}>${title}</option>`,
          )}
        </select>
      </label>
    `;
  }

  #theme() {
    const next = isDark() ? "light" : "dark";
    return html`
      <button class="tool" title=${t(`app.theme.${next}`)} aria-label=${t(`app.theme.${next}`)} @click=${() => this.#setTheme(next)}>
        ${icon(isDark() ? "sun" : "moon")}
      </button>
    `;
  }

  #setTheme(name) {
    document.documentElement.dataset.theme = name;
    localStorage.setItem("ilink.theme", name);
    this.requestUpdate();
  }
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function notice(one) {
  return html`
    <div class="notice" ?data-good=${one.isGood}>
      ${icon(one.isGood ? "check" : "warn")}
      <p>${one.text}${one.hint ? html`<br /><small>${one.hint}</small>` : nothing}</p>
      <button class="bare" aria-label=${t("notice.dismiss")} @click=${() => store.dismiss(one)}>${icon("close")}</button>
    </div>
  `;
}

customElements.define("phone-app", App);
