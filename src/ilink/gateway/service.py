"""The gateway as one object: what people, tests and the control API call.

    async with Gateway(folder) as gateway:
        app = ProtocolApp(gateway)          # ilink.gateway.http: an ASGI app for /ilink/bot/*

Bots come in through `gateway.door`. The methods here raise `UnknownThingError`, `ConflictError`,
`InvalidRequestError` and `KnobError`, and everything they changed is stored when they return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Self

from ilink.errors import StoreError
from ilink.gateway.admission import Admission
from ilink.gateway.bots import Bots
from ilink.gateway.chat_room import ChatRoom
from ilink.gateway.chats import Chats
from ilink.gateway.codes import Codes
from ilink.gateway.door import BotDoor
from ilink.gateway.events import EventStream
from ilink.gateway.faults import FaultBook
from ilink.gateway.joint import Joint
from ilink.gateway.keeping import Keeping
from ilink.gateway.knobs import Knobs
from ilink.gateway.linter import Linter, inspect_media
from ilink.gateway.machine_room import MachineRoom
from ilink.gateway.mailboxes import Mailboxes
from ilink.gateway.media import MediaRoom
from ilink.gateway.opening import open_state
from ilink.gateway.peers import Peers
from ilink.gateway.people import People
from ilink.gateway.people_room import PeopleRoom
from ilink.gateway.polls import Polls
from ilink.gateway.restarts import Restarts
from ilink.gateway.scenes import Scenes
from ilink.gateway.sends import Sends
from ilink.gateway.settings import Settings
from ilink.gateway.sharing import SWEEP_SECONDS, Sharing
from ilink.gateway.state import GatewayState
from ilink.gateway.tallies import Tallies
from ilink.gateway.timekeeping import Timekeeping
from ilink.gateway.typing_state import TypingState
from ilink.gateway.uploads import Uploads
from ilink.gateway.wire_log import Exchange, WireLog
from ilink.gateway.writing import Writing
from ilink.storage.blobs import BlobStore
from ilink.storage.gateway_stores import GatewayStores, open_gateway_stores

__all__ = ["Gateway"]

_READY_SECONDS: Final = 3.0
"""How long a store may take to write before it counts as one that does not."""


class Gateway(PeopleRoom, ChatRoom, MachineRoom):
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

    async def is_writable(self) -> bool:
        """Tell whether the store takes writes: the readiness check."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._state.store.check(at_ms=self._state.clock.now_ms())
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
