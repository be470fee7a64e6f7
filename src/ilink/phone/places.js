/** Which phones are open and what they show: in the address, so that it can be shared, and in the browser's memory. */

const MEMORY = "ilink.places";

/** What the address asks for: people by name or id, and the bot whose chat the first of them opens. */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  return { people: query.getAll("person"), bot: query.get("bot"), panel: query.get("panel") };
}

/** Make the address say what is open now, without a new step in the browser's history. */
export function writeAddress({ people, bot, panel }) {
  const query = new URLSearchParams();
  for (const person of people) query.append("person", person);
  if (bot) query.set("bot", bot);
  if (panel) query.set("panel", panel);
  const search = query.toString();
  const address = search ? `${location.pathname}?${search}` : location.pathname;
  if (address !== location.pathname + location.search) history.replaceState(null, "", address);
}

/** What this browser remembers: open chats by person, and how far each chat was read. */
export function readMemory() {
  try {
    const { open = {}, read = {} } = JSON.parse(localStorage.getItem(MEMORY) ?? "{}");
    return { open, read };
  } catch {
    return { open: {}, read: {} };
  }
}

export function writeMemory(memory) {
  localStorage.setItem(MEMORY, JSON.stringify(memory));
}
