/** One conversation of a person and a bot, as far as the page knows it: the newest part of it, and more on demand. */

/** Entries per page of a transcript. */
const PAGE = 100;

/** Entries per page when many are wanted: on the way to an old message, or after a long absence. */
const LARGE_PAGE = 1000;

/** States that change no more; an entry in another one is looked at again. */
const SETTLED = new Set(["acked", "shown", "not_shown", "refused"]);

function isSame(entry, draft) {
  return entry.direction === "in" && entry.items.length === 1 && entry.items[0].text === draft.text;
}

export function chatKey(userId, botId) {
  return `${userId} ${botId}`;
}

export class Chat {
  #lookFrom = Number.MAX_SAFE_INTEGER;

  constructor(userId, botId) {
    this.userId = userId;
    this.botId = botId;
    /** A part of the transcript without gaps that ends with its newest entry. */
    this.entries = [];
    /** Texts on their way to the gateway, and those that did not get there. */
    this.drafts = [];
    this.isLoaded = false;
    this.hasOlder = false;
    this.isTyping = false;
    /** How often something was heard of the bot's typing: an answer from before the last of them is stale. */
    this.typingNews = 0;
    /** What the list of chats shows: `{newest, read_to, unread, last}`, or null while nobody has written. */
    this.line = null;
    /** What stands in the composer: kept here, so that leaving the chat loses nothing. */
    this.composing = "";
    this.attachments = [];
    this.quote = null;
  }

  get last() {
    return this.entries.at(-1) ?? null;
  }

  /** The newest entry that a phone shows, which is what a list of chats tells. */
  get lastShown() {
    const shown = this.entries.findLast((entry) => entry.direction === "in" || entry.state === "shown");
    return shown && shown.n >= (this.line?.last?.n ?? 0) ? shown : (this.line?.last ?? null);
  }

  /** The number of the newest entry. */
  get newest() {
    return Math.max(this.last?.n ?? 0, this.line?.newest ?? 0);
  }

  get unread() {
    return this.line?.unread ?? 0;
  }

  get readTo() {
    return this.line?.read_to ?? 0;
  }

  /** Drafts without those that are entries already: the event of a message often outruns the answer to its sender. */
  get waitingDrafts() {
    const taken = new Set();
    return this.drafts.filter((draft) => {
      const arrived = this.entries.findLast((entry) => entry.n > draft.after && !taken.has(entry.n) && isSame(entry, draft));
      if (arrived) taken.add(arrived.n);
      return !arrived;
    });
  }

  /** Drafts that count as lost, and did arrive. */
  get arrivedDrafts() {
    const waiting = new Set(this.waitingDrafts);
    return this.drafts.filter((draft) => draft.state === "failed" && !waiting.has(draft));
  }

  /** Take up what was heard of the bot's typing. */
  hearTyping(isTyping) {
    this.isTyping = isTyping;
    this.typingNews += 1;
  }

  /** Remember that an entry may have changed; without its number, every unsettled one may have. */
  expectChange(n) {
    const from = n ?? this.entries.find((entry) => !SETTLED.has(entry.state))?.n ?? (this.last?.n ?? 0) + 1;
    this.#lookFrom = Math.min(this.#lookFrom, from - 1);
  }

  /** Bring the states of the person's messages up to how far the bot has read. Tells whether any changed. */
  follow({ handed_seq: handed, acked_seq: acked }) {
    let isChanged = false;
    for (let i = this.entries.length - 1; i >= 0; i--) {
      const entry = this.entries[i];
      if (entry.direction !== "in") continue;
      if (entry.state === "acked") break;
      const state = entry.seq <= acked ? "acked" : entry.seq <= handed ? "handed_out" : entry.state;
      if (state === entry.state) continue;
      this.entries[i] = { ...entry, state };
      isChanged = true;
    }
    return isChanged;
  }

  /** Forget what is known, to be read anew: the gateway was reset or started again. */
  restart() {
    this.#lookFrom = Number.MAX_SAFE_INTEGER;
    this.isLoaded = false;
  }

  /** Bring the entries up to date. `read({after, before, limit})` answers a page of the transcript, oldest first. */
  async update(read) {
    if (!this.isLoaded) {
      const newest = await read({ limit: PAGE });
      this.entries = newest;
      this.hasOlder = newest.length === PAGE;
      this.isLoaded = true;
      return;
    }
    let after = Math.min(this.#lookFrom, this.last?.n ?? 0);
    this.#lookFrom = Number.MAX_SAFE_INTEGER;
    let page;
    do {
      try {
        page = await read({ after, limit: LARGE_PAGE });
      } catch (error) {
        this.expectChange(after + 1);
        throw error;
      }
      for (const entry of page) this.#put(entry);
      after = page.at(-1)?.n ?? after;
    } while (page.length === LARGE_PAGE);
  }

  /** Read the page before the oldest entry that is here. */
  async readOlder(read, limit = PAGE) {
    if (!this.hasOlder) return;
    const before = this.entries[0].n;
    const page = await read({ before, limit });
    if (this.entries[0]?.n !== before) return;
    this.entries = [...page, ...this.entries];
    this.hasOlder = page.length === limit;
  }

  /** Read back until an entry is here; tells whether there is one. */
  async reach(n, read) {
    while (this.hasOlder && this.entries[0].n > n) await this.readOlder(read, LARGE_PAGE);
    return this.entries.some((entry) => entry.n === n);
  }

  #put(entry) {
    if (entry.n > (this.last?.n ?? 0)) {
      this.entries.push(entry);
      return;
    }
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle].n < entry.n) low = middle + 1;
      else high = middle;
    }
    const isKnown = this.entries[low]?.n === entry.n;
    if (isKnown) this.entries[low] = entry;
    else if (low > 0 || !this.hasOlder) this.entries.splice(low, 0, entry);
  }
}
