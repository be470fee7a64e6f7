import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { countdown } from "../times.js";
import { personAvatar } from "./avatar.js";
import { icon } from "./icons.js";
import "./one-of.js";
import { qrPicture } from "./qr-picture.js";
import { View } from "./view.js";

/** What may still be done about a code in each status. */
const SCANNED = new Set(["scaned", "need_verifycode", "verify_code_blocked"]);

/** A login code: its picture, who scanned it, and what the person may do next. */
class CodeCard extends View {
  static properties = { code: {}, chosen: { state: true }, isRedirecting: { state: true } };

  #tick = null;

  constructor() {
    super();
    this.chosen = null;
    this.isRedirecting = false;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#tick = setInterval(() => this.requestUpdate(), 1000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  /** The person who scans: the one chosen on the card, else the one whose phone is in hand. */
  get #scanner() {
    return store.person(this.chosen ?? store.activePerson) ?? store.people[0] ?? null;
  }

  /** Whether more may be done than the card shows: one drawer for both statuses stays open when the one becomes the other. */
  get #hasMore() {
    return this.code.status === "scaned" || (this.code.status === "wait" && this.#scanner !== null);
  }

  render() {
    const { code } = this;
    const isOpen = store.codes.isOpen(code);
    return html`
      <article class="card code" data-status=${code.status} data-qrcode=${code.qrcode} aria-label=${t("code.title")}>
        <header>
          <h2>${t("code.title")}</h2>
          ${isOpen
            ? html`<span class="left" title=${t("code.expires")}>${icon("clock")}${countdown(Date.parse(code.expires_at), store.now())}</span>`
            : nothing}
          <button class="bare" aria-label=${t("code.later")} title=${t("code.later")} @click=${() => store.codes.hide(code)}>${icon("close")}</button>
        </header>
        <div class="picture">
          ${qrPicture(code.url, t("code.picture"))}
          ${code.status === "wait" ? nothing : this.#stamp()}
        </div>
        <p class="status" role="status">${this.#words()}</p>
        ${isOpen ? this.#actions() : nothing}
        ${isOpen && this.#hasMore ? this.#more() : nothing}
      </article>
    `;
  }

  #stamp() {
    const person = store.person(this.code.user_id);
    const isGood = SCANNED.has(this.code.status) || this.code.status === "confirmed" || this.code.status === "binded_redirect";
    return html`<span class="stamp" data-good=${isGood}>${person && isGood ? personAvatar(person) : nothing}${icon(isGood ? "check" : "close")}</span>`;
  }

  #words() {
    const { code } = this;
    const name = store.person(code.user_id)?.name ?? t("phone.nobody");
    if (code.status === "need_verifycode") {
      return html`${t("code.status.need_verifycode")} <strong class="digits">${code.verify_code}</strong>`;
    }
    if (code.status === "scaned_but_redirect") return t("code.status.scaned_but_redirect", { host: code.redirect_host ?? "" });
    return t(`code.status.${code.status}`, { name });
  }

  #actions() {
    const { code } = this;
    if (code.status === "wait") return this.#scan();
    return html`
      <div class="actions">
        ${code.status === "scaned" ? html`<button class="primary" @click=${() => store.codes.confirm(code)}>${icon("check")}${t("code.confirm")}</button>` : nothing}
        <button class="plain" @click=${() => store.codes.cancel(code)}>${t("code.cancel")}</button>
      </div>
    `;
  }

  #scan() {
    const scanner = this.#scanner;
    if (!scanner) return html`<p class="hint">${t("code.nobody")}</p>`;
    return html`
      <div class="scan">
        ${store.people.length > 1 ? this.#scanners(scanner) : nothing}
        <button class="primary wide" @click=${() => store.codes.scan(this.code, scanner.user_id)}>
          ${icon("qr")}${t("code.scan", { name: scanner.name })}
        </button>
      </div>
    `;
  }

  #scanners(scanner) {
    const options = store.people.map((person) => [person.user_id, person.name]);
    return html`<one-of .label=${t("code.who")} .value=${scanner.user_id} .groups=${[{ options }]} .choose=${(userId) => (this.chosen = userId)}></one-of>`;
  }

  #more() {
    return html`
      <details class="more">
        <summary>${t("code.more")}</summary>
        <div>
          ${this.code.status === "wait" ? html`<button class="plain small" @click=${this.#look}>${t("code.camera")}</button>` : nothing}
          <button class="plain small" title=${t("code.verify.hint")} @click=${() => store.codes.requireDigits(this.code)}>${t("code.verify")}</button>
          <button class="plain small" title=${t("code.redirect.hint")} aria-expanded=${this.isRedirecting} @click=${() => (this.isRedirecting = !this.isRedirecting)}>${t("code.redirect")}</button>
          <button class="plain small" title=${t("code.expire.hint")} @click=${() => store.codes.expire(this.code)}>${t("code.expire")}</button>
        </div>
        ${this.isRedirecting ? this.#redirect() : nothing}
      </details>
    `;
  }

  /** Take the phone's camera: on a screen for one phone alone the card is in its way. */
  #look() {
    const phone = document.querySelector(`person-phone[data-user-id="${CSS.escape(this.#scanner.user_id)}"]`) ?? document.querySelector("person-phone");
    if (matchMedia("(max-width: 759px)").matches) store.codes.hide(this.code);
    phone.scan();
  }

  #redirect() {
    return html`
      <form class="redirect" @submit=${this.#redirected}>
        <label><span>${t("code.redirect.host")}</span>
          <input name="host" required pattern="[A-Za-z0-9.:\\[\\]\\-]{1,255}" autocomplete="off" spellcheck="false" placeholder="127.0.0.1:41443" />
        </label>
        <button class="plain small">${t("code.redirect.go")}</button>
      </form>
    `;
  }

  #redirected(event) {
    event.preventDefault();
    this.isRedirecting = false;
    store.codes.redirect(this.code, new FormData(event.target).get("host").trim());
  }
}

customElements.define("code-card", CodeCard);
