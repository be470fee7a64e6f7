import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { t } from "../language.js";
import { LONGEST, Recorder } from "../recorder.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import { sizeWords } from "./items.js";
import { quoteWords } from "./message.js";
import { View } from "./view.js";

/** What a phone sends a file as. */
function kindOf(file) {
  if (file.type.startsWith("image/") && file.type !== "image/svg+xml") return "image";
  return file.type.startsWith("video/") ? "video" : "file";
}

/** Where a person writes: a line of text, files to go with it, a quote above it, and the microphone. */
class MessageComposer extends View {
  static properties = { userId: {}, botId: {}, recorder: { state: true }, isSending: { state: true } };

  #tick = 0;

  get #chat() {
    return store.chat(this.userId, this.botId);
  }

  firstUpdated() {
    // On a touch screen the keyboard would jump up before anybody wants to write.
    if (matchMedia("(pointer: fine)").matches) this.querySelector("textarea").focus();
  }

  connectedCallback() {
    super.connectedCallback();
    addEventListener("beforeunload", this.#leaving);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    removeEventListener("beforeunload", this.#leaving);
    this.#stopRecording();
  }

  /** Texts outlive a reload; a recording and files do not, so the browser asks first. */
  #leaving = (event) => {
    if (this.recorder || this.#chat.attachments.length > 0) event.preventDefault();
  };

  updated() {
    const area = this.querySelector("textarea");
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }

  /** Put files beside the text, to be sent with it. */
  attach(files) {
    const added = [...files].map((file) => ({ kind: kindOf(file), file, preview: kindOf(file) === "image" ? URL.createObjectURL(file) : null }));
    this.#chat.attachments = [...this.#chat.attachments, ...added];
    this.requestUpdate();
    this.querySelector("textarea")?.focus();
  }

  render() {
    const chat = this.#chat;
    return html`
      <form class="composer" @submit=${this.#submit}>
        ${chat.quote ? this.#quote(chat.quote) : nothing}
        ${chat.attachments.length > 0 ? html`<ul class="attachments">${chat.attachments.map((one) => this.#attachment(one))}</ul>` : nothing}
        <div class="writing">${this.recorder ? this.#recording() : this.#writing(chat)}</div>
      </form>
    `;
  }

  #writing(chat) {
    const canSend = chat.composing.trim() !== "" || chat.attachments.length > 0;
    return html`
      <button type="button" class="bare round" aria-label=${t("chat.record")} title=${t("chat.record")} @click=${this.#record}>${icon("mic")}</button>
      <label class="unseen" for="say-${this.userId}">${t("chat.message")}</label>
      <textarea
        id="say-${this.userId}"
        rows="1"
        placeholder=${t(chat.attachments.length > 0 ? "chat.caption" : "chat.message")}
        enterkeyhint="send"
        autocomplete="off"
        .value=${live(chat.composing)}
        @input=${this.#composed}
        @keydown=${this.#pressed}
        @paste=${this.#pasted}
      ></textarea>
      <input type="file" multiple class="unseen" tabindex="-1" aria-hidden="true" @change=${this.#picked} />
      <button type="button" class="bare round" aria-label=${t("chat.attach")} title=${t("chat.attach")}
        @click=${() => this.querySelector("input[type=file]").click()}>${icon("plus")}</button>
      <button class="send" aria-label=${t("chat.send")} title=${t("chat.send")} ?disabled=${!canSend || this.isSending}>${icon("send")}</button>
    `;
  }

  #recording() {
    const { recorder } = this;
    const seconds = Math.floor(recorder.seconds);
    return html`
      <button type="button" class="bare round" aria-label=${t("chat.record.cancel")} title=${t("chat.record.cancel")} @click=${this.#stopRecording}>${icon("close")}</button>
      <p class="recording" role="status">
        <span class="red"></span><span class="seconds">0:${String(seconds).padStart(2, "0")}</span>
        <meter min="0" max="1" .value=${Math.min(1, recorder.level * 1.6)} aria-label=${t("chat.record.level")}></meter>
        <span class="unseen">${t("chat.recording")}</span>
      </p>
      <button type="button" class="send" aria-label=${t("chat.record.send")} title=${t("chat.record.send")} ?disabled=${recorder.seconds < 0.5} @click=${this.#sendRecording}>${icon("send")}</button>
    `;
  }

  #quote({ entry, partial }) {
    return html`
      <p class="quoting">
        <span><span class="unseen">${t("chat.quoting")} </span>${quoteWords(entry, partial)}</span>
        <button type="button" class="bare" aria-label=${t("chat.quote.drop")} title=${t("chat.quote.drop")} @click=${this.#dropQuote}>${icon("close")}</button>
      </p>
    `;
  }

  #attachment(one) {
    return html`
      <li>
        ${one.preview ? html`<img src=${one.preview} alt="" />` : html`<span class="thing">${icon(one.kind)}</span>`}
        <span class="words"><span class="file-name">${one.file.name}</span><small>${sizeWords(one.file.size)}</small></span>
        <button type="button" class="bare" aria-label=${t("chat.detach", { name: one.file.name })} title=${t("chat.detach", { name: one.file.name })}
          @click=${() => this.#detach(one)}>${icon("close")}</button>
      </li>
    `;
  }

  #detach(one) {
    if (one.preview) URL.revokeObjectURL(one.preview);
    this.#chat.attachments = this.#chat.attachments.filter((other) => other !== one);
    this.requestUpdate();
  }

  #dropQuote() {
    store.compose(this.#chat, { quote: null });
    this.requestUpdate();
    this.querySelector("textarea")?.focus();
  }

  #composed(event) {
    store.compose(this.#chat, { composing: event.target.value });
    this.requestUpdate();
  }

  #pressed(event) {
    if (event.key === "Escape" && this.#chat.quote) this.#dropQuote();
    // Enter also ends the choice of characters in an input method; that one must not send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  }

  #pasted(event) {
    const { files } = event.clipboardData;
    if (files.length === 0) return;
    event.preventDefault();
    this.attach(files);
  }

  #picked({ target }) {
    this.attach(target.files);
    // The same file may be picked once more.
    target.value = "";
  }

  async #submit(event) {
    event.preventDefault();
    const chat = this.#chat;
    const text = chat.composing.trim();
    if (chat.attachments.length > 0) {
      await this.#sendAttachments(chat, text);
    } else if (text) {
      store.compose(chat, { composing: "" });
      this.#followNewest();
      store.say(this.userId, this.botId, text);
    }
    this.querySelector("textarea")?.focus();
  }

  async #sendAttachments(chat, text) {
    if (this.isSending) return;
    this.isSending = true;
    this.#followNewest();
    const files = chat.attachments;
    const left = await store.sendFiles(this.userId, this.botId, files, text);
    for (const one of files) if (!left.includes(one) && one.preview) URL.revokeObjectURL(one.preview);
    chat.attachments = left;
    if (left.length < files.length) store.compose(chat, { composing: "" });
    this.isSending = false;
  }

  async #record() {
    try {
      this.recorder = await Recorder.start();
    } catch (error) {
      const reason = { NotAllowedError: "denied", NotFoundError: "none" }[error.name] ?? "unable";
      store.notify({ message: t(`chat.record.${reason}`) });
      return;
    }
    this.#tick = setInterval(() => {
      this.requestUpdate();
      if (this.recorder.seconds >= LONGEST) this.#sendRecording();
    }, 100);
  }

  #sendRecording() {
    const file = this.recorder.stop();
    this.#stopRecording();
    this.#followNewest();
    store.sendFiles(this.userId, this.botId, [{ kind: "voice", file }], "");
  }

  #stopRecording() {
    clearInterval(this.#tick);
    this.recorder?.cancel();
    this.recorder = null;
  }

  #followNewest() {
    this.closest(".screen").querySelector("chat-log").follow();
  }
}

customElements.define("message-composer", MessageComposer);
