/** The words of the page: flat JSON per language, one of them current. */

export const LANGUAGES = { en: "English", "zh-CN": "简体中文" };

const REMEMBERED = "ilink.language";

let current = "en";
let words = {};
let plurals = new Intl.PluralRules(current);

/** The remembered language, or else the first of the browser's that the page speaks. */
export function rememberedLanguage() {
  const remembered = localStorage.getItem(REMEMBERED);
  if (remembered in LANGUAGES) return remembered;
  for (const wanted of navigator.languages) {
    if (wanted.toLowerCase().startsWith("zh")) return "zh-CN";
    if (wanted.toLowerCase().startsWith("en")) return "en";
  }
  return "en";
}

/** Make a language current, once its words are here. */
export async function chooseLanguage(name, { remember = false } = {}) {
  const answer = await fetch(new URL(`locales/${name}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`The words of ${name} did not load: HTTP ${answer.status}`);
  words = await answer.json();
  current = name;
  plurals = new Intl.PluralRules(name);
  if (remember) localStorage.setItem(REMEMBERED, name);
  document.documentElement.lang = name;
}

export function language() {
  return current;
}

/** What the gateway says in English, in the page's language where it has words for it: the text and its language. */
export function said(key, english) {
  return key in words ? [words[key], current] : [english, "en"];
}

/**
 * The text of a key, with `{name}` replaced from the values.
 *
 * With a value `count`, a key ending in `.one` or `.other` is taken as the language's plural rule says.
 * A key without a text shows as itself: states and endpoints that a newer gateway invents stay readable.
 */
export function t(key, values = {}) {
  const chosen = "count" in values ? `${key}.${plurals.select(values.count)}` : key;
  const text = words[chosen] ?? words[`${key}.other`] ?? words[key];
  if (text === undefined) return key.slice(key.lastIndexOf(".") + 1);
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
