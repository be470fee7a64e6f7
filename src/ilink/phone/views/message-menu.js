import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { openEntry } from "./entry-dialog.js";
import { icon } from "./icons.js";
import { quotableText } from "./items.js";
import { View } from "./view.js";

/** Open the menu of a message, at a point or else under what opened it. */
export function openMessageMenu(log, entry, opener, x, y) {
  log.closest(".phone").querySelector("message-menu").open({ entry, opener, x, y });
}

/** The words of a message that are selected just now, if they can be quoted as they are. */
function selectedWords(entry, opener) {
  const selection = getSelection();
  const bubble = opener.closest(".with-more")?.querySelector(".bubble");
  if (!selection || selection.isCollapsed || !bubble?.contains(selection.anchorNode) || !bubble.contains(selection.focusNode)) return "";
  const words = selection.toString().trim();
  return quotableText(entry).includes(words) ? words : "";
}

/** What can be done with a message: quote it or a part of it, copy it, look at it. */
class MessageMenu extends View {
  static properties = { target: { state: true }, isChoosing: { state: true } };

  async open(target) {
    if (!target.entry) return;
    this.target = { ...target, words: selectedWords(target.entry, target.opener) };
    this.isChoosing = false;
    await this.updateComplete;
    this.#place();
    this.querySelector("[role=menuitem]").focus();
  }

  render() {
    if (!this.target) return nothing;
    return this.isChoosing ? this.#chooser(this.target) : this.#menu(this.target);
  }

  #menu({ entry, words }) {
    const text = quotableText(entry);
    const canQuote = entry.message_id !== null;
    return html`
      <div class="menu-back" @click=${this.#close} @contextmenu=${this.#dismissed}></div>
      <div class="menu" role="menu" aria-label=${t("menu.title")} @keydown=${this.#typed} @focusout=${this.#left}>
        ${canQuote && words ? item("quote", "menu.quote_words", () => this.#quote(words)) : nothing}
        ${canQuote ? item("quote", "menu.quote", () => this.#quote("")) : nothing}
        ${canQuote && text && !words ? item("select", "menu.quote_part", () => this.#choose()) : nothing}
        ${text ? item("copy", "menu.copy", () => this.#copy(words || text)) : nothing}
        ${item("link", "menu.link", () => this.#copy(this.#link()))}
        ${item("info", "menu.details", () => openEntry(this.#close()))}
      </div>
    `;
  }

  #chooser({ entry }) {
    return html`
      <dialog class="sheet choose" aria-labelledby="choose-title" @close=${() => (this.target = null)}>
        <form method="dialog" @submit=${this.#chosen}>
          <h2 id="choose-title">${t("menu.quote_part")}</h2>
          <p>${t("menu.quote_part.text")}</p>
          <textarea readonly rows="7" aria-label=${t("menu.quote_part.label")} .value=${quotableText(entry)}></textarea>
          <footer>
            <button type="button" class="plain" @click=${() => this.querySelector("dialog").close()}>${t("people.cancel")}</button>
            <button class="primary">${icon("quote")}${t("menu.quote_words")}</button>
          </footer>
        </form>
      </dialog>
    `;
  }

  #place() {
    const menu = this.querySelector(".menu");
    const phone = this.closest(".phone").getBoundingClientRect();
    const opener = this.target.opener.getBoundingClientRect();
    const x = (this.target.x ?? opener.left) - phone.left;
    const y = (this.target.y ?? opener.bottom) - phone.top;
    menu.style.left = `${Math.max(8, Math.min(x, phone.width - menu.offsetWidth - 26))}px`;
    menu.style.top = `${Math.max(8, Math.min(y, phone.height - menu.offsetHeight - 60))}px`;
  }

  #typed(event) {
    const items = [...this.querySelectorAll("[role=menuitem]")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") this.#dismissed(event);
    else return;
    event.preventDefault();
  }

  #left(event) {
    if (event.relatedTarget && !this.contains(event.relatedTarget)) this.#close();
  }

  #dismissed(event) {
    event.preventDefault();
    const { opener } = this.target;
    this.#close();
    opener.closest(".with-more")?.querySelector(".more-of").focus();
  }

  #close() {
    const entry = this.target?.entry;
    this.target = null;
    return entry;
  }

  #quote(words) {
    const entry = this.#close();
    store.compose(store.chat(entry.user_id, entry.bot_id), { quote: { entry, partial: words } });
    store.changed();
    this.closest(".phone").querySelector(".composer textarea")?.focus();
  }

  async #choose() {
    this.isChoosing = true;
    await this.updateComplete;
    this.querySelector("dialog").showModal();
    const area = this.querySelector("textarea");
    area.focus();
    area.select();
  }

  #chosen(event) {
    event.preventDefault();
    const area = this.querySelector("textarea");
    const words = area.value.slice(area.selectionStart, area.selectionEnd).trim();
    // Closed first: a dialog that closes gives the focus back to where it was.
    const { target } = this;
    this.querySelector("dialog").close();
    this.target = target;
    this.#quote(words === area.value.trim() ? "" : words);
  }

  #link() {
    const { entry } = this.target;
    const person = store.person(entry.user_id);
    return store.linkTo({ people: [person.user_id], bot: entry.bot_id, message: entry.n });
  }

  async #copy(text) {
    this.#close();
    await store.attempt(() => navigator.clipboard.writeText(text));
  }
}

function item(picture, key, act) {
  return html`<button role="menuitem" tabindex="-1" @click=${act}>${icon(picture)}<span>${t(key)}</span></button>`;
}

customElements.define("message-menu", MessageMenu);
