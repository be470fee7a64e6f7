import { html } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** What a phone shows that belongs to nobody yet. */
class Welcome extends View {
  render() {
    return html`
      <div class="screen welcome">
        <img src="icon.svg" alt="" width="72" height="72" />
        <h2>${t("welcome.title")}</h2>
        <p>${t("welcome.text")}</p>
        <form @submit=${this.#submit}>
          <label>${t("people.name")}
            <input name="name" required maxlength="64" autocomplete="off" value=${store.wantedName} placeholder=${t("welcome.example")} />
          </label>
          <button class="primary wide">${icon("person")}${t("welcome.make")}</button>
        </form>
      </div>
    `;
  }

  async #submit(event) {
    event.preventDefault();
    const name = new FormData(event.target).get("name").trim();
    if (name) await store.addPerson(name);
  }
}

customElements.define("phone-welcome", Welcome);
