/** What a message holds, as a phone shows it. */

import { html, nothing } from "../vendor/lit/index.js";
import { mediaUrl } from "../api.js";
import { t } from "../language.js";
import { plainText } from "../markdown.js";
import { icon } from "./icons.js";
import { plainProse, prose } from "./prose.js";
import { openPicture } from "./picture-viewer.js";
import "./voice-bubble.js";

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

/** One line for lists of chats and quotes. */
export function entrySummary(entry) {
  return entry.items.map(itemSummary).filter(Boolean).join(" ");
}

function itemSummary(item) {
  if (item.type === TEXT) return plainText((item.text ?? "").slice(0, 400));
  if (item.tool_name) return `[${t("item.tool")}] ${item.tool_name}`;
  return `[${kindWords(item.type)}]`;
}

/** What kind of item a number stands for, in words. */
export function kindWords(type) {
  return t(`item.${KINDS[type] ?? "unknown"}`);
}

/** The text of an entry that can be quoted in part, or an empty one. */
export function quotableText(entry) {
  return entry.items[0]?.type === TEXT ? (entry.items[0].text ?? "") : "";
}

export function itemView(item, entry) {
  if (item.type === TEXT) return entry.direction === "out" ? prose(item) : plainProse(item);
  if (item.type === TOOL_STARTED || item.type === TOOL_ENDED) return tool(item);
  if (item.type === VOICE && item.media?.media_id) return html`<voice-bubble .item=${item}></voice-bubble>`;
  if (item.type === IMAGE && DRAWN.has(item.media?.mime)) return picture(item);
  if (item.type === VIDEO && PLAYED.has(item.media?.mime)) return video(item);
  return chip(item);
}

function picture(item) {
  const name = item.media.name || t("item.image");
  const address = mediaUrl(item.media);
  return html`
    <a class="picture" href=${address} target="_blank" rel="noopener" title=${t("item.full")} @click=${(event) => openPicture(event, address, name)}>
      <img src=${address} alt=${name} width=${item.width ?? nothing} height=${item.height ?? nothing} loading="lazy" />
    </a>
  `;
}

function video(item) {
  return html`<video class="picture" controls preload="metadata" aria-label=${item.media.name || t("item.video")} src=${mediaUrl(item.media)}></video>`;
}

function tool(item) {
  const isRunning = item.type === TOOL_STARTED;
  const state = isRunning ? "started" : (item.status ?? "ended");
  return html`
    <span class="tool-line" data-tool=${state}>
      ${icon("tool")}<span class="tool-name">${item.tool_name ?? t("item.tool")}</span>
      <small>${t(`item.tool.${state}`)}</small>
    </span>
  `;
}

function chip(item) {
  const kind = KINDS[item.type] ?? "unknown";
  const name = item.file_name || item.media?.name || t(`item.${kind}`);
  const words = html`
    <span class="words"><span class="file-name">${name}</span><small>${details(item, kind)}</small></span>
    <span class="sheet-icon" data-ending=${endingOf(name)}>${icon(kind === "unknown" ? "file" : kind)}</span>
  `;
  if (!item.media?.media_id) return html`<span class="chip">${words}</span>`;
  // Always a download: bytes that a bot sent never open in this page's origin.
  return html`<a class="chip" href=${mediaUrl(item.media)} download=${name} title=${t("item.save")}>${words}</a>`;
}

function endingOf(name) {
  const match = /\.([a-z0-9]{1,5})$/i.exec(name);
  return match ? match[1].toLowerCase() : "";
}

function details(item, kind) {
  const facts = [];
  if (kind === "unknown") facts.push(t("item.type", { type: item.type }));
  if (kind === "voice" && item.playtime) facts.push(t("time.seconds", { seconds: Math.round(item.playtime / 1000) }));
  if (item.media?.size !== undefined) facts.push(sizeWords(item.media.size));
  return facts.join(" · ");
}

export function sizeWords(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
