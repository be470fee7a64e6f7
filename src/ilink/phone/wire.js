/** The newest exchanges between bots and the gateway. */

/** More than anybody reads, few enough to search at each key stroke. */
const KEPT = 1000;

export class Wire {
  entries = [];

  get newest() {
    return this.entries.at(-1)?.id ?? null;
  }

  /** Add entries, oldest first; those already here are skipped. */
  add(entries) {
    const newest = this.newest ?? -1;
    const fresh = entries.filter((entry) => entry.id > newest);
    this.entries = [...this.entries, ...fresh].slice(-KEPT);
  }

  clear() {
    this.entries = [];
  }

  get endpoints() {
    return [...new Set(this.entries.map((entry) => entry.endpoint))].sort();
  }
}

/** Entries of an endpoint whose bodies, ids or findings hold a text, newest first. */
export function searchEntries(entries, { endpoint, text }) {
  const wanted = text.trim().toLowerCase();
  return entries
    .filter((entry) => !endpoint || entry.endpoint === endpoint)
    .filter((entry) => !wanted || JSON.stringify(entry).toLowerCase().includes(wanted))
    .reverse();
}

/** The exchange as a command for a shell. Secrets are not in the log, so the token is a variable. */
export function asCurl(entry, apiUrl) {
  const words = ["curl", "-sS"];
  if (entry.method !== "GET") words.push("-X", entry.method);
  words.push(quoted(apiUrl + entry.path));
  for (const [name, value] of Object.entries(entry.headers ?? {})) {
    if (name.toLowerCase() === "authorization") words.push("-H", '"Authorization: Bearer $ILINK_TOKEN"');
    else if (!SKIPPED_HEADERS.has(name.toLowerCase()) && value !== MASK) words.push("-H", quoted(`${name}: ${value}`));
  }
  if (entry.request !== null && entry.request !== undefined) words.push("--data-raw", quoted(JSON.stringify(entry.request)));
  return words.join(" ");
}

/** What stands in the log for what may be a secret. */
const MASK = "***";

/** curl writes these itself. */
const SKIPPED_HEADERS = new Set(["host", "content-length", "connection", "accept-encoding", "user-agent"]);

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
