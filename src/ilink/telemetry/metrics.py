"""Figures of a running bot, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ilink.bot import Bot
from ilink.errors import ConfigError, StoreError
from ilink.storage.journal import Letter, OutboxState, Outcome, Outgoing
from ilink.telemetry.vitals import Vitals
from ilink.wire.ids import AccountId

__all__ = ["Metrics"]

_ACCEPTED: Final = frozenset({OutboxState.ACCEPTED, OutboxState.UNCONFIRMED})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts and times what a bot does; give it to `Bot.observe`, and serve what `read` returns.

    Few fixed names, and no label with an id: a program may work for ten thousand accounts. Counters begin at 0 with the
    process; what is said to be in the journal is read from it when it is asked for.

    Args:
        bot: The bot.
        vitals: What knows how old polls are; observed too, or its figures stay empty.
        registry: Where else the figures shall be found; by default a registry of its own.
    """

    def __init__(self, bot: Bot, vitals: Vitals, *, registry: CollectorRegistry | None = None) -> None:
        self._bot = bot
        self._vitals = vitals
        self._registry = registry = registry or CollectorRegistry()
        self._polls = Counter("ilink_polls", "Polls that were answered.", registry=registry)
        self._updates = Counter("ilink_updates", "Updates that polls brought.", registry=registry)
        self._age = Gauge(
            "ilink_poll_age_seconds",
            "Since the last answered poll, of the account that waits longest.",
            registry=registry,
        )
        self._accounts = Gauge("ilink_accounts", "Accounts by state.", ["state"], registry=registry)
        self._lag = Histogram(
            "ilink_message_lag_seconds",
            "From when a message was stored until its handler began.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._handler = Histogram(
            "ilink_handler_seconds",
            "How long handlers took, by outcome.",
            ["outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._running = Gauge("ilink_lanes_running", "Conversations whose handlers run.", registry=registry)
        self._sends = Counter("ilink_sends", "Attempts to send, by what became of them.", ["state"], registry=registry)
        self._refusals = Counter("ilink_refusals", "Refused attempts to send, by code.", ["code"], registry=registry)
        self._delay = Histogram(
            "ilink_send_delay_seconds",
            "From when a message was stored until the server accepted it.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._inbox = Gauge("ilink_inbox_messages", "Messages in the journal, by state.", ["state"], registry=registry)
        self._outbox = Gauge(
            "ilink_outbox_messages", "Messages in the journal that wait to be sent.", registry=registry
        )
        self._twice = Gauge(
            "ilink_duplicates",
            "Updates that came twice since the journal began, by what became of them.",
            ["kind"],
            registry=registry,
        )
        self._incidents = Gauge("ilink_incidents", "What went wrong, by kind.", ["kind"], registry=registry)

    def polled(self, account: AccountId, *, updates: int) -> None:  # noqa: ARG002  # no label with an id
        """Count an answered poll."""
        self._polls.inc()
        self._updates.inc(updates)

    def handling(self, account: AccountId, letter: Letter) -> AbstractContextManager[object]:  # noqa: ARG002
        """Time a run."""
        return self._timed(letter)

    def sent(self, account: AccountId, message: Outgoing, outcome: Outcome) -> None:  # noqa: ARG002
        """Count an attempt."""
        self._sends.labels(outcome.state.name.lower()).inc()
        if outcome.code is not None:
            self._refusals.labels(str(outcome.code)).inc()
        if outcome.state in _ACCEPTED:
            self._delay.observe(max(0.0, self._now() - message.created_ms / 1000))

    async def read(self) -> bytes:
        """Return everything in Prometheus' text format."""
        ages = self._vitals.poll_ages()
        self._age.set(max(ages.values(), default=0.0))
        self._accounts.clear()
        for state in self._bot.states.values():
            self._accounts.labels(state.value).inc()
        for kind, count in self._bot.incidents.items():
            self._incidents.labels(kind.__name__).set(count)
        try:
            counts = await self._bot.counts()
        except (ConfigError, StoreError):
            pass  # before it runs, or while the store fails: what was read last stays, and `/readyz` says so
        else:
            self._inbox.labels("waiting").set(counts.waiting)
            self._inbox.labels("parked").set(counts.parked)
            self._inbox.labels("dead").set(counts.dead)
            self._outbox.set(counts.outgoing)
            self._twice.labels("dropped").set(counts.duplicates)
            self._twice.labels("marked").set(counts.suspects)
            self._twice.labels("suspected_and_dropped").set(counts.suspects_dropped)
        return generate_latest(self._registry)

    def _now(self) -> float:
        return time.time()

    @contextmanager
    def _timed(self, letter: Letter) -> Generator[None]:
        if letter.received_ms:
            self._lag.observe(max(0.0, self._now() - letter.received_ms / 1000))
        began, outcome = time.perf_counter(), "failed"
        self._running.inc()
        try:
            yield
            outcome = "done"
        finally:
            self._running.dec()
            self._handler.labels(outcome).observe(time.perf_counter() - began)
