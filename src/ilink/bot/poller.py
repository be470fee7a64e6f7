"""The long poll: what a poll brings is stored, then handed on, then the next one begins."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Event
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, Protocol

from ilink.bot.clock import Clock
from ilink.bot.intake import Intake, Taken
from ilink.bot.waiting import unless_set
from ilink.client.answers import Batch
from ilink.errors import IlinkError, StaleTokenError
from ilink.flows.polling import PollAfter, PollState, Revive, Stop, after_batch, after_error
from ilink.storage.accounts import Position
from ilink.storage.journal import Journal
from ilink.wire.ids import Cursor

__all__ = ["Poller", "PollsUpdates"]

_log = logging.getLogger(__name__)

_KEEP_CURSOR: Final = 30.0
"""Seconds a cursor that came without updates may stay in memory only."""


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
        on_taken: Called with what a batch brought, once it is stored.
        on_answer: Called for every poll that was answered.
    """

    def __init__(
        self,
        position: Position,
        *,
        intake: Intake,
        journal: Journal,
        clock: Clock,
        random: Random,
        on_taken: Callable[[Taken], None],
        on_answer: Callable[[Batch], None],
    ) -> None:
        self._intake = intake
        self._journal = journal
        self._clock = clock
        self._random = random
        self._on_taken = on_taken
        self._on_answer = on_answer
        self._cursor = self._stored_cursor = position.cursor
        self._hint_ms = position.hint_ms
        self._cursor_kept_at = 0.0
        self._generation = 0

    async def poll(self, client: PollsUpdates, *, generation: int, stop: Event) -> bool:
        """Poll until the bot is stopped (False) or the token is refused for good (True).

        Args:
            client: The way to the server.
            generation: Of the login the client has.
            stop: Ends it; what an answered poll brought is stored first.

        Raises:
            ApiError, TransportError, RemoteProtocolError: Polling cannot go on, and repeating it does not help.
            StoreError: The store failed while the bot was to stop.
        """
        self._generation = generation
        state = PollState()
        stopping = asyncio.create_task(stop.wait())
        try:
            with suppress(IlinkError):  # what it is good for is unknown; the official client ignores failures as well
                await client.notify_start()
            while not stop.is_set():
                began = self._clock.monotonic()
                try:
                    batch = await unless_set(stopping, client.get_updates(self._cursor, hint_ms=self._hint_ms))
                    if batch is None:
                        break
                except IlinkError as error:
                    state, step = after_error(state, error, jitter=self._random.random())
                    _log.warning("polling failed: %s", error)
                else:
                    await self._take(batch, stop)
                    self._on_answer(batch)
                    held = self._clock.monotonic() - began
                    state, step = after_batch(
                        state, is_empty=not batch.updates, held=held, jitter=self._random.random()
                    )
                match step:
                    case PollAfter():
                        if step.seconds:
                            await unless_set(stopping, self._clock.sleep(step.seconds))
                    case Revive():
                        with suppress(IlinkError):
                            await client.notify_start()
                    case Stop():
                        if isinstance(step.error, StaleTokenError):
                            return True
                        raise step.error
            return False
        finally:
            stopping.cancel()

    async def store_cursor(self) -> None:
        """Store where polling goes on, if that is not stored yet.

        Raises:
            StoreError: It is not stored; the next process begins where the stored one says.
        """
        if self._cursor == self._stored_cursor:
            return
        await self._journal.ingest(
            [],
            cursor=self._cursor,
            generation=self._generation,
            hint_ms=self._hint_ms,
            now_ms=self._clock.now_ms(),
        )
        self._stored_cursor = self._cursor

    async def _take(self, batch: Batch, stop: Event) -> None:
        """Store what a poll brought, and hand it on; an idle poll writes nothing."""
        self._hint_ms = batch.hint_ms
        if batch.updates:
            await self._store(batch, stop)
        elif batch.cursor != self._stored_cursor:
            now = self._clock.monotonic()
            if self._cursor == self._stored_cursor:
                self._cursor_kept_at = now
            self._cursor = batch.cursor
            if now - self._cursor_kept_at >= _KEEP_CURSOR:
                await self.store_cursor()

    async def _store(self, batch: Batch, stop: Event) -> None:
        taken = await self._intake.take(batch, generation=self._generation, stop=stop)
        self._cursor = self._stored_cursor = batch.cursor
        self._on_taken(taken)
