import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { PANELS, store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";
import "./bots-panel.js";
import "./mischief-panel.js";
import "./share-panel.js";
import "./wire-panel.js";

const CONTENTS = {
  bots: () => html`<bots-panel></bots-panel>`,
  wire: () => html`<wire-panel></wire-panel>`,
  mischief: () => html`<mischief-panel></mischief-panel>`,
  share: () => html`<share-panel></share-panel>`,
};

/** The workshop beside the phones: one tab at a time. */
class SidePanel extends View {
  render() {
    if (!store.panel) return nothing;
    return html`
      <aside class="panel" aria-label=${t("panel.title")} @keydown=${this.#pressed}>
        <header>
          <div role="tablist" aria-label=${t("panel.title")}>${PANELS.map((name) => this.#tab(name))}</div>
          <button class="bare" aria-label=${t("panel.close")} title=${t("panel.close")} @click=${() => store.showPanel(null)}>${icon("close")}</button>
        </header>
        <div class="content" role="tabpanel" id="panel-content" aria-labelledby="tab-${store.panel}">
          ${CONTENTS[store.panel]()}
        </div>
      </aside>
    `;
  }

  #tab(name) {
    const isSelected = store.panel === name;
    return html`
      <button role="tab" id="tab-${name}" aria-selected=${isSelected} aria-controls="panel-content" tabindex=${isSelected ? 0 : -1}
        @click=${() => store.showPanel(name)} @keydown=${this.#turned}>${t(`panel.${name}`)}</button>
    `;
  }

  async #turned(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = PANELS[(PANELS.indexOf(store.panel) + step + PANELS.length) % PANELS.length];
    store.showPanel(next);
    this.querySelector(`#tab-${next}`).focus();
  }

  #pressed(event) {
    if (event.key === "Escape") store.showPanel(null);
  }
}

customElements.define("side-panel", SidePanel);
