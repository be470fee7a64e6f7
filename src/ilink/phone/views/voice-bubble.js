import { html, nothing } from "../vendor/lit/index.js";
import { soundUrl } from "../api.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** A recording: as wide as it is long, played by a click, with what the phone understood under it. */
class VoiceBubble extends View {
  static properties = { item: {}, isPlaying: { state: true } };

  #sound = null;

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#stop();
  }

  render() {
    const seconds = Math.max(1, Math.round((this.item.playtime ?? 0) / 1000));
    const words = t("time.seconds", { seconds });
    const label = t(this.isPlaying ? "item.voice.stop" : "item.voice.play", { length: words });
    return html`
      <button class="voice" data-length=${Math.min(10, Math.ceil(seconds / 3))} aria-pressed=${this.isPlaying ?? false} aria-label=${label} title=${label} @click=${this.#toggle}>
        ${icon("voice")}<span>${this.item.playtime ? `${seconds}″` : ""}</span>
      </button>
      ${this.item.text ? html`<p class="heard">${this.item.text}</p>` : nothing}
    `;
  }

  async #toggle() {
    if (this.isPlaying) {
      this.#stop();
      return;
    }
    // The browser cannot say why a sound does not load; the gateway can.
    this.#sound = new Audio(soundUrl(this.item.media));
    this.#sound.addEventListener("ended", () => this.#stop());
    this.isPlaying = true;
    try {
      await this.#sound.play();
    } catch (error) {
      if (this.isPlaying) store.notify({ message: t("item.voice.cannot"), hint: error.message });
      this.#stop();
    }
  }

  #stop() {
    this.#sound?.pause();
    this.#sound = null;
    this.isPlaying = false;
  }
}

customElements.define("voice-bubble", VoiceBubble);
