import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import "./one-of.js";
import { View } from "./view.js";

/** The switches of the gateway, and what differs for one bot or one person. */
class KnobsSection extends View {
  static properties = { search: { state: true } };

  constructor() {
    super();
    this.search = "";
  }

  render() {
    const { config, theirs, tables } = store.mischief;
    if (!theirs || !tables) return nothing;
    const kind = kindOf(store.mischief.whose);
    const wanted = this.search.trim().toLowerCase();
    const found = tables.knobs
      .filter((knob) => !kind || knob.scopes.includes(kind))
      .filter((knob) => !wanted || `${knob.name} ${knob.evidence}`.toLowerCase().includes(wanted));
    const usual = kind ? config.knobs : usualOf(tables, config.profile);
    return html`
      <section aria-labelledby="knobs-title">
        <h3 id="knobs-title">${icon("tool")}${t("knobs.title")}</h3>
        <p class="quiet">${t("knobs.text")}</p>
        <div class="filters">
          ${whoseView()} ${profileView(tables, kind)}
          <label class="grow"><span class="unseen">${t("knobs.search")}</span>
            <input type="search" placeholder=${t("knobs.search")} .value=${live(this.search)} @input=${(event) => (this.search = event.target.value)} />
          </label>
        </div>
        ${kind ? differenceView() : nothing}
        <ul class="knobs">${repeat(found, (knob) => knob.name, (knob) => knobView(knob, theirs.knobs[knob.name], usual[knob.name]))}</ul>
      </section>
    `;
  }
}

function kindOf(whose) {
  return whose.bot_id ? "bot" : whose.user_id ? "person" : "";
}

/** Every knob as the gateway's profile has it. */
function usualOf(tables, profile) {
  return { ...Object.fromEntries(tables.knobs.map((knob) => [knob.name, knob.default])), ...tables.profiles[profile] };
}

/** Whose knobs: everybody's, a bot's or a person's; a dot marks those for whom something differs. */
function whoseView() {
  const { whose, config } = store.mischief;
  const chosen = whose.bot_id ?? whose.user_id ?? "";
  const different = new Set(config.overrides.map((one) => one.bot_id ?? one.user_id));
  const option = (id, name) => [id, different.has(id) ? `• ${name}` : name];
  const groups = [
    { options: [["", t("knobs.whose.all")]] },
    { title: t("knobs.whose.bots"), options: store.bots.map((bot) => option(bot.bot_id, store.botName(bot.bot_id))) },
    { title: t("knobs.whose.people"), options: store.people.map((person) => option(person.user_id, person.name)) },
  ];
  const choose = (value) => store.mischief.choose(store.bot(value) ? { bot_id: value } : value ? { user_id: value } : {});
  return html`<one-of class="whose" isUntitled .label=${t("knobs.whose")} .value=${chosen} .groups=${groups} .choose=${choose}></one-of>`;
}

function profileView(tables, kind) {
  const { theirs, config } = store.mischief;
  const profile = kind ? (theirs.overrides[0]?.profile ?? "") : config.profile;
  return html`
    <label><span class="unseen">${t("knobs.profile")}</span>
      <select class="profile" .value=${live(profile)} @change=${(event) => store.mischief.setConfig({ profile: event.target.value })}>
        ${profile === "" ? html`<option value="" disabled selected>${t("knobs.profile.none")}</option>` : nothing}
        ${Object.keys(tables.profiles).map((name) => html`<option value=${name} ?selected=${name === profile}>${name}</option>`)}
      </select>
    </label>
  `;
}

/** Says whether something differs for the one whose knobs these are, and takes it back. */
function differenceView() {
  const isDifferent = store.mischief.theirs.overrides.length > 0;
  return html`
    <p class="quiet" data-different=${isDifferent}>${t(isDifferent ? "knobs.whose.different" : "knobs.whose.same")}</p>
    ${isDifferent
      ? html`<p class="buttons"><button class="plain small" @click=${() => store.mischief.dropConfig()}>${icon("reset")}${t("knobs.whose.drop")}</button></p>`
      : nothing}
  `;
}

function knobView(knob, value, usual) {
  return html`
    <li data-knob=${knob.name} ?data-changed=${value !== usual}>
      <label>
        <span class="knob-name">${knob.name}</span>
        ${knobInput(knob, value)}
      </label>
      <p lang="en">${knob.evidence}</p>
      ${value === usual
        ? nothing
        : html`<button class="plain small" @click=${() => setKnob(knob, usual)}>${t("knobs.back", { value: valueWords(usual) })}</button>`}
    </li>
  `;
}

function knobInput(knob, value) {
  if (knob.kind === "flag") {
    return html`<input type="checkbox" .checked=${live(value)} @change=${(event) => setKnob(knob, event.target.checked)} />`;
  }
  if (knob.kind === "choice") {
    return html`
      <select .value=${live(value)} @change=${(event) => setKnob(knob, event.target.value)}>
        ${knob.choices.map((one) => html`<option value=${one} ?selected=${one === value}>${one}</option>`)}
      </select>
    `;
  }
  // Not live: what is being typed stays while the page is drawn anew around it.
  const shown = value === null ? "" : String(value);
  return html`<input .value=${shown} placeholder=${knob.is_optional ? t("knobs.off") : ""} title=${knob.allowed}
    inputmode=${knob.kind === "rate" ? "text" : "decimal"} @change=${(event) => setTyped(knob, event.target, shown)} />`;
}

function readValue(knob, text) {
  const trimmed = text.trim();
  if (trimmed === "" && knob.is_optional) return null;
  if (knob.kind === "rate") return trimmed;
  // What is no number goes to the gateway as it is: its refusal says what is allowed.
  return trimmed !== "" && Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}

/** Set a knob to what was typed; a refusal brings back what stood there. */
async function setTyped(knob, input, shown) {
  if (!(await setKnob(knob, readValue(knob, input.value)))) input.value = shown;
}

function setKnob(knob, value) {
  return store.mischief.setConfig({ knobs: { [knob.name]: value } });
}

function valueWords(value) {
  return value === null ? t("knobs.off") : String(value);
}

customElements.define("knobs-section", KnobsSection);
