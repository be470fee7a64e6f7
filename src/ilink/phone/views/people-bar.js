import { html, nothing } from "../vendor/lit/index.js";
import { live } from "../vendor/lit/directives/live.js";
import { repeat } from "../vendor/lit/directives/repeat.js";
import { t } from "../language.js";
import { store } from "../store.js";
import { personAvatar } from "./avatar.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** So many people are in the bar at most, and a search finds the others. */
const MOST = 24;

/** Everybody, in a bar: a click opens a phone. Of a crowd, those with open phones, those with news, then the first. */
class PeopleBar extends View {
  static properties = { search: { state: true } };

  constructor() {
    super();
    this.search = "";
  }

  render() {
    const { people } = store;
    if (people.length === 0) return html`<div class="people"></div>`;
    const isCrowd = people.length > MOST;
    const found = isCrowd ? chosen(people, this.search.trim().toLowerCase()) : people;
    return html`
      <nav class="people" aria-label=${t("people.title")}>
        ${isCrowd ? this.#search(people.length) : nothing}
        <ul>
          ${repeat(found, (person) => person.user_id, personView)}
          ${found.length === 0 ? html`<li class="quiet" role="status">${t("people.nobody")}</li>` : nothing}
          <li>
            <button class="new-person" @click=${() => document.querySelector("person-dialog").open()}>
              ${icon("plus")}<span>${t("people.new")}</span>
            </button>
          </li>
        </ul>
      </nav>
    `;
  }

  #search(count) {
    return html`
      <label class="find">${icon("search")}<span class="unseen">${t("people.search", { count })}</span>
        <input type="search" placeholder=${t("people.search", { count })} .value=${live(this.search)} autocomplete="off"
          @input=${(event) => (this.search = event.target.value)} @keydown=${this.#pressed} />
      </label>
    `;
  }

  #pressed(event) {
    if (event.key !== "Enter" || event.isComposing || this.search.trim() === "") return;
    const [first] = chosen(store.people, this.search.trim().toLowerCase());
    if (first) store.openPhone(first.user_id);
  }
}

/** Of a crowd, whom the bar shows. */
function chosen(people, wanted) {
  if (wanted) {
    return people.filter((person) => `${person.name} ${person.user_id}`.toLowerCase().includes(wanted)).slice(0, MOST);
  }
  const open = people.filter((person) => store.phones.includes(person.user_id));
  const others = people.filter((person) => !store.phones.includes(person.user_id));
  const news = others.filter((person) => store.unread.has(person.user_id));
  const quiet = others.filter((person) => !store.unread.has(person.user_id));
  return [...open, ...news, ...quiet].slice(0, MOST);
}

function personView(person) {
  const unread = store.unreadOf(person.user_id);
  return html`
    <li>
      <button
        class="person"
        aria-pressed=${store.phones.includes(person.user_id)}
        title=${t("people.open", { name: person.name })}
        @click=${() => store.openPhone(person.user_id)}
      >
        ${personAvatar(person)}<span class="name">${person.name}</span>
        ${unread > 0
          ? html`<span class="badge"><span aria-hidden="true">${unread}</span>
              <span class="unseen">${t("chats.unread", { count: unread })}</span></span>`
          : nothing}
      </button>
    </li>
  `;
}

customElements.define("people-bar", PeopleBar);
