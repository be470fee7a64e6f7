import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";
import "./chat-log.js";
import "./composer.js";
import "./message-menu.js";

/** One conversation: whom it is with, the messages, and where to write. */
class ChatRoom extends View {
  static properties = { userId: {}, botId: {} };

  /** After a reset this element hears of it before the phone around it takes it away: there is nothing to draw then. */
  shouldUpdate() {
    return store.person(this.userId) !== null && store.bot(this.botId) !== null;
  }

  render() {
    const chat = store.chat(this.userId, this.botId);
    const bot = store.bot(this.botId);
    return html`
      <div class="screen">
        <header class="bar">
          <button class="bare back" aria-label=${t("chat.back")} title=${t("chat.back")} @click=${this.#back}>${icon("back")}</button>
          <div class="title">
            <h2>${store.botName(this.botId)}</h2>
            <p class="under" role="status">
              ${chat.isTyping
                ? html`<span class="typing-words">${t("chat.typing")}</span>`
                : html`<span class="id" title=${this.botId}>${this.botId}</span>`}
            </p>
          </div>
          <span class="presence" data-state=${bot.waiting_polls > 0 ? "polling" : bot.state}
            title=${t(bot.state !== "live" ? `bot.state.${bot.state}` : bot.waiting_polls > 0 ? "bot.polling" : "bot.away")}></span>
        </header>
        <chat-log .userId=${this.userId} .botId=${this.botId}></chat-log>
        ${bot.state === "live" ? nothing : html`<p class="gone" role="note">${t(`chat.gone.${bot.state}`)}</p>`}
        <message-composer .userId=${this.userId} .botId=${this.botId}></message-composer>
      </div>
    `;
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
