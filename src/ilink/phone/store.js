/** What the page knows of the gateway, and what a person does with it. Views read it, call it, and hear `change`. */

import { api } from "./api.js";
import { Chat, chatKey } from "./chat.js";
import { Codes } from "./codes.js";
import { forgetDrafts, keepDrafts, recallDrafts } from "./drafts.js";
import { chooseLanguage, t } from "./language.js";
import { listen } from "./live.js";
import { Mischief } from "./mischief.js";
import { addressOf, readAddress, readMemory, writeAddress, writeMemory } from "./places.js";
import { Refresher } from "./refresher.js";
import { Wire } from "./wire.js";

/** Milliseconds until a gateway that did not answer is asked again. */
const CATCH_UP = 1000;

/** So many chats are in a list of them, the newest ones. */
const MOST_LINES = 500;

/** So many bots are in the panel of them at most; of a crowd a search finds the others. */
const MOST_BOTS = 24;

/** What the panel beside the phones can show. */
export const PANELS = ["bots", "wire", "mischief", "share"];

class Store extends EventTarget {
  info = null;
  people = [];
  bots = [];
  mailboxes = new Map();
  /** What the panel of bots looks for among a crowd of them. */
  botSearch = "";
  codes = new Codes(this);
  mischief = new Mischief(this);
  wire = new Wire();
  link = "connecting";
  notices = [];
  panel = null;
  /** Ids of the people whose phones are open, first opened first. */
  phones = [];
  activePerson = null;
  /** The name that the address asked for and nobody has. */
  wantedName = "";
  /** What the address points at: the number of a message or of a request on the wire, until it was shown. */
  wantedMessage = null;
  wantedRequest = null;
  isReady = false;
  isFrozen = false;

  #chats = new Map();
  #personById = new Map();
  #botById = new Map();
  /** Unread messages by person; null when something may have changed. */
  #unreadByPerson = null;
  /** Whether the list of chats had room for all of them. */
  #hasAllLines = true;
  #open = readMemory();
  #room = 1;
  #clockOffset = 0;
  #frozenAt = null;
  #isChangeComing = false;
  #noticeIds = 0;
  #catchUp = null;
  #beingRead = new Map();

  // Whatever is read is read through one of these: an answer from before something happened never comes last.
  #clockRefresher = new Refresher(() => this.#loadClock());
  #peopleRefresher = new Refresher(() => this.#loadPeople(), { pause: 100 });
  #botsRefresher = new Refresher(() => this.#loadBots(), { pause: 250 });
  #mailboxesRefresher = new Refresher(() => this.#loadMailboxes(), { pause: 500 });
  #linesRefresher = new Refresher(() => this.#loadLines(), { pause: 250 });
  #wireRefresher = new Refresher(() => this.#loadWire(), { pause: 250 });
  #chatRefreshers = new Map();
  /** What was heard of bots while a list of them was on its way: the list may be older. */
  #botNews = new Map();

  start() {
    const address = readAddress();
    this.panel = PANELS.includes(address.panel) ? address.panel : null;
    this.wantedMessage = address.message;
    this.wantedRequest = address.request;
    addEventListener("visibilitychange", () => document.hidden || this.changed());
    addEventListener("hashchange", () => this.#point(readAddress()));
    // The stream first: what happens while the rest is read is told on it.
    listen({
      onOpen: () => this.guarded(() => this.#loadAll(this.isReady ? readAddress() : address)),
      onLost: () => {
        this.link = "lost";
        this.changed();
      },
      onEvent: (kind, data) => this.#heard(kind, data),
    });
  }

  /** Tell the views, once per frame however much happens. */
  changed() {
    this.#unreadByPerson = null;
    if (this.#isChangeComing) return;
    this.#isChangeComing = true;
    const tell = () => {
      this.#isChangeComing = false;
      this.#markRead();
      this.dispatchEvent(new Event("change"));
    };
    // A hidden page gets no frames, and its title still counts the unread.
    if (document.hidden) setTimeout(tell, 50);
    else requestAnimationFrame(tell);
  }

  /** The gateway's own time: it may be frozen, or far from this machine's. */
  now() {
    return this.#frozenAt ?? Date.now() + this.#clockOffset;
  }

  person(userId) {
    return this.#personById.get(userId) ?? null;
  }

  bot(botId) {
    return this.#botById.get(botId) ?? null;
  }

  /** What a bot is called: the protocol gives it no name, so it is its owner's. */
  botName(botId) {
    const owner = this.person(this.bot(botId)?.owner_user_id)?.name;
    return owner ? t("bot.of", { owner }) : t("bot.unknown");
  }

  chat(userId, botId) {
    const key = chatKey(userId, botId);
    let chat = this.#chats.get(key);
    if (!chat) {
      chat = new Chat(userId, botId);
      recallDrafts(chat);
      this.#chats.set(key, chat);
    }
    return chat;
  }

  /** A person's chats, the one with the newest message first, then the person's own bots, then the others'. */
  chatsOf(userId) {
    const isOwn = (bot) => bot.owner_user_id === userId;
    return this.bots
      .map((bot, place) => ({ bot, place, chat: this.chat(userId, bot.bot_id) }))
      .filter(({ bot, chat }) => bot.state === "live" || chat.newest > 0)
      .sort((a, b) => b.chat.newest - a.chat.newest || Number(isOwn(b.bot)) - Number(isOwn(a.bot)) || b.place - a.place);
  }

  get isBotCrowd() {
    return this.bots.length > MOST_BOTS;
  }

  /** The bots that their panel shows, living ones first, those of open phones before the others, new before old; and how many more fit the search. */
  get botsInView() {
    const wanted = this.isBotCrowd ? this.botSearch.trim().toLowerCase() : "";
    const fits = (bot) => !wanted || `${this.person(bot.owner_user_id)?.name ?? ""} ${bot.bot_id}`.toLowerCase().includes(wanted);
    const found = this.bots.filter(fits).reverse();
    const isLive = (bot) => bot.state === "live";
    const isNear = (bot) => this.phones.includes(bot.owner_user_id);
    const sorted = found.sort((a, b) => Number(isLive(b)) - Number(isLive(a)) || Number(isNear(b)) - Number(isNear(a)));
    return { bots: sorted.slice(0, MOST_BOTS), others: Math.max(0, sorted.length - MOST_BOTS) };
  }

  searchBots(text) {
    this.botSearch = text;
    this.#refresh(this.#mailboxesRefresher);
    this.changed();
  }

  unreadOf(userId) {
    return this.unread.get(userId) ?? 0;
  }

  /** How many messages are unread, by person; who has read everything is not in it. */
  get unread() {
    if (this.#unreadByPerson) return this.#unreadByPerson;
    const sums = new Map();
    for (const { userId, unread } of this.#chats.values()) if (unread > 0) sums.set(userId, (sums.get(userId) ?? 0) + unread);
    return (this.#unreadByPerson = sums);
  }

  /** The bot whose chat is open on a person's phone, or null while it shows the list. */
  openChatOf(userId) {
    const botId = this.#open[userId];
    return botId && this.bot(botId) ? botId : null;
  }

  async addPerson(name) {
    const person = await this.attempt(() => api.addPerson(name));
    if (!person) return null;
    await this.#refresh(this.#peopleRefresher);
    this.wantedName = "";
    this.openPhone(person.user_id);
    return person;
  }

  /** Show a person's phone: beside the others while there is room, else in place of the one that was opened first. */
  openPhone(userId) {
    this.activePerson = userId;
    if (!this.phones.includes(userId)) this.phones = [...this.phones, userId].slice(-this.#room);
    this.#readOpenChat(userId);
    if (!this.#hasAllLines) this.#refresh(this.#linesRefresher);
    if (this.panel === "bots") this.#refresh(this.#mailboxesRefresher);
    this.#placesChanged();
  }

  closePhone(userId) {
    this.phones = this.phones.filter((other) => other !== userId);
    if (this.activePerson === userId) this.activePerson = this.phones.at(-1) ?? null;
    this.#placesChanged();
  }

  activate(userId) {
    if (this.activePerson === userId) return;
    this.activePerson = userId;
    this.#placesChanged();
  }

  /** Say how many phones fit side by side. */
  setRoom(count) {
    if (count === this.#room) return;
    this.#room = count;
    if (this.phones.length > count) {
      const others = this.phones.filter((userId) => userId !== this.activePerson);
      this.phones = this.phones.filter((userId) => userId === this.activePerson || others.indexOf(userId) >= others.length - count + 1);
    }
    if (this.isReady) this.#placesChanged();
  }

  openChat(userId, botId) {
    this.#open[userId] = botId;
    this.activePerson = userId;
    if (!this.phones.includes(userId)) this.openPhone(userId);
    this.#readOpenChat(userId);
    this.#placesChanged();
  }

  /** Open the chat of a bot that was bound a moment ago. */
  async openNewChat(userId, botId) {
    await Promise.all([this.#refresh(this.#botsRefresher), this.#refresh(this.#peopleRefresher)]);
    this.openChat(userId, botId);
  }

  closeChat(userId) {
    delete this.#open[userId];
    this.#placesChanged();
  }

  showPanel(name) {
    this.panel = name;
    if (name === "bots") this.#refresh(this.#mailboxesRefresher);
    if (name === "wire") this.#refresh(this.#wireRefresher);
    if (name === "mischief") this.mischief.open();
    this.#placesChanged();
  }

  /** The whole address of what is open now, or of something in it. */
  linkTo(place) {
    return location.origin + addressOf({ ...this.#place(), panel: null, ...place });
  }

  async say(userId, botId, text) {
    const chat = this.chat(userId, botId);
    const draft = { text, quote: chat.quote, state: "sending", why: "", after: chat.newest };
    chat.quote = null;
    chat.drafts = [...chat.drafts, draft];
    keepDrafts(chat);
    await this.#post(chat, draft);
  }

  async sayAgain(userId, botId, draft) {
    draft.state = "sending";
    await this.#post(this.chat(userId, botId), draft);
  }

  discardDraft(userId, botId, draft) {
    const chat = this.chat(userId, botId);
    chat.drafts = chat.drafts.filter((other) => other !== draft);
    keepDrafts(chat);
    this.changed();
  }

  /** Set what stands in a chat's composer: `composing`, its text, or the `quote` above it. */
  compose(chat, change) {
    Object.assign(chat, change);
    keepDrafts(chat);
  }

  /** Send files; the text and the quote go with the first. What could not be sent is answered, to be kept. */
  async sendFiles(userId, botId, files, text) {
    const chat = this.chat(userId, botId);
    const quote = chat.quote && quoteOf(chat.quote);
    this.compose(chat, { quote: null });
    for (const [i, one] of files.entries()) {
      const first = i === 0 ? { text, quote } : {};
      if (!(await this.attempt(() => api.sendFile(userId, botId, { ...one, ...first })))) return files.slice(i);
      await this.#refreshChat(chat);
    }
    return [];
  }

  /** Read the page of a chat before the oldest message that is here. */
  async readOlder(userId, botId) {
    const chat = this.chat(userId, botId);
    await this.guarded(() => chat.readOlder(this.#reader(chat)));
    this.changed();
  }

  /** Read a chat back until a message is here; tells whether there is one. */
  async reach(userId, botId, n) {
    const chat = this.chat(userId, botId);
    if (!chat.isLoaded) await this.#refreshChat(chat);
    const isThere = await this.guarded(() => chat.reach(n, this.#reader(chat)));
    this.changed();
    return isThere ?? false;
  }

  /** Do something to a bot: `expire`, `rebind` or `rotate` it. */
  async changeBot(botId, what) {
    const calls = { expire: api.expireBot, rebind: api.rebindBot, rotate: api.rotateBot };
    await this.attempt(() => calls[what](botId));
    await this.#refresh(this.#botsRefresher);
  }

  async setLanguage(name) {
    await this.attempt(() => chooseLanguage(name, { remember: true }));
    this.changed();
  }

  /** Do something that may be refused, and show the refusal; answers null then. */
  async attempt(action) {
    try {
      return (await action()) ?? true;
    } catch (error) {
      this.notify(error);
      return null;
    }
  }

  notify(error) {
    const text = error.status === 0 ? t("notice.unreachable") : error.message;
    if (this.notices.some((notice) => notice.text === text)) return;
    const notice = { id: ++this.#noticeIds, text, hint: error.hint ?? "", isGood: error.isGood ?? false };
    this.notices = [...this.notices, notice].slice(-3);
    setTimeout(() => this.dismiss(notice), 10_000);
    this.changed();
  }

  dismiss(notice) {
    this.notices = this.notices.filter((other) => other !== notice);
    this.changed();
  }

  /** Run a background task; a gateway that cannot be reached shows as a lost link, any other failure as a notice. */
  async guarded(task) {
    try {
      return await task();
    } catch (error) {
      if (error.status === 0) this.#lost();
      else this.notify(error);
      this.changed();
      return null;
    }
  }

  #heard(kind, data) {
    if (kind === "reset") this.guarded(() => this.#reloadAll());
    else if (kind === "message") this.#heardMessage(data);
    else if (kind === "typing") this.#heardTyping(data);
    else if (kind === "qr") this.codes.refresh();
    else if (kind === "bot") this.#heardBot(data);
    else if (kind === "read") this.#heardRead(data);
    else if (kind === "person") this.#refresh(this.#peopleRefresher);
    else if (kind === "clock") this.#heardClock();
    else if (kind === "config") this.#heardConfig();
    else if (kind === "notice") this.notify({ message: data.text, hint: data.hint, isGood: data.is_good });
    else if (kind === "fault" && this.panel === "mischief") this.mischief.refreshFaults();
    else if (kind === "wire" && this.panel === "wire") this.#refresh(this.#wireRefresher);
  }

  /** Read something anew; a failure shows as with `guarded`. */
  #refresh(refresher) {
    return this.guarded(() => refresher.run());
  }

  #heardMessage({ bot_id: botId, user_id: userId, n }) {
    if (this.panel === "bots") this.#refresh(this.#mailboxesRefresher);
    this.#refresh(this.#linesRefresher);
    const chat = this.chat(userId, botId);
    // One that is being read for the first time counts as read: the answer on its way may be older than this.
    if (!this.#chatRefreshers.has(chatKey(userId, botId))) return;
    chat.expectChange(n);
    this.#refreshChat(chat);
  }

  #heardBot(data) {
    const bot = this.bot(data.bot_id);
    if (data.handed_seq !== undefined) this.#botNews.set(data.bot_id, data);
    if (data.handed_seq === undefined || !bot) {
      this.#refresh(this.#botsRefresher);
      return;
    }
    follow(bot, data);
    if (this.panel === "bots") this.#refresh(this.#mailboxesRefresher);
    for (const chat of this.#chats.values()) if (chat.botId === data.bot_id) chat.follow(bot);
    this.changed();
  }

  #heardRead({ bot_id: botId, user_id: userId, n }) {
    const { line } = this.chat(userId, botId);
    if (line && line.read_to >= n) return;
    this.#refresh(this.#linesRefresher);
  }

  #heardTyping({ bot_id: botId, user_id: userId, typing }) {
    this.chat(userId, botId).hearTyping(typing);
    this.changed();
  }

  async #heardClock() {
    await this.#refresh(this.#clockRefresher);
    this.codes.refresh();
    this.#refresh(this.#botsRefresher);
  }

  #heardConfig() {
    if (this.panel === "mischief") this.guarded(() => this.mischief.refreshConfig());
    if (this.panel === "bots") this.#refresh(this.#mailboxesRefresher);
  }

  async #loadClock() {
    const { now, frozen } = await api.clock();
    this.#clockOffset = Date.parse(now) - Date.now();
    this.#frozenAt = frozen ? Date.parse(now) : null;
    this.isFrozen = frozen;
    this.changed();
  }

  async #loadAll(address) {
    const isFirst = !this.isReady;
    for (const chat of this.#chats.values()) chat.restart();
    const [info] = await Promise.all([
      api.info(),
      this.#clockRefresher.run(),
      this.#peopleRefresher.run(),
      this.#botsRefresher.run(),
      this.#linesRefresher.run(),
      this.codes.load(),
    ]);
    // Another process counts its exchanges from one again.
    if (this.info && this.info.pid !== info.pid) this.wire = new Wire();
    this.info = info;
    this.link = "live";
    if (isFirst) this.#openFirst(address);
    this.isReady = true;
    for (const userId of this.phones) this.#readOpenChat(userId);
    if (this.panel) this.showPanel(this.panel);
    this.#placesChanged();
  }

  async #reloadAll() {
    forgetDrafts();
    this.#chats.clear();
    this.#chatRefreshers.clear();
    this.#beingRead.clear();
    // A new one, since an answer from before the reset may still be on its way to the old one.
    this.wire = new Wire();
    await this.#loadAll(readAddress());
    this.phones = this.phones.filter((userId) => this.person(userId));
    if (this.phones.length === 0) this.phones = this.people.slice(0, 1).map((person) => person.user_id);
    this.activePerson = this.phones.at(-1) ?? null;
    for (const userId of this.phones) this.#readOpenChat(userId);
    this.#placesChanged();
  }

  #openFirst(address) {
    const wanted = address.people.map((name) => ({ name, person: this.#find(name) }));
    this.wantedName = wanted.find(({ person }) => !person)?.name ?? "";
    const found = wanted.flatMap(({ person }) => (person ? [person] : []));
    const first = found.length > 0 || this.wantedName ? found : this.people.slice(0, 1);
    this.phones = first.map((person) => person.user_id).slice(0, this.#room);
    this.activePerson = this.phones[0] ?? null;
    if (this.activePerson && address.bot && this.bot(address.bot)) this.#open[this.activePerson] = address.bot;
    if (this.wantedRequest !== null) this.panel = "wire";
  }

  /** Show what a link within the open page points at. */
  #point(address) {
    this.wantedMessage = address.message;
    this.wantedRequest = address.request;
    if (address.request !== null && this.panel !== "wire") this.showPanel("wire");
    this.changed();
  }

  #find(nameOrId) {
    return this.person(nameOrId) ?? this.people.find((person) => person.name === nameOrId);
  }

  async #loadPeople() {
    this.people = await api.people();
    this.#personById = new Map(this.people.map((person) => [person.user_id, person]));
    this.changed();
  }

  async #loadBots() {
    this.#botNews.clear();
    this.bots = await api.bots();
    this.#botById = new Map(this.bots.map((bot) => [bot.bot_id, bot]));
    for (const [botId, news] of this.#botNews) if (this.bot(botId)) follow(this.bot(botId), news);
    for (const chat of this.#chats.values()) {
      const bot = this.bot(chat.botId);
      if (bot) chat.follow(bot);
    }
    if (this.panel === "bots" && this.isReady) this.#refresh(this.#mailboxesRefresher);
    this.changed();
  }

  async #loadMailboxes() {
    const live = this.botsInView.bots.filter((bot) => bot.state === "live");
    const boxes = await Promise.all(live.map((bot) => api.mailbox(bot.bot_id)));
    this.mailboxes = new Map(boxes.map((box, i) => [live[i].bot_id, box]));
    this.changed();
  }

  async #loadLines() {
    const lines = await api.chats();
    this.#hasAllLines = lines.length < MOST_LINES;
    this.#take(lines);
    if (!this.#hasAllLines) for (const userId of this.phones) await this.#loadLinesOf(userId);
  }

  /** A crowd has more chats than a list of all of them holds; those of a phone are asked for by themselves. */
  async #loadLinesOf(userId) {
    this.#take(await api.chats({ user_id: userId }));
  }

  #take(lines) {
    for (const line of lines) this.chat(line.user_id, line.bot_id).line = line;
    this.changed();
  }

  async #loadWire() {
    const { wire } = this;
    let answer;
    do {
      answer = await api.wire(wire.newest);
      wire.add(answer.entries, answer.findings ?? {});
    } while (answer.entries.length >= 1000);
    this.changed();
  }

  #reader(chat) {
    return (page) => api.transcript(chat.botId, chat.userId, page);
  }

  #readOpenChat(userId) {
    const botId = this.openChatOf(userId);
    if (!botId) return;
    const chat = this.chat(userId, botId);
    this.#refreshChat(chat);
    this.#askTyping(chat);
  }

  #refreshChat(chat) {
    const { userId, botId } = chat;
    const key = chatKey(userId, botId);
    let refresher = this.#chatRefreshers.get(key);
    if (!refresher) {
      const task = async () => {
        await chat.update(this.#reader(chat));
        // How far the bot has read may have been heard while the answer was on its way.
        const bot = this.bot(botId);
        if (bot) chat.follow(bot);
        // Of a text whose sending was cut off by a reload or a lost answer, this is the news that it arrived.
        for (const draft of chat.arrivedDrafts) this.discardDraft(userId, botId, draft);
        this.changed();
      };
      refresher = new Refresher(task, { pause: 50 });
      this.#chatRefreshers.set(key, refresher);
    }
    return this.#refresh(refresher);
  }

  /** Ask once whether a bot types, when its chat is opened; after that its events tell. */
  async #askTyping(chat) {
    const heard = chat.typingNews;
    const answer = await this.guarded(() => api.typing(chat.botId, chat.userId));
    if (!answer || chat.typingNews !== heard || answer.typing === chat.isTyping) return;
    chat.isTyping = answer.typing;
    this.changed();
  }

  async #post(chat, draft) {
    this.changed();
    try {
      await api.say(chat.userId, chat.botId, draft.text, draft.quote ? quoteOf(draft.quote) : undefined);
    } catch (error) {
      draft.state = "failed";
      draft.why = error.status === 0 ? t("notice.unreachable") : error.message;
      keepDrafts(chat);
      this.changed();
      return;
    }
    await this.#refreshChat(chat);
    this.discardDraft(chat.userId, chat.botId, draft);
  }

  /** What a call would have brought is missing now, and the stream of events may never have noticed: read it all anew. */
  #lost() {
    this.link = "lost";
    this.#catchUp ??= setTimeout(() => {
      this.#catchUp = null;
      this.guarded(() => this.#loadAll(readAddress()));
    }, CATCH_UP);
  }

  /** What a person looks at is read: the open chat of a visible phone, on a visible page. */
  #markRead() {
    if (document.hidden || !this.isReady) return;
    for (const userId of this.phones) {
      const botId = this.openChatOf(userId);
      const chat = botId && this.chat(userId, botId);
      if (!chat?.isLoaded || !chat.last) continue;
      const key = chatKey(userId, botId);
      const { n } = chat.last;
      if (chat.unread > 0) {
        chat.line = { ...chat.line, unread: 0 };
        this.#unreadByPerson = null;
      }
      if (n <= Math.max(chat.readTo, this.#beingRead.get(key) ?? 0)) continue;
      this.#beingRead.set(key, n);
      this.guarded(() => api.markRead(botId, userId, n));
    }
  }

  #place() {
    return {
      people: this.phones.map((userId) => this.#nameOrId(userId)),
      bot: this.activePerson === this.phones[0] ? this.openChatOf(this.activePerson) : null,
      panel: this.panel,
    };
  }

  #placesChanged() {
    writeMemory(this.#open);
    writeAddress({ ...this.#place(), message: this.wantedMessage, request: this.wantedRequest });
    this.changed();
  }

  #nameOrId(userId) {
    const name = this.person(userId)?.name;
    return name && this.people.filter((person) => person.name === name).length === 1 ? name : userId;
  }
}

/** Take up in a bot's facts what an event says of its reading. */
function follow(bot, { at, handed_seq: handed, acked_seq: acked, waiting_polls: waiting }) {
  const head = Math.max(bot.head_seq, handed);
  Object.assign(bot, { handed_seq: handed, acked_seq: acked, waiting_polls: waiting, last_poll_at: at, head_seq: head });
}

/** A quote as the gateway takes it. */
function quoteOf({ entry, partial }) {
  return partial ? { message_id: entry.message_id, partial } : { message_id: entry.message_id };
}

export const store = new Store();
