"""The long poll: what a poll brings is stored, then handed on, then the next one begins."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, Task
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Final, Protocol, TypeVar

from ilink.bot.clock import Clock
from ilink.bot.incidents import Incident, PollAbandoned, PollsShared, PollsSlowed
from ilink.bot.intake import Intake, Taken
from ilink.bot.stopping import StopSignal
from ilink.client.answers import Batch
from ilink.errors import IlinkError, StaleTokenError, StoreError, StoreLockedError
from ilink.flows.polling import (
    FAST,
    PollAfter,
    PollState,
    PollStep,
    Revive,
    Stop,
    after_batch,
    after_error,
    was_unanswered,
    zombie_after,
)
from ilink.storage.accounts import Position
from ilink.storage.journal import Journal
from ilink.wire.ids import Cursor

__all__ = ["Poller", "PollsUpdates"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_KEEP_CURSOR: Final = 30.0
"""Seconds a cursor that came without updates may stay in memory only."""

_HEAD_START: Final = 6
"""Turns of the event loop that what came has before the next poll: handled, stored, sent, if nothing waits longer."""

_GREETING: Final = 5.0
"""Seconds that are waited for an answer to notifystart; polling does not depend on it."""


class PollsUpdates(Protocol):
    """What a poller needs of a client."""

    async def get_updates(self, cursor: Cursor, *, hint_ms: int | None = None) -> Batch:
        """Wait for updates; see `Client.get_updates`."""
        ...

    async def notify_start(self) -> None:
        """Say that polling begins; see `Client.notify_start`."""
        ...

    async def notify_stop(self) -> None:
        """Say that polling ends; see `Client.notify_stop`."""
        ...


class Poller:
    """Polls for one account, across its logins.

    Args:
        position: Where polling goes on.
        intake: Stores what comes.
        journal: Keeps the position.
        clock: Source of time.
        random: Source of jitter.
        last_seconds: How long a poll may go on after the bot was told to stop; see `Policies.last_poll_seconds`.
        on_taken: Called with what a batch brought, once it is stored.
        on_answer: Called for every poll that was answered.
        on_incident: Called with what goes wrong without ending polling.
    """

    def __init__(
        self,
        position: Position,
        *,
        intake: Intake,
        journal: Journal,
        clock: Clock,
        random: Random,
        last_seconds: float,
        on_taken: Callable[[Taken], None],
        on_answer: Callable[[Batch], None],
        on_incident: Callable[[Incident], None],
    ) -> None:
        self._intake = intake
        self._journal = journal
        self._clock = clock
        self._random = random
        self._last_seconds = last_seconds
        self._on_taken = on_taken
        self._on_answer = on_answer
        self._on_incident = on_incident
        self._cursor = self._stored_cursor = position.cursor
        self._hint_ms = position.hint_ms
        self._cursor_kept_at = 0.0
        self._generation = 0
        self._wants_renewal = False
        self._limit: asyncio.Timeout | None = None
        self._ending: Task[None] | None = None
        self._began: float | None = None
        self._state = PollState()

    async def poll(self, client: PollsUpdates, *, generation: int, stop: StopSignal) -> bool:
        """Poll until the bot is stopped (False), or the token is refused for good or was replaced (True).

        Args:
            client: The way to the server.
            generation: Of the login the client has.
            stop: Ends it; what an answered poll brought is stored first.

        Raises:
            ApiError, TransportError, RemoteProtocolError: Polling cannot go on, and repeating it does not help.
            StoreLockedError: Another process took the journal over.
            StoreError: The store failed while the bot was to stop.
        """
        self._generation = generation
        self._state = PollState()
        self._wants_renewal = True
        stop.add_callback(self._on_stop)
        try:
            while not stop.is_set():
                if self._wants_renewal:
                    self._wants_renewal = False
                    await self._greet(client)
                    await self._check_owner()
                    continue
                step = await self._poll_once(client, stop)
                if isinstance(step, Stop):
                    if isinstance(step.error, StaleTokenError):
                        return True
                    raise step.error
                if isinstance(step, Revive):
                    await self._greet(client)
                elif step.seconds and not stop.is_set():
                    await self._unless_cut(self._clock.sleep(step.seconds))
            return False
        finally:
            stop.remove_callback(self._on_stop)
            if self._ending is not None:
                self._ending.cancel()
                self._ending = None

    def renew(self) -> None:
        """Give up the poll or pause under way and poll at once: the program was away, and its connection may be dead.

        Polling anew checks the session too: notifystart revives one that was idle too long (observed: ocw#155).
        """
        self._wants_renewal = True
        self._cut()

    def look(self) -> None:
        """Give up the poll under way if it should have been answered long ago."""
        if self._began is None or self._wants_renewal:
            return
        held = self._clock.monotonic() - self._began
        if held >= zombie_after(self._hint_ms):
            self._note_abandoned(held)
            self.renew()

    async def store_cursor(self) -> None:
        """Store where polling goes on, if that is not stored yet and is ours to say.

        Raises:
            StoreError: It is not stored; the next process begins where the stored one says.
        """
        if self._cursor == self._stored_cursor:
            return
        ingested = await self._journal.ingest(
            [],
            cursor=self._cursor,
            generation=self._generation,
            hint_ms=self._hint_ms,
            now_ms=self._clock.now_ms(),
        )
        if ingested.has_moved:
            self._stored_cursor = self._cursor

    async def _keep_cursor(self) -> bool:
        """Store where polling goes on; False when a newer login took over.

        A store that fails now is asked again later: nothing came, so nothing can be lost.
        """
        try:
            await self.store_cursor()
        except StoreLockedError:
            raise
        except StoreError as error:
            _log.warning("cannot store where polling goes on, trying again in %.0f s: %s", _KEEP_CURSOR, error)
            return True
        if self._cursor == self._stored_cursor:
            return True
        await self._check_owner()
        return False

    async def _greet(self, client: PollsUpdates) -> None:
        """Say that polling begins. What it is good for is unknown; the official client ignores failures as well."""
        with suppress(IlinkError):
            await self._unless_cut(client.notify_start(), seconds=_GREETING)

    async def _check_owner(self) -> None:
        """Make sure that nobody took the journal over while this process was away, or before it polled first."""
        try:
            is_ours = await self._journal.is_ours()
        except StoreError as error:  # whatever is stored next tells
            _log.warning("cannot tell whether the journal is still ours: %s", error)
            return
        if not is_ours:
            message = "another process took the journal of this account over; this one has stopped, and changes nothing"
            raise StoreLockedError(message)

    async def _poll_once(self, client: PollsUpdates, stop: StopSignal) -> PollStep:
        """Poll, store what came, and return what to do next."""
        began = self._began = self._clock.monotonic()
        try:
            batch = await self._unless_cut(client.get_updates(self._cursor, hint_ms=self._hint_ms))
        except IlinkError as error:
            _log.warning("polling failed: %s", error)
            self._state, step = after_error(self._state, error, jitter=self._random.random())
            return step
        finally:
            self._began = None
        if batch is None:  # stopped, or given up
            return PollAfter()
        held = self._clock.monotonic() - began
        if batch.is_cut and was_unanswered(held, self._hint_ms):
            self._note_abandoned(held)
        if not await self._take(batch, stop, is_live=held >= FAST):
            message = "this account was signed in again or out; this token is not used any more"
            return Stop(StaleTokenError(message, endpoint="getupdates"))
        self._on_answer(batch)
        return self._after(batch, held)

    async def _unless_cut(self, work: Coroutine[None, None, T], *, seconds: float | None = None) -> T | None:
        """Do something that `_cut` may end, in this task: a poll that is held has no other beside it."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                self._limit = limit
                return await work
        except TimeoutError:
            if not limit.expired():
                raise
            return None
        finally:
            self._limit = None

    def _cut(self) -> None:
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _on_stop(self) -> None:
        """Wait for nothing more but the answer of a poll, for a while: what the server hands out may not come again."""
        if self._began is None:
            self._cut()
        else:
            self._ending = asyncio.create_task(self._cut_late())

    async def _cut_late(self) -> None:
        await self._clock.sleep(self._last_seconds)
        self._cut()

    def _after(self, batch: Batch, held: float) -> PollStep:
        was_slowed, was_shared = self._state.is_slowed, self._state.is_shared
        self._state, step = after_batch(
            self._state,
            is_empty=not batch.updates,
            held=held,
            jitter=self._random.random(),
            hint_ms=None if batch.is_cut else batch.hint_ms,
        )
        if self._state.is_slowed and not was_slowed:
            _log.warning(
                "%d polls in a row came back empty at once: another program may poll with this token, or the server is"
                " broken; end the other one (a fleet on another database, an older process), or sign in again",
                self._state.fast_empties,
            )
            self._on_incident(PollsSlowed(self._state.fast_empties))
        if self._state.is_shared and not was_shared:
            _log.warning(
                "the server ended %.0f polls long before their time: most likely another program polls with this token;"
                " end the other one (a fleet on another database, an older process), or sign in again",
                self._state.short_empties,
            )
            self._on_incident(PollsShared(round(self._state.short_empties)))
        return step

    def _note_abandoned(self, held: float) -> None:
        _log.warning("a poll had no answer for %.0f s and was given up; polling anew", held)
        self._on_incident(PollAbandoned(held))

    async def _take(self, batch: Batch, stop: StopSignal, *, is_live: bool) -> bool:
        """Store what came, and hand it on; an idle poll writes nothing. False when a newer login took over."""
        self._hint_ms = batch.hint_ms
        if batch.updates:
            return await self._store(batch, stop, is_live=is_live)
        if batch.cursor != self._stored_cursor:
            now = self._clock.monotonic()
            if self._cursor == self._stored_cursor:
                self._cursor_kept_at = now
            self._cursor = batch.cursor
            if now - self._cursor_kept_at >= _KEEP_CURSOR:
                self._cursor_kept_at = now
                return await self._keep_cursor()
        return True

    async def _store(self, batch: Batch, stop: StopSignal, *, is_live: bool) -> bool:
        taken = await self._intake.take(batch, generation=self._generation, stop=stop, is_live=is_live)
        self._on_taken(taken)
        if not taken.has_moved:
            await self._check_owner()
            return False
        self._cursor = self._stored_cursor = batch.cursor
        # Handlers come first: what they say is on its way while the next poll is written.
        await _let_others_go_first(_HEAD_START)
        await self._intake.sync(stop=stop)  # the next poll acknowledges this batch
        return True


def _let_others_go_first(turns: int) -> Future[None]:
    """Wait for so many turns of the event loop; whoever waits is woken once, and costs nothing in between."""
    loop = asyncio.get_running_loop()
    waiter: Future[None] = loop.create_future()

    def count(left: int) -> None:
        if left:
            loop.call_soon(count, left - 1)
        elif not waiter.done():
            waiter.set_result(None)

    count(turns)
    return waiter
