import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { left } from "../times.js";
import { personAvatar } from "./avatar.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** So many people are listed at most, those who wrote last; a search finds the others. */
const MOST = 8;

/** What a bot may still send to each person who has written to it. */
class BotWindows extends View {
  static properties = { windows: { attribute: false }, search: { state: true } };

  constructor() {
    super();
    this.windows = [];
    this.search = "";
  }

  render() {
    const { windows } = this;
    const isCrowd = windows.length > MOST;
    const found = isCrowd ? chosen(windows, this.search.trim().toLowerCase()) : windows;
    return html`
      ${isCrowd ? this.#search(windows.length) : nothing}
      ${repeat(found.slice(0, MOST), (one) => one.user_id, windowView)}
      ${isCrowd && found.length === 0 ? html`<p class="quiet" role="status">${t("people.nobody")}</p>` : nothing}
      ${found.length > MOST ? html`<p class="quiet">${t("bots.windows.more", { count: found.length - MOST })}</p>` : nothing}
    `;
  }

  #search(count) {
    return html`
      <label class="find">${icon("search")}<span class="unseen">${t("people.search", { count })}</span>
        <input type="search" placeholder=${t("people.search", { count })} .value=${live(this.search)} autocomplete="off"
          @input=${(event) => (this.search = event.target.value)} />
      </label>
    `;
  }
}

function chosen(windows, wanted) {
  const fits = ({ user_id: userId }) => !wanted || `${store.person(userId)?.name ?? ""} ${userId}`.toLowerCase().includes(wanted);
  return windows.filter(fits).sort((a, b) => (a.last_inbound_at < b.last_inbound_at ? 1 : -1));
}

function windowView(one) {
  const person = store.person(one.user_id);
  if (!person) return nothing;
  const allowance = one.sends + one.sends_left;
  const words = one.is_open
    ? t("bots.window.open", { left: one.closes_at ? left(Date.parse(one.closes_at), store.now()) : "∞", sends: one.sends_left })
    : t("bots.window.closed");
  return html`
    <div class="window" data-open=${one.is_open} title=${t("bots.window.hint")}>
      ${personAvatar(person)}
      <div>
        <p><span class="name">${person.name}</span><span>${words}</span></p>
        <meter min="0" max=${allowance || 1} low=${allowance * 0.3} optimum=${allowance || 1} .value=${one.is_open ? one.sends_left : 0}
          aria-label=${t("bots.window.meter", { name: person.name })}></meter>
      </div>
    </div>
  `;
}

customElements.define("bot-windows", BotWindows);
