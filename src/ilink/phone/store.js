/** What the page knows of the gateway, and what a person does with it. Views read it, call it, and hear `change`. */

import { api } from "./api.js";
import { Chat, chatKey } from "./chat.js";
import { chooseLanguage, t } from "./language.js";
import { listen } from "./live.js";
import { readAddress, readMemory, writeAddress, writeMemory } from "./places.js";
import { Refresher } from "./refresher.js";
import { Wire } from "./wire.js";

/** A code in one of these still waits for somebody. */
const OPEN_CODES = new Set(["wait", "scaned", "need_verifycode", "verify_code_blocked", "scaned_but_redirect"]);

/** Seconds that a code which just ended stays to be seen. */
const ENDED_CODE_STAYS = 6;

/** Milliseconds between looks at what no event tells: polls that begin, and people that others make. */
const LOOK_AROUND = 3000;

/** Milliseconds until a gateway that did not answer is asked again. */
const CATCH_UP = 1000;

/** At most so many of a person's chats are read ahead; others are read when something happens in them. */
const CHATS_READ_AHEAD = 40;

class Store extends EventTarget {
  info = null;
  people = [];
  bots = [];
  codes = [];
  mailboxes = new Map();
  wire = new Wire();
  link = "connecting";
  notices = [];
  panel = null;
  /** Ids of the people whose phones are open, first opened first. */
  phones = [];
  activePerson = null;
  /** The name that the address asked for and nobody has. */
  wantedName = "";
  isReady = false;

  #chats = new Map();
  #memory = readMemory();
  #room = 1;
  #lastEventId = 0;
  #clockOffset = 0;
  #frozenAt = null;
  #isChangeComing = false;
  #noticeIds = 0;
  #catchUp = null;
  #endedCodes = new Map();
  #hiddenCodes = new Set();

  #peopleRefresher = new Refresher(() => this.#guarded(() => this.#loadPeople()));
  #botsRefresher = new Refresher(() => this.#guarded(() => this.#loadBots()), { pause: 250 });
  #codesRefresher = new Refresher(() => this.#guarded(() => this.#loadCodes()));
  #wireRefresher = new Refresher(() => this.#guarded(() => this.#loadWire()), { pause: 250 });
  #chatRefreshers = new Map();

  start() {
    const address = readAddress();
    this.panel = ["bots", "wire"].includes(address.panel) ? address.panel : null;
    addEventListener("visibilitychange", () => document.hidden || this.changed());
    setInterval(() => this.#lookAround(), LOOK_AROUND);
    listen({
      onOpen: () => this.#guarded(() => this.#loadAll(address)),
      onLost: () => {
        this.link = "lost";
        this.changed();
      },
      onEvent: (kind, data, id) => this.#heard(kind, data, id),
    });
  }

  /** Tell the views, once per frame however much happens. */
  changed() {
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
    return this.people.find((person) => person.user_id === userId) ?? null;
  }

  bot(botId) {
    return this.bots.find((bot) => bot.bot_id === botId) ?? null;
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
      chat.readTo = this.#memory.read[key] ?? 0;
      this.#chats.set(key, chat);
    }
    return chat;
  }

  /** A person's chats, the one with the newest message first, then the person's own bots, then the others'. */
  chatsOf(userId) {
    const isOwn = (bot) => bot.owner_user_id === userId;
    return this.bots
      .map((bot) => ({ bot, chat: this.chat(userId, bot.bot_id) }))
      .filter(({ bot, chat }) => bot.state === "live" || chat.entries.length > 0)
      .sort(
        (a, b) =>
          b.chat.newest - a.chat.newest ||
          Number(isOwn(b.bot)) - Number(isOwn(a.bot)) ||
          this.bots.indexOf(b.bot) - this.bots.indexOf(a.bot),
      );
  }

  unreadOf(userId) {
    return this.bots.reduce((sum, bot) => sum + this.chat(userId, bot.bot_id).unread, 0);
  }

  /** The bot whose chat is open on a person's phone, or null while it shows the list. */
  openChatOf(userId) {
    const botId = this.#memory.open[userId];
    return botId && this.bot(botId) ? botId : null;
  }

  /** Codes to be seen: those that wait for somebody, and those that ended a moment ago. */
  get visibleCodes() {
    const isNews = (code) => OPEN_CODES.has(code.status) || this.#endedCodes.has(code.qrcode);
    return this.codes.filter((code) => isNews(code) && !this.#hiddenCodes.has(code.qrcode));
  }

  /** Codes that were put aside and still wait for somebody. */
  get hiddenCodes() {
    return this.codes.filter((code) => OPEN_CODES.has(code.status) && this.#hiddenCodes.has(code.qrcode));
  }

  hideCode(code) {
    this.#hiddenCodes.add(code.qrcode);
    this.changed();
  }

  showHiddenCodes() {
    this.#hiddenCodes.clear();
    this.changed();
  }

  isOpenCode(code) {
    return OPEN_CODES.has(code.status);
  }


  async addPerson(name) {
    const person = await this.attempt(() => api.addPerson(name));
    if (!person) return null;
    await this.#peopleRefresher.run();
    this.wantedName = "";
    this.openPhone(person.user_id);
    return person;
  }

  /** Show a person's phone: beside the others while there is room, else in place of the one that was opened first. */
  openPhone(userId) {
    this.activePerson = userId;
    if (!this.phones.includes(userId)) this.phones = [...this.phones, userId].slice(-this.#room);
    this.#readAhead(userId);
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
    this.#memory.open[userId] = botId;
    this.activePerson = userId;
    if (!this.phones.includes(userId)) this.openPhone(userId);
    this.#refreshChat(this.chat(userId, botId));
    this.#askTyping(userId, botId);
    this.#placesChanged();
  }

  closeChat(userId) {
    delete this.#memory.open[userId];
    this.#placesChanged();
  }

  showPanel(name) {
    this.panel = name;
    if (name === "bots") this.#botsRefresher.run();
    if (name === "wire") this.#wireRefresher.run();
    this.#placesChanged();
  }

  async say(userId, botId, text) {
    const chat = this.chat(userId, botId);
    const draft = { text, state: "sending", why: "", after: chat.newest };
    chat.drafts = [...chat.drafts, draft];
    await this.#post(chat, draft);
  }

  async sendFile(userId, botId, file) {
    const kind = file.type.startsWith("image/") ? "image" : file.type.startsWith("video/") ? "video" : "file";
    await this.attempt(() => api.sendFile(userId, botId, kind, file));
  }

  async sayAgain(userId, botId, draft) {
    draft.state = "sending";
    await this.#post(this.chat(userId, botId), draft);
  }

  discardDraft(userId, botId, draft) {
    const chat = this.chat(userId, botId);
    chat.drafts = chat.drafts.filter((other) => other !== draft);
    this.changed();
  }

  scan(code, userId) {
    return this.#onCode(() => api.scan(code.qrcode, userId));
  }

  async confirm(code) {
    const bound = await this.#onCode(() => api.confirm(code.qrcode));
    if (!bound) return;
    await Promise.all([this.#botsRefresher.run(), this.#peopleRefresher.run()]);
    this.openChat(bound.user_id, bound.bot_id);
  }

  cancelCode(code) {
    return this.#onCode(() => api.cancel(code.qrcode));
  }

  expireCode(code) {
    return this.#onCode(() => api.expireCode(code.qrcode));
  }

  requireVerifyCode(code) {
    const digits = String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000).padStart(6, "0");
    return this.#onCode(() => api.requireCode(code.qrcode, digits));
  }

  async expireBot(botId) {
    await this.attempt(() => api.expireBot(botId));
    await this.#botsRefresher.run();
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
    const notice = { id: ++this.#noticeIds, text, hint: error.hint ?? "" };
    this.notices = [...this.notices, notice].slice(-3);
    setTimeout(() => this.dismiss(notice), 10_000);
    this.changed();
  }

  dismiss(notice) {
    this.notices = this.notices.filter((other) => other !== notice);
    this.changed();
  }


  #heard(kind, data, id) {
    // Ids count up; one that falls tells of a gateway that was reset.
    if (id < this.#lastEventId) this.#guarded(() => this.#reloadAll());
    this.#lastEventId = id;
    if (data.user_id && !this.person(data.user_id)) this.#peopleRefresher.run();
    if (data.bot_id && kind !== "wire" && !this.bot(data.bot_id)) this.#botsRefresher.run();
    if (kind === "message") this.#heardMessage(data);
    else if (kind === "typing") this.#heardTyping(data);
    else if (kind === "qr") this.#codesRefresher.run();
    else if (kind === "bot") this.#heardBot(data);
    else if (kind === "clock") this.#heardClock();
    else if (kind === "wire" && this.panel === "wire") this.#wireRefresher.run();
  }

  #lookAround() {
    if (document.hidden || this.link !== "live" || !this.isReady) return;
    this.#peopleRefresher.run();
    this.#botsRefresher.run();
  }

  #heardMessage({ bot_id: botId, user_id: userId, n }) {
    if (this.panel === "bots") this.#botsRefresher.run();
    if (!botId || !userId) {
      for (const chat of this.#chats.values()) if (chat.isLoaded) this.#refreshChat(chat);
      return;
    }
    const chat = this.chat(userId, botId);
    chat.expectChange(n);
    this.#refreshChat(chat);
  }

  #heardBot({ bot_id: botId, handed_seq: handed }) {
    this.#botsRefresher.run();
    // A poll that took or acknowledged messages changes their states, and only the bot is named.
    if (handed === undefined) return;
    for (const chat of this.#chats.values()) {
      if (chat.botId !== botId || !chat.isUnsettled) continue;
      chat.expectChange();
      this.#refreshChat(chat);
    }
  }

  #heardTyping({ bot_id: botId, user_id: userId }) {
    this.#askTyping(userId, botId);
  }

  async #heardClock() {
    await this.#guarded(() => this.#loadClock());
    this.#codesRefresher.run();
    this.#botsRefresher.run();
  }

  async #loadClock() {
    const { now, frozen } = await api.clock();
    this.#clockOffset = Date.parse(now) - Date.now();
    this.#frozenAt = frozen ? Date.parse(now) : null;
    this.changed();
  }


  async #loadAll(address) {
    const isFirst = !this.isReady;
    for (const chat of this.#chats.values()) chat.restart();
    const [info] = await Promise.all([
      api.info(),
      this.#loadClock(),
      this.#loadPeople(),
      this.#loadBots(),
      this.#loadCodes(),
    ]);
    this.info = info;
    this.link = "live";
    if (isFirst) this.#openFirst(address);
    this.isReady = true;
    for (const userId of this.phones) this.#readAhead(userId);
    this.#askAllTyping();
    if (this.panel) this.showPanel(this.panel);
    this.#placesChanged();
  }

  async #reloadAll() {
    this.#chats.clear();
    this.#chatRefreshers.clear();
    this.wire.clear();
    await this.#loadAll(readAddress());
    this.phones = this.phones.filter((userId) => this.person(userId));
    this.activePerson = this.phones.at(-1) ?? null;
    this.changed();
  }

  #openFirst(address) {
    const wanted = address.people.map((name) => ({ name, person: this.#find(name) }));
    this.wantedName = wanted.find(({ person }) => !person)?.name ?? "";
    const found = wanted.flatMap(({ person }) => (person ? [person] : []));
    const first = found.length > 0 || this.wantedName ? found : this.people.slice(0, 1);
    this.phones = first.map((person) => person.user_id).slice(0, this.#room);
    this.activePerson = this.phones[0] ?? null;
    if (this.activePerson && address.bot && this.bot(address.bot)) this.#memory.open[this.activePerson] = address.bot;
  }

  #askAllTyping() {
    for (const userId of this.phones) {
      const botId = this.openChatOf(userId);
      if (botId) this.#askTyping(userId, botId);
    }
  }

  #find(nameOrId) {
    return this.person(nameOrId) ?? this.people.find((person) => person.name === nameOrId);
  }

  async #loadPeople() {
    this.people = await api.people();
    this.changed();
  }

  async #loadBots() {
    const known = new Set(this.bots.map((bot) => bot.bot_id));
    this.bots = await api.bots();
    if (this.panel === "bots") await this.#loadMailboxes();
    const isNews = this.bots.some((bot) => !known.has(bot.bot_id));
    if (isNews && this.isReady) for (const userId of this.phones) this.#readAhead(userId);
    this.changed();
  }

  async #loadMailboxes() {
    const live = this.bots.filter((bot) => bot.state === "live");
    const boxes = await Promise.all(live.map((bot) => api.mailbox(bot.bot_id)));
    this.mailboxes = new Map(boxes.map((box, i) => [live[i].bot_id, box]));
  }

  async #loadCodes() {
    const wasOpen = new Set(this.codes.filter((code) => OPEN_CODES.has(code.status)).map((code) => code.qrcode));
    this.codes = await api.codes();
    for (const code of this.codes) {
      if (wasOpen.has(code.qrcode) && !OPEN_CODES.has(code.status)) this.#codeEnded(code.qrcode);
    }
    this.changed();
  }

  #codeEnded(qrcode) {
    const forget = () => {
      this.#endedCodes.delete(qrcode);
      this.changed();
    };
    this.#endedCodes.set(qrcode, setTimeout(forget, ENDED_CODE_STAYS * 1000));
  }

  async #loadWire() {
    this.wire.add(await api.wire(this.wire.newest));
    this.changed();
  }

  #readAhead(userId) {
    for (const bot of this.bots.slice(-CHATS_READ_AHEAD)) {
      const chat = this.chat(userId, bot.bot_id);
      if (!chat.isLoaded) this.#refreshChat(chat);
    }
  }

  #refreshChat(chat) {
    const key = chatKey(chat.userId, chat.botId);
    let refresher = this.#chatRefreshers.get(key);
    if (!refresher) {
      const read = (after) => api.transcript(chat.botId, chat.userId, after);
      const task = async () => {
        await chat.update(read);
        this.changed();
      };
      refresher = new Refresher(() => this.#guarded(task), { pause: 50 });
      this.#chatRefreshers.set(key, refresher);
    }
    return refresher.run();
  }

  async #askTyping(userId, botId) {
    const chat = this.chat(userId, botId);
    const answer = await this.#guarded(() => api.typing(botId, userId));
    const isTyping = answer?.typing ?? false;
    clearTimeout(chat.typingCheck);
    // The indicator ends by itself on a phone, and nobody tells; so it is asked again while it shows.
    if (isTyping) chat.typingCheck = setTimeout(() => this.#askTyping(userId, botId), 2000);
    if (isTyping === chat.isTyping) return;
    chat.isTyping = isTyping;
    this.changed();
  }

  async #post(chat, draft) {
    this.changed();
    try {
      await api.say(chat.userId, chat.botId, draft.text);
    } catch (error) {
      draft.state = "failed";
      draft.why = error.status === 0 ? t("notice.unreachable") : error.message;
      this.changed();
      return;
    }
    chat.expectChange();
    await this.#refreshChat(chat);
    this.discardDraft(chat.userId, chat.botId, draft);
  }

  async #onCode(action) {
    const answer = await this.attempt(action);
    await this.#codesRefresher.run();
    return answer;
  }

  /** Run a background task; a gateway that cannot be reached shows as a lost link, any other failure as a notice. */
  async #guarded(task) {
    try {
      return await task();
    } catch (error) {
      if (error.status === 0) this.#lost();
      else this.notify(error);
      this.changed();
      return null;
    }
  }

  /** What a call would have brought is missing now, and the stream of events may never have noticed: read it all anew. */
  #lost() {
    this.link = "lost";
    this.#catchUp ??= setTimeout(() => {
      this.#catchUp = null;
      this.#guarded(() => this.#loadAll(readAddress()));
    }, CATCH_UP);
  }


  /** What a person looks at is read: the open chat of a visible phone, on a visible page. */
  #markRead() {
    if (document.hidden) return;
    let isNews = false;
    for (const userId of this.phones) {
      const botId = this.openChatOf(userId);
      const chat = botId && this.chat(userId, botId);
      if (!chat || chat.readTo >= chat.newest) continue;
      chat.readTo = chat.newest;
      this.#memory.read[chatKey(userId, botId)] = chat.newest;
      isNews = true;
    }
    if (isNews) writeMemory(this.#memory);
  }

  #placesChanged() {
    writeMemory(this.#memory);
    writeAddress({
      people: this.phones.map((userId) => this.#nameOrId(userId)),
      bot: this.activePerson === this.phones[0] ? this.openChatOf(this.activePerson) : null,
      panel: this.panel,
    });
    this.changed();
  }

  #nameOrId(userId) {
    const name = this.person(userId)?.name;
    return name && this.people.filter((person) => person.name === name).length === 1 ? name : userId;
  }
}

export const store = new Store();
