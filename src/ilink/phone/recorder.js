/** The microphone, as WAV of 16 bits at 24,000 Hz: the browser brings whatever the microphone gives to that rate. */

const RATE = 24_000;

/** Seconds after which a phone stops by itself. */
export const LONGEST = 60;

/** Take up what a microphone hears until `stop` or `cancel`. */
export class Recorder {
  #stream;
  #context;
  #node;
  #pieces = [];
  #count = 0;

  /** Ask for the microphone and begin; rejects when the person or the browser says no. */
  static async start() {
    const recorder = new Recorder();
    if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
    recorder.#stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    try {
      await recorder.#listen();
    } catch (error) {
      recorder.cancel();
      throw error;
    }
    return recorder;
  }

  get seconds() {
    return this.#count / RATE;
  }

  /** How loud it is just now, from 0 to 1. */
  level = 0;

  /** End, and answer a file. */
  stop() {
    this.cancel();
    return new File([wav(this.#pieces, this.#count)], "voice.wav", { type: "audio/wav" });
  }

  /** End, and keep nothing open; the light of the microphone goes out. */
  cancel() {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#node?.port.close();
    if (this.#context && this.#context.state !== "closed") this.#context.close();
  }

  async #listen() {
    this.#context = new AudioContext({ sampleRate: RATE });
    await this.#context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
    this.#node = new AudioWorkletNode(this.#context, "recorder", { numberOfOutputs: 0 });
    this.#node.port.onmessage = ({ data }) => this.#take(data);
    this.#context.createMediaStreamSource(this.#stream).connect(this.#node);
    await this.#context.resume();
  }

  #take(piece) {
    if (this.seconds >= LONGEST) return;
    this.#pieces.push(piece);
    this.#count += piece.length;
    let loudest = 0;
    for (const value of piece) loudest = Math.max(loudest, Math.abs(value));
    this.level = Math.max(loudest, this.level * 0.8);
  }
}

function wav(pieces, count) {
  const bytes = new DataView(new ArrayBuffer(44 + count * 2));
  const word = (at, text) => [...text].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  bytes.setUint32(4, 36 + count * 2, true);
  word(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, RATE, true);
  bytes.setUint32(28, RATE * 2, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  word(36, "data");
  bytes.setUint32(40, count * 2, true);
  let at = 44;
  for (const piece of pieces) {
    for (const value of piece) {
      bytes.setInt16(at, Math.max(-1, Math.min(1, value)) * 0x7fff, true);
      at += 2;
    }
  }
  return bytes.buffer;
}
