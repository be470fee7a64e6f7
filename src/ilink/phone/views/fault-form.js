import { html, nothing } from "../vendor/lit/index.js";
import { said, t } from "../language.js";
import { store } from "../store.js";
import { icon } from "./icons.js";
import "./one-of.js";
import { View } from "./view.js";

/** What each action needs besides its name, and what a field holds at first; the others need nothing. */
const FIELDS = {
  delay_ms: [["delay_ms", "number", "500"]],
  http_status: [["http_status", "number", "524"]],
  ret: [["ret", "number", "-2"], ["errcode", "number", ""], ["errmsg", "text", "prepare failed"]],
  reset: [["reset", ["before", "after_effect", "after_headers", "mid_body"], "after_effect"]],
  omit: [["omit", "names", "message_id"]],
  duplicate: [["duplicate", ["same_id", "new_id"], "same_id"]],
  slow_bytes_per_s: [["slow_bytes_per_s", "number", "20000"]],
};

/** Puts together any fault that the gateway knows. */
class FaultForm extends View {
  static properties = { endpoint: { state: true }, action: { state: true } };

  constructor() {
    super();
    this.endpoint = "sendmessage";
    this.action = "ret";
  }

  render() {
    const { actions } = store.mischief.tables;
    const endpoints = [...new Set(actions.flatMap((action) => action.endpoints))].sort();
    const fitting = actions.filter((action) => this.endpoint === "*" || action.endpoints.includes(this.endpoint));
    const action = fitting.find((one) => one.name === this.action) ?? fitting[0];
    const [does, lang] = said(`does.${action.name}`, action.words);
    return html`
      <form class="fault-form" @submit=${(event) => this.#submit(event, action)}>
        ${select("fault.endpoint", "endpoint", this.endpoint, [["*", t("fault.everywhere")], ...endpoints.map(same)], (value) => (this.endpoint = value))}
        ${select("fault.action", "action", action.name, fitting.map((one) => same(one.name)), (value) => (this.action = value))}
        <p class="quiet wide" lang=${lang}>${does} ${action.evidence ? html`<em lang="en">${action.evidence}</em>` : nothing}</p>
        ${(FIELDS[action.name] ?? []).map((field) => fieldView(...field))}
        ${anyOf("fault.bot", "bot_id", store.bots.map((bot) => [bot.bot_id, store.botName(bot.bot_id)]))}
        ${anyOf("fault.person", "user_id", store.people.map((person) => [person.user_id, person.name]))}
        ${input("fault.nth", "nth", "number", "", { min: 1 })} ${input("fault.times.label", "times", "number", "1", { min: 1 })}
        ${input("fault.probability", "probability", "number", "", { min: 0, max: 1, step: "any" })}
        <button class="primary small">${icon("bolt")}${t("fault.set")}</button>
      </form>
    `;
  }

  #submit(event, action) {
    event.preventDefault();
    const form = new FormData(event.target);
    const fault = { endpoint: this.endpoint, action: readAction(action, form) };
    for (const name of ["bot_id", "user_id"]) if (form.get(name)) fault[name] = form.get(name);
    for (const name of ["nth", "times", "probability"]) if (form.get(name)) fault[name] = Number(form.get(name));
    store.mischief.add(fault);
  }
}

function readAction({ name }, form) {
  const fields = FIELDS[name];
  if (!fields) return { [name]: true };
  const action = {};
  for (const [field, kind] of fields) {
    const text = form.get(field).trim();
    if (text === "") continue;
    action[field] = kind === "number" ? Number(text) : kind === "names" ? text.split(/[\s,]+/) : text;
  }
  return action;
}

function fieldView(name, kind, first) {
  if (Array.isArray(kind)) return select(name, name, first, kind.map(same));
  return input(name, name, kind === "number" ? "number" : "text", first);
}

function anyOf(key, name, options) {
  return html`<one-of .label=${t(key)} .name=${name} .groups=${[{ options: [["", t("fault.any")], ...options] }]}></one-of>`;
}

function same(text) {
  return [text, text];
}

/** A field's label: the words of a key, or the wire's own name of a field as it is. */
function label(key) {
  return key.startsWith("fault.") ? t(key) : html`<code>${key}</code>`;
}

function input(key, name, type, first, { min = nothing, max = nothing, step = nothing } = {}) {
  return html`<label>${label(key)}<input name=${name} type=${type} value=${first} min=${min} max=${max} step=${step} autocomplete="off" /></label>`;
}

function select(key, name, chosen, options, choose = () => {}) {
  return html`
    <label>${label(key)}
      <select name=${name} @change=${(event) => choose(event.target.value)}>
        ${options.map(([value, words]) => html`<option value=${value} ?selected=${value === chosen}>${words}</option>`)}
      </select>
    </label>
  `;
}

customElements.define("fault-form", FaultForm);
