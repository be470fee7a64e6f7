"""`ilink listen`: what people write, as JSON lines."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter

from ilink.bot.store import StorePlace, open_store
from ilink.cli.options import AccountName, BaseUrl, DatabaseUrl, DataFolder, place_of
from ilink.cli.send import choose_account
from ilink.cli.words import say
from ilink.client.client import Client
from ilink.errors import ConnectError, OutcomeUnknownError, ServerError
from ilink.storage.accounts import Accounts, Position, StoredAccount

__all__ = ["listen"]

_PAUSE = 2.0
"""Seconds between two polls of a server that does not answer."""


def listen(
    *,
    lines: Annotated[int | None, Parameter(help=say("listen.once"))] = None,
    account: AccountName = None,
    base_url: BaseUrl = None,
    data: DataFolder = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Print updates as they came, one JSON object a line, until Ctrl-C."""
    with suppress(asyncio.CancelledError):
        asyncio.run(_listen(place_of(data, database_url), account, base_url, lines))
    return 0


async def _listen(place: StorePlace, wanted: str | None, base_url: str | None, lines: int | None) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def stop(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(task.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    async with open_store(place) as store:
        stored = choose_account(await store.accounts.list(), wanted)
        async with (
            store.lock(stored.account.account_id),
            Client(stored.account, base_url=base_url) as client,
        ):
            await _print_updates(client, store.accounts, stored, lines)


async def _print_updates(client: Client, accounts: Accounts, stored: StoredAccount, lines: int | None) -> None:
    """Print batch after batch; the position is stored when a whole batch was written out.

    A batch that is cut off by Ctrl-C or a closed pipe is printed again by the next run: no line is lost, some may come
    twice.
    """
    position = await accounts.position(stored.account.account_id)
    while lines is None or lines > 0:
        try:
            batch = await client.get_updates(position.cursor, hint_ms=position.hint_ms)
        except (ConnectError, OutcomeUnknownError, ServerError):
            await asyncio.sleep(_PAUSE)
            continue
        for update in batch.updates:
            sys.stdout.buffer.write(bytes(update).replace(b"\n", b" ") + b"\n")
        sys.stdout.buffer.flush()
        if lines is not None:
            lines -= len(batch.updates)
        position = Position(cursor=batch.cursor, hint_ms=batch.hint_ms)
        await accounts.put_position(stored, position)
