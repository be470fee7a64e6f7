"""`ilink journal`: what is stored for an account, and the messages that were given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from msgspec.structs import asdict
from rich import box
from rich.table import Table

from ilink.cli.options import AccountName, DataFolder, Json
from ilink.cli.output import answer_json, errors, out
from ilink.cli.send import choose_account
from ilink.cli.words import say
from ilink.errors import ConfigError, RemoteProtocolError
from ilink.storage.accounts import Accounts, data_folder
from ilink.storage.journal import Counts, InboxState, Letter
from ilink.storage.journal_sqlite import SqliteJournal
from ilink.wire.codec import decode_object
from ilink.wire.redact import redact

__all__ = ["journal"]

T = TypeVar("T")
Sequence = Annotated[int, Parameter(help=say("journal.sequence"))]

journal = App(name="journal", help=say("journal.help"))


@journal.command(name="list", help=say("journal.list.help"))
def show_list(*, account: AccountName = None, data: DataFolder = None, json: Json = False) -> int:
    """List the dead letters, oldest first, and tell how much there is beside them."""

    async def read(stored: SqliteJournal) -> tuple[list[Letter], Counts]:
        letters: list[Letter] = []
        while page := await stored.read_dead(after=letters[-1].sequence if letters else 0):
            letters.extend(page)
        return letters, await stored.count()

    letters, counts = _with_journal(data, account, read)
    if json:
        answer_json([_describe(letter) for letter in letters])
        return 0
    if letters:
        out().print(_table(letters))
    else:
        errors().print(say("journal.empty"), markup=False)
    errors().print(say("journal.counted", **asdict(counts)), markup=False)
    return 0


@journal.command(name="count", help=say("journal.count.help"))
def count(*, account: AccountName = None, data: DataFolder = None) -> int:
    """Print how much there is as JSON."""
    answer_json(_with_journal(data, account, lambda stored: stored.count()))
    return 0


@journal.command(name="show", help=say("journal.show.help"))
def show_one(sequence: Sequence, *, account: AccountName = None, data: DataFolder = None) -> int:
    """Print one stored message as JSON, as it came."""
    letter = _with_journal(data, account, lambda stored: _read_letter(stored, sequence))
    answer_json({**_describe(letter), "bytes": len(letter.raw), "message": _read_message(letter)})
    return 0


@journal.command(name="replay", help=say("journal.replay.help"))
def replay(sequence: Sequence, *, account: AccountName = None, data: DataFolder = None) -> int:
    """Let a dead letter be handled again."""

    async def work(stored: SqliteJournal) -> None:
        await stored.replay([(await _read_dead_letter(stored, sequence)).sequence])

    _with_journal(data, account, work)
    out().print(say("journal.replayed", sequence=sequence), markup=False)
    return 0


@journal.command(name="drop", help=say("journal.drop.help"))
def drop(sequence: Sequence, *, account: AccountName = None, data: DataFolder = None) -> int:
    """Give a dead letter up for good."""

    async def work(stored: SqliteJournal) -> None:
        await stored.drop([(await _read_dead_letter(stored, sequence)).sequence])

    _with_journal(data, account, work)
    out().print(say("journal.dropped", sequence=sequence), markup=False)
    return 0


def _with_journal(data: Path | None, account: str | None, work: Callable[[SqliteJournal], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _open(data_folder(data), account) as stored:
            return await work(stored)

    return asyncio.run(run())


@asynccontextmanager
async def _open(folder: Path, account: str | None) -> AsyncGenerator[SqliteJournal, None]:
    """Open a journal beside whoever works on it: what is done here is one transaction, and a bot that runs sees it."""
    async with Accounts(folder) as accounts:
        chosen = choose_account(await accounts.list(), account)
        async with SqliteJournal(accounts.database, chosen.account.account_id) as stored:
            yield stored


async def _read_letter(stored: SqliteJournal, sequence: int) -> Letter:
    if (letter := await stored.read_letter(sequence)) is None:
        raise ConfigError(say("journal.no_letter", sequence=sequence))
    return letter


async def _read_dead_letter(stored: SqliteJournal, sequence: int) -> Letter:
    letter = await _read_letter(stored, sequence)
    if letter.state is not InboxState.DEAD:
        raise ConfigError(say("journal.not_dead", sequence=sequence))
    return letter


def _describe(letter: Letter) -> dict[str, object]:
    return {
        "sequence": letter.sequence,
        "user_id": letter.user,
        "received_at": datetime.fromtimestamp(letter.received_ms / 1000, UTC),
        "attempts": letter.attempts,
        "state": letter.state.name.lower(),
        "error": letter.error,
    }


def _read_message(letter: Letter) -> object:
    """Return the message with its secrets masked; None for what is no JSON object."""
    try:
        return redact(decode_object(letter.raw))
    except RemoteProtocolError:
        return None


def _table(letters: list[Letter]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("sequence", "user", "received", "attempts", "error"):
        table.add_column(say(f"journal.column.{column}"), overflow="fold")
    for letter in letters:
        received = datetime.fromtimestamp(letter.received_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(str(letter.sequence), letter.user, received, str(letter.attempts), letter.error or "")
    return table
