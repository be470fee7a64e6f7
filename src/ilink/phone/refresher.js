/** Runs a task again whenever asked, never twice at once: requests that come while it runs are answered by one more run. */
export class Refresher {
  #task;
  #pause;
  #running = null;
  #again = false;

  /**
   * @param task An async function.
   * @param pause Milliseconds to rest after a run before the next one, so that a storm of events costs little; a run
   *   that took longer is followed by a rest as long as itself.
   */
  constructor(task, { pause = 0 } = {}) {
    this.#task = task;
    this.#pause = pause;
  }

  /** Ask for a run; resolves when a run that began after this call has ended, and fails as that one does. */
  run() {
    if (this.#running) this.#again = true;
    else this.#running = this.#loop();
    return this.#running;
  }

  async #loop() {
    try {
      do {
        this.#again = false;
        const began = performance.now();
        await this.#task();
        if (this.#again) await this.#rest(performance.now() - began);
      } while (this.#again);
    } finally {
      // At once: who asks after the last look at `again` must find nothing running, or nobody would run for them.
      this.#running = null;
    }
  }

  #rest(took) {
    return new Promise((resolve) => setTimeout(resolve, Math.max(this.#pause, took)));
  }
}
