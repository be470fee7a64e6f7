import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";
import "./bots-panel.js";
import "./wire-panel.js";

const TABS = ["bots", "wire"];

/** The workshop beside the phones: one tab at a time. */
class SidePanel extends View {
  render() {
    if (!store.panel) return nothing;
    return html`
      <aside class="panel" aria-label=${t("panel.title")} @keydown=${this.#pressed}>
        <header>
          <div role="tablist" aria-label=${t("panel.title")}>${TABS.map((name) => this.#tab(name))}</div>
          <button class="bare" aria-label=${t("panel.close")} title=${t("panel.close")} @click=${() => store.showPanel(null)}>${icon("close")}</button>
        </header>
        <div class="content" role="tabpanel" id="panel-content" aria-labelledby="tab-${store.panel}">
          ${store.panel === "bots" ? html`<bots-panel></bots-panel>` : html`<wire-panel></wire-panel>`}
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
    const next = TABS[(TABS.indexOf(store.panel) + step + TABS.length) % TABS.length];
    store.showPanel(next);
    this.querySelector(`#tab-${next}`).focus();
  }

  #pressed(event) {
    if (event.key === "Escape") store.showPanel(null);
  }
}

customElements.define("side-panel", SidePanel);
