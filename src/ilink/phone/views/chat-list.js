import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { fullTime, listTime } from "../times.js";
import { botAvatar, personAvatar } from "./avatar.js";
import { copyButton } from "./copy.js";
import { icon } from "./icons.js";
import { entrySummary } from "./items.js";
import { View } from "./view.js";

/** So many chats are listed at most; of a crowd a search finds the others. */
const MOST = 40;

/** A person's chats, newest first. */
class ChatList extends View {
  static properties = { userId: {}, search: { state: true } };

  constructor() {
    super();
    this.search = "";
  }

  /** After a reset this element hears of it before the phone around it takes it away: there is nothing to draw then. */
  shouldUpdate() {
    return store.person(this.userId) !== null;
  }

  render() {
    const person = store.person(this.userId);
    const all = store.chatsOf(this.userId);
    const isCrowd = all.length > MOST;
    const chats = isCrowd ? chosen(all, this.search.trim().toLowerCase()) : all;
    return html`
      <div class="screen">
        <header class="bar">
          ${personAvatar(person)}
          <h2>${t("chats.title")}</h2>
          <span class="owner" title=${person.user_id}>
            <span class="name">${person.name}</span>
            <button class="bare scan" aria-label=${t("chats.scan")} title=${t("chats.scan")} @click=${this.#scan}>${icon("qr")}</button>
          </span>
        </header>
        ${all.length === 0 ? this.#empty() : nothing}
        ${all.length > 0
          ? html`<ul class="chats">
              ${isCrowd ? html`<li class="seek">${this.#search(all.length)}</li>` : nothing}
              ${repeat(chats.slice(0, MOST), ({ bot }) => bot.bot_id, (entry) => this.#row(entry))}
              ${isCrowd && chats.length === 0 ? html`<li class="rest" role="status">${t("chats.nothing_found")}</li>` : nothing}
              ${chats.length > MOST ? html`<li class="rest">${t("chats.more", { count: chats.length - MOST })}</li>` : nothing}
            </ul>`
          : nothing}
      </div>
    `;
  }

  #search(count) {
    return html`
      <label class="find">${icon("search")}<span class="unseen">${t("chats.search", { count })}</span>
        <input type="search" placeholder=${t("chats.search", { count })} .value=${live(this.search)} autocomplete="off"
          @input=${(event) => (this.search = event.target.value)} />
      </label>
    `;
  }

  #row({ bot, chat }) {
    const { lastShown: last, unread } = chat;
    const name = store.botName(bot.bot_id);
    return html`
      <li>
        <button class="row" data-bot-id=${bot.bot_id} @click=${() => this.#open(bot.bot_id)}>
          ${botAvatar(bot.bot_id)}
          ${unread > 0
            ? html`<span class="badge"><span aria-hidden="true">${unread}</span>
                <span class="unseen">${t("chats.unread", { count: unread })}</span></span>`
            : nothing}
          <span class="top">
            <span class="name">${name}</span>
            ${bot.state === "live" ? nothing : html`<span class="tag">${t(`bot.state.${bot.state}`)}</span>`}
            ${last
              ? html`<time datetime=${last.at} title=${fullTime(Date.parse(last.at))}>${listTime(Date.parse(last.at), store.now())}</time>`
              : nothing}
          </span>
          <span class="last">
            ${chat.isTyping
              ? html`<span class="typing-words">${t("chat.typing")}</span>`
              : last
                ? entrySummary(last)
                : html`<span class="id">${bot.bot_id}</span>`}
          </span>
        </button>
      </li>
    `;
  }

  #empty() {
    const command = store.info ? `ILINK_BASE_URL=${store.info.api_url} ilink run bot.py` : "";
    const isCode = store.codes.visible.some((code) => store.codes.isOpen(code));
    return html`
      <div class="nothing">
        ${icon(isCode ? "qr" : "bot")}
        <h3>${t(isCode ? "chats.code.title" : "chats.none.title")}</h3>
        <p>${t(isCode ? "chats.code.text" : "chats.none.text")}</p>
        ${isCode || !command
          ? nothing
          : html`<div class="command"><code>${command}</code>${copyButton(command, t("chats.none.copy"))}</div>`}
      </div>
    `;
  }

  /** A code that was put aside comes back; without one the camera looks for it. */
  #scan() {
    if (store.codes.hidden.length > 0) store.codes.showHidden();
    else this.closest("person-phone").scan();
  }

  #open(botId) {
    store.openChat(this.userId, botId);
  }
}

function chosen(chats, wanted) {
  return wanted ? chats.filter(({ bot }) => `${store.botName(bot.bot_id)} ${bot.bot_id}`.toLowerCase().includes(wanted)) : chats;
}

customElements.define("chat-list", ChatList);
