import { html } from "../vendor/lit/index.js";
import { icon } from "./icons.js";

const COLOURS = 8;

/** A person's picture: initials on a colour that follows from the id. */
export function personAvatar({ user_id: userId, name }) {
  return html`<span class="avatar avatar-${colour(userId)}" aria-hidden="true">${initials(name)}</span>`;
}

export function botAvatar(botId) {
  return html`<span class="avatar avatar-bot avatar-${colour(botId)}" aria-hidden="true">${icon("bot")}</span>`;
}

function colour(id) {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return sum % COLOURS;
}

/** First letters of the first and last word; of a Chinese name its last character, as people do there. */
function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  if (words.length === 0) return "?";
  const first = [...words[0]];
  if (/\p{Script=Han}/u.test(first.at(-1))) return first.at(-1);
  const letters = words.length === 1 ? first.slice(0, 1) : [first[0], [...words.at(-1)][0]];
  return letters.join("").toUpperCase();
}
