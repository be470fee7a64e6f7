"""Lanes with far more messages than memory, `crowded_lanes.py FOLDER CONVERSATIONS MESSAGES`.

Prints how much memory the process took at most from when the lanes began, in MiB, and how many messages were handled.
The messages are put into the database before, and while the lanes work as many again are offered to them.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from bot_house import ACCOUNT

from ilink.bot.clock import WallClock
from ilink.bot.handled import Handled
from ilink.bot.lanes import Lanes
from ilink.bot.settings import Policies
from ilink.storage.accounts_sqlite import SqliteAccounts, local_database
from ilink.storage.journal import Letter
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.wire.ids import UserId

RAW = b"x" * 2_000


async def fill(database: object, first: int, conversations: int, messages: int) -> None:
    rows = [
        (n, ACCOUNT.account_id, f"u:{n % conversations:06}", f"{n % conversations:06}", f"m:{n}", RAW)
        for n in range(first, first + messages)
    ]
    await database.write(  # type: ignore[attr-defined]
        lambda connection: connection.executemany(
            "INSERT INTO inbox (seq, account_id, conversation, user_id, identity, state, received_ms, raw)"
            " VALUES (?, ?, ?, ?, ?, 0, 1, ?)",
            rows,
        )
    )


def letters(first: int, conversations: int, messages: int) -> list[Letter]:
    return [
        Letter(
            sequence=n,
            conversation=f"u:{n % conversations:06}",
            user=UserId(f"{n % conversations:06}"),
            identity=f"m:{n}",
            raw=bytes(bytearray(RAW)),
        )
        for n in range(first, first + messages)
    ]


def most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main(folder: Path, conversations: int, messages: int) -> None:
    handled = 0
    last: dict[str, int] = {}
    may_go_on = asyncio.Event()
    all_done = asyncio.Event()

    async def run(letter: Letter, *, following: Sequence[Letter] = ()) -> Handled:
        nonlocal handled
        await may_go_on.wait()
        assert last.get(letter.conversation, 0) < letter.sequence, "in order"
        last[letter.conversation] = letter.sequence
        handled += 1
        if handled == 2 * messages:
            all_done.set()
        return Handled()

    async with local_database(folder, synchronous="OFF") as database:
        await SqliteAccounts(folder, database=database).put(ACCOUNT)
        for first in range(1, messages + 1, 10_000):
            await fill(database, first, conversations, min(10_000, messages + 1 - first))
        async with SqliteJournal(database, ACCOUNT.account_id) as journal, asyncio.TaskGroup() as tasks:
            await journal.adopt()
            before = most_memory()
            lanes = Lanes(
                journal,
                run,
                lambda outgoing: None,
                policies=Policies(conversations=200),
                clock=WallClock(),
                random=Random(1),
                tasks=tasks,
                on_dead=lambda letter, error: None,
            )
            lanes.start()
            for first in range(messages + 1, 2 * messages + 1, 1_000):
                number = min(1_000, 2 * messages + 1 - first)
                await fill(database, first, conversations, number)
                lanes.offer(letters(first, conversations, number))
            may_go_on.set()
            await all_done.wait()
            await lanes.drain(10)
            lanes.cancel()
    print(f"{most_memory() - before:.0f} {handled}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
