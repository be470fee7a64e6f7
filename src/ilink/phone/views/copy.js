import { html } from "../vendor/lit/index.js";
import { icon } from "./icons.js";

/** How long the tick of success shows, in milliseconds. */
const SHOWN = 1500;

/** A button that copies a text and shows that it did. */
export function copyButton(text, label) {
  return html`
    <button class="bare copy" title=${label} aria-label=${label} @click=${(event) => copy(event.currentTarget, text)}>
      ${icon("copy")}${icon("check")}
    </button>
  `;
}

async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  button.dataset.done = "";
  setTimeout(() => delete button.dataset.done, SHOWN);
}
