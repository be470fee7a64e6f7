"""The gateway as one object: what people, tests and the control API call.

    async with Gateway(folder) as gateway:
        app = ProtocolApp(gateway)          # ilink.gateway.http: an ASGI app for /ilink/bot/*

Bots come in through `gateway.door`. The methods here raise `UnknownThingError`, `ConflictError`,
`InvalidRequestError` and `KnobError`, and everything they changed is stored when they return.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Self

from ilink.errors import StoreError
from ilink.gateway.admission import Admission
from ilink.gateway.bots import Bot, Bots
from ilink.gateway.chats import Chats
from ilink.gateway.codes import Codes
from ilink.gateway.door import BotDoor
from ilink.gateway.events import EventStream
from ilink.gateway.faults import FaultBook
from ilink.gateway.joint import Joint
from ilink.gateway.keeping import Keeping
from ilink.gateway.knobs import Knobs
from ilink.gateway.linter import Linter, inspect_media
from ilink.gateway.mailboxes import Mailboxes
from ilink.gateway.media import MediaRoom, MediaWord
from ilink.gateway.opening import open_state
from ilink.gateway.peers import Peers
from ilink.gateway.people import People
from ilink.gateway.polls import Polls
from ilink.gateway.problems import UnknownThingError
from ilink.gateway.restarts import Restarts
from ilink.gateway.scene_file import Scene
from ilink.gateway.scenes import Scenes
from ilink.gateway.sends import Sends
from ilink.gateway.settings import Settings
from ilink.gateway.sharing import SWEEP_SECONDS, Sharing
from ilink.gateway.state import GatewayState
from ilink.gateway.tallies import Tallies
from ilink.gateway.timekeeping import Timekeeping
from ilink.gateway.typing_state import TypingState
from ilink.gateway.uploads import Uploads
from ilink.gateway.views import (
    BotView,
    ChatView,
    ClockView,
    CodeView,
    ConfigView,
    Direction,
    Entry,
    MailboxView,
    PersonView,
    Posted,
    Quote,
    TypingView,
    WireEntry,
)
from ilink.gateway.wire_log import Exchange, WireLog
from ilink.gateway.writing import Writing
from ilink.storage.blobs import BlobStore
from ilink.storage.gateway_stores import GatewayStores, open_gateway_stores
from ilink.wire.ids import AccountId, UserId

__all__ = ["Gateway"]

_READY_SECONDS: Final = 3.0
"""How long a store may take to write before it counts as one that does not."""


class Gateway:
    """Everything the gateway knows and does, without HTTP.

    Args:
        folder: Where its database lives; made if missing, readable by nobody else.
        api_url: What `baseurl` says after a login; may be set later with `set_urls`, once the port is known.
        cdn_url: The base of media URLs; likewise.
        seed: Makes ids, tokens and keys follow from it. None: unpredictable, which a reachable gateway needs.
        profile: A named set of knobs.
        knobs: Knobs that differ from the profile.
        synchronous: "FULL" survives a power cut; "NORMAL" the death of the process; "OFF" is for tests.
        blobs: Where files go; a folder beside the database by default.
        database_url: `postgresql://...` where the state lives instead of in the folder; other processes may share it.
        hints_url: `nats://...` where those processes tell each other what is new; by default through the database.
        sweep_seconds: How often each looks for what it was not told of.

    Attributes:
        admission: How much one address may ask.
        is_leaving: Whether it serves its last requests, which the readiness check tells.
        tallies: Counts of what happened since it opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api_url: str = "",
        cdn_url: str = "",
        seed: int | None = None,
        profile: str = "observed",
        knobs: Mapping[str, object] | None = None,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        blobs: BlobStore | None = None,
        database_url: str | None = None,
        hints_url: str | None = None,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._folder = folder
        self._blobs = blobs
        self._synchronous: Literal["FULL", "NORMAL", "OFF"] = synchronous
        self._seed = seed
        self._first_config = (profile, dict(knobs or {}))
        self._knobs = Knobs(profile, knobs)
        self.admission = Admission(self._knobs)
        self.tallies = Tallies()
        self._urls = (api_url.rstrip("/"), cdn_url.rstrip("/"))
        self._events = EventStream()
        self._wire = WireLog()
        self._linter = Linter()
        self._media: MediaRoom | None = None
        self._urls_of_state = (database_url, hints_url)
        self._sweep_seconds = sweep_seconds
        self.is_leaving = False
        self._exits: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        database_url, hints_url = self._urls_of_state
        async with AsyncExitStack() as exits:
            stores = await exits.enter_async_context(
                open_gateway_stores(
                    self._folder, database_url=database_url, hints_url=hints_url, synchronous=self._synchronous
                )
            )
            await self._open(stores, exits)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Answer every held poll empty, wait for what is being stored, and close."""
        exits, self._exits = self._exits, None
        if exits is None:
            return
        self.stop_waiting()
        await asyncio.sleep(0)  # those who were let go take their last step before the store closes
        try:
            await self._bots.store_progress()
        finally:
            self._state.clock.reset()
            self._media = None
            await exits.aclose()

    def stop_waiting(self) -> None:
        """Answer every held poll and every wait with what there is, now and from now on: the first step of stopping."""
        self._state.waiting.stop()
        self._events.aclose_readers()

    def set_urls(self, *, api_url: str, cdn_url: str) -> None:
        """Say where the gateway is reached, once its listeners know."""
        self._state.api_url = api_url.rstrip("/")
        self._state.cdn_url = cdn_url.rstrip("/")

    @property
    def events(self) -> EventStream:
        """What happens, as it happens: `async for event in gateway.events.follow(last_id)`."""
        return self._events

    @property
    def door(self) -> BotDoor:
        """Where bots come in; `ilink.gateway.http` puts HTTP before it."""
        return self._door

    @property
    def state(self) -> GatewayState:
        """What the gateway's parts share, for those that are added to it, such as the CDN."""
        return self._state

    @property
    def wire(self) -> WireLog:
        """Where the HTTP layer notes every exchange."""
        return self._wire

    @property
    def faults(self) -> FaultBook:
        """What is made to fail on purpose."""
        return self._faults

    def note(self, exchange: Exchange) -> None:
        """Look at a finished exchange, keep it in the wire log, and tell of it."""
        self._linter.look(exchange, now_ms=self._state.clock.now_ms())
        self.tallies.add(exchange)
        number = self._wire.add(exchange)
        data: dict[str, object] = {
            "id": number,
            "endpoint": exchange.endpoint,
            "bot_id": exchange.bot_id,
            "status": exchange.status,
            "ret": exchange.ret,
            "held_ms": exchange.held_ms,
        }
        self._state.publish("wire", data)

    @property
    def media(self) -> MediaRoom:
        """The blobs: what the CDN takes and gives, and what is shown of them."""
        assert self._media is not None, "open the gateway with `async with` first"
        return self._media

    async def add_person(self, name: str) -> PersonView:
        """Make a person. Names need not differ.

        Raises:
            InvalidRequestError: The name is empty or longer than 64 characters.
        """
        return await self._people.add(name)

    async def people(self) -> list[PersonView]:
        """Return all people, oldest first."""
        return await self._people.all()

    async def codes(self) -> list[CodeView]:
        """Return the login codes that are remembered, newest first."""
        return await self._codes.views()

    async def code(self, qrcode: str) -> CodeView:
        """Return one login code.

        Raises:
            UnknownThingError: There is none.
        """
        return await self._codes.view(qrcode)

    async def scan(self, qrcode: str, user_id: UserId) -> CodeView:
        """Let a person scan a code: it becomes `scaned`, `need_verifycode` or `binded_redirect`.

        Raises:
            UnknownThingError: There is no such code or person.
            ConflictError: The code is over, or somebody else scanned it.
        """
        return await self._codes.scan(qrcode, user_id)

    async def confirm(self, qrcode: str, *, user_id: UserId | None = None) -> CodeView:
        """Let the person tap "confirm": the code becomes `confirmed` and a bot exists, named in `bot_id`.

        Scans first when a person is given and nobody has.

        Raises:
            UnknownThingError: There is no such code or person.
            ConflictError: Nobody scanned it, the digits are still missing, or the code is over.
        """
        return await self._codes.confirm(qrcode, user_id)

    async def require_code(self, qrcode: str, code: str | None = None) -> CodeView:
        """Ask the client for the digits that the phone shows; None makes some.

        Raises:
            UnknownThingError: There is no such code.
            ConflictError: The code is over.
            InvalidRequestError: The digits are not as many digits as `qr.code_len` says.
        """
        return await self._codes.require_code(qrcode, code)

    async def redirect(self, qrcode: str, host: str) -> CodeView:
        """Send the client to another host, `name` or `name:port`; it always uses HTTPS there.

        Raises:
            UnknownThingError: There is no such code.
            ConflictError: The code is over.
            InvalidRequestError: The host is none.
        """
        return await self._codes.redirect(qrcode, host)

    async def expire_code(self, qrcode: str) -> CodeView:
        """End a code: it becomes `expired`. Cancelling on the phone looks the same.

        Raises:
            UnknownThingError: There is no such code.
        """
        return await self._codes.expire(qrcode)

    async def bots(self) -> list[BotView]:
        """Return all bots, oldest first."""
        return [self._bots.view(bot) for bot in await self._bots.all()]

    async def bot(self, bot_id: AccountId) -> BotView:
        """Return one bot.

        Raises:
            UnknownThingError: There is none.
        """
        return self._bots.view(await self._bots.get(bot_id))

    async def bot_numbered(self, number: int) -> Bot | None:
        """Return the bot that has a number in the store, or None."""
        return await self._bots.numbered(number)

    async def mailbox(self, bot_id: AccountId) -> MailboxView:
        """Look into a bot's mailbox without consuming anything.

        Raises:
            UnknownThingError: There is no such bot.
        """
        return await self._mailboxes.view(bot_id)

    async def expire_bot(self, bot_id: AccountId) -> None:
        """Make a bot's token stale: it answers -14 from now on, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
        """
        await self._bots.expire(bot_id)

    async def rebind_bot(self, bot_id: AccountId) -> None:
        """Let a bot's owner sign in somewhere else: its token dies as `bind.revoke_delay_s` says, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
            ConflictError: Its token is dead already.
        """
        await self._bots.rebind(bot_id)

    async def rotate_bot(self, bot_id: AccountId) -> None:
        """Begin a new generation of a bot's stream: cursors from before stop counting.

        Raises:
            UnknownThingError: There is no such bot.
        """
        await self._bots.rotate(bot_id)

    async def post_message(
        self,
        user_id: UserId,
        bot_id: AccountId,
        *,
        text: str | None = None,
        items: Sequence[Mapping[str, object]] | None = None,
        quote: Quote | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> Posted:
        """Let a person write to a bot; it is in the bot's mailbox when this returns, and a held poll is woken.

        Args:
            user_id: Who writes.
            bot_id: To whom.
            text: A text; or
            items: items as they shall travel, unread and unchanged, whatever they hold.
            quote: The message that is quoted, in the form that `quote.style` says; put on the first item.
            fields: Fields of the message to add or replace, to send what a well-behaved server would not.

        Raises:
            UnknownThingError: There is no such person, bot or quoted message.
            ConflictError: `bind.owner_only` is on and the person is not the bot's owner.
            InvalidRequestError: Neither or both of text and items were given.
        """
        return await self._writing.post(user_id, bot_id, text=text, items=items, quote=quote, fields=fields)

    async def post_media(
        self,
        user_id: UserId,
        bot_id: AccountId,
        kind: MediaWord,
        chunks: AsyncIterator[bytes],
        *,
        name: str = "",
        text: str | None = None,
        quote: Quote | None = None,
    ) -> Posted:
        """Let a person send a file to a bot: it is encrypted and stored in pieces, and then posted as a message.

        Args:
            user_id: Who sends it.
            bot_id: To whom.
            kind: What the phone sends it as.
            chunks: The plain bytes. Voice comes as WAV, which becomes SILK, or as it shall travel.
            name: Its file name.
            text: A text before it in the same message; with voice, what the phone understood.
            quote: As for `post_message`.

        Raises:
            UnknownThingError, ConflictError: As for `post_message`; nothing was read.
            InvalidRequestError: It is larger than `cdn.max_bytes`, or a WAV file that cannot be converted.
        """
        return await self._writing.post_file(user_id, bot_id, kind, chunks, name=name, text=text, quote=quote)

    async def transcript(
        self,
        bot_id: AccountId,
        user_id: UserId,
        *,
        after: int | None = 0,
        before: int | None = None,
        limit: int = 1000,
    ) -> list[Entry]:
        """Return a chat's entries, oldest first, refused sends included.

        Args:
            bot_id: The bot.
            user_id: The person.
            after: Only entries with a higher number, the first `limit` of them; None for the newest `limit`.
            before: Only entries with a lower number.
            limit: How many at most.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        bot = await self._bots.get(bot_id)
        await self._people.require(user_id)
        return await self._chats.page(bot, user_id, after=after, before=before, limit=limit)

    async def chats(self, *, user_id: UserId | None = None, limit: int = 500) -> list[ChatView]:
        """Return the chats in which somebody has written, of one person or of all, newest first."""
        return await self._chats.lines(user_id=user_id, limit=limit)

    async def mark_read(self, bot_id: AccountId, user_id: UserId, n: int) -> None:
        """Note that a person has seen a chat up to an entry; it never goes back.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        bot = await self._bots.get(bot_id)
        await self._people.require(user_id)
        await self._chats.mark_read(bot, user_id, n)

    async def wait_entries(
        self,
        bot_id: AccountId,
        user_id: UserId | None = None,
        *,
        after: int = 0,
        count: int = 1,
        direction: Direction | None = None,
        timeout: float = 10.0,
    ) -> list[Entry]:
        """Return as `transcript` as soon as `count` entries of the direction exist, or what there is after `timeout`.

        The timeout is in real seconds, whatever the gateway's clock does. Without a person: any chat of the bot.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        bot = await self._bots.get(bot_id)
        if user_id is not None:
            await self._people.require(user_id)
        records = await self._writing.wait(bot, user_id, after, count, direction, timeout)
        return await self._chats.entries(records, bot)

    async def wait_code(self, *, timeout: float = 10.0) -> CodeView | None:
        """Return the newest code that nobody has scanned as soon as there is one; None after `timeout` real seconds."""
        return await self._codes.wait_unscanned(timeout)

    def typing(self, bot_id: AccountId, user_id: UserId) -> TypingView:
        """Return whether the bot is seen typing to the person now; a bot or person that is none types never."""
        return self._typing.view(bot_id, user_id)

    async def message(self, message_id: str) -> Entry:
        """Return the entry with a message id.

        Raises:
            UnknownThingError: There is none.
        """
        record = await self._writing.record(message_id)
        bot = next((bot for bot in await self._bots.all() if bot.number == record.bot), None)
        if bot is None:
            raise UnknownThingError("message", message_id)
        (entry,) = await self._chats.entries([record], bot)
        return entry

    def config(self) -> ConfigView:
        """Return the profile, every knob, and what differs for bots and people."""
        return self._settings.view()

    async def config_of(self, *, bot_id: AccountId | None = None, user_id: UserId | None = None) -> ConfigView:
        """Return the knobs as they are for a bot, for a person, or for what both do with each other.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        return await self._settings.view_of(bot_id, user_id)

    async def configure(
        self,
        *,
        profile: str | None = None,
        knobs: Mapping[str, object] | None = None,
        bot_id: AccountId | None = None,
        user_id: UserId | None = None,
    ) -> ConfigView:
        """Choose a profile, which sets every knob, and then set single knobs; all or nothing.

        Args:
            profile: A named set of knobs.
            knobs: Single knobs by name.
            bot_id: For this bot only; or
            user_id: for what this person and bots do with each other only. Without either: for the whole gateway,
                where nothing else is set. A person's values come before a bot's, and a bot's before the gateway's.

        Raises:
            KnobError: A name or value is wrong, or a knob cannot be set for a bot or person; nothing was changed.
            InvalidRequestError: Both a bot and a person were given.
            UnknownThingError: There is no such bot or person.
        """
        await self._joint.catch_up()
        view = await self._settings.change(profile=profile, knobs=knobs, bot_id=bot_id, user_id=user_id)
        await self._joint.tell()
        self._state.publish("config", {"bot_id": bot_id, "user_id": user_id})
        return view

    async def drop_config(self, *, bot_id: AccountId | None = None, user_id: UserId | None = None) -> None:
        """Let no knob differ any more for a bot, or for a person, or without either for anybody.

        Raises:
            InvalidRequestError, UnknownThingError: As for `configure`.
        """
        await self._joint.catch_up()
        await self._settings.drop(bot_id=bot_id, user_id=user_id)
        await self._joint.tell()
        self._state.publish("config", {"bot_id": bot_id, "user_id": user_id})

    def clock(self) -> ClockView:
        """Return the gateway's own time."""
        return self._time.view()

    async def advance_clock(self, seconds: float) -> ClockView:
        """Move the time forward; whatever waits for a moment that has come is woken.

        Raises:
            InvalidRequestError: The number is negative or no finite number, or leads beyond the year 9000.
        """
        await self._joint.catch_up()
        view = await self._time.advance(seconds)
        await self._joint.tell()
        await self._keeping.keep()
        return view

    async def freeze_clock(self, *, frozen: bool) -> ClockView:
        """Stop the time, held polls' included, or let it run on from where it stands."""
        await self._joint.catch_up()
        view = await self._time.freeze(frozen=frozen)
        await self._joint.tell()
        return view

    async def reset(self, seed: int | None = None, *, now: datetime | None = None) -> None:
        """Forget people, codes, bots, messages, faults, wire and events; ids, tokens and keys follow from the seed.

        Held polls and waits end first, with what there is. The gateway's knobs stay, and what differed for bots and
        people goes with them. The clock runs and shows real time.

        Args:
            seed: None for unpredictable ones.
            now: Where the clock stands still instead. With a seed and a moment, the same requests in the same order
                get the same answers, byte for byte.

        Raises:
            InvalidRequestError: The moment is before 1970 or after 9000; nothing was forgotten.
        """
        await self._joint.catch_up()
        await self._restarts.reset(seed, now=now)
        await self._joint.tell(is_reset=True)

    async def scene(self) -> Scene:
        """Return people, bots, chats, files and knobs as a scene, which `load_scene` takes again."""
        return await self._scenes.save()

    async def load_scene(self, scene: Scene) -> None:
        """Put a scene in the place of people, codes, bots, messages, faults, wire and events.

        Held polls and waits end first. Knobs are as the scene says; one without any leaves them. Time goes forward to
        the scene's newest message if that is in the future, and never back.

        Raises:
            InvalidRequestError: Something in the scene cannot be, and the message says where; nothing was replaced.
            KnobError: A knob's name or value is wrong; likewise.
        """
        await self._joint.catch_up()
        await self._restarts.load(scene)
        await self._joint.tell(is_reset=True)

    async def share_faults(self) -> None:
        """Let other processes on the same store have the faults that were set or removed here."""
        await self._joint.tell()

    async def catch_up(self) -> None:
        """Take up what other processes on the same store changed of knobs, time and faults."""
        await self._joint.catch_up()

    def _forget(self) -> None:
        """Forget what is kept in memory of a state that is no more."""
        self._people.forget()
        self._state.waiting.release()  # who came while the store was cleared waits for a bot that is no more
        self._bots.forget()
        self._codes.forget()
        self._typing.forget()
        self._faults.forget()
        self._keeping.forget()
        self._wire.clear()
        self._linter.forget()
        self._events.clear()

    def wire_log(
        self, *, since: int = 0, bot_id: str | None = None, endpoint: str | None = None, limit: int = 1000
    ) -> list[WireEntry]:
        """Return what is kept of the wire after an id, oldest first, redacted."""
        return self._wire.entries(since=since, bot_id=bot_id, endpoint=endpoint, limit=limit)

    async def is_writable(self) -> bool:
        """Tell whether the store takes writes: the readiness check."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._state.store.put_meta({"checked": str(self._state.clock.now_ms())})
        except (StoreError, TimeoutError):
            return False
        return True

    @property
    def now(self) -> datetime:
        """The gateway's own time, aware and in UTC."""
        return self._state.now

    async def _open(self, stores: GatewayStores, exits: AsyncExitStack) -> None:
        """Take up what is stored: keys, seed, knobs, time and codes."""
        store = stores.gateway
        meta = await store.meta()
        self._state = await open_state(
            store,
            meta=meta,
            seed=self._seed,
            knobs=self._knobs,
            first_config=self._first_config,
            events=self._events,
            peers=Peers(stores.hints, is_shared=stores.is_shared),
            urls=self._urls,
        )
        self._build()
        self._settings.load(meta)
        await self._codes.load()
        self._media = await exits.enter_async_context(
            MediaRoom(
                self._state,
                self._folder,
                records=stores.media,
                owner_of=self._owner_of,
                blobs=self._blobs,
                is_shared=stores.is_shared,
            )
        )
        self._furnish(self._media)
        await self._joint.open()
        await exits.enter_async_context(self._sharing.at_work())
        await exits.enter_async_context(self._keeping.at_work())

    def _furnish(self, media: MediaRoom) -> None:
        """Build what needs the blobs, which open last."""
        self._chats = Chats(self._state, self._bots, media)
        self._mailboxes = Mailboxes(self._state, self._bots, self._chats)
        self._scenes = Scenes(self._state, self._bots, media)
        self._restarts = Restarts(
            self._state,
            bots=self._bots,
            media=media,
            scenes=self._scenes,
            settings=self._settings,
            time=self._time,
            forget=self._forget,
        )

    def _build(self) -> None:
        self._faults = FaultBook(self._state)
        self._bots = Bots(self._state)
        self._settings = Settings(self._state, self._bots)
        self._codes = Codes(self._state, self._bots)
        self._polls = Polls(self._state, self._bots)
        self._typing = TypingState(self._state)
        self._people = People(self._state)
        self._time = Timekeeping(self._state)
        self._keeping = Keeping(self._state)
        self._writing = Writing(
            self._state, bots=self._bots, people=self._people, polls=self._polls, media=lambda: self.media
        )
        self._joint = Joint(
            self._state, settings=self._settings, time=self._time, faults=self._faults, forget=self._forget
        )
        self._sharing = Sharing(
            self._state,
            joint=self._joint,
            bots=self._bots,
            codes=self._codes,
            polls=self._polls,
            writing=self._writing,
            typing=self._typing,
            sweep_seconds=self._sweep_seconds,
        )
        self._door = BotDoor(
            self._state,
            bots=self._bots,
            codes=self._codes,
            polls=self._polls,
            sends=Sends(self._state),
            typing=self._typing,
            uploads=Uploads(self._state),
            on_entry=self._writing.note_entry,
            inspect=lambda bot, items: inspect_media(self.media, bot.number, items),
        )

    async def _owner_of(self, number: int) -> str | None:
        bot = await self._bots.numbered(number)
        return None if bot is None else bot.owner_user_id
