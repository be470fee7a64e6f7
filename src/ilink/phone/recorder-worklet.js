/** Runs beside the sound itself: passes on what the microphone hears, a tenth of a second at a time. */
class Recorder extends AudioWorkletProcessor {
  #piece = new Float32Array(2400);
  #filled = 0;

  process([[heard]]) {
    for (const value of heard ?? []) {
      this.#piece[this.#filled++] = value;
      if (this.#filled < this.#piece.length) continue;
      this.port.postMessage(this.#piece.slice());
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
