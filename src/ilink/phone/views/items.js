/** What a message holds, as a phone shows it. Everything is text to Lit: nothing a bot sends becomes markup. */

import { html, nothing } from "../vendor/lit/index.js";
import { mediaUrl } from "../api.js";
import { t } from "../language.js";
import { icon } from "./icons.js";

const TEXT = 1;
const IMAGE = 2;
const VOICE = 3;
const FILE = 4;
const VIDEO = 5;
const TOOL_STARTED = 11;
const TOOL_ENDED = 12;

const KINDS = {
  [IMAGE]: "image",
  [VOICE]: "voice",
  [FILE]: "file",
  [VIDEO]: "video",
  [TOOL_STARTED]: "tool",
  [TOOL_ENDED]: "tool",
};

/** Pictures that a browser draws without running anything in them; SVG is not among them. */
const DRAWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"]);
const PLAYED = new Set(["video/mp4", "video/webm"]);

/** Addresses in a text; marks that close a sentence are not part of one. */
const ADDRESS = /https?:\/\/[^\s<>"'，。！？；：、（）【】「」『』《》]+[^\s<>"'，。！？；：、（）【】「」『』《》.,!?;:)\]]/g;

/** One line for the list of chats. */
export function entrySummary(entry) {
  return entry.items.map(itemSummary).filter(Boolean).join(" ");
}

function itemSummary(item) {
  if (item.type === TEXT) return item.text ?? "";
  return `[${t(`item.${KINDS[item.type] ?? "unknown"}`)}]`;
}

export function itemView(item) {
  if (item.type === TEXT) return html`${quoted(item)}<p class="text">${withLinks(item.text ?? "")}</p>`;
  if (item.type === IMAGE && DRAWN.has(item.media?.mime)) return picture(item);
  if (item.type === VIDEO && PLAYED.has(item.media?.mime)) return video(item);
  return chip(item);
}

function quoted(item) {
  if (!item.quoted_text && !item.quoted_message_id) return nothing;
  return html`<blockquote>${item.quoted_text ?? t("item.quoted", { id: item.quoted_message_id })}</blockquote>`;
}

function withLinks(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    parts.push(text.slice(end, match.index));
    parts.push(html`<a href=${match[0]} target="_blank" rel="noreferrer noopener">${match[0]}</a>`);
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}

function picture(item) {
  const name = item.media.name || t("item.image");
  return html`
    <a class="picture" href=${mediaUrl(item.media)} target="_blank" rel="noopener" title=${t("item.full")}>
      <img src=${mediaUrl(item.media)} alt=${name} width=${item.width ?? nothing} height=${item.height ?? nothing} loading="lazy" />
    </a>
  `;
}

function video(item) {
  return html`<video class="picture" controls preload="metadata" src=${mediaUrl(item.media)}></video>`;
}

function chip(item) {
  const kind = KINDS[item.type] ?? "unknown";
  const name = item.tool_name ?? item.file_name ?? item.media?.name ?? t(`item.${kind}`);
  const words = html`
    ${icon(kind === "unknown" ? "file" : kind)}
    <span class="words"><span class="file-name">${name}</span><small>${details(item, kind)}</small></span>
  `;
  if (!item.media?.media_id) return html`<span class="chip">${words}</span>`;
  // Always a download: bytes that a bot sent never open in this page's origin.
  return html`<a class="chip" href=${mediaUrl(item.media)} download=${name} title=${t("item.save")}>${words}</a>`;
}

function details(item, kind) {
  const facts = [];
  if (kind === "unknown") facts.push(t("item.type", { type: item.type }));
  if (kind === "tool") facts.push(t(item.type === TOOL_STARTED ? "item.tool.started" : "item.tool.ended"));
  if (item.status) facts.push(item.status);
  if (kind === "voice" && item.playtime) facts.push(t("time.seconds", { seconds: Math.round(item.playtime / 1000) }));
  if (item.media?.size !== undefined) facts.push(sizeWords(item.media.size));
  return facts.join(" · ");
}

function sizeWords(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
