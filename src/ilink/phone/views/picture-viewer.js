import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** Show a picture over everything, instead of following the link to it. */
export function openPicture(event, address, name) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  document.querySelector("picture-viewer").open(address, name);
}

/** One picture in full view; a click beside it or Escape puts it away. */
class PictureViewer extends View {
  static properties = { picture: { state: true } };

  get #dialog() {
    return this.querySelector("dialog");
  }

  async open(address, name) {
    this.picture = { address, name };
    await this.updateComplete;
    this.#dialog.showModal();
  }

  render() {
    return html`
      <dialog class="viewer" aria-label=${this.picture?.name ?? t("item.image")} @close=${() => (this.picture = null)} @click=${this.#clicked}>
        ${this.picture ? this.#content(this.picture) : nothing}
      </dialog>
    `;
  }

  #content({ address, name }) {
    return html`
      <img src=${address} alt=${name} />
      <footer>
        <span class="name">${name}</span>
        <a class="bare" href=${address} download=${name} aria-label=${t("item.save")} title=${t("item.save")}>${icon("save")}</a>
        <button class="bare" aria-label=${t("entry.close")} title=${t("entry.close")} @click=${() => this.#dialog.close()}>${icon("close")}</button>
      </footer>
    `;
  }

  #clicked(event) {
    if (event.target === this.#dialog) this.#dialog.close();
  }
}

customElements.define("picture-viewer", PictureViewer);
