/** What is made to fail, the gateway's time and its knobs; and the whole state as a file. */

import { api } from "./api.js";
import { Refresher } from "./refresher.js";

/** Failures that everybody meets sooner or later; each is one fault or several. */
export const PRESETS = {
  answer_dropped: [{ endpoint: "sendmessage", times: 1, action: { reset: "after_effect" } }],
  swallowed: [{ endpoint: "sendmessage", times: 1, action: { drop_silently: true } }],
  allowance: [{ endpoint: "sendmessage", times: 1, action: { ret: -2, errmsg: "prepare failed" } }],
  stale: [{ endpoint: "getupdates", times: 1, action: { ret: -14, errcode: -14, errmsg: "session timeout" } }],
  duplicates: [{ endpoint: "getupdates", times: 3, action: { duplicate: "new_id" } }],
  cursor_lost: [{ endpoint: "getupdates", times: 1, action: { lose_cursor: true } }],
  edge: [{ endpoint: "getupdates", times: 1, action: { http_status: 524 } }],
  slow: [{ endpoint: "*", action: { delay_ms: 3000 } }],
  cdn_slow: [
    { endpoint: "cdn_upload", action: { slow_bytes_per_s: 20_000 } },
    { endpoint: "cdn_download", action: { slow_bytes_per_s: 20_000 } },
  ],
};

export class Mischief {
  faults = [];
  /** `{profile, knobs, overrides}`, or null before it was asked for. */
  config = null;
  /** Whose knobs the panel shows and sets: `{bot_id}`, `{user_id}`, or `{}` for the whole gateway's. */
  whose = {};
  /** The knobs as they are for those, like `config`. */
  theirs = null;
  /** What there is to set: `{knobs, profiles, actions}`, or null before it was asked for. */
  tables = null;

  #store;
  #faultsRefresher;
  #configRefresher;

  /** @param store Hears of changes, and shows what was refused. */
  constructor(store) {
    this.#store = store;
    this.#faultsRefresher = new Refresher(() => store.guarded(() => this.#loadFaults()), { pause: 200 });
    this.#configRefresher = new Refresher(() => store.guarded(() => this.#loadConfig()));
  }

  /** Ask for everything that the panel shows. */
  async open() {
    await Promise.all([this.#faultsRefresher.run(), this.#configRefresher.run()]);
  }

  refreshFaults() {
    return this.#faultsRefresher.run();
  }

  refreshConfig() {
    return this.#configRefresher.run();
  }

  async add(...faults) {
    for (const fault of faults) {
      if (!(await this.#store.attempt(() => api.addFault(fault)))) break;
    }
    await this.#faultsRefresher.run();
  }

  async remove(fault) {
    await this.#store.attempt(() => api.removeFault(fault.id));
    await this.#faultsRefresher.run();
  }

  async removeAll() {
    await this.#store.attempt(() => api.removeFaults());
    await this.#faultsRefresher.run();
  }

  setClock(change) {
    return this.#store.attempt(() => api.setClock(change));
  }

  /** Set knobs for the whole gateway, or for the bot or person whose knobs are shown. */
  async setConfig(change) {
    const isDone = await this.#store.attempt(() => api.setConfig({ ...change, ...this.whose }));
    await this.#configRefresher.run();
    return isDone;
  }

  /** Show and set the knobs of somebody. */
  async choose(whose) {
    this.whose = whose;
    await this.#configRefresher.run();
  }

  /** Let nothing differ any more for the bot or person whose knobs are shown. */
  async dropConfig() {
    await this.#store.attempt(() => api.dropConfig(this.whose));
    await this.#configRefresher.run();
  }

  async #loadFaults() {
    this.faults = await api.faults();
    this.#store.changed();
  }

  async #loadConfig() {
    const { bot_id: botId, user_id: userId } = this.whose;
    // A reset may have taken away whose knobs these were.
    if ((botId && !this.#store.bot(botId)) || (userId && !this.#store.person(userId))) this.whose = {};
    const isForAll = Object.keys(this.whose).length === 0;
    const [config, theirs, tables] = await Promise.all([api.config(), isForAll ? null : api.config(this.whose), this.tables ?? api.tables()]);
    this.config = config;
    this.theirs = theirs ?? config;
    this.tables = tables;
    this.#store.changed();
  }
}
