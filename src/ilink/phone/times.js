/** Times in the words of the page's language. */

import { language, t } from "./language.js";

const DAY = 86_400_000;
const formats = new Map();

function format(options) {
  const key = language() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(language(), options));
  return formats.get(key);
}

const HOUR = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

/** `14:05` */
export function clockTime(moment) {
  return format(HOUR).format(moment);
}

/** `14:05:09.120`, for the wire. */
export function exactTime(moment) {
  return format({ ...HOUR, second: "2-digit", fractionalSecondDigits: 3 }).format(moment);
}

export function fullTime(moment) {
  return format({ dateStyle: "long", timeStyle: "medium" }).format(moment);
}

/** As WeChat puts it over a group of messages: the time today, else the day as well. */
export function separatorTime(moment, now) {
  const day = dayWords(moment, now);
  return day ? `${day} ${clockTime(moment)}` : clockTime(moment);
}

/** As WeChat puts it beside a chat in the list: the time today, else only the day. */
export function listTime(moment, now) {
  return dayWords(moment, now) || clockTime(moment);
}

function dayWords(moment, now) {
  const days = Math.round((midnight(now) - midnight(moment)) / DAY);
  if (days === 0) return "";
  if (days === 1) return t("time.yesterday");
  if (days > 1 && days < 7) return format({ weekday: "long" }).format(moment);
  const isThisYear = new Date(moment).getFullYear() === new Date(now).getFullYear();
  return format(isThisYear ? { month: "short", day: "numeric" } : { dateStyle: "medium" }).format(moment);
}

function midnight(moment) {
  return new Date(moment).setHours(0, 0, 0, 0);
}

/** `3:07` until a moment, `0:00` once it is past. */
export function countdown(moment, now) {
  const seconds = Math.max(0, Math.floor((moment - now) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** `12 s ago` */
export function ago(moment, now) {
  const seconds = Math.max(0, Math.round((now - moment) / 1000));
  const words = new Intl.RelativeTimeFormat(language(), { style: "narrow", numeric: "auto" });
  if (seconds < 60) return words.format(-seconds, "second");
  if (seconds < 3600) return words.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86_400) return words.format(-Math.round(seconds / 3600), "hour");
  return words.format(-Math.round(seconds / 86_400), "day");
}

/** `23 h` or `12 min`: what is left until a moment. */
export function left(moment, now) {
  const minutes = Math.max(0, Math.floor((moment - now) / 60_000));
  return minutes >= 60 ? t("time.hours", { hours: Math.floor(minutes / 60) }) : t("time.minutes", { minutes });
}
