import { html } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** Asks for the name of a new person. */
class PersonDialog extends View {
  get #dialog() {
    return this.querySelector("dialog");
  }

  open() {
    this.#dialog.showModal();
    const input = this.querySelector("input");
    input.value = "";
    input.focus();
  }

  render() {
    return html`
      <dialog class="sheet" aria-labelledby="new-person-title">
        <form @submit=${this.#submit}>
          <h2 id="new-person-title">${t("people.new.title")}</h2>
          <p>${t("people.new.text")}</p>
          <label>${t("people.name")}<input name="name" required maxlength="64" autocomplete="off" /></label>
          <footer>
            <button type="button" class="plain" @click=${() => this.#dialog.close()}>${t("people.cancel")}</button>
            <button class="primary">${icon("person")}${t("people.make")}</button>
          </footer>
        </form>
      </dialog>
    `;
  }

  async #submit(event) {
    event.preventDefault();
    const name = new FormData(event.target).get("name").trim();
    if (name && (await store.addPerson(name))) this.#dialog.close();
  }
}

customElements.define("person-dialog", PersonDialog);
