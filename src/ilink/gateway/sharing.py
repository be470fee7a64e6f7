"""One process among several on the same store: what it hears from the others, and how it finds what it did not hear.

The store holds everything that counts, and a poll, a send or a call of the control API looks into it before it answers.
What is left are those who wait: they are woken by hints, and a sweep every few seconds finds what a hint that got lost
was about. So a lost hint costs time and never a message.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from ilink.errors import StoreError
from ilink.gateway.bots import Bots
from ilink.gateway.codes import Codes
from ilink.gateway.events import EventKind
from ilink.gateway.joint import Joint
from ilink.gateway.polls import Polls
from ilink.gateway.state import GatewayState
from ilink.gateway.typing_state import TypingState
from ilink.gateway.writing import Writing

__all__ = ["SWEEP_SECONDS", "Sharing"]

_log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 5.0
"""How often a process looks for what no hint told it of, on average."""


@dataclass(slots=True)
class _Heard:
    """What hints were about, until somebody looks."""

    bots: set[int] = field(default_factory=set[int])
    codes: set[str] = field(default_factory=set[str])
    state: bool = False
    everything: bool = False


class Sharing:
    """Keeps one process in step with the others.

    Args:
        state: What the rules share.
        joint: What all have alike.
        bots: The bots.
        codes: The login codes.
        polls: getupdates.
        writing: Whoever waits for entries.
        typing: Who is seen typing.
        sweep_seconds: How often to look for what no hint told of.
    """

    def __init__(
        self,
        state: GatewayState,
        *,
        joint: Joint,
        bots: Bots,
        codes: Codes,
        polls: Polls,
        writing: Writing,
        typing: TypingState,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._state = state
        self._joint = joint
        self._bots = bots
        self._codes = codes
        self._polls = polls
        self._writing = writing
        self._typing = typing
        self._sweep_seconds = sweep_seconds
        self._heard = _Heard()
        self._news = asyncio.Event()

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        """Hear the others and look by itself, while inside; a gateway that is alone has nothing to do."""
        if not self._state.peers.is_shared:
            yield
            return
        self._state.events.number_by_time(lambda: int(time.time() * 1_000_000))
        self._state.events.on_reader = lambda: self._state.peers.tell("follow")
        self._hear()
        async with self._state.peers.listening(self._on_gap):
            worker = asyncio.create_task(self._work())
            try:
                yield
            finally:
                worker.cancel()
                with suppress(asyncio.CancelledError):
                    await worker

    def _hear(self) -> None:
        ears: dict[str, Callable[[str], None]] = {
            "mail": self._on_mail,
            "entry": lambda words: self._writing.wake(int(words)),
            "poll": self._on_poll,
            "read": self._on_read,
            "bot": lambda words: self._look(bots={int(words)}),
            "replaced": self._on_replaced,
            "code": lambda words: self._look(codes={words}),
            "state": lambda _: self._look(state=True),
            "event": self._on_event,
            "typing": self._typing.hear,
            "follow": self._state.peers.note_watched,
        }
        for kind, ear in ears.items():
            self._state.peers.hear(kind, ear)

    def _look(
        self,
        *,
        bots: set[int] | None = None,
        codes: set[str] | None = None,
        state: bool = False,
        everything: bool = False,
    ) -> None:
        """Have the worker look into the store soon."""
        self._heard.bots |= bots or set()
        self._heard.codes |= codes or set()
        self._heard.state |= state
        self._heard.everything |= everything
        self._news.set()

    def _on_gap(self) -> None:
        self._look(everything=True)

    def _on_mail(self, words: str) -> None:
        number, seq = map(int, words.split())
        bot = self._bots.known(number)
        if bot is not None:
            bot.note_head(seq)
        self._writing.wake(number)

    def _on_poll(self, words: str) -> None:
        bot = self._bots.known(int(words))
        if bot is not None:
            self._polls.give_way(bot)

    def _on_read(self, words: str) -> None:
        number, handed, acked = map(int, words.split())
        bot = self._bots.known(number)
        if bot is not None:
            bot.handed_seq = max(bot.handed_seq, min(handed, bot.head_seq))
            bot.acked_seq = max(bot.acked_seq, min(acked, bot.head_seq))

    def _on_replaced(self, words: str) -> None:
        number = self._bots.number_of(words)
        if number is not None:
            self._look(bots={number})

    def _on_event(self, words: str) -> None:
        kind: EventKind
        kind, at_ms, data = json.loads(words)
        self._state.events.publish(kind, at_ms, data)

    async def _work(self) -> None:
        """Look into the store whenever something was heard, and at everything every few seconds."""
        while True:
            # Spread, or all processes would ask at once.
            pause = self._sweep_seconds * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                self._heard.everything = True
            self._news.clear()
            heard, self._heard = self._heard, _Heard()
            try:
                await self._look_at(heard)
            except StoreError as error:
                _log.warning("what other processes did will be looked up later: %s", error)
                await asyncio.sleep(min(1.0, self._sweep_seconds))
                self._look(everything=True)

    async def _look_at(self, heard: _Heard) -> None:
        if heard.state or heard.everything:
            await self._joint.catch_up()
        if heard.everything:
            heard.bots.update(self._bots.waited_for)
            heard.codes.update(self._codes.awaited)
            self._writing.wake_all()
            if self._state.events.has_readers:
                self._state.peers.tell("follow")
        if heard.bots:
            await self._bots.look_again(heard.bots)
        if heard.codes or heard.everything:
            await self._codes.look_again(heard.codes)
