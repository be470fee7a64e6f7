"""A program killed at any moment loses no account, position or context token that it was told is stored."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.wire.ids import AccountId, UserId

WRITER = """
import asyncio, sys
from pathlib import Path
from ilink.storage.accounts import Position
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

async def main():
    async with SqliteAccounts(Path(sys.argv[1])) as accounts:
        first = int(sys.argv[2])
        print("open", flush=True)
        for number in range(first, first + 100_000):
            account = Account(
                account_id=AccountId(f"{number % 7}@im.bot"), token=Secret(f"t{number}"),
                base_url="https://x.example", owner_id=UserId(f"{number % 7}"),
            )
            stored = await accounts.put(account)
            await accounts.put_position(stored, Position(cursor=Cursor(str(number)), hint_ms=number))
            await accounts.put_context_token(stored, UserId("u"), Secret(str(number)))
            print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.timeout(240)  # twelve processes, one after the other
def test_killed_program_loses_nothing_it_was_told_is_stored(tmp_path: Path) -> None:
    chance = random.Random(20261122)
    told = -1
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(told + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "open\n"
            for _ in range(chance.randrange(1, 60)):
                told = int(program.stdout.readline())
            program.kill()
            # what it could still say before it died was stored too
            told = max([told, *(int(line) for line in program.stdout if line.endswith("\n"))])
        asyncio.run(check(tmp_path, told))


async def check(folder: Path, told: int) -> None:
    async with SqliteAccounts(folder) as accounts:
        for number in range(max(0, told - 6), told + 1):
            account_id = AccountId(f"{number % 7}@im.bot")
            stored = await accounts.find(account_id)
            token = await accounts.context_token(account_id, UserId("u"))
            assert stored is not None
            assert token is not None
            assert int(stored.account.token.reveal()[1:]) >= number
            assert int((await accounts.position(account_id)).cursor) >= number
            assert int(token.reveal()) >= number
