import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { said, t } from "../language.js";
import { store } from "../store.js";
import { exactTime } from "../times.js";
import { asCurl, asTest, searchEntries, verdictOf } from "../wire.js";
import { copyButton } from "./copy.js";
import { icon } from "./icons.js";
import "./one-of.js";
import { View } from "./view.js";

/** So many rows are drawn; a search reaches the others. */
const DRAWN = 150;

const SHOWN = ["all", "bad", "findings", "faults"];

/** Every exchange between bots and the gateway, newest first. */
class WirePanel extends View {
  static properties = {
    endpoint: { state: true },
    botId: { state: true },
    show: { state: true },
    text: { state: true },
    opened: { state: true },
    held: { state: true },
  };

  constructor() {
    super();
    this.endpoint = "";
    this.botId = "";
    this.show = "all";
    this.text = "";
    this.opened = null;
    /** The entries as they were when the person stopped the list, or null while it runs. */
    this.held = null;
  }

  willUpdate() {
    const wanted = store.wantedRequest;
    if (wanted === null || !store.wire.entries.some((entry) => entry.id === wanted)) return;
    store.wantedRequest = null;
    this.opened = wanted;
    this.held = store.wire.entries;
    this.updateComplete.then(() => this.querySelector(`[data-id="${wanted}"]`)?.scrollIntoView({ block: "start" }));
  }

  render() {
    const { endpoint, botId, show, text } = this;
    const found = searchEntries(this.held ?? store.wire.entries, { endpoint, botId, show, text });
    const at = this.opened === null ? -1 : found.findIndex((entry) => entry.id === this.opened);
    const drawn = found.slice(0, Math.max(DRAWN, at + 1));
    return html`
      ${this.#filters()}
      ${found.length === 0
        ? html`<div class="nothing">${icon("wire")}<h3>${t("wire.none.title")}</h3><p>${t("wire.none.text")}</p></div>`
        : html`<ul class="wire">${repeat(drawn, (entry) => entry.id, (entry) => this.#row(entry))}</ul>`}
      ${found.length > drawn.length ? html`<p class="hint">${t("wire.more", { count: found.length - drawn.length })}</p>` : nothing}
    `;
  }

  #filters() {
    const bots = store.bots.map((bot) => [bot.bot_id, store.botName(bot.bot_id)]);
    return html`
      <form class="filters" role="search" @submit=${(event) => event.preventDefault()}>
        <label class="grow"><span class="unseen">${t("wire.search")}</span>
          <input type="search" placeholder=${t("wire.search")} .value=${live(this.text)} @input=${(event) => (this.text = event.target.value)} />
        </label>
        <button type="button" class="plain small" aria-pressed=${this.held !== null} @click=${this.#hold}>${t(this.held ? "wire.go" : "wire.stop")}</button>
        ${choice("wire.endpoint", this.endpoint, [["", t("wire.all")], ...store.wire.endpoints.map((name) => [name, name])], (value) => (this.endpoint = value))}
        <one-of isUntitled .label=${t("wire.bot")} .value=${this.botId} .choose=${(value) => (this.botId = value)}
          .groups=${[{ options: [["", t("wire.all_bots")], ...bots] }]}></one-of>
        ${choice("wire.show", this.show, SHOWN.map((name) => [name, t(`wire.show.${name}`)]), (value) => (this.show = value))}
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
      <li data-id=${entry.id} data-verdict=${verdict} data-endpoint=${entry.endpoint}>
        <button class="line" aria-expanded=${isOpen} @click=${() => (this.opened = isOpen ? null : entry.id)}>
          <time datetime=${entry.at}>${exactTime(Date.parse(entry.at))}</time>
          <span class="endpoint">${entry.endpoint}</span>
          ${entry.faults.length > 0 ? html`<span class="struck" title=${t("wire.faults")}>${icon("bolt")}</span>` : nothing}
          ${entry.findings.length > 0 ? html`<span class="findings" title=${t("wire.findings")}>${icon("warn")}${entry.findings.length}</span>` : nothing}
          <span class="held" title=${t("wire.held")}>${heldWords(entry.held_ms)}</span>
          <span class="verdict" data-verdict=${verdict}>${verdictWords(entry)}</span>
        </button>
        ${isOpen ? this.#details(entry) : nothing}
      </li>
    `;
  }

  #details(entry) {
    const copies = [
      [t("wire.curl"), "copy", asCurl(entry, store.info?.api_url ?? "")],
      [t("wire.test"), "code", asTest(entry)],
      [t("wire.link"), "link", store.linkTo({ panel: "wire", request: entry.id })],
    ];
    return html`
      <div class="details">
        <p class="path"><strong>${entry.method}</strong> <code>${entry.path}</code></p>
        ${entry.bot_id ? html`<p class="id">${store.botName(entry.bot_id)} · ${entry.bot_id}</p>` : nothing}
        <p class="copies">${copies.map(([words, picture, text]) => copyButton(text, words, { picture, isWordy: true }))}</p>
        ${entry.why ? html`<p class="why">${icon("info")}${entry.why}</p>` : nothing}
        ${entry.faults.length > 0
          ? html`<h4>${t("wire.faults")}</h4><ul class="finding">${entry.faults.map((one) => html`<li>${one.id}: <code>${one.action}</code></li>`)}</ul>`
          : nothing}
        ${entry.findings.length > 0
          ? html`<h4>${t("wire.findings")}</h4><ul class="finding">${entry.findings.map(finding)}</ul>`
          : nothing}
        ${body("wire.request", entry.request)} ${body("wire.response", entry.response)} ${body("wire.headers", entry.headers)}
      </div>
    `;
  }
}

function finding(code) {
  const [words, lang] = said(`finding.${code}`, store.wire.findings[code] ?? "");
  return html`<li><code>${code}</code><span lang=${lang}>${words}</span></li>`;
}

function choice(key, value, options, choose) {
  return html`
    <label><span class="unseen">${t(key)}</span>
      <select .value=${live(value)} @change=${(event) => choose(event.target.value)}>
        ${options.map(([name, words]) => html`<option value=${name} ?selected=${name === value}>${words}</option>`)}
      </select>
    </label>
  `;
}

function heldWords(milliseconds) {
  return milliseconds < 10_000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
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
