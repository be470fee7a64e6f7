/** What a person has begun to write, or wrote in vain: kept by the browser, so that a reload loses none of it. */

import { chatKey } from "./chat.js";

const PREFIX = "ilink.draft ";

/** Keep what stands in a chat's composer, and the texts that are not known to have arrived. */
export function keepDrafts(chat) {
  const { composing, quote, drafts } = chat;
  const key = PREFIX + chatKey(chat.userId, chat.botId);
  if (!composing && !quote && drafts.length === 0) {
    localStorage.removeItem(key);
    return;
  }
  try {
    localStorage.setItem(key, JSON.stringify({ composing, quote, drafts }));
  } catch {
    // The browser has no room for so long a text; it stays in the page.
  }
}

/** Give a chat what was kept of it. A text that was on its way then shows as one to be sent again, unless it arrived. */
export function recallDrafts(chat) {
  const kept = read(PREFIX + chatKey(chat.userId, chat.botId));
  if (!kept) return;
  chat.composing = kept.composing;
  chat.quote = kept.quote;
  chat.drafts = kept.drafts.map((draft) => (draft.state === "sending" ? { ...draft, state: "failed" } : draft));
}

/** Forget everything that was kept: the gateway was reset. */
export function forgetDrafts() {
  for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX)) localStorage.removeItem(key);
}

function read(key) {
  const text = localStorage.getItem(key);
  try {
    return text && JSON.parse(text);
  } catch {
    return null;
  }
}
