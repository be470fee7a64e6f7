import { html, nothing } from "../vendor/lit/index.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { copyButton } from "./copy.js";
import { View } from "./view.js";
import "./code-card.js";

/** So many codes are laid out at most, the newest. */
const MOST = 6;

/** Login codes of bots, as soon as a client has asked for them; and how to make one. */
class Tray extends View {
  render() {
    const codes = store.codes.visible;
    const waiting = codes.filter((code) => store.codes.isOpen(code)).length;
    return html`
      <aside class="tray" aria-label=${t("codes.title")} ?data-empty=${codes.length === 0}>
        <p class="unseen" role="status">${waiting > 0 ? t("codes.waiting", { count: waiting }) : ""}</p>
        ${codes.length > 0
          ? repeat(codes.slice(0, MOST), (code) => code.qrcode, (code) => html`<code-card .code=${code}></code-card>`)
          : store.isReady ? help() : nothing}
        ${codes.length > MOST ? html`<p class="hint">${t("codes.more", { count: codes.length - MOST })}</p>` : nothing}
      </aside>
    `;
  }
}

function help() {
  const address = store.info?.api_url ?? "";
  return html`
    <section class="card help">
      <h2>${t("help.title")}</h2>
      <p>${t("help.text")}</p>
      <ol>
        <li>${t("help.first")}
          <span class="command"><code>export ILINK_BASE_URL=<wbr />${address}</code>${copyButton(`export ILINK_BASE_URL=${address}`, t("help.copy"))}</span>
        </li>
        <li>${t("help.second")}
          <span class="command"><code>ilink run bot.py</code>${copyButton("ilink run bot.py", t("help.copy"))}</span>
        </li>
        <li>${t("help.third")}</li>
      </ol>
    </section>
  `;
}

customElements.define("code-tray", Tray);
