import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { clockTime } from "../times.js";
import { icon } from "./icons.js";
import { scanPicture } from "./scanning.js";
import { View } from "./view.js";
import "./chat-list.js";
import "./chat-room.js";
import "./message-menu.js";
import "./scan-screen.js";
import "./welcome.js";

/** One person's phone: the frame, and in it the list of chats or one chat. Without a person it asks for one. */
class Phone extends View {
  static properties = { userId: {}, isScanning: { state: true } };

  #tick = null;

  connectedCallback() {
    super.connectedCallback();
    this.#tick = setInterval(() => this.requestUpdate(), 10_000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  render() {
    const person = store.person(this.userId);
    const name = person?.name ?? t("phone.nobody");
    return html`
      <article
        class="phone"
        aria-label=${t("phone.of", { name })}
        ?data-active=${this.userId === store.activePerson}
        @focusin=${() => person && store.activate(this.userId)}
        @dragover=${(event) => person && event.preventDefault()}
        @drop=${this.#dropped}
      >
        <div class="status" aria-hidden="true">
          <span class="time">${clockTime(store.now())}</span>
          <span class="island"></span>
          <span class="signals">${signals()}</span>
        </div>
        ${this.#screen(person)}
        ${person && this.isScanning ? html`<scan-screen .userId=${this.userId} @done=${() => (this.isScanning = false)}></scan-screen>` : nothing}
        <message-menu></message-menu>
        <div class="home" aria-hidden="true"></div>
      </article>
      ${person && store.phones.length > 1
        ? html`<button class="close-phone" title=${t("phone.close", { name })} aria-label=${t("phone.close", { name })}
            @click=${() => store.closePhone(this.userId)}>${icon("close")}</button>`
        : nothing}
    `;
  }

  /** Look for a code with the phone's camera. */
  scan() {
    this.isScanning = true;
  }

  /** A file dropped on a chat goes with what is written next; dropped elsewhere it is a picture of a code. */
  #dropped(event) {
    const { files } = event.dataTransfer;
    if (!store.person(this.userId) || files.length === 0) return;
    event.preventDefault();
    event.stopPropagation();
    const composer = this.isScanning ? null : this.querySelector("message-composer");
    if (composer) composer.attach(files);
    else scanPicture(files[0], this.userId);
  }

  #screen(person) {
    if (!person) return html`<phone-welcome></phone-welcome>`;
    const botId = store.openChatOf(this.userId);
    if (!botId) return html`<chat-list .userId=${this.userId}></chat-list>`;
    return html`<chat-room .userId=${this.userId} .botId=${botId}></chat-room>`;
  }
}

function signals() {
  return html`
    <svg viewBox="0 0 54 12" focusable="false">
      <rect x="0" y="7.500" width="3" height="4" rx="1" /><rect x="4.500" y="5.500" width="3" height="6" rx="1" />
      <rect x="9" y="3" width="3" height="8.500" rx="1" /><rect x="13.500" y="0.500" width="3" height="11" rx="1" />
      <rect class="outline" x="28.500" y="0.900" width="21" height="10.200" rx="3" />
      <rect x="30.300" y="2.700" width="15" height="6.600" rx="1.600" /><rect x="51" y="4" width="1.700" height="4" rx=".8" />
    </svg>
  `;
}

customElements.define("person-phone", Phone);
