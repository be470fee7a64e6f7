/**
 * The Markdown that phones render, read into a tree (protocol §4.8): headings H1 to H4, bold, italic except around
 * Chinese, Japanese and Korean, code, lists, quotes, tables, rules and links. Everything else stays as it was written.
 *
 * Nothing here makes markup: views draw the tree, and every leaf is a text.
 */

/** Addresses in a text; marks that close a sentence are not part of one. */
const ADDRESS = /https?:\/\/[^\s<>"'，。！？；：、（）【】「」『』《》]*[^\s<>"'，。！？；：、（）【】「」『』《》.,!?;:)\]*_`~]/;

const INLINE = new RegExp(
  [
    "(?<code>(?<ticks>`+)(?!`)(?<inside>[\\s\\S]+?)(?<!`)\\k<ticks>(?!`))",
    "(?<image>!\\[[^\\]\\n]*\\]\\([^)\\s]*\\))",
    "\\[(?<label>(?:[^\\[\\]\\n]|\\[[^\\[\\]\\n]*\\])+)\\]\\((?<target>https?:\\/\\/[^\\s()]*(?:\\([^\\s()]*\\)[^\\s()]*)*)\\)",
    `(?<address>${ADDRESS.source})`,
    "(?<both>\\*\\*\\*(?=\\S)(?<bothInside>[^\\n]*?\\S)\\*\\*\\*)",
    "(?<strong>\\*\\*(?=\\S)(?<strongInside>[^\\n]*?\\S)\\*\\*(?!\\*)|__(?=\\S)(?<strongInside2>[^\\n]*?\\S)__(?![\\p{L}\\p{N}_]))",
    "(?<em>(?<!\\*)\\*(?=[^\\s*])(?<emInside>[^*\\n]*?[^\\s*])\\*(?!\\*)|(?<![\\p{L}\\p{N}_])_(?=[^\\s_])(?<emInside2>[^_\\n]*?[^\\s_])_(?![\\p{L}\\p{N}_]))",
  ].join("|"),
  "gu",
);

/** Scripts around which a phone shows the marks of italics as they are. */
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/** So deep are lists and quotes read in one another; a text that goes on is shown as it is. */
const DEEPEST = 8;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^(#{1,4})\s+(.+?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** Read a text into blocks: `{kind, …}`, where what is inline is a list of texts and spans. */
export function readMarkdown(text, depth = 0) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let plain = [];
  const flush = () => {
    while (plain.length && !plain.at(-1).trim()) plain.pop();
    while (plain.length && !plain[0].trim()) plain.shift();
    if (plain.length) blocks.push({ kind: "paragraph", spans: readSpans(plain.join("\n")) });
    plain = [];
  };
  for (let i = 0; i < lines.length; ) {
    const found = depth < DEEPEST ? readBlock(lines, i, depth) : null;
    if (found) {
      flush();
      blocks.push(found.block);
      i = found.next;
    } else {
      plain.push(lines[i]);
      i += 1;
    }
  }
  flush();
  return blocks;
}

function readBlock(lines, i, depth) {
  const line = lines[i];
  return (
    readFence(lines, i) ??
    readHeading(line, i) ??
    (RULE.test(line) ? { block: { kind: "rule" }, next: i + 1 } : null) ??
    readQuote(lines, i, depth) ??
    readList(lines, i, depth) ??
    readTable(lines, i)
  );
}

function readFence(lines, i) {
  const open = FENCE.exec(lines[i]);
  if (!open) return null;
  const [, mark, language] = open;
  let end = i + 1;
  while (end < lines.length && !isFenceEnd(lines[end], mark)) end += 1;
  return { block: { kind: "code", language, text: lines.slice(i + 1, end).join("\n") }, next: end + 1 };
}

function isFenceEnd(line, mark) {
  const text = line.trim();
  return text.length >= mark.length && text === mark[0].repeat(text.length);
}

function readHeading(line, i) {
  const match = HEADING.exec(line);
  return match && { block: { kind: "heading", level: match[1].length, spans: readSpans(match[2]) }, next: i + 1 };
}

function readQuote(lines, i, depth) {
  const inner = [];
  let end = i;
  for (let match; end < lines.length && (match = QUOTE.exec(lines[end])); end += 1) inner.push(match[1]);
  return end > i ? { block: { kind: "quote", blocks: readMarkdown(inner.join("\n"), depth + 1) }, next: end } : null;
}

function readList(lines, i, depth) {
  const first = ITEM.exec(lines[i]);
  if (!first) return null;
  const indent = first[1].length;
  const isOrdered = /\d/.test(first[2]);
  const items = [];
  let end = i;
  for (; end < lines.length; end += 1) {
    const match = ITEM.exec(lines[end]);
    if (match && match[1].length <= indent + 1) {
      if (match[1].length < indent || /\d/.test(match[2]) !== isOrdered) break;
      items.push([match[3]]);
    } else if (lines[end].trim() && /^\s{2,}/.test(lines[end])) {
      items.at(-1).push(lines[end].slice(Math.min(indent + 2, lines[end].search(/\S/))));
    } else {
      break;
    }
  }
  const start = isOrdered ? Number.parseInt(first[2], 10) : null;
  return { block: { kind: "list", start, items: items.map((one) => readMarkdown(one.join("\n"), depth + 1)) }, next: end };
}

function readTable(lines, i) {
  if (!lines[i].includes("|") || i + 1 >= lines.length || !TABLE_LINE.test(lines[i + 1]) || !lines[i + 1].includes("-")) return null;
  const head = cells(lines[i]);
  const sides = cells(lines[i + 1]).map(sideOf);
  if (head.length !== sides.length || head.length < 2) return null;
  const rows = [];
  let end = i + 2;
  for (; end < lines.length && lines[end].includes("|") && lines[end].trim(); end += 1) rows.push(cells(lines[end]).slice(0, head.length));
  return { block: { kind: "table", sides, head: head.map(readSpans), rows: rows.map((row) => row.map(readSpans)) }, next: end };
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function sideOf(mark) {
  if (/^:-*:$/.test(mark)) return "center";
  return mark.endsWith(":") ? "right" : "left";
}

/** Read what stands within a line: texts, and `{kind, …}` for the rest. */
export function readSpans(text, depth = 0) {
  if (depth > DEEPEST) return [text];
  const spans = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const span = spanOf(match, depth);
    if (span === null) continue;
    if (match.index > end) spans.push(text.slice(end, match.index));
    spans.push(span);
    end = match.index + match[0].length;
  }
  if (end < text.length) spans.push(text.slice(end));
  return spans;
}

function spanOf({ 0: whole, groups }, depth) {
  const inner = (text) => readSpans(text, depth + 1);
  if (groups.code !== undefined) return { kind: "code", text: groups.inside.replace(/^ (.*) $/s, "$1") };
  if (groups.image !== undefined) return whole;
  if (groups.target !== undefined) return { kind: "link", target: groups.target, spans: [groups.label] };
  if (groups.address !== undefined) return { kind: "link", target: groups.address, spans: [groups.address] };
  if (groups.both !== undefined) {
    return EAST_ASIAN.test(groups.bothInside) ? whole : { kind: "strong", spans: [{ kind: "em", spans: inner(groups.bothInside) }] };
  }
  if (groups.strong !== undefined) return { kind: "strong", spans: inner(groups.strongInside ?? groups.strongInside2) };
  const text = groups.emInside ?? groups.emInside2;
  return EAST_ASIAN.test(text) ? whole : { kind: "em", spans: inner(text) };
}

/** A text with nothing but its addresses read: what a person wrote is shown as it is. */
export function readAddresses(text) {
  const spans = [];
  let end = 0;
  for (const match of text.matchAll(new RegExp(ADDRESS, "g"))) {
    if (match.index > end) spans.push(text.slice(end, match.index));
    spans.push({ kind: "link", target: match[0], spans: [match[0]] });
    end = match.index + match[0].length;
  }
  if (end < text.length) spans.push(text.slice(end));
  return spans;
}

/** The text without its marks, in one line: for lists of chats and quotes. */
export function plainText(text) {
  return text
    .replace(/^ {0,3}(`{3,}|~{3,}).*$/gm, "")
    .replace(/^ {0,3}(#{1,4}\s+|>\s?|[-*+]\s+)/gm, "")
    .replace(/(\*{1,3}|__|`)(?=\S)([^\n]*?\S)\1/g, "$2")
    .replace(/\s+/g, " ")
    .trim();
}
