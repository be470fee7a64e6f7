"""`ilink send`: one message out, and the truth about it as the exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ilink.bot import Bot
from ilink.bot.store import StorePlace, open_store
from ilink.cli.options import AccountName, DatabaseUrl, DataFolder, Json, place_of
from ilink.cli.output import answer_json, out
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.messages.receipts import (
    Accepted,
    AcceptedUnconfirmed,
    Deferred,
    Expired,
    Receipt,
    Rejected,
    Unknown,
)
from ilink.storage.accounts import AccountState, StoredAccount
from ilink.storage.keys import KEY_FILE_VARIABLE, KEY_VARIABLE
from ilink.wire.ids import normalize_user_id

__all__ = ["choose_account", "send"]

_EXIT_CODES: Final = {"accepted": 0, "unconfirmed": 3, "deferred": 4, "rejected": 5, "expired": 5, "unknown": 6}


def send(
    text: Annotated[str | None, Parameter(help=say("send.text"))] = None,
    *,
    to: Annotated[str | None, Parameter(help=say("send.to"))] = None,
    file: Annotated[Path | None, Parameter(help=say("send.file"))] = None,
    wait: Annotated[float, Parameter(help=say("send.wait"))] = 30.0,
    account: AccountName = None,
    data: DataFolder = None,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> int:
    """Send one text, or one file with a text before it."""
    words = text if text is not None else _read_input(is_optional=file is not None)
    if file is None and not words.strip():
        raise ConfigError(say("send.no_text"))
    place = place_of(data, database_url)
    receipt = asyncio.run(_send(words, file, to=to, wait=wait, account=account, place=place))
    known = _describe(receipt)
    if json:
        answer_json(known)
    else:
        out().print(say(f"send.{known['receipt']}", **known), markup=False)
    return _EXIT_CODES[str(known["receipt"])]


def _read_input(*, is_optional: bool) -> str:
    return "" if is_optional or sys.stdin.isatty() else sys.stdin.read().rstrip("\n")


async def _send(
    text: str, file: Path | None, *, to: str | None, wait: float, account: str | None, place: StorePlace
) -> Receipt:
    """Hand it to the process that runs the bot, or send it from here if there is none."""
    async with open_store(place) as store:
        stored = choose_account(await store.accounts.list(), account)
    user = normalize_user_id(to) if to else stored.account.owner_id
    if user is None:
        message = f"nobody knows who owns {stored.account.account_id}; say to whom with --to"
        raise ConfigError(message)
    bot = Bot(account=stored.account.account_id, data=place.database_url or place.folder, environ=_only_keys())
    if file is None:
        return await bot.send(user, text, wait=wait)
    return await bot.send_media(user, file, caption=text, wait=wait)


def _only_keys() -> dict[str, str]:
    """Return what opens the store, and nothing else that would choose another account or server."""
    return {name: os.environ[name] for name in (KEY_VARIABLE, KEY_FILE_VARIABLE) if name in os.environ}


def _describe(receipt: Receipt) -> dict[str, object]:
    known: dict[str, object] = {"client_id": receipt.client_id}
    match receipt:
        case Accepted():
            return {**known, "receipt": "accepted", "message_id": receipt.message_id}
        case AcceptedUnconfirmed():
            return {**known, "receipt": "unconfirmed"}
        case Deferred():
            why = say(f"send.why.{receipt.why}")
            return {**known, "receipt": "deferred", "why": why, "waits_for": receipt.why, "until": receipt.until}
        case Rejected():
            return {**known, "receipt": "rejected", "why": receipt.reason}
        case Expired():
            return {**known, "receipt": "expired", "why": receipt.reason}
        case Unknown():
            return {**known, "receipt": "unknown", "why": receipt.reason}


def choose_account(stored: tuple[StoredAccount, ...], wanted: str | None) -> StoredAccount:
    """Return the account that is meant: the one named, or the only one that may still work.

    Raises:
        ConfigError: There is none, or there are several and none is named.
    """
    usable = [entry for entry in stored if entry.state is not AccountState.DISPLACED]
    fitting = [entry for entry in usable if wanted in (None, entry.account.account_id)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ConfigError(say("send.no_account", account=wanted) if wanted else say("accounts.none"))
    raise ConfigError(say("send.several", accounts=", ".join(entry.account.account_id for entry in fitting)))
