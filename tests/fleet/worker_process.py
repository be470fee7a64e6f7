"""One worker of a fleet, as a process that tests kill, stop and drain: an echo bot with short leases."""

from __future__ import annotations

import argparse
import logging
import os
import time
from random import Random
from typing import Any

from torture_variants import break_worker

from ilink import Bot, Message
from ilink.bot.settings import Policies
from ilink.fleet.settings import FleetSettings
from ilink.fleet.worker import run_worker
from ilink.flows.polling import Backoff
from ilink.storage import journal_postgres_changes
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.storage.slots import LeaseTerms

_log = logging.getLogger(__name__)

HASTE = Backoff(first=0.05, ceiling=0.2, floor=0.01)


def terms_of(ttl: float) -> LeaseTerms:
    return LeaseTerms(ttl=ttl, renew=ttl / 6, margin=ttl / 3, grace=ttl / 6, cool_down=ttl / 4, hand_over=ttl / 2)


def set_clock_wrong(seconds: float) -> None:
    """Let this process believe in another time of day."""
    true_time = time.time_ns
    time.time_ns = lambda: true_time() + int(seconds * 1e9)


def lose_hints(share: float) -> None:
    """Send only some of the hints, and look for what they missed more often than usual."""
    random = Random()
    database: Any = PostgresDatabase
    notify = database.notify

    def notify_perhaps(self: Any, channel: str, payload: str) -> None:
        if random.random() < share:
            _log.info("a hint is lost")
        else:
            notify(self, channel, payload)

    database.notify = notify_perhaps
    changes: Any = journal_postgres_changes
    changes._SWEEP = 1.0


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("url")
    options.add_argument("--skew", type=float, default=0)
    options.add_argument("--hints-lost", type=float, default=0)
    options.add_argument("--variant", default="")
    options.add_argument("--ttl", type=float, default=2.0)
    options.add_argument("--hold", type=float, default=1.0)
    options.add_argument("--role", type=Role, default=Role.ALL)
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {os.getpid()} %(message)s")
    if given.skew:
        set_clock_wrong(given.skew)
    if given.hints_lost:
        lose_hints(given.hints_lost)
    break_worker(given.variant)
    bot = Bot(
        data=given.url,
        allow="anyone",
        name=f"worker-{os.getpid()}/1",
        policies=Policies(handler_backoff=HASTE, send_backoff=HASTE, interruptions=10_000, backlog_seconds=1e6),
    )

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(f"re {message.text}")

    terms = terms_of(given.ttl)
    seconds = given.hold + 2
    run_worker(bot, FleetSettings(role=given.role, terms=terms, poll_seconds=seconds, drain_seconds=seconds + 8))


if __name__ == "__main__":
    main()
