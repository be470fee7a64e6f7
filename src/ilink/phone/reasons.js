/** Why a message was refused or is not shown, in the words of the page's language: the gateway gives them in English. */

import { language, t } from "./language.js";

/** How the gateway's words begin, and the key of ours. What stands in parentheses, a knob mostly, is kept as it is. */
const REASONS = {
  "there is no such person": "why.nobody",
  "an unfinished message without items": "why.unfinished",
  "more than one item": "why.items",
  "text and voice in one message": "why.mixed",
  "a text of more than": "why.long",
  "the person has never written to this bot": "why.never",
  "the reply window is closed": "why.window",
  "the allowance is used up": "why.allowance",
  "too many sends at a time": "why.rate",
  "no context token": "why.no_token",
  "the context token was never given for this chat": "why.foreign_token",
  "the context token is too old": "why.old_token",
  "the context token is not the newest": "why.older_token",
  "the context token was used before": "why.used_token",
  "accepted and dropped": "why.dropped",
  "notifystart did not come": "why.not_notified",
  "only the first": "why.cut",
  "nothing in it that a phone shows": "why.nothing",
};

export function reasonWords(why) {
  const key = language() === "en" ? null : Object.keys(REASONS).find((words) => why.startsWith(words));
  return key ? t(REASONS[key]) + (/ \([^)]*\)$/.exec(why)?.[0] ?? "") : why;
}
