"""Saving the gateway's state as a scene, and putting a scene in its place."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from msgspec import UNSET

from ilink.gateway.bots import Bot, Bots
from ilink.gateway.clock import as_datetime
from ilink.gateway.ids import MESSAGE_ID_BASE
from ilink.gateway.knob_table import profile_values
from ilink.gateway.knobs import Knobs, Override, Scope
from ilink.gateway.mail import inbound_outline, text_items
from ilink.gateway.media import MediaRoom
from ilink.gateway.problems import InvalidRequestError, KnobError
from ilink.gateway.scene_file import (
    SCENE_VERSION,
    Scene,
    SceneBot,
    SceneFile,
    SceneMessage,
    SceneOverride,
    ScenePerson,
    SceneRead,
)
from ilink.gateway.state import GatewayState
from ilink.gateway.transcripts import entry_state, wire_message
from ilink.storage.gateway import BotRecord, ChatRecord, EntryRecord, PersonRecord, SavedState
from ilink.wire.codec import is_array, is_object
from ilink.wire.enums import ItemType, MessageState, MessageType

__all__ = ["Scenes"]

_PAGE = 1000
_MOST_FILE_BYTES = 24 << 20
"""Files of a scene are saved up to here; those beyond are named and left out."""

_WORDS = {
    int(ItemType.IMAGE): ("image", "image_item"),
    int(ItemType.VOICE): ("voice", "voice_item"),
    int(ItemType.FILE): ("file", "file_item"),
    int(ItemType.VIDEO): ("video", "video_item"),
}

_NEVER_MS = 1 << 62

_READ_STATES = ("stored", "handed_out", "acked")
"""The states of a person's message, in the order in which it goes through them."""


class Scenes:
    """The two ways between a gateway's store and a file."""

    def __init__(self, state: GatewayState, bots: Bots, media: MediaRoom) -> None:
        self._state = state
        self._bots = bots
        self._media = media

    async def save(self) -> Scene:
        """Return everything that is worth sharing: no tokens, only what they are checked with."""
        state = self._state
        usual = profile_values(state.knobs.profile)
        bots = await self._bots.all()
        records = [record for bot in bots for record in await self._entries(bot)]
        records.sort(key=lambda record: record.n)
        places = {record.n: place for place, record in enumerate(records)}
        names = {bot.number: bot for bot in bots}
        room = [_MOST_FILE_BYTES]
        return Scene(
            ilink_scene=SCENE_VERSION,
            saved_at=state.now,
            profile=state.knobs.profile,
            knobs={name: value for name, value in state.knobs.values.items() if value != usual[name]},
            overrides=[_scene_override(override) for override in state.knobs.overrides],
            people=[ScenePerson(name=one.name, id=one.user_id) for one in await state.store.people()],
            bots=[_scene_bot(bot) for bot in bots],
            messages=[await self._message(record, names[record.bot], room) for record in records],
            read=[
                SceneRead(person=line.user_id, bot=names[line.bot].bot_id, message=places[line.read_to])
                for line in await state.store.chat_lines(user_id=None, limit=1_000_000)
                if line.read_to in places
            ],
        )

    async def prepare(self, scene: Scene) -> tuple[SavedState, list[Override]]:
        """Check a scene and store its files.

        Returns:
            What takes the place of everything in the store, and the knobs that differ for its bots and people.

        Raises:
            InvalidRequestError: Something in it cannot be, and the message says where. Nothing was replaced, and no
                file was kept.
        """
        known = await self._media.names()
        draft = _Draft(self._state)
        draft.add_people(scene.people)
        draft.add_bots(scene.bots)
        overrides = draft.overrides(scene.overrides)
        try:
            for place, message in enumerate(scene.messages):
                await self._add(draft, place, message)
            draft.add_marks(scene.read)
        except BaseException:
            await self._media.drop(await self._media.names() - known)
            raise
        return draft.done(), overrides

    async def _entries(self, bot: Bot) -> list[EntryRecord]:
        records: list[EntryRecord] = []
        page: list[EntryRecord] | None = None
        while page is None or len(page) == _PAGE:
            after = records[-1].n if records else 0
            page = await self._state.store.entries(bot.number, user_id=None, after=after, limit=_PAGE)
            records += page
        return records

    async def _message(self, record: EntryRecord, bot: Bot, room: list[int]) -> SceneMessage:
        raw = wire_message(record).get("item_list")
        items = [item for item in (raw if is_array(raw) else []) if is_object(item)]
        message = SceneMessage(
            person=record.user_id,
            bot=bot.bot_id,
            direction="out" if record.is_outgoing else "in",
            items=[await self._item(item, bot, room) for item in items],
            at=as_datetime(record.at_ms),
            client_id=record.client_id,
            id=str(MESSAGE_ID_BASE + record.n),
        )
        message.state = entry_state(record, bot, now_ms=_NEVER_MS)  # one whose showing is delayed counts as shown
        message.why = UNSET if record.why is None else record.why
        message.cut = UNSET if record.cut is None else record.cut
        return message

    async def _item(self, item: dict[str, object], bot: Bot, room: list[int]) -> dict[str, object]:
        """Return an item with its file in it, if it has one that is kept and there is room."""
        kind = item.get("type")
        word, name = _WORDS.get(kind, ("", "")) if isinstance(kind, int) else ("", "")
        payload = item.get(name)
        reference = payload.get("media") if is_object(payload) else None
        param = reference.get("encrypt_query_param") if is_object(reference) else None
        found = await self._media.behind(bot.number, param) if isinstance(param, str) else None
        if not is_object(payload) or found is None or found.facts is None or found.facts.plain_bytes > room[0]:
            return item
        room[0] -= found.facts.plain_bytes
        data = b"".join([bytes(chunk) async for chunk in self._media.plain(found)])
        file: dict[str, object] = {"kind": word, "data": data}
        file_name = payload.get("file_name") or found.name
        if isinstance(file_name, str) and file_name:
            file["name"] = file_name[:255]
        if word == "voice" and isinstance(payload.get("text"), str):
            file["text"] = payload["text"]
        return {"file": file, "ref_msg": item["ref_msg"]} if "ref_msg" in item else {"file": file}

    async def _add(self, draft: _Draft, place: int, message: SceneMessage) -> None:
        where = f"messages[{place}]"
        bot, user_id = draft.bot(message.bot, where), draft.person(message.person, where)
        if (message.text is UNSET) == (message.items is UNSET):
            raise InvalidRequestError(f"{where}: a message has either `text` or `items`")
        at_ms = self._state.clock.now_ms() if message.at is UNSET else _milliseconds(message.at)
        if message.items is UNSET:
            items = text_items("" if message.text is UNSET else message.text, at_ms)
        else:
            items = [
                await self._read_item(item, bot.number, user_id, f"{where}.items[{i}]")
                for i, item in enumerate(message.items)
            ]
        draft.add(bot, user_id, message, [_renumbered(item, draft.ids) for item in items], at_ms, where)

    async def _read_item(self, item: dict[str, object], bot: int, user_id: str, where: str) -> dict[str, object]:
        if "file" not in item:
            return item
        others = set(item) - {"file", "ref_msg"}
        if others:
            raise InvalidRequestError(f"{where}: beside `file` there is only `ref_msg`, not `{min(others)}`")
        try:
            file = msgspec.convert(item["file"], SceneFile)
        except msgspec.ValidationError as error:
            raise InvalidRequestError(f"{where}.file: {error}") from error
        try:
            made = await self._media.add_inbound(
                bot, file.kind, _once(file.data), user_id=user_id, name=file.name, transcript=file.text
            )
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{where}.file: {error}") from error
        return {**made, "ref_msg": item["ref_msg"]} if "ref_msg" in item else made


@dataclass(slots=True)
class _Chat:
    """What a chat's window is made of, as messages come in."""

    last_inbound_ms: int
    sends: int
    context_token: str


@dataclass(slots=True)
class _Mailbox:
    """A bot on its way into the store."""

    number: int
    bot: SceneBot
    bot_id: str
    owner_user_id: str
    token_hash: bytes
    head_seq: int = 0
    handed_seq: int = 0
    acked_seq: int = 0


@dataclass(slots=True)
class _Draft:
    """A state on its way into the store; whatever is added is checked against what is there."""

    state: GatewayState
    ids: dict[str, str] = field(default_factory=dict[str, str])
    """Message ids of the file, and what they are now."""
    _people: dict[str, PersonRecord] = field(default_factory=dict[str, PersonRecord])
    _bots: dict[str, _Mailbox] = field(default_factory=dict[str, "_Mailbox"])
    _people_names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    _bot_names: dict[str, str] = field(default_factory=dict[str, str])
    _chats: dict[tuple[int, str], _Chat] = field(default_factory=dict[tuple[int, str], "_Chat"])
    _entries: list[EntryRecord] = field(default_factory=list[EntryRecord])
    _marks: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])

    def add_people(self, people: list[ScenePerson]) -> None:
        """Add everybody."""
        for place, one in enumerate(people):
            name = one.name.strip()
            if not name:
                raise InvalidRequestError(f"people[{place}].name: a name of blanks is none")
            user_id = str(self.state.ids.person()) if one.id is UNSET else one.id
            if user_id in self._people:
                raise InvalidRequestError(f"people[{place}].id: {user_id!r} is there twice")
            self._people[user_id] = PersonRecord(user_id=user_id, name=name, created_ms=self.state.clock.now_ms())
            self._people_names.setdefault(name, []).append(user_id)

    def add_bots(self, bots: list[SceneBot]) -> None:
        """Add the bots of people who are there already."""
        for place, one in enumerate(bots):
            where = f"bots[{place}]"
            bot_id = str(self.state.ids.bot()) if one.id is UNSET else one.id
            if bot_id in self._bots:
                raise InvalidRequestError(f"{where}.id: {bot_id!r} is there twice")
            if one.name is not UNSET and self._bot_names.setdefault(one.name, bot_id) != bot_id:
                raise InvalidRequestError(f"{where}.name: {one.name!r} is there twice")
            owner = self.person(one.owner, where, "owner")
            self._bots[bot_id] = _Mailbox(len(self._bots) + 1, one, bot_id, owner, self._token_hash(one, bot_id, where))

    def overrides(self, overrides: list[SceneOverride]) -> list[Override]:
        """Return what differs for bots and people who are there already."""
        knobs = Knobs()
        for place, one in enumerate(overrides):
            where = f"overrides[{place}]"
            profile = None if one.profile is UNSET else one.profile
            try:
                knobs.put_override(knobs.changed_override(self._scope(one, where), profile=profile, knobs=one.knobs))
            except KnobError as error:
                raise InvalidRequestError(f"{where}: {error}") from error
        return knobs.overrides

    def _scope(self, one: SceneOverride, where: str) -> Scope:
        if one.bot is not UNSET and one.person is UNSET:
            bot = self.bot(one.bot, where)
            return Scope("bot", bot.bot_id, bot.number)
        if one.person is not UNSET and one.bot is UNSET:
            return Scope("person", self.person(one.person, where))
        raise InvalidRequestError(f"{where}: knobs differ for a `bot` or for a `person`: name one of the two")

    def person(self, name: str, where: str, what: str = "person") -> str:
        """Return the id of a person who is named by id or by name."""
        if name in self._people:
            return name
        found = self._people_names.get(name, [])
        if len(found) == 1:
            return found[0]
        problem = "there is no person" if not found else "there are several people called"
        raise InvalidRequestError(f"{where}.{what}: {problem} {name!r} in `people`")

    def bot(self, name: str, where: str) -> _Mailbox:
        """Return a bot that is named by id or by name."""
        found = self._bots.get(self._bot_names.get(name, name))
        if found is None:
            raise InvalidRequestError(f"{where}.bot: there is no bot {name!r} in `bots`")
        return found

    def add(
        self,
        bot: _Mailbox,
        user_id: str,
        message: SceneMessage,
        items: list[dict[str, object]],
        at_ms: int,
        where: str,
    ) -> None:
        """Add a message to its chat."""
        n = len(self._entries) + 1
        if message.id is not UNSET:
            self.ids[message.id] = str(MESSAGE_ID_BASE + n)
        is_outgoing = message.direction == "out"
        state = message.state if message.state is not UNSET else "shown" if is_outgoing else "acked"
        if is_outgoing == (state in _READ_STATES):
            way = "shown, not_shown or refused" if is_outgoing else ", ".join(_READ_STATES)
            raise InvalidRequestError(f"{where}.state: a message that goes {message.direction} is {way}, not {state}")
        chat = self._chats.get((bot.number, user_id))
        if is_outgoing:
            if chat is not None and state != "refused":
                chat.sends += 1
            wire = _sent_message(user_id, message.client_id, items)
        else:
            chat = self._chats[bot.number, user_id] = _Chat(at_ms, 0, self.state.ids.context_token())
            self._move_on(bot, state, where)
            wire = inbound_outline(
                user_id=user_id,
                bot_id=bot.bot_id,
                bot_number=bot.number,
                client_id=message.client_id,
                context_token=chat.context_token,
                at_ms=at_ms,
                items=items,
                fields={},
            ).filled(n, bot.head_seq)
        self._entries.append(
            EntryRecord(
                n=n,
                bot=bot.number,
                user_id=user_id,
                is_outgoing=is_outgoing,
                seq=None if is_outgoing else bot.head_seq,
                client_id=message.client_id,
                at_ms=at_ms,
                state=state if is_outgoing else "stored",
                shown_ms=None,
                why=None if message.why is UNSET else message.why,
                cut=None if message.cut is UNSET else message.cut,
                wire=wire,
            )
        )

    def add_marks(self, marks: list[SceneRead]) -> None:
        """Add how far people have read."""
        for place, mark in enumerate(marks):
            where = f"read[{place}]"
            bot, user_id = self.bot(mark.bot, where), self.person(mark.person, where)
            entry = self._entries[mark.message] if mark.message < len(self._entries) else None
            if entry is None or (entry.bot, entry.user_id) != (bot.number, user_id):
                raise InvalidRequestError(f"{where}.message: messages[{mark.message}] is none of this chat")
            self._marks[bot.number, user_id] = entry.n

    def done(self) -> SavedState:
        """Return the whole."""
        return SavedState(
            people=list(self._people.values()),
            bots=[self._record(bot) for bot in self._bots.values()],
            entries=self._entries,
            chats=[
                (
                    number,
                    ChatRecord(
                        user_id=user_id,
                        last_inbound_ms=chat.last_inbound_ms,
                        sends=chat.sends,
                        context_token=chat.context_token,
                    ),
                )
                for (number, user_id), chat in self._chats.items()
            ],
            read_marks=[(number, user_id, n) for (number, user_id), n in self._marks.items()],
        )

    def _move_on(self, bot: _Mailbox, state: str, where: str) -> None:
        """Put one more message into a mailbox; what came earlier was read at least as far as what comes later."""
        bot.head_seq += 1
        if state in ("acked", "handed_out"):
            if bot.handed_seq != bot.head_seq - 1:
                raise InvalidRequestError(f"{where}.state: {state}, though an earlier message to this bot is stored")
            bot.handed_seq = bot.head_seq
        if state == "acked":
            if bot.acked_seq != bot.head_seq - 1:
                raise InvalidRequestError(f"{where}.state: acked, though an earlier message to this bot is not")
            bot.acked_seq = bot.head_seq

    def _record(self, mailbox: _Mailbox) -> BotRecord:
        now_ms = self.state.clock.now_ms()
        return BotRecord(
            number=mailbox.number,
            bot_id=mailbox.bot_id,
            owner_user_id=mailbox.owner_user_id,
            state=mailbox.bot.state,
            generation=mailbox.bot.generation,
            created_ms=now_ms,
            token_hash=mailbox.token_hash,
            revoke_ms=now_ms if mailbox.bot.state == "replaced" else None,
            head_seq=mailbox.head_seq,
            handed_seq=mailbox.handed_seq,
            acked_seq=mailbox.acked_seq,
            last_poll_ms=None,
            is_notified=False,
        )

    def _token_hash(self, bot: SceneBot, bot_id: str, where: str) -> bytes:
        if bot.token is not UNSET and bot.token_hash is not UNSET:
            raise InvalidRequestError(f"{where}: give `token` or `token_hash`, not both")
        if bot.token_hash is not UNSET:
            return bytes.fromhex(bot.token_hash)
        if bot.token is UNSET:
            return self.state.ids.draw("token", 32)
        if not bot.token.startswith(f"{bot_id}:"):
            raise InvalidRequestError(f"{where}.token: the token of this bot begins with {bot_id!r} and a colon")
        return hashlib.sha256(bot.token.encode()).digest()


def _scene_bot(bot: Bot) -> SceneBot:
    return SceneBot(
        id=bot.bot_id,
        owner=bot.owner_user_id,
        state=bot.state,
        generation=bot.generation,
        token_hash=bot.token_hash.hex(),
    )


def _scene_override(override: Override) -> SceneOverride:
    one = SceneOverride(knobs=dict(override.knobs))
    one.profile = UNSET if override.profile is None else override.profile
    if override.scope.kind == "bot":
        one.bot = override.scope.id
    else:
        one.person = override.scope.id
    return one


def _sent_message(user_id: str, client_id: str, items: list[dict[str, object]]) -> bytes:
    message: dict[str, object] = {
        "to_user_id": user_id,
        "client_id": client_id,
        "message_type": int(MessageType.BOT),
        "message_state": int(MessageState.FINISH),
        "item_list": items,
    }
    return msgspec.json.encode({"msg": message})


def _renumbered(item: dict[str, object], ids: dict[str, str]) -> dict[str, object]:
    """Return an item whose quote names messages as they are called now."""
    quote = item.get("ref_msg")
    if not is_object(quote):
        return item
    renewed = dict(quote)
    old = renewed.get("svr_id")
    if isinstance(old, str):
        renewed["svr_id"] = ids.get(old, old)
    inner = renewed.get("message_item")
    if is_object(inner) and isinstance(inner.get("msg_id"), str):
        renewed["message_item"] = {**inner, "msg_id": ids.get(str(inner["msg_id"]), inner["msg_id"])}
    return {**item, "ref_msg": renewed}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
