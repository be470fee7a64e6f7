/** One message as the chat shows it. */

import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { reasonWords } from "../reasons.js";
import { store } from "../store.js";
import { clockTime, fullTime, separatorTime } from "../times.js";
import { botAvatar, personAvatar } from "./avatar.js";
import { openEntry } from "./entry-dialog.js";
import { icon } from "./icons.js";
import { entrySummary, itemView, kindWords } from "./items.js";

/** Messages this far apart, in milliseconds, get a time between them. */
const PAUSE = 5 * 60_000;

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

/** A message with the time above it where some has passed, and its state under it. */
export function messageView(entry, { before, after, hasOlder }) {
  const at = Date.parse(entry.at);
  const isApart = before ? at - Date.parse(before.at) > PAUSE : !hasOlder;
  const isOut = entry.direction === "out";
  const person = store.person(entry.user_id);
  const speaker = isOut ? store.botName(entry.bot_id) : person.name;
  const isLastOfRow = !after || after.direction !== entry.direction || after.state !== entry.state;
  return html`
    <div class="entry" data-n=${entry.n}>
      ${isApart ? html`<time class="separator" datetime=${entry.at}>${separatorTime(at, store.now())}</time>` : nothing}
      <div class="message ${entry.direction}" data-state=${entry.state}>
        ${isOut ? botAvatar(entry.bot_id) : personAvatar(person)}
        <div class="said">
          <span class="unseen">${speaker}, ${clockTime(at)}:</span>
          <div class="with-more">
            <div class="bubbles">${bubbles(entry, at)}</div>
            <button class="bare more-of" aria-haspopup="menu" aria-label=${t("menu.open")} title=${t("menu.open")}>${icon("more")}</button>
          </div>
          ${entry.items.map((item) => quoteView(item))}
          ${stateView(entry, { isShort: QUIET.has(entry.state) && !isLastOfRow })}
        </div>
      </div>
    </div>
  `;
}

/** A text on its way, or one that did not get there. */
export function draftView(draft, chat) {
  const isFailed = draft.state === "failed";
  return html`
    <div class="message in draft" data-state=${draft.state}>
      ${personAvatar(store.person(chat.userId))}
      <div class="said">
        <div class="bubble"><p class="text">${draft.text}</p></div>
        <span class="state" data-state=${isFailed ? "refused" : "sending"} role=${isFailed ? "alert" : nothing}>
          ${icon(ICONS[draft.state])}<span>${t(`state.${draft.state}`)}${draft.why ? html`: ${draft.why}` : nothing}</span>
          ${isFailed
            ? html`<button class="plain small" @click=${() => store.sayAgain(chat.userId, chat.botId, draft)}>${t("chat.again")}</button>
                <button class="plain small" @click=${() => store.discardDraft(chat.userId, chat.botId, draft)}>${t("chat.discard")}</button>`
            : nothing}
        </span>
      </div>
    </div>
  `;
}

/** A caption and what it belongs to stand apart, as they do on a phone. */
function bubbles(entry, at) {
  if (entry.items.length === 0) return html`<div class="bubble" title=${fullTime(at)}><p class="text empty">${t("item.none")}</p></div>`;
  return entry.items.map((item) => html`<div class="bubble" title=${fullTime(at)}>${itemView(item, entry)}</div>`);
}

function quoteView(item) {
  if (!item.quoted_text && !item.quoted_message_id) return nothing;
  const words = item.quoted_text || (item.quoted_type ? `[${kindWords(item.quoted_type)}]` : t("item.quoted", { id: item.quoted_message_id }));
  const text = item.is_quoted_in_part ? `“${words}”` : words;
  if (!item.quoted_n) return html`<p class="quote">${text}</p>`;
  return html`<button class="quote" data-n=${item.quoted_n} title=${t("item.quoted.show")}>${text}</button>`;
}

function stateView(entry, { isShort }) {
  const words = t(`state.${entry.state}`);
  return html`
    <button class="state ${isShort ? "short" : ""}" data-state=${entry.state} title=${t(`state.${entry.state}.hint`)} @click=${() => openEntry(entry)}>
      ${icon(ICONS[entry.state] ?? "info")}<span>${words}${entry.why ? html`: ${reasonWords(entry.why)}` : nothing}</span>
    </button>
  `;
}

/** Who said an entry, and what, in one line. */
export function quoteWords(entry, partial) {
  const speaker = entry.direction === "out" ? store.botName(entry.bot_id) : (store.person(entry.user_id)?.name ?? "");
  return `${speaker}: ${partial ? `“${partial}”` : entrySummary(entry)}`;
}
