/** The control API: one function per call that the page makes. */

/** The gateway said no, or could not be reached (`status` 0). */
export class ApiError extends Error {
  constructor(message, { status, code = "", hint = "" }) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

/** Where the whole state is, as a file. */
export const SCENE = "/_sim/scene";

export const api = {
  info: () => get("/_sim/info"),
  people: async () => (await get("/_sim/people")).people,
  addPerson: (name) => post("/_sim/people", { name }),

  codes: async () => (await get("/_sim/qr")).codes,
  scan: (code, userId) => post(`/_sim/qr/${part(code)}/scan`, { user_id: userId }),
  confirm: (code) => post(`/_sim/qr/${part(code)}/confirm`),
  requireCode: (code, digits) => post(`/_sim/qr/${part(code)}/require-code`, { code: digits }),
  redirect: (code, host) => post(`/_sim/qr/${part(code)}/redirect`, { host }),
  cancel: (code) => post(`/_sim/qr/${part(code)}/cancel`),
  expireCode: (code) => post(`/_sim/qr/${part(code)}/expire`),

  bots: async () => (await get("/_sim/bots")).bots,
  mailbox: (botId) => get(`/_sim/bots/${part(botId)}/mailbox`),
  expireBot: (botId) => post(`/_sim/bots/${part(botId)}/expire`),
  rebindBot: (botId) => post(`/_sim/bots/${part(botId)}/rebind`),
  rotateBot: (botId) => post(`/_sim/bots/${part(botId)}/rotate`),

  say: (userId, botId, text, quote) => post(`/_sim/people/${part(userId)}/messages`, { bot_id: botId, text, quote }),
  sendFile: (userId, botId, { kind, file, text, quote }) => {
    const form = new FormData();
    form.set("bot_id", botId);
    form.set("kind", kind);
    if (text) form.set("text", text);
    if (quote) form.set("quote", JSON.stringify(quote));
    form.set("file", file);
    return call("POST", `/_sim/people/${part(userId)}/messages`, form);
  },
  chats: async (which) => (await get("/_sim/chats", which)).chats,
  transcript: async (botId, userId, page) =>
    (await get(`/_sim/chats/${part(botId)}/${part(userId)}/transcript`, page)).messages,
  markRead: (botId, userId, n) => post(`/_sim/chats/${part(botId)}/${part(userId)}/read`, { n }),
  typing: (botId, userId) => get(`/_sim/chats/${part(botId)}/${part(userId)}/typing`),

  wire: (since) => get("/_sim/wire", since === null ? {} : { since }),
  faults: async () => (await get("/_sim/faults")).faults,
  addFault: (fault) => post("/_sim/faults", fault),
  removeFault: (id) => call("DELETE", `/_sim/faults/${part(id)}`),
  removeFaults: () => call("DELETE", "/_sim/faults"),
  clock: () => get("/_sim/clock"),
  setClock: (change) => post("/_sim/clock", change),
  config: (whose) => get("/_sim/config", whose),
  setConfig: (change) => call("PUT", "/_sim/config", change),
  dropConfig: (whose) => call("DELETE", `/_sim/config?${new URLSearchParams(whose)}`),
  tables: () => get("/_sim/tables"),
  /** Takes the text of a file, to be read by the gateway alone. */
  loadScene: (text) => call("PUT", SCENE, text),
  reset: (seed) => post("/_sim/reset", seed === null ? {} : { seed }),
};

/** Where the bytes of a media item are. */
export function mediaUrl(media) {
  return `/_sim/media/${part(media.media_id)}`;
}

/** Where a recording is as sound that a browser plays: none plays SILK. */
export function soundUrl(media) {
  return `${mediaUrl(media)}?wav=1`;
}

function get(path, query = {}) {
  const search = new URLSearchParams(query).toString();
  return call("GET", search ? `${path}?${search}` : path);
}

function post(path, body) {
  return call("POST", path, body);
}

function part(value) {
  return encodeURIComponent(value);
}

async function call(method, path, body) {
  const request = { method, headers: { accept: "application/json" } };
  if (body instanceof FormData) {
    request.body = body;
  } else if (body !== undefined) {
    request.body = typeof body === "string" ? body : JSON.stringify(body);
    request.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, request);
  } catch (error) {
    throw new ApiError(error.message, { status: 0, code: "unreachable" });
  }
  const text = await answer.text();
  const value = readJson(text);
  if (!answer.ok) {
    const { code = "", message = `HTTP ${answer.status}`, hint = "" } = value?.error ?? {};
    throw new ApiError(message, { status: answer.status, code, hint });
  }
  return value;
}

function readJson(text) {
  if (!text) return null;
  try {
    return JSON.parse(text, keepBigIntegers);
  } catch {
    return null;
  }
}

/** Ids above 2^53 arrive as numbers in raw wire bodies; their digits are kept where the browser offers them. */
function keepBigIntegers(_key, value, context) {
  const isRounded = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return isRounded && context?.source ? context.source : value;
}
