import { html, nothing } from "../vendor/lit/index.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { PRESETS } from "../mischief.js";
import { store } from "../store.js";
import { fullTime } from "../times.js";
import { icon } from "./icons.js";
import "./fault-form.js";
import "./knobs-section.js";
import { View } from "./view.js";

const HOUR = 3600;

/** What goes wrong on purpose, the time, and the switches of the gateway. */
class MischiefPanel extends View {
  #tick = null;

  connectedCallback() {
    super.connectedCallback();
    this.#tick = setInterval(() => this.requestUpdate(), 1000);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.#tick);
  }

  render() {
    return html`<div class="mischief">${this.#clock()} ${this.#presets()} ${this.#faults()} ${this.#form()} <knobs-section></knobs-section></div>`;
  }

  #clock() {
    const jump = (seconds, key) => html`<button class="plain small" @click=${() => store.mischief.setClock({ advance_s: seconds })}>${t(key)}</button>`;
    return html`
      <section aria-labelledby="clock-title">
        <h3 id="clock-title">${icon("clock")}${t("clock.title")}</h3>
        <p class="now" ?data-frozen=${store.isFrozen}>
          <time datetime=${new Date(store.now()).toISOString()}>${fullTime(store.now())}</time>
          ${store.isFrozen ? html`<span class="tag">${t("clock.frozen")}</span>` : nothing}
        </p>
        <p class="buttons">
          <button class="plain small" aria-pressed=${store.isFrozen} title=${t("clock.freeze.hint")} @click=${() => store.mischief.setClock({ freeze: !store.isFrozen })}>
            ${icon("freeze")}${t(store.isFrozen ? "clock.run" : "clock.freeze")}
          </button>
          ${jump(300, "clock.minutes")} ${jump(HOUR, "clock.hour")} ${jump(25 * HOUR, "clock.day")}
        </p>
      </section>
    `;
  }

  #presets() {
    return html`
      <section aria-labelledby="presets-title">
        <h3 id="presets-title">${icon("bolt")}${t("presets.title")}</h3>
        <ul class="presets">
          ${Object.entries(PRESETS).map(
            ([name, faults]) => html`
              <li>
                <button class="preset" data-preset=${name} @click=${() => store.mischief.add(...faults)}>
                  <strong>${t(`preset.${name}`)}</strong><small>${t(`preset.${name}.hint`)}</small>
                </button>
              </li>
            `,
          )}
        </ul>
      </section>
    `;
  }

  #faults() {
    const { faults } = store.mischief;
    return html`
      <section aria-labelledby="faults-title">
        <h3 id="faults-title">${t("faults.title")}
          ${faults.length > 1 ? html`<button class="plain small" @click=${() => store.mischief.removeAll()}>${t("faults.clear")}</button>` : nothing}
        </h3>
        ${faults.length === 0 ? html`<p class="quiet">${t("faults.none")}</p>` : nothing}
        <ul class="faults">${repeat(faults, (fault) => fault.id, (fault) => this.#fault(fault))}</ul>
      </section>
    `;
  }

  #fault(fault) {
    const isSpent = fault.times !== null && fault.hits >= fault.times;
    return html`
      <li data-fault=${fault.id} ?data-spent=${isSpent}>
        <span class="what">
          <strong>${fault.endpoint === "*" ? t("fault.everywhere") : fault.endpoint}</strong>
          <code>${actionWords(fault.action)}</code>
          <small>${scopeWords(fault)}</small>
        </span>
        <span class="hits" title=${t("fault.hits.hint", { matched: fault.matched })}>${t("fault.hits", { count: fault.hits })}</span>
        <button class="bare" aria-label=${t("fault.remove", { id: fault.id })} title=${t("fault.remove", { id: fault.id })} @click=${() => store.mischief.remove(fault)}>${icon("close")}</button>
      </li>
    `;
  }

  #form() {
    const { tables } = store.mischief;
    return html`
      <section>
        <details>
          <summary>${t("fault.own")}</summary>
          ${tables ? html`<fault-form></fault-form>` : nothing}
        </details>
      </section>
    `;
  }
}

function actionWords(action) {
  return Object.entries(action)
    .map(([name, value]) => (value === true ? name : `${name} ${Array.isArray(value) ? value.join(", ") : value}`))
    .join(" · ");
}

function scopeWords(fault) {
  const words = [];
  if (fault.bot_id) words.push(store.botName(fault.bot_id));
  if (fault.user_id) words.push(store.person(fault.user_id)?.name ?? fault.user_id);
  if (fault.nth !== null) words.push(t("fault.from", { nth: fault.nth }));
  if (fault.times !== null) words.push(t("fault.times", { count: fault.times }));
  if (fault.probability !== null) words.push(`${Math.round(fault.probability * 100)} %`);
  return words.join(" · ") || t("fault.always");
}

customElements.define("mischief-panel", MischiefPanel);
