import { LitElement } from "../vendor/lit/index.js";
import { store } from "../store.js";

/** A custom element in the light DOM that renders anew when the store changes. */
export class View extends LitElement {
  #changed = () => this.requestUpdate();

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    store.addEventListener("change", this.#changed);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    store.removeEventListener("change", this.#changed);
  }
}
