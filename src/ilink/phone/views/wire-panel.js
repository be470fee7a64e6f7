import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { exactTime } from "../times.js";
import { asCurl, searchEntries } from "../wire.js";
import { copyButton } from "./copy.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** So many rows are drawn; a search reaches the others. */
const DRAWN = 150;

/** Every exchange between bots and the gateway, newest first. */
class WirePanel extends View {
  static properties = { endpoint: { state: true }, text: { state: true }, opened: { state: true }, held: { state: true } };

  constructor() {
    super();
    this.endpoint = "";
    this.text = "";
    this.opened = null;
    /** The entries as they were when the person stopped the list, or null while it runs. */
    this.held = null;
  }

  render() {
    const found = searchEntries(this.held ?? store.wire.entries, { endpoint: this.endpoint, text: this.text });
    return html`
      ${this.#filters()}
      ${found.length === 0
        ? html`<div class="nothing">${icon("wire")}<h3>${t("wire.none.title")}</h3><p>${t("wire.none.text")}</p></div>`
        : html`<ul class="wire">${repeat(found.slice(0, DRAWN), (entry) => entry.id, (entry) => this.#row(entry))}</ul>`}
      ${found.length > DRAWN ? html`<p class="hint">${t("wire.more", { count: found.length - DRAWN })}</p>` : nothing}
    `;
  }

  #filters() {
    return html`
      <form class="filters" role="search" @submit=${(event) => event.preventDefault()}>
        <label><span class="unseen">${t("wire.endpoint")}</span>
          <select .value=${live(this.endpoint)} @change=${(event) => (this.endpoint = event.target.value)}>
            <option value="">${t("wire.all")}</option>
            ${store.wire.endpoints.map((name) => html`<option value=${name} ?selected=${name === this.endpoint}>${name}</option>`)}
          </select>
        </label>
        <label class="grow"><span class="unseen">${t("wire.search")}</span>
          <input type="search" placeholder=${t("wire.search")} .value=${live(this.text)} @input=${(event) => (this.text = event.target.value)} />
        </label>
        <button type="button" class="plain small" aria-pressed=${this.held !== null} @click=${this.#hold}>${t(this.held ? "wire.go" : "wire.stop")}</button>
      </form>
    `;
  }

  #hold() {
    this.held = this.held ? null : store.wire.entries;
  }

  #row(entry) {
    const isOpen = this.opened === entry.id;
    const verdict = verdictOf(entry);
    return html`
      <li data-verdict=${verdict} data-endpoint=${entry.endpoint}>
        <button class="line" aria-expanded=${isOpen} @click=${() => (this.opened = isOpen ? null : entry.id)}>
          <time datetime=${entry.at}>${exactTime(Date.parse(entry.at))}</time>
          <span class="endpoint">${entry.endpoint}</span>
          ${entry.findings.length > 0 ? html`<span class="findings" title=${t("wire.findings")}>${icon("warn")}${entry.findings.length}</span>` : nothing}
          <span class="held">${entry.held_ms} ms</span>
          <span class="verdict" data-verdict=${verdict}>${verdictWords(entry)}</span>
        </button>
        ${isOpen ? this.#details(entry) : nothing}
      </li>
    `;
  }

  #details(entry) {
    const curl = asCurl(entry, store.info?.api_url ?? "");
    return html`
      <div class="details">
        <p class="path"><strong>${entry.method}</strong> <code>${entry.path}</code>${copyButton(curl, t("wire.curl"))}</p>
        ${entry.bot_id ? html`<p class="id">${entry.bot_id}</p>` : nothing}
        ${entry.findings.length > 0
          ? html`<h4>${t("wire.findings")}</h4><ul class="finding">${entry.findings.map((one) => html`<li>${one}</li>`)}</ul>`
          : nothing}
        ${body("wire.headers", entry.headers)} ${body("wire.request", entry.request)} ${body("wire.response", entry.response)}
      </div>
    `;
  }
}

function verdictOf(entry) {
  if (entry.status === 0) return "left";
  return entry.status >= 400 || (entry.ret ?? 0) !== 0 ? "bad" : "good";
}

function verdictWords(entry) {
  if (entry.status === 0) return t("wire.left");
  if (entry.status !== 200) return `HTTP ${entry.status}`;
  return entry.ret === null ? "200" : `ret ${entry.ret}`;
}

function body(key, value) {
  if (value === null || value === undefined) return nothing;
  const text = JSON.stringify(value, null, 2);
  return html`<h4>${t(key)}${copyButton(text, t("wire.copy"))}</h4><pre tabindex="0" aria-label=${t(key)}>${text}</pre>`;
}

customElements.define("wire-panel", WirePanel);
