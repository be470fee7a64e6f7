import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** So many options are in a list at most; of a crowd a search finds the others. */
const MOST = 50;

/**
 * A choice of one among a few, or among thousands.
 *
 * `groups` is a list of `{title, options}`, each option `[value, words]`; a group without a title stands by itself, and
 * an option whose value is empty is always there. `choose` hears of the value, which is also the form field `name`.
 */
class OneOf extends View {
  static properties = {
    label: {},
    name: {},
    value: {},
    groups: { attribute: false },
    choose: { attribute: false },
    /** Whether the label is only for those who do not see the place. */
    isUntitled: { type: Boolean },
    search: { state: true },
  };

  constructor() {
    super();
    this.name = "";
    this.value = "";
    this.groups = [];
    this.choose = () => {};
    this.isUntitled = false;
    this.search = "";
  }

  render() {
    const count = this.groups.reduce((sum, { options }) => sum + options.length, 0);
    const isCrowd = count > MOST;
    const wanted = isCrowd ? this.search.trim().toLowerCase() : "";
    const groups = isCrowd ? this.#few(wanted) : this.groups;
    return html`
      <div class="one-of" ?data-crowd=${isCrowd}>
        <label><span class=${this.isUntitled ? "unseen" : "title"}>${this.label}</span>
          <select name=${this.name || nothing} .value=${live(this.value)} @change=${(event) => this.#chosen(event.target.value)}>
            ${repeat(groups, ({ title }) => title, (group) => this.#group(group))}
          </select>
        </label>
        ${isCrowd ? this.#searchField(count) : nothing}
      </div>
    `;
  }

  #group({ title, options }) {
    const all = repeat(options, ([value]) => value, ([value, words]) => html`<option value=${value} ?selected=${value === this.value}>${words}</option>`);
    return title && options.length > 0 ? html`<optgroup label=${title}>${all}</optgroup>` : all;
  }

  #searchField(count) {
    return html`
      <label class="find">${icon("search")}<span class="unseen">${t("choice.search", { what: this.label, count })}</span>
        <input type="search" placeholder=${t("choice.among", { count })} .value=${live(this.search)} autocomplete="off"
          @input=${(event) => (this.search = event.target.value)} @keydown=${this.#pressed} />
      </label>
    `;
  }

  /** What is found, as far as there is room; the chosen one and those without a value are always there. */
  #few(wanted) {
    let room = MOST;
    return this.groups.map(({ title, options }) => ({
      title,
      options: options.filter(([value, words]) => {
        if (value === "" || value === this.value) return true;
        if (room === 0 || (wanted && !`${words} ${value}`.toLowerCase().includes(wanted))) return false;
        room -= 1;
        return true;
      }),
    }));
  }

  /** Enter takes the first that is found, and never sends the form around it. */
  #pressed(event) {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    const wanted = this.search.trim().toLowerCase();
    const fits = ([value, words]) => value !== "" && `${words} ${value}`.toLowerCase().includes(wanted);
    const found = wanted && this.groups.flatMap(({ options }) => options).find(fits);
    if (!found) return;
    this.search = "";
    this.#chosen(found[0]);
  }

  #chosen(value) {
    this.value = value;
    this.choose(value);
  }
}

customElements.define("one-of", OneOf);
