/** Texts as a phone shows them. Every leaf is text to Lit: nothing that anybody writes becomes markup. */

import { html } from "../vendor/lit/index.js";
import { readAddresses, readMarkdown } from "../markdown.js";

/** Characters of the longest text that is read for marks; a longer one is shown as it is. */
const LONGEST = 20_000;

const drawn = new WeakMap();

/** The text of an item that a bot sent, its Markdown drawn as phones do. Kept with the item, which never changes. */
export function prose(item) {
  let view = drawn.get(item);
  if (!view) {
    const text = item.text ?? "";
    view = text.length > LONGEST ? plainProse(item) : html`<div class="text prose">${readMarkdown(text).map(block)}</div>`;
    drawn.set(item, view);
  }
  return view;
}

/** The text of an item that a person wrote: phones draw addresses in it and nothing else. */
export function plainProse(item) {
  return html`<p class="text">${readAddresses(item.text ?? "").map(span)}</p>`;
}

const BLOCKS = {
  paragraph: ({ spans }) => html`<p>${spans.map(span)}</p>`,
  heading: ({ level, spans }) => html`<p class="heading" data-level=${level} role="heading" aria-level="3">${spans.map(span)}</p>`,
  rule: () => html`<hr />`,
  code: ({ text }) => html`<pre class="code" tabindex="0"><code>${text}</code></pre>`,
  quote: ({ blocks }) => html`<blockquote>${blocks.map(block)}</blockquote>`,
  list: ({ start, items }) =>
    start === null
      ? html`<ul class="marked">${items.map(item)}</ul>`
      : html`<ol class="marked" start=${start}>${items.map(item)}</ol>`,
  table: ({ sides, head, rows }) => html`
    <div class="table" tabindex="0">
      <table>
        <thead><tr>${head.map((cell, i) => html`<th scope="col" data-side=${sides[i]}>${cell.map(span)}</th>`)}</tr></thead>
        <tbody>${rows.map((row) => html`<tr>${row.map((cell, i) => html`<td data-side=${sides[i]}>${cell.map(span)}</td>`)}</tr>`)}</tbody>
      </table>
    </div>
  `,
};

const SPANS = {
  code: ({ text }) => html`<code>${text}</code>`,
  strong: ({ spans }) => html`<strong>${spans.map(span)}</strong>`,
  em: ({ spans }) => html`<em>${spans.map(span)}</em>`,
  link: ({ target, spans }) => html`<a href=${target} target="_blank" rel="noreferrer noopener">${spans.map(span)}</a>`,
};

function block(one) {
  return BLOCKS[one.kind](one);
}

function item(blocks) {
  return html`<li>${blocks.map(block)}</li>`;
}

function span(one) {
  return typeof one === "string" ? one : SPANS[one.kind](one);
}
