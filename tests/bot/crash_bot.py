"""A bot that is killed, `crash_bot.py FOLDER BASE_URL`.

It forks one bot process for each line on standard input, and says how it ended.

A line is `VARIANT POINT COUNT SEED`: the bot kills itself when it comes to the named point for the COUNT-th time, or
waits to be killed when the point is `never`. The variants other than `sound` are broken on purpose.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any

import ilink.bot.bot
import ilink.bot.turn
import ilink.transport.http  # loaded before the fork, so that a bot starts in milliseconds
from ilink import Bot, Client, Message, OutcomeUnknownError, Policies
from ilink.flows.polling import Backoff
from ilink.storage.accounts import StoredAccount
from ilink.storage.journal import Adopted, Ingested
from ilink.storage.journal_sqlite import SqliteJournal

HASTE = Backoff(first=0.02, ceiling=0.05, floor=0.0)
POINTS = (
    "polled",
    "before ingest",
    "after ingest",
    "handling",
    "before complete",
    "after complete",
    "before send",
    "after send",
    "after settle",
    "adopted",
)


class Doom:
    """Kills the process at a point."""

    def __init__(self, point: str, count: int) -> None:
        self.point = point
        self.left = count

    def at(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def doomed_client(doom: Doom, random: Random) -> type[Client]:
    class DoomedClient(Client):
        async def get_updates(self, *arguments: Any, **options: Any) -> Any:
            batch = await super().get_updates(*arguments, **options)
            if batch.updates:
                doom.at("polled")
            return batch

        async def send_message(self, *arguments: Any, **options: Any) -> Any:
            doom.at("before send")
            receipt = await super().send_message(*arguments, **options)
            doom.at("after send")
            if random.random() < 0.1:
                raise OutcomeUnknownError("the connection was reset after the request was written")
            return receipt

    return DoomedClient


def doomed_journal(doom: Doom, variant: str) -> type[SqliteJournal]:
    class DoomedJournal(SqliteJournal):
        async def adopt(self) -> Adopted:
            adopted = await super().adopt()
            doom.at("adopted")
            return adopted

        async def ingest(self, arrivals: Any, **options: Any) -> Ingested:
            doom.at("before ingest")
            if variant == "cursor_first":
                await super().ingest([], **options)
                doom.at("after ingest")
            if variant == "no_dedupe":
                arrivals = [_renamed(arrival) for arrival in arrivals]
            ingested = await super().ingest(arrivals, **options)
            doom.at("after ingest")
            return ingested

        def complete(self, *arguments: Any, **options: Any) -> Any:
            doom.at("before complete")
            answer = super().complete(*arguments, **options)
            answer.add_done_callback(lambda _: doom.at("after complete"))
            return answer

        def settle(self, *arguments: Any, **options: Any) -> Any:
            answer = super().settle(*arguments, **options)
            answer.add_done_callback(lambda _: doom.at("after settle"))
            return answer

    return DoomedJournal


def _renamed(arrival: Any) -> Any:
    from msgspec.structs import replace

    return replace(arrival, identity=os.urandom(8).hex())


def run(folder: Path, base_url: str, *, variant: str, point: str, count: int, seed: int) -> None:
    random = Random(seed)
    doom = Doom(point, count)
    client = doomed_client(doom, random)
    ilink.bot.bot.SqliteJournal = doomed_journal(doom, variant)  # type: ignore[misc]

    def open_client(stored: StoredAccount) -> AbstractAsyncContextManager[Any]:
        return client(stored.account, base_url=base_url, random=random)

    if variant == "fresh_ids":
        true_names = ilink.bot.turn.drafts_of

        def fresh(*arguments: Any, **options: Any) -> Any:
            options["name"] = lambda _part: os.urandom(8).hex()
            return true_names(*arguments, **options)

        ilink.bot.turn.drafts_of = fresh

    bot = Bot(
        allow="anyone",
        data=folder,
        base_url=base_url,
        open_client=open_client,
        random=random,
        policies=Policies(handler_backoff=HASTE, send_backoff=HASTE, interruptions=10_000),
    )

    @bot.on_text()
    async def answer(message: Message) -> None:
        doom.at("handling")
        if message.text.endswith("7"):
            await message.reply(f"got {message.text}", wait=0)
        if random.random() < 0.1:
            raise ValueError("a bad moment")
        await asyncio.sleep(random.random() * 0.003)
        await message.reply(f"re {message.text}")

    bot.run()


def main() -> None:
    folder, base_url = Path(sys.argv[1]), sys.argv[2]
    for line in sys.stdin:
        variant, point, count, seed = line.rsplit(",", 3)
        child = os.fork()
        if child == 0:
            try:
                run(folder, base_url, variant=variant, point=point, count=int(count), seed=int(seed))
            finally:
                sys.stderr.flush()
                os._exit(0 if sys.exc_info()[0] is None else 1)
        print("started", child, flush=True)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
