import { html, nothing } from "../vendor/lit/index.js";
import { SCENE, api } from "../api.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { copyButton } from "./copy.js";
import { icon } from "./icons.js";
import { sizeWords } from "./items.js";
import { View } from "./view.js";

/** The state as a file, from a file, or gone; and links to what is open. */
class SharePanel extends View {
  static properties = { waiting: { state: true }, problem: { state: true } };

  constructor() {
    super();
    /** What is asked about before it is done: a scene from a file, or `reset`. */
    this.waiting = null;
    this.problem = null;
  }

  render() {
    return html`<div class="share">${this.#save()} ${this.#load()} ${this.#reset()} ${this.#links()}</div>`;
  }

  #save() {
    return html`
      <section>
        <h3>${icon("save")}${t("share.save.title")}</h3>
        <p class="quiet">${t("share.save.text")}</p>
        <a class="plain" href=${SCENE} download>${t("share.save")}</a>
      </section>
    `;
  }

  #load() {
    const { waiting } = this;
    return html`
      <section @dragover=${(event) => event.preventDefault()} @drop=${this.#dropped}>
        <h3>${icon("load")}${t("share.load.title")}</h3>
        <p class="quiet">${t("share.load.text")}</p>
        ${this.problem
          ? html`<div class="problem" role="alert">${icon("warn")}<p><strong>${this.problem.name}</strong><br /><span lang="en">${this.problem.message}</span></p></div>`
          : nothing}
        ${waiting?.scene
          ? this.#sure(t("share.load.sure", { name: waiting.name, size: sizeWords(waiting.size) }), t("share.load.yes"), this.#loaded)
          : html`
              <input type="file" accept="application/json,.json" class="unseen" tabindex="-1" aria-hidden="true" @change=${this.#picked} />
              <button class="plain" @click=${() => this.querySelector("input[type=file]").click()}>${t("share.load")}</button>
            `}
      </section>
    `;
  }

  #reset() {
    return html`
      <section>
        <h3>${icon("reset")}${t("share.reset.title")}</h3>
        <p class="quiet">${t("share.reset.text")}</p>
        ${this.waiting === "reset"
          ? this.#sure(t("share.reset.sure"), t("share.reset.yes"), this.#wiped)
          : html`
              <form class="seed" @submit=${this.#resetWanted}>
                <label>${t("share.seed")}<input name="seed" type="number" min="0" step="1" value="7" /></label>
                <button class="plain">${t("share.reset")}</button>
              </form>
            `}
      </section>
    `;
  }

  #links() {
    const person = store.person(store.activePerson);
    const here = store.linkTo({});
    return html`
      <section>
        <h3>${icon("link")}${t("share.link.title")}</h3>
        <p class="quiet">${t("share.link.text")}</p>
        <div class="command"><code>${here}</code>${copyButton(here, t("share.link.here"))}</div>
        ${person
          ? html`<div class="command"><code>${store.linkTo({ people: [person.user_id], bot: null })}</code>
              ${copyButton(store.linkTo({ people: [person.user_id], bot: null }), t("share.link.person", { name: person.name }))}</div>`
          : nothing}
      </section>
    `;
  }

  #sure(question, yes, act) {
    return html`
      <div class="sure" role="group" aria-label=${question}>
        <p>${question}</p>
        <button class="danger" @click=${act}>${yes}</button>
        <button class="plain" @click=${() => (this.waiting = null)}>${t("people.cancel")}</button>
      </div>
    `;
  }

  #picked({ target }) {
    const [file] = target.files;
    target.value = "";
    if (file) this.#read(file);
  }

  #dropped(event) {
    event.preventDefault();
    event.stopPropagation();
    const [file] = event.dataTransfer.files;
    if (file) this.#read(file);
  }

  async #read(file) {
    this.problem = null;
    try {
      const text = await file.text();
      // Only looked at: numbers beyond 2^53 would not survive being written again.
      JSON.parse(text);
      this.waiting = { scene: text, name: file.name, size: file.size };
    } catch (error) {
      this.waiting = null;
      this.problem = { name: file.name, message: error.message };
    }
  }

  async #loaded() {
    const { scene, name } = this.waiting;
    this.waiting = null;
    try {
      await api.loadScene(scene);
      store.notify({ message: t("share.loaded", { name }), isGood: true });
    } catch (error) {
      this.problem = { name, message: error.message };
    }
  }

  #resetWanted(event) {
    event.preventDefault();
    const seed = new FormData(event.target).get("seed");
    this.seed = seed === "" ? null : Number(seed);
    this.waiting = "reset";
  }

  async #wiped() {
    this.waiting = null;
    await store.attempt(() => api.reset(this.seed));
  }
}

customElements.define("share-panel", SharePanel);
