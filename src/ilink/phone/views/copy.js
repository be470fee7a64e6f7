import { html } from "../vendor/lit/index.js";
import { store } from "../store.js";
import { icon } from "./icons.js";

/** How long the tick of success shows, in milliseconds. */
const SHOWN = 1500;

/** A button that copies a text and shows that it did; with its words beside the picture if `isWordy`. */
export function copyButton(text, label, { picture = "copy", isWordy = false } = {}) {
  return html`
    <button type="button" class="${isWordy ? "plain small" : "bare"} copy" title=${label} aria-label=${label} @click=${(event) => copy(event.currentTarget, text)}>
      ${icon(picture)}${icon("check")}${isWordy ? html`<span>${label}</span>` : ""}
    </button>
  `;
}

async function copy(button, text) {
  if (!(await store.attempt(() => navigator.clipboard.writeText(text)))) return;
  button.dataset.done = "";
  setTimeout(() => delete button.dataset.done, SHOWN);
}
