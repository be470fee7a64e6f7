/** The newest exchanges between bots and the gateway. */

/** More than anybody reads, few enough to search at each key stroke. */
const KEPT = 2000;

export class Wire {
  entries = [];
  /** What the codes of findings mean. */
  findings = {};

  get newest() {
    return this.entries.at(-1)?.id ?? null;
  }

  /** Add entries, oldest first; those already here are skipped. */
  add(entries, findings) {
    const newest = this.newest ?? -1;
    const fresh = entries.filter((entry) => entry.id > newest);
    this.entries = [...this.entries, ...fresh].slice(-KEPT);
    Object.assign(this.findings, findings);
  }

  get endpoints() {
    return [...new Set(this.entries.map((entry) => entry.endpoint))].sort();
  }
}

const texts = new WeakMap();

/** Everything in an entry that a search may find, in lower case; made once for each. */
function textOf(entry) {
  let text = texts.get(entry);
  if (text === undefined) {
    text = JSON.stringify(entry).toLowerCase();
    texts.set(entry, text);
  }
  return text;
}

/** How an exchange ended: `good`, `bad`, or `left` when the caller went before the answer. */
export function verdictOf(entry) {
  if (entry.status === 0) return "left";
  return entry.status >= 400 || (entry.ret ?? 0) !== 0 ? "bad" : "good";
}

/** Entries that fit, newest first: of an endpoint and a bot, with a verdict or with findings, holding a text anywhere. */
export function searchEntries(entries, { endpoint, botId, show, text }) {
  const wanted = text.trim().toLowerCase();
  const found = [];
  for (let i = entries.length - 1; i >= 0; i--) {
    const entry = entries[i];
    if (endpoint && entry.endpoint !== endpoint) continue;
    if (botId && entry.bot_id !== botId) continue;
    if (show === "bad" && verdictOf(entry) === "good") continue;
    if (show === "findings" && entry.findings.length === 0) continue;
    if (show === "faults" && entry.faults.length === 0) continue;
    if (!wanted || textOf(entry).includes(wanted)) found.push(entry);
  }
  return found;
}

/** The exchange as a command for a shell. Secrets are not in the log, so each is a variable: `$ILINK_TOKEN` and such. */
export function asCurl(entry, apiUrl) {
  const words = ["curl", "-sS"];
  if (entry.method !== "GET") words.push("-X", entry.method);
  words.push(shell(apiUrl + entry.path.replace(/([\w-]+)=[^&]*\*\*\*[^&]*/g, (_all, name) => `${name}=${variable(name)}`)));
  for (const [name, value] of Object.entries(entry.headers ?? {})) {
    if (name.toLowerCase() === "authorization") words.push("-H", '"Authorization: Bearer $ILINK_TOKEN"');
    else if (!SKIPPED_HEADERS.has(name.toLowerCase()) && value !== MASK) words.push("-H", quoted(`${name}: ${value}`));
  }
  if (hasBody(entry)) words.push("--data-raw", shell(JSON.stringify(unmasked(entry.request))));
  return words.join(" ");
}

/**
 * The exchange as a test for pytest: a bot of one's own sends the same and gets the same, on a gateway that fails in
 * the same way. Where the log masks a secret or names a person, the test puts its own.
 */
export function asTest(entry) {
  const name = entry.endpoint.replace(/\W/g, "_");
  const outcome = entry.ret !== null ? `ret_${entry.ret < 0 ? "minus_" : ""}${Math.abs(entry.ret)}` : `http_${entry.status}`;
  const lines = [
    `"""Copied from the wire: ${entry.method} ${entry.path.replaceAll('"', "'")} at ${entry.at}."""`,
    "",
    "import aiohttp",
    "",
    "from ilink.testing import LocalGateway",
    "",
    "",
    `async def test_${name}_is_answered_with_${outcome}(ilink_gateway: LocalGateway) -> None:`,
    '    alice = await ilink_gateway.person("alice")',
    "    async with aiohttp.ClientSession(ilink_gateway.api_url) as http:",
    "        headers = await sign_in(http, alice)",
    ...(NEEDS_A_MESSAGE.has(entry.endpoint) ? ['        await alice.says("hi")'] : []),
    ...entry.faults.map((fault) => `        # Struck by the fault ${fault.id} (${fault.action}): set it here with ilink_gateway.fault(...).`),
    ...(hasBody(entry)
      ? [`        body = ${indented(asPython(mended(entry.request)), 8)}`]
      : []),
    `        async with http.request(${python(entry.method)}, ${python(entry.path)}, headers=headers${hasBody(entry) ? ", json=body" : ""}) as answer:`,
    `            assert answer.status == ${entry.status || 200}`,
    ...(entry.ret !== null ? [`            assert (await answer.json(content_type=None)).get("ret", 0) == ${entry.ret}`] : []),
    "",
    "",
    ...SIGN_IN,
  ];
  return `${lines.join("\n")}\n`;
}

const SIGN_IN = [
  "async def sign_in(http: aiohttp.ClientSession, person) -> dict[str, str]:",
  '    """Let the person confirm a new bot, and return the headers that it calls with."""',
  '    async with http.post("/ilink/bot/get_bot_qrcode?bot_type=3", json={"local_token_list": []}) as answer:',
  '        qrcode = (await answer.json(content_type=None))["qrcode"]',
  "    await person.befriend(qrcode)",
  '    async with http.get("/ilink/bot/get_qrcode_status", params={"qrcode": qrcode}) as answer:',
  '        token = (await answer.json(content_type=None))["bot_token"]',
  '    return {"AuthorizationType": "ilink_bot_token", "Authorization": f"Bearer {token}"}',
];

/** What stands in the log for what may be a secret. */
const MASK = "***";

/** curl writes these itself. */
const SKIPPED_HEADERS = new Set(["host", "content-length", "connection", "accept-encoding", "user-agent"]);

/** Fields that hold a person, in a test the one it made itself. */
const PERSON_FIELDS = new Set(["to_user_id", "ilink_user_id", "from_user_id"]);

/** Endpoints that answer otherwise, or not at once, before somebody has written to the bot. */
const NEEDS_A_MESSAGE = new Set(["sendmessage", "getupdates", "getconfig", "sendtyping"]);

class PythonName {
  constructor(text) {
    this.text = text;
  }
}

function hasBody(entry) {
  return entry.method !== "GET" && entry.request !== null && entry.request !== undefined;
}

function mended(value, key = "") {
  if (typeof value === "string" && PERSON_FIELDS.has(key) && value.endsWith("@im.wechat")) return new PythonName("alice.user_id");
  if (typeof value === "string" && value.includes(MASK)) return "";
  if (Array.isArray(value)) return value.map((one) => mended(one, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, mended(one, name)]));
}

function asPython(value, depth = 0) {
  if (value instanceof PythonName) return value.text;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return python(value);
  const pad = " ".repeat(4 * (depth + 1));
  const end = " ".repeat(4 * depth);
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((one) => asPython(one, depth + 1))
    : Object.entries(value).map(([name, one]) => `${python(name)}: ${asPython(one, depth + 1)}`);
  const [open, close] = isList ? "[]" : "{}";
  if (parts.length === 0) return open + close;
  return `${open}\n${parts.map((part) => `${pad}${part},\n`).join("")}${end}${close}`;
}

/** A text as Python writes it; JSON's escapes are Python's too, but for those of half a surrogate pair. */
function python(text) {
  return JSON.stringify(text);
}

function indented(text, columns) {
  return text.replaceAll("\n", `\n${" ".repeat(columns)}`);
}

/** Stands in a text for a variable of the shell, until the text is quoted; no request holds these characters. */
function variable(name) {
  return `\uE000ILINK_${name.toUpperCase().replace(/\W/g, "_")}\uE001`;
}

/** A body with variables in the place of what is masked. */
function unmasked(value, key = "") {
  if (typeof value === "string") return value.includes(MASK) ? variable(key) : value;
  if (Array.isArray(value)) return value.map((one) => unmasked(one, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, unmasked(one, name)]));
}

function shell(text) {
  return quoted(text).replace(/\uE000(\w+)\uE001/g, `'"$$$1"'`);
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
