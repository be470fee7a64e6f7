/** Runs a task again whenever asked, never twice at once: requests that come while it runs are answered by one more run. */
export class Refresher {
  #task;
  #pause;
  #running = null;
  #again = false;

  /**
   * @param task An async function.
   * @param pause Milliseconds to rest after a run before the next one, so that a storm of events costs little.
   */
  constructor(task, { pause = 0 } = {}) {
    this.#task = task;
    this.#pause = pause;
  }

  /** Ask for a run; resolves when a run that began after this call has ended. */
  run() {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#loop().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #loop() {
    do {
      this.#again = false;
      await this.#task();
      if (this.#again && this.#pause) await new Promise((resolve) => setTimeout(resolve, this.#pause));
    } while (this.#again);
  }
}
