/** Which phones are open and what they show: in the address, so that it can be shared, and in the browser's memory. */

const MEMORY = "ilink.places";

/**
 * What the address asks for: people by name or id, the bot whose chat the first of them opens, and a panel. Behind the
 * `#` stands one thing to be pointed at: `#message=12` by its number in the chat, `#request=34` by its number on the wire.
 */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  const mark = new URLSearchParams(location.hash.slice(1));
  return {
    people: query.getAll("person"),
    bot: query.get("bot"),
    panel: query.get("panel"),
    message: number(mark.get("message")),
    request: number(mark.get("request")),
  };
}

/** Make the address say what is open now, without a new step in the browser's history. */
export function writeAddress(place) {
  const address = addressOf(place);
  if (address !== location.pathname + location.search + location.hash) history.replaceState(null, "", address);
}

/** The address that opens a place, without the host. */
export function addressOf({ people = [], bot = null, panel = null, message = null, request = null }) {
  const query = new URLSearchParams();
  for (const person of people) query.append("person", person);
  if (bot) query.set("bot", bot);
  if (panel) query.set("panel", panel);
  const search = query.toString();
  const mark = message !== null ? `#message=${message}` : request !== null ? `#request=${request}` : "";
  return location.pathname + (search ? `?${search}` : "") + mark;
}

/** The chats that this browser had open, by person. */
export function readMemory() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY) ?? "{}").open ?? {};
  } catch {
    return {};
  }
}

export function writeMemory(open) {
  localStorage.setItem(MEMORY, JSON.stringify({ open }));
}

function number(text) {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}
