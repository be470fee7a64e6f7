/** One conversation of a person and a bot, as far as the page knows it. */

/** States that change no more; an entry in another one is looked at again. */
const SETTLED = new Set(["acked", "shown", "not_shown", "refused"]);

function isSame(entry, draft) {
  return entry.direction === "in" && entry.items.length === 1 && entry.items[0].text === draft.text;
}

export function chatKey(userId, botId) {
  return `${userId} ${botId}`;
}

export class Chat {
  #lookFrom = 0;

  constructor(userId, botId) {
    this.userId = userId;
    this.botId = botId;
    this.entries = [];
    /** Texts on their way to the gateway, and those that did not get there. */
    this.drafts = [];
    this.isLoaded = false;
    this.isTyping = false;
    this.typingCheck = null;
    this.readTo = 0;
    /** What stands in the composer: kept here, so that leaving the chat loses nothing. */
    this.composing = "";
  }

  get last() {
    return this.entries.at(-1) ?? null;
  }

  /** The newest entry that a phone shows, which is what a list of chats tells. */
  get lastShown() {
    return this.entries.findLast((entry) => entry.direction === "in" || entry.state === "shown") ?? null;
  }

  /** The number of the newest entry. */
  get newest() {
    return this.last?.n ?? 0;
  }

  /** How many messages of the bot the person has not seen. */
  get unread() {
    let count = 0;
    for (let i = this.entries.length - 1; i >= 0 && this.entries[i].n > this.readTo; i--) {
      if (this.entries[i].direction === "out" && this.entries[i].state === "shown") count++;
    }
    return count;
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

  get isUnsettled() {
    return this.entries.some((entry) => !SETTLED.has(entry.state));
  }

  /** Remember that an entry may have changed; without its number, every unsettled one may have. */
  expectChange(n) {
    const from = n ?? this.entries.find((entry) => !SETTLED.has(entry.state))?.n ?? this.newest + 1;
    this.#lookFrom = Math.min(this.#lookFrom, from - 1);
  }

  /** Forget what is known, to be read anew: the gateway was reset or started again. */
  restart() {
    this.#lookFrom = 0;
    this.isLoaded = false;
  }

  /** Bring the entries up to date. `read(after)` answers those after a number, oldest first. */
  async update(read) {
    const isAnew = !this.isLoaded;
    const after = isAnew ? 0 : Math.min(this.#lookFrom, this.newest);
    this.#lookFrom = Number.MAX_SAFE_INTEGER;
    let fresh;
    try {
      fresh = await read(after);
    } catch (error) {
      this.expectChange(after + 1);
      throw error;
    }
    if (isAnew) this.entries = [];
    this.isLoaded = true;
    for (const entry of fresh) this.#put(entry);
  }

  #put(entry) {
    if (entry.n > this.newest) {
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
    this.entries.splice(low, isKnown ? 1 : 0, entry);
  }
}
