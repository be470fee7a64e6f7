import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { clockTime, fullTime, separatorTime } from "../times.js";
import { botAvatar, personAvatar } from "./avatar.js";
import "./entry-dialog.js";
import { icon } from "./icons.js";
import { itemView } from "./items.js";
import { View } from "./view.js";

/** Messages this far apart, in milliseconds, get a time between them. */
const PAUSE = 5 * 60_000;

/** How many messages are drawn at first, and how many more at each step towards older ones. */
const STEP = 80;

/** This near to the end, in pixels, the chat follows what arrives. */
const NEAR = 60;

const ICONS = {
  stored: "check",
  handed_out: "checks",
  acked: "checks",
  shown: "check",
  not_shown: "hidden",
  refused: "warn",
  sending: "clock",
  failed: "warn",
};

/** Ends of the way, which are only worth a line under the last message of a row of them. */
const QUIET = new Set(["acked", "shown"]);

/** One conversation: the messages, the typing indicator, and a line to write in. */
class ChatRoom extends View {
  static properties = { userId: {}, botId: {}, drawn: { state: true }, isBehind: { state: true } };

  #follows = true;
  #top = 0;
  #distance = null;
  #resizes = new ResizeObserver(() => this.#follows && this.#toEnd());

  constructor() {
    super();
    this.drawn = STEP;
    this.isBehind = false;
  }

  get #chat() {
    return store.chat(this.userId, this.botId);
  }

  get #log() {
    return this.querySelector(".log");
  }

  /** After a reset this element hears of it before the phone around it takes it away: there is nothing to draw then. */
  shouldUpdate() {
    return store.person(this.userId) !== null && store.bot(this.botId) !== null;
  }

  willUpdate(changes) {
    if (!changes.has("botId") && !changes.has("userId")) return;
    this.drawn = STEP;
    this.#follows = true;
    this.isBehind = false;
  }

  firstUpdated() {
    this.#resizes.observe(this.#log);
    // A picture takes its room when it has loaded, long after the message was drawn; load events only come down.
    this.#log.addEventListener("load", () => this.#follows && this.#toEnd(), { capture: true });
    // On a touch screen the keyboard would jump up before anybody wants to write.
    if (matchMedia("(pointer: fine)").matches) this.querySelector("textarea").focus();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#resizes.disconnect();
  }

  updated() {
    if (this.#distance !== null) {
      // Older messages came in above: what was in view stays where it was.
      this.#log.scrollTop = this.#log.scrollHeight - this.#distance;
      this.#distance = null;
    } else if (this.#follows) {
      this.#toEnd();
    }
    this.#grow(this.querySelector("textarea"));
  }

  render() {
    const chat = this.#chat;
    const name = store.botName(this.botId);
    const bot = store.bot(this.botId);
    return html`
      <div class="screen">
        <header class="bar">
          <button class="bare back" aria-label=${t("chat.back")} title=${t("chat.back")} @click=${this.#back}>${icon("back")}</button>
          <div class="title">
            <h2>${name}</h2>
            <p class="under" role="status">
              ${chat.isTyping
                ? html`<span class="typing-words">${t("chat.typing")}</span>`
                : html`<span class="id" title=${this.botId}>${this.botId}</span>`}
            </p>
          </div>
          <span class="presence" data-state=${bot.waiting_polls > 0 ? "polling" : bot.state}
            title=${t(bot.state !== "live" ? `bot.state.${bot.state}` : bot.waiting_polls > 0 ? "bot.polling" : "bot.away")}></span>
        </header>
        <div class="log" role="log" tabindex="0" aria-label=${t("chat.log", { name })} @scroll=${this.#scrolled}>
          ${this.#messages(chat)}
          ${chat.waitingDrafts.map((draft) => this.#draft(draft))}
          ${chat.isTyping ? this.#typing() : nothing}
        </div>
        ${this.isBehind
          ? html`<button class="to-end" @click=${() => this.#follow()}>${icon("down")}<span>${t("chat.newest")}</span></button>`
          : nothing}
        ${bot.state === "live" ? nothing : html`<p class="gone" role="note">${t(`chat.gone.${bot.state}`)}</p>`}
        ${this.#composer(chat)}
      </div>
      <entry-dialog></entry-dialog>
    `;
  }

  #messages(chat) {
    if (chat.isLoaded && chat.entries.length === 0 && chat.drafts.length === 0) {
      return html`<p class="hello">${t("chat.hello")}</p>`;
    }
    const entries = chat.entries.slice(-this.drawn);
    return repeat(entries, (entry) => entry.n, (entry, i) => this.#entry(entry, entries[i - 1], entries[i + 1]));
  }

  #entry(entry, before, after) {
    const at = Date.parse(entry.at);
    const isApart = !before || at - Date.parse(before.at) > PAUSE;
    const isOut = entry.direction === "out";
    const speaker = isOut ? store.botName(this.botId) : store.person(this.userId).name;
    const isLastOfRow = !after || after.direction !== entry.direction || after.state !== entry.state;
    return html`
      ${isApart ? html`<time class="separator" datetime=${entry.at}>${separatorTime(at, store.now())}</time>` : nothing}
      <div class="message ${entry.direction}" data-n=${entry.n} data-state=${entry.state}>
        ${isOut ? botAvatar(this.botId) : personAvatar(store.person(this.userId))}
        <div class="said">
          <span class="unseen">${speaker}, ${clockTime(at)}:</span>
          <div class="bubble" title=${fullTime(at)}>${entry.items.map(itemView)}</div>
          ${this.#state(entry, { isShort: QUIET.has(entry.state) && !isLastOfRow })}
        </div>
      </div>
    `;
  }

  #state(entry, { isShort }) {
    const words = t(`state.${entry.state}`);
    const hint = t(`state.${entry.state}.hint`);
    return html`
      <button
        class="state ${isShort ? "short" : ""}"
        data-state=${entry.state}
        title=${hint}
        @click=${() => this.querySelector("entry-dialog").open(entry)}
      >
        ${icon(ICONS[entry.state] ?? "info")}<span>${words}${entry.why ? html`: ${entry.why}` : nothing}</span>
      </button>
    `;
  }

  #draft(draft) {
    const isFailed = draft.state === "failed";
    return html`
      <div class="message in draft" data-state=${draft.state}>
        ${personAvatar(store.person(this.userId))}
        <div class="said">
          <div class="bubble"><p class="text">${draft.text}</p></div>
          <span class="state" data-state=${isFailed ? "refused" : "sending"} role=${isFailed ? "alert" : nothing}>
            ${icon(ICONS[draft.state])}<span>${t(`state.${draft.state}`)}${draft.why ? html`: ${draft.why}` : nothing}</span>
            ${isFailed
              ? html`<button class="plain small" @click=${() => store.sayAgain(this.userId, this.botId, draft)}>${t("chat.again")}</button>
                  <button class="plain small" @click=${() => store.discardDraft(this.userId, this.botId, draft)}>${t("chat.discard")}</button>`
              : nothing}
          </span>
        </div>
      </div>
    `;
  }

  #typing() {
    return html`
      <div class="message out typing" data-typing>
        ${botAvatar(this.botId)}
        <div class="said"><div class="bubble" role="img" aria-label=${t("chat.typing")}><i></i><i></i><i></i></div></div>
      </div>
    `;
  }

  #composer(chat) {
    return html`
      <form class="composer" @submit=${this.#submit}>
        <label class="unseen" for="say-${this.userId}">${t("chat.message")}</label>
        <textarea
          id="say-${this.userId}"
          rows="1"
          placeholder=${t("chat.message")}
          enterkeyhint="send"
          autocomplete="off"
          .value=${live(chat.composing)}
          @input=${this.#composed}
          @keydown=${this.#pressed}
        ></textarea>
        <input type="file" class="unseen" tabindex="-1" aria-hidden="true" @change=${this.#picked} />
        <button type="button" class="bare attach" aria-label=${t("chat.attach")} title=${t("chat.attach")}
          @click=${() => this.querySelector("input[type=file]").click()}>${icon("plus")}</button>
        <button class="send" aria-label=${t("chat.send")} title=${t("chat.send")} ?disabled=${!chat.composing.trim()}>${icon("send")}</button>
      </form>
    `;
  }

  #composed(event) {
    this.#chat.composing = event.target.value;
    this.requestUpdate();
  }

  #pressed(event) {
    // Enter also ends the choice of characters in an input method; that one must not send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  }

  #submit(event) {
    event.preventDefault();
    const chat = this.#chat;
    const text = chat.composing.trim();
    if (!text) return;
    chat.composing = "";
    this.#follows = true;
    store.say(this.userId, this.botId, text);
    this.querySelector("textarea").focus();
  }

  async #picked(event) {
    const { target } = event;
    for (const file of target.files) await store.sendFile(this.userId, this.botId, file);
    // The same file may be picked once more.
    target.value = "";
  }

  #grow(textarea) {
    textarea.style.height = "auto";
    textarea.style.height = `${textarea.scrollHeight}px`;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    // Only a move upwards is somebody who reads; the end also moves away by itself when a picture takes its room.
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.#follows = true;
    else if (scrollTop < this.#top) this.#follows = false;
    this.#top = scrollTop;
    this.isBehind = !this.#follows;
    if (scrollTop > 200 || this.drawn >= this.#chat.entries.length || this.#distance !== null) return;
    this.#distance = scrollHeight - scrollTop;
    this.drawn += STEP;
  }

  #follow() {
    this.#follows = true;
    this.#toEnd();
  }

  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  async #back() {
    const phone = this.closest("person-phone");
    const { botId } = this;
    store.closeChat(this.userId);
    await new Promise((resolve) => store.addEventListener("change", resolve, { once: true }));
    await phone.updateComplete;
    const list = phone.querySelector("chat-list");
    await list?.updateComplete;
    list?.querySelector(`[data-bot-id="${CSS.escape(botId)}"]`)?.focus();
  }
}

customElements.define("chat-room", ChatRoom);
