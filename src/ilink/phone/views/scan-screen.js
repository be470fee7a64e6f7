import { html, nothing } from "../vendor/lit/index.js";
import { t } from "../language.js";
import { watchQr } from "../qr-reader.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { scanPicture, scanText } from "./scanning.js";
import { View } from "./view.js";

/** The phone's camera, looking for a login code; a picture does as well. Says `done` when it is to go away. */
class ScanScreen extends View {
  static properties = { userId: {}, problem: { state: true } };

  #end = new AbortController();
  #stream = null;

  constructor() {
    super();
    this.problem = "";
  }

  async firstUpdated() {
    this.querySelector(".back").focus();
    try {
      await this.#look();
    } catch (error) {
      this.problem = t(`scan.camera.${{ NotAllowedError: "denied", NotFoundError: "none" }[error.name] ?? "unable"}`);
    }
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#end.abort();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
  }

  render() {
    return html`
      <section class="scan-screen" role="dialog" aria-label=${t("chats.scan")} @keydown=${(event) => event.key === "Escape" && this.#close()}>
        <video muted playsinline aria-label=${t("scan.camera")}></video>
        <div class="finder" aria-hidden="true">${this.problem ? nothing : html`<i></i>`}</div>
        <button class="bare back" aria-label=${t("chat.back")} title=${t("chat.back")} @click=${this.#close}>${icon("back")}</button>
        <footer>
          <p role="status">${this.problem || t("scan.hint")}</p>
          <input type="file" accept="image/*" class="unseen" tabindex="-1" aria-hidden="true" @change=${this.#picked} />
          <button class="plain" @click=${() => this.querySelector("input[type=file]").click()}>${icon("image")}${t("scan.picture")}</button>
        </footer>
      </section>
    `;
  }

  async #look() {
    if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
    this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    if (this.#end.signal.aborted) {
      for (const track of this.#stream.getTracks()) track.stop();
      return;
    }
    const video = this.querySelector("video");
    video.srcObject = this.#stream;
    await video.play();
    const text = await watchQr(video, { isWanted: (one) => store.codes.find(one) !== null, signal: this.#end.signal });
    if (text !== null && (await scanText(text, this.userId))) this.#close();
  }

  async #picked({ target }) {
    const [file] = target.files;
    target.value = "";
    if (file && (await scanPicture(file, this.userId))) this.#close();
  }

  #close() {
    this.dispatchEvent(new Event("done"));
  }
}

customElements.define("scan-screen", ScanScreen);
