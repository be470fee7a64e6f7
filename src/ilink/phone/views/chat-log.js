import { html, nothing } from "../vendor/lit/index.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { Rows } from "../rows.js";
import { store } from "../store.js";
import { botAvatar } from "./avatar.js";
import { icon } from "./icons.js";
import { draftView, messageView } from "./message.js";
import { openMessageMenu } from "./message-menu.js";
import { View } from "./view.js";

/** This near to the end, in pixels, the chat follows what arrives. */
const NEAR = 60;

/** So far beyond what is in view, in pixels, messages are drawn. */
const SPARE = 900;

/** This near to the beginning, in pixels, older messages are asked for. */
const EARLY = 1500;

/** How many messages are drawn on each side of one that is pointed at. */
const AROUND = 25;

/** How long a finger rests on a message until its menu opens, in milliseconds. */
const LONG_PRESS = 500;

/** The messages of a chat: however many there are, only those around what is in view are drawn. */
class ChatLog extends View {
  static properties = { userId: {}, botId: {}, isBehind: { state: true } };

  #rows = new Rows();
  #drawn = { start: 0, end: 0, before: 0, after: 0 };
  #follows = true;
  #top = 0;
  #anchor = null;
  #target = null;
  #isReading = false;
  #frame = 0;
  #press = 0;
  #resizes = new ResizeObserver(() => this.#follows && this.#toEnd());

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
    if (changes.has("botId") || changes.has("userId")) {
      this.#rows.forget();
      this.#follows = true;
      this.#target = null;
      this.isBehind = false;
    }
    this.#take(store.wantedMessage);
    const { entries } = this.#chat;
    const keys = entries.map((entry) => entry.n);
    const log = this.#log;
    const height = log?.clientHeight || 800;
    const at = this.#target === null ? -1 : keys.indexOf(this.#target);
    if (at >= 0) this.#drawn = this.#rows.around(keys, at, AROUND);
    else if (this.#follows || !log) this.#drawn = this.#rows.last(keys, height + SPARE);
    else this.#drawn = this.#rows.between(keys, log.scrollTop - SPARE, log.scrollTop + height + SPARE);
    this.#anchor = this.#follows || at >= 0 ? null : this.#firstInView();
  }

  firstUpdated() {
    this.#resizes.observe(this.#log);
    // A picture takes its room when it has loaded, long after the message was drawn; load events only come down.
    this.#log.addEventListener("load", () => this.requestUpdate(), { capture: true });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#resizes.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#press);
  }

  updated() {
    for (const row of this.#log.querySelectorAll(".entry")) this.#rows.measure(Number(row.dataset.n), row.offsetHeight);
    if (this.#target !== null) this.#showTarget();
    else if (this.#follows) this.#toEnd();
    else this.#holdStill();
    this.#readOlder();
  }

  /** Go to the newest message and stay there. */
  follow() {
    this.#follows = true;
    this.isBehind = false;
    this.requestUpdate();
  }

  /** Go to a message, however far back it is. */
  async show(n) {
    if (!(await store.reach(this.userId, this.botId, n))) return;
    this.#target = n;
    this.#follows = false;
    this.requestUpdate();
  }

  render() {
    const chat = this.#chat;
    const name = store.botName(this.botId);
    const { start, end, before, after } = this.#drawn;
    const { entries } = chat;
    return html`
      <div class="log" role="log" tabindex="0" aria-label=${t("chat.log", { name })} aria-busy=${!chat.isLoaded} @scroll=${this.#scrolled}
        @contextmenu=${this.#menuWanted} @pointerdown=${this.#pressed} @pointerup=${this.#released} @pointercancel=${this.#released}
        @pointermove=${this.#moved} @click=${this.#clicked} @keydown=${this.#typed}>
        ${chat.isLoaded && entries.length === 0 && chat.drafts.length === 0 ? html`<p class="hello">${t("chat.hello")}</p>` : nothing}
        ${chat.hasOlder && start === 0 ? html`<p class="older" role="status">${t("chat.older")}</p>` : nothing}
        <div class="spacer" .style=${`height:${before}px`}></div>
        ${repeat(
          entries.slice(start, end),
          (entry) => entry.n,
          (entry, i) => messageView(entry, { before: entries[start + i - 1], after: entries[start + i + 1], hasOlder: chat.hasOlder }),
        )}
        <div class="spacer" .style=${`height:${after}px`}></div>
        ${chat.waitingDrafts.map((draft) => draftView(draft, chat))}
        ${chat.isTyping ? this.#typing() : nothing}
      </div>
      ${this.isBehind
        ? html`<button class="to-end" @click=${() => this.follow()}>${icon("down")}<span>${t("chat.newest")}</span></button>`
        : nothing}
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

  /** Turn to the message that the page's address points at, once it is known to be in this chat. */
  #take(wanted) {
    if (wanted === null || !this.#chat.isLoaded || this.userId !== store.activePerson) return;
    store.wantedMessage = null;
    this.show(wanted);
  }

  #firstInView() {
    const { top } = this.#log.getBoundingClientRect();
    for (const row of this.#log.querySelectorAll(".entry")) {
      const box = row.getBoundingClientRect();
      if (box.bottom > top) return { n: row.dataset.n, top: box.top };
    }
    return null;
  }

  /** Rows above turned out higher or lower than they counted for: what was in view stays where it was. */
  #holdStill() {
    const row = this.#anchor && this.#row(this.#anchor.n);
    if (!row) return;
    const moved = row.getBoundingClientRect().top - this.#anchor.top;
    if (Math.abs(moved) > 0.5) this.#log.scrollTop += moved;
    this.#top = this.#log.scrollTop;
  }

  #showTarget() {
    const row = this.#row(this.#target);
    if (!row) return;
    this.#target = null;
    row.scrollIntoView({ block: "center" });
    this.#top = this.#log.scrollTop;
    this.isBehind = true;
    row.dataset.shown = "";
    row.addEventListener("animationend", () => delete row.dataset.shown, { once: true });
  }

  #row(n) {
    return this.#log.querySelector(`.entry[data-n="${n}"]`);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    // Only a move upwards is somebody who reads; the end also moves away by itself when a picture takes its room.
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.#follows = true;
    else if (scrollTop < this.#top) this.#follows = false;
    this.#top = scrollTop;
    this.isBehind = !this.#follows;
    if (this.#follows || this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#isCovered()) this.requestUpdate();
    });
  }

  /** Whether what is in view, and half of the spare around it, is drawn. */
  #isCovered() {
    const log = this.#log;
    const { before, after } = this.#drawn;
    const isAbove = before === 0 || log.scrollTop - before > SPARE / 2;
    const isBelow = after === 0 || log.scrollHeight - after - log.scrollTop - log.clientHeight > SPARE / 2;
    return isAbove && isBelow && !(this.#chat.hasOlder && log.scrollTop < EARLY);
  }

  async #readOlder() {
    if (this.#isReading || this.#follows || !this.#chat.hasOlder || this.#log.scrollTop > EARLY) return;
    this.#isReading = true;
    await store.readOlder(this.userId, this.botId);
    this.#isReading = false;
  }

  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#top = this.#log.scrollTop;
  }

  #entryAt(element) {
    const n = Number(element.closest(".entry")?.dataset.n);
    return this.#chat.entries.find((entry) => entry.n === n) ?? null;
  }

  #menuWanted(event) {
    const bubble = event.target.closest(".bubble");
    const entry = bubble && this.#entryAt(bubble);
    if (!entry) return;
    event.preventDefault();
    openMessageMenu(this, entry, bubble, event.clientX || null, event.clientY || null);
  }

  #clicked(event) {
    const opener = event.target.closest(".more-of");
    const quote = event.target.closest(".quote[data-n]");
    if (opener) openMessageMenu(this, this.#entryAt(opener), opener, null, null);
    else if (quote) this.show(Number(quote.dataset.n));
  }

  #typed(event) {
    if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) this.#menuWanted(event);
  }

  /** A finger that rests on a message opens its menu; a mouse has its second button for that. */
  #pressed(event) {
    const bubble = event.target.closest(".bubble");
    if (event.pointerType === "mouse" || !bubble) return;
    const { clientX, clientY } = event;
    this.#press = setTimeout(() => openMessageMenu(this, this.#entryAt(bubble), bubble, clientX, clientY), LONG_PRESS);
  }

  #released() {
    clearTimeout(this.#press);
  }

  #moved(event) {
    if (Math.hypot(event.movementX, event.movementY) > 4) clearTimeout(this.#press);
  }
}

customElements.define("chat-log", ChatLog);
