import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { ago, fullTime } from "../times.js";
import "./bot-windows.js";
import { botAvatar } from "./avatar.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** Bots as the gateway sees them: whether they poll, what waits for them, and what they may still send. */
class BotsPanel extends View {
  #tick = null;

  connectedCallback() {
    super.connectedCallback();
    this.#tick = setInterval(() => this.requestUpdate(), 1000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  render() {
    if (store.bots.length === 0) {
      return html`<div class="nothing">${icon("bot")}<h3>${t("bots.none.title")}</h3><p>${t("bots.none.text")}</p></div>`;
    }
    const { bots, others } = store.botsInView;
    return html`
      ${store.isBotCrowd ? this.#search() : nothing}
      <ul class="bots">${repeat(bots, (bot) => bot.bot_id, (bot) => this.#bot(bot))}</ul>
      ${bots.length === 0 ? html`<p class="hint" role="status">${t("bots.nothing_found")}</p>` : nothing}
      ${others > 0 ? html`<p class="hint">${t("bots.more", { count: others })}</p>` : nothing}
    `;
  }

  #search() {
    const words = t("bots.search", { count: store.bots.length });
    return html`
      <form class="filters" role="search" @submit=${(event) => event.preventDefault()}>
        <label class="find grow">${icon("search")}<span class="unseen">${words}</span>
          <input type="search" placeholder=${words} .value=${live(store.botSearch)} autocomplete="off" @input=${(event) => store.searchBots(event.target.value)} />
        </label>
      </form>
    `;
  }

  #bot(bot) {
    const box = store.mailboxes.get(bot.bot_id);
    const isLive = bot.state === "live";
    const state = !isLive ? bot.state : bot.waiting_polls > 0 ? "polling" : "live";
    return html`
      <li class="bot" data-bot-id=${bot.bot_id} data-state=${state}>
        <header>
          ${botAvatar(bot.bot_id)}
          <div>
            <h3>${store.botName(bot.bot_id)}</h3>
            <p class="id">${bot.bot_id}</p>
          </div>
          <span class="tag" data-state=${state}>${t(`bot.state.${state}`)}</span>
        </header>
        <dl class="facts">
          ${fact("bots.polls", bot.waiting_polls, t("bots.polls.hint"))}
          ${fact("bots.depth", box?.depth ?? Math.max(0, bot.head_seq - bot.acked_seq), t("bots.depth.hint"))}
          ${fact("bots.last_poll", bot.last_poll_at ? ago(Date.parse(bot.last_poll_at), store.now()) : t("bots.never"),
            bot.last_poll_at ? fullTime(Date.parse(bot.last_poll_at)) : "")}
          ${fact("bots.generation", bot.generation, t("bots.generation.hint"))}
          ${fact("bots.head", `${bot.acked_seq} / ${bot.head_seq}`, t("bots.head.hint"))}
          ${fact("bots.tickets", box?.typing_tickets.length ?? 0, t("bots.tickets.hint"))}
        </dl>
        ${isLive && box?.typing_tickets.length ? tickets(box.typing_tickets) : nothing}
        ${isLive && box ? html`<bot-windows .windows=${box.windows}></bot-windows>` : nothing}
        ${isLive
          ? html`<footer>${["expire", "rebind", "rotate"].map((what) => change(bot, what))}</footer>`
          : nothing}
      </li>
    `;
  }
}

function change(bot, what) {
  return html`<button class="plain small" title=${t(`bots.${what}.hint`)} @click=${() => store.changeBot(bot.bot_id, what)}>${t(`bots.${what}`)}</button>`;
}

function tickets(all) {
  return html`
    <details class="tickets">
      <summary>${t("bots.tickets.list")}</summary>
      <ul>${all.map((one) => html`<li><span class="name">${store.person(one.user_id)?.name ?? one.user_id}</span><code>${one.beginning}…</code><span>${ago(Date.parse(one.issued_at), store.now())}</span></li>`)}</ul>
    </details>
  `;
}

function fact(key, value, hint) {
  return html`<div title=${hint}><dt>${t(key)}</dt><dd>${value}</dd></div>`;
}

customElements.define("bots-panel", BotsPanel);
