/** Login codes of bots: which are to be seen, and what a person does with one. */

import { api } from "./api.js";
import { Refresher } from "./refresher.js";

/** A code in one of these still waits for somebody. */
const OPEN = new Set(["wait", "scaned", "need_verifycode", "verify_code_blocked", "scaned_but_redirect"]);

/** Seconds that a code which just ended stays to be seen. */
const ENDED_STAYS = 6;

export class Codes {
  #store;
  #all = [];
  #ended = new Map();
  #hidden = new Set();
  #refresher;

  /** @param store Hears of changes, and shows what was refused. */
  constructor(store) {
    this.#store = store;
    this.#refresher = new Refresher(() => this.#load());
  }

  /** Those that wait for somebody, and those that ended a moment ago. */
  get visible() {
    return this.#all.filter((code) => (this.isOpen(code) || this.#ended.has(code.qrcode)) && !this.#hidden.has(code.qrcode));
  }

  /** Those that were put aside and still wait for somebody. */
  get hidden() {
    return this.#all.filter((code) => this.isOpen(code) && this.#hidden.has(code.qrcode));
  }

  isOpen(code) {
    return OPEN.has(code.status);
  }

  /** The code that a QR picture's text belongs to, if it is one of this gateway's. */
  find(text) {
    return this.#all.find((code) => code.url === text || code.qrcode === text) ?? null;
  }

  hide(code) {
    this.#hidden.add(code.qrcode);
    this.#store.changed();
  }

  showHidden() {
    this.#hidden.clear();
    this.#store.changed();
  }

  refresh() {
    return this.#store.guarded(() => this.load());
  }

  /** Read them anew; unlike `refresh` it fails when that fails. */
  load() {
    return this.#refresher.run();
  }

  async #load() {
    const wasOpen = new Set(this.#all.filter((code) => this.isOpen(code)).map((code) => code.qrcode));
    this.#all = await api.codes();
    for (const code of this.#all) {
      if (wasOpen.has(code.qrcode) && !this.isOpen(code)) this.#keepAWhile(code.qrcode);
    }
    this.#store.changed();
  }

  scan(code, userId) {
    this.#hidden.delete(code.qrcode);
    return this.#act(() => api.scan(code.qrcode, userId));
  }

  async confirm(code) {
    const bound = await this.#act(() => api.confirm(code.qrcode));
    if (bound) await this.#store.openNewChat(bound.user_id, bound.bot_id);
  }

  cancel(code) {
    return this.#act(() => api.cancel(code.qrcode));
  }

  expire(code) {
    return this.#act(() => api.expireCode(code.qrcode));
  }

  redirect(code, host) {
    return this.#act(() => api.redirect(code.qrcode, host));
  }

  requireDigits(code) {
    const digits = String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000).padStart(6, "0");
    return this.#act(() => api.requireCode(code.qrcode, digits));
  }

  async #act(action) {
    const answer = await this.#store.attempt(action);
    await this.refresh();
    return answer;
  }

  #keepAWhile(qrcode) {
    const forget = () => {
      this.#ended.delete(qrcode);
      this.#store.changed();
    };
    this.#ended.set(qrcode, setTimeout(forget, ENDED_STAYS * 1000));
  }
}
