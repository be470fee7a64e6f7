"""`ilink journal`: what is stored for an account, and the messages that were given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

from cyclopts import App, Parameter
from msgspec.structs import asdict
from rich import box
from rich.table import Table

from ilink.bot.outbox.postbox import OutboxEntry, entry_of
from ilink.bot.store import StorePlace, open_store
from ilink.cli.options import AccountName, DatabaseUrl, DataFolder, Json, place_of
from ilink.cli.output import answer_json, errors, out
from ilink.cli.send import choose_account
from ilink.cli.words import say
from ilink.errors import ConfigError, RemoteProtocolError
from ilink.storage.journal import Counts, InboxState, Journal, Letter, OutboxState, Outgoing
from ilink.wire.codec import decode_object
from ilink.wire.ids import ClientId
from ilink.wire.redact import redact

__all__ = ["journal"]

T = TypeVar("T")
Sequence = Annotated[int, Parameter(help=say("journal.sequence"))]
Name = Annotated[str, Parameter(help=say("journal.client_id"))]
Which = Annotated[str, Parameter(help=say("journal.which"))]

_SHOWN: Final = 60
"""Characters of a message in a table."""

_UNSENT: Final = (OutboxState.WAITING, OutboxState.IN_FLIGHT, OutboxState.ASKED)

_Waiting = tuple[OutboxState, OutboxEntry]

journal = App(name="journal", help=say("journal.help"))


@journal.command(name="list", help=say("journal.list.help"))
def show_list(
    *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None, json: Json = False
) -> int:
    """List the dead letters, oldest first, and tell how much there is beside them."""

    async def read(stored: Journal) -> tuple[list[Letter], Counts]:
        letters: list[Letter] = []
        while page := await stored.read_dead(after=letters[-1].sequence if letters else 0):
            letters.extend(page)
        return letters, await stored.count()

    letters, counts = _with_journal(place_of(data, database_url), account, read)
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
def count(*, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None) -> int:
    """Print how much there is as JSON."""
    answer_json(_with_journal(place_of(data, database_url), account, lambda stored: stored.count()))
    return 0


@journal.command(name="show", help=say("journal.show.help"))
def show_one(
    sequence: Sequence, *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None
) -> int:
    """Print one stored message as JSON, as it came."""
    letter = _with_journal(place_of(data, database_url), account, lambda stored: _read_letter(stored, sequence))
    answer_json({**_describe(letter), "bytes": len(letter.raw), "message": _read_message(letter)})
    return 0


@journal.command(name="replay", help=say("journal.replay.help"))
def replay(
    sequence: Sequence, *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None
) -> int:
    """Let a dead letter be handled again."""

    async def work(stored: Journal) -> None:
        await stored.replay([(await _read_dead_letter(stored, sequence)).sequence])

    _with_journal(place_of(data, database_url), account, work)
    out().print(say("journal.replayed", sequence=sequence), markup=False)
    return 0


@journal.command(name="drop", help=say("journal.drop.help"))
def drop(
    which: Which, *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None
) -> int:
    """Give a dead letter up for good, or a message that waits for a decision."""
    if not which.isdecimal():
        _with_journal(place_of(data, database_url), account, lambda stored: _decide(stored, which, is_retry=False))
        out().print(say("journal.dropped_message", client_id=which), markup=False)
        return 0

    async def work(stored: Journal) -> None:
        await stored.drop([(await _read_dead_letter(stored, int(which))).sequence])

    _with_journal(place_of(data, database_url), account, work)
    out().print(say("journal.dropped", sequence=which), markup=False)
    return 0


@journal.command(name="retry", help=say("journal.retry.help"))
def retry(
    client_id: Name, *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None
) -> int:
    """Send a message again that waits for a decision."""
    _with_journal(place_of(data, database_url), account, lambda stored: _decide(stored, client_id, is_retry=True))
    out().print(say("journal.retried", client_id=client_id), markup=False)
    return 0


@journal.command(name="outbox", help=say("journal.outbox.help"))
def show_outbox(
    *, account: AccountName = None, data: DataFolder = None, database_url: DatabaseUrl = None, json: Json = False
) -> int:
    """List the messages that wait to be sent, oldest first."""

    async def read(stored: Journal) -> list[_Waiting]:
        found: list[Outgoing] = []
        while page := await stored.read_outbox(_UNSENT, after=found[-1].out_sequence if found else 0):
            found += page
        return [(message.state, entry_of(message, stored.account)) for message in found]

    waiting = _with_journal(place_of(data, database_url), account, read)
    if json:
        answer_json([_describe_outgoing(state, entry) for state, entry in waiting])
    elif waiting:
        out().print(_outbox_table(waiting))
    else:
        errors().print(say("journal.outbox.empty"), markup=False)
    return 0


async def _decide(stored: Journal, client_id: str, *, is_retry: bool) -> None:
    now_ms = time.time_ns() // 1_000_000
    if await stored.decide(ClientId(client_id), is_retry=is_retry, now_ms=now_ms) is None:
        raise ConfigError(say("journal.not_asked", client_id=client_id))


def _describe_outgoing(state: OutboxState, entry: OutboxEntry) -> dict[str, object]:
    return {
        "client_id": entry.client_id,
        "user_id": entry.user,
        "text": entry.text,
        "state": state.name.lower(),
        "attempts": entry.attempts,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "reason": entry.reason or None,
    }


def _outbox_table(waiting: list[_Waiting]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("client_id", "user", "created", "state", "attempts", "text", "error"):
        table.add_column(say(f"journal.column.{column}"), overflow="fold")
    for reached, entry in waiting:
        created = entry.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        state = say(f"journal.state.{reached.name.lower()}")
        text = entry.text if len(entry.text) <= _SHOWN else f"{entry.text[:_SHOWN]}…"
        table.add_row(entry.client_id, entry.user, created, state, str(entry.attempts), text, entry.reason)
    return table


def _with_journal(place: StorePlace, account: str | None, work: Callable[[Journal], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _open(place, account) as stored:
            return await work(stored)

    return asyncio.run(run())


@asynccontextmanager
async def _open(place: StorePlace, account: str | None) -> AsyncGenerator[Journal, None]:
    """Open a journal beside whoever works on it: what is done here is one transaction, and a bot that runs sees it."""
    async with open_store(place) as store:
        chosen = choose_account(await store.accounts.list(), account)
        async with store.open_account(chosen.account.account_id) as own:
            yield own.journal


async def _read_letter(stored: Journal, sequence: int) -> Letter:
    if (letter := await stored.read_letter(sequence)) is None:
        raise ConfigError(say("journal.no_letter", sequence=sequence))
    return letter


async def _read_dead_letter(stored: Journal, sequence: int) -> Letter:
    letter = await _read_letter(stored, sequence)
    if letter.state is not InboxState.DEAD and not letter.is_parked:
        raise ConfigError(say("journal.not_dead", sequence=sequence))
    return letter


def _describe(letter: Letter) -> dict[str, object]:
    return {
        "sequence": letter.sequence,
        "user_id": letter.user,
        "received_at": datetime.fromtimestamp(letter.received_ms / 1000, UTC),
        "attempts": letter.attempts,
        "state": "parked" if letter.is_parked else letter.state.name.lower(),
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
