"""`ilink send`: one message out, and the truth about it as the exit code."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

from cyclopts import Parameter

from ilink.cli.options import AccountName, DataFolder, Json
from ilink.cli.output import answer_json, out
from ilink.cli.words import say
from ilink.client.client import Client
from ilink.errors import ApiError, ConfigError, OutcomeUnknownError
from ilink.messages.outgoing import OutgoingMessage, text_item
from ilink.storage.accounts import Accounts, AccountState, StoredAccount, data_folder
from ilink.wire.ids import ClientId, Secret, UserId, normalize_user_id

__all__ = ["send"]

_EXIT_CODES: Final = {"accepted": 0, "unconfirmed": 3, "rejected": 5, "unknown": 6}


def send(
    text: Annotated[str | None, Parameter(help=say("send.text"))] = None,
    *,
    to: Annotated[str | None, Parameter(help=say("send.to"))] = None,
    account: AccountName = None,
    data: DataFolder = None,
    json: Json = False,
) -> int:
    """Send one text."""
    words = text if text is not None else _read_input()
    if not words.strip():
        raise ConfigError(say("send.no_text"))
    result = asyncio.run(_send(words, to=to, account=account, folder=data_folder(data)))
    receipt = result["receipt"]
    if json:
        answer_json(result)
    else:
        out().print(say(f"send.{receipt}", **result), markup=False)
    return _EXIT_CODES[receipt]


def _read_input() -> str:
    return "" if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")


async def _send(text: str, *, to: str | None, account: str | None, folder: Path) -> dict[str, str]:
    async with Accounts(folder) as accounts:
        stored = choose_account(await accounts.list(), account)
        user = normalize_user_id(to) if to else stored.account.owner_id
        if user is None:
            message = f"nobody knows who owns {stored.account.account_id}; say to whom with --to"
            raise ConfigError(message)
        token = await accounts.context_token(stored.account.account_id, user)
    return await _exchange(stored, user, text, token)


async def _exchange(stored: StoredAccount, user: UserId, text: str, token: Secret | None) -> dict[str, str]:
    """Send, and say what is known; only what never left this machine is an error."""
    outgoing = OutgoingMessage(
        to=user, item=text_item(text), client_id=ClientId(f"ilink-{uuid4().hex}"), context_token=token
    )
    known = {"client_id": outgoing.client_id}
    async with Client(stored.account) as client:
        try:
            receipt = await client.send_message(outgoing)
        except ApiError as error:
            return {**known, "receipt": "rejected", "why": str(error)}
        except OutcomeUnknownError as error:
            return {**known, "receipt": "unknown", "why": str(error)}
    if receipt.message_id is None:
        return {**known, "receipt": "unconfirmed"}
    return {**known, "receipt": "accepted", "message_id": receipt.message_id}


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
