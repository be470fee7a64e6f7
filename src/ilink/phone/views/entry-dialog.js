import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { reasonWords } from "../reasons.js";
import { fullTime } from "../times.js";
import { copyButton } from "./copy.js";
import { View } from "./view.js";

/** Show everything known of a message. */
export function openEntry(entry) {
  document.querySelector("entry-dialog").open(entry);
}

/** Everything known of one message. */
class EntryDialog extends View {
  static properties = { entry: { state: true } };

  get #dialog() {
    return this.querySelector("dialog");
  }

  async open(entry) {
    this.entry = entry;
    await this.updateComplete;
    this.#dialog.showModal();
  }

  render() {
    const { entry } = this;
    return html`<dialog class="sheet about" aria-label=${t("entry.title")} @close=${() => (this.entry = null)}>
      ${entry ? this.#content(entry) : nothing}
    </dialog>`;
  }

  #content(entry) {
    const raw = JSON.stringify(entry.raw, null, 2);
    return html`
      <h2>${t("entry.title")}</h2>
      <p>${t(`state.${entry.state}.hint`)}${entry.why ? html` <strong>${reasonWords(entry.why)}</strong>` : nothing}</p>
      <dl>
        ${fact("entry.state", t(`state.${entry.state}`))} ${fact("entry.at", fullTime(Date.parse(entry.at)))}
        ${fact("entry.n", entry.n)} ${fact("entry.message_id", entry.message_id)} ${fact("entry.client_id", entry.client_id)}
        ${fact("entry.seq", entry.seq)}
      </dl>
      <div class="body">
        <h3>${t("entry.raw")} ${copyButton(raw, t("entry.copy"))}</h3>
        <pre tabindex="0" aria-label=${t("entry.raw")}>${raw}</pre>
      </div>
      <footer><button class="primary" @click=${() => this.#dialog.close()}>${t("entry.close")}</button></footer>
    `;
  }
}

function fact(key, value) {
  if (value === null || value === undefined || value === "") return nothing;
  return html`<div><dt>${t(key)}</dt><dd>${value}</dd></div>`;
}

customElements.define("entry-dialog", EntryDialog);
