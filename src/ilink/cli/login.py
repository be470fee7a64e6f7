"""`ilink login`: sign in at the terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ilink.cli.options import BaseUrl, DataFolder
from ilink.cli.output import out
from ilink.cli.words import say
from ilink.client.terminal import sign_in_at_terminal
from ilink.flows.login import AlreadyBound
from ilink.storage.accounts import Accounts, StoredAccount, data_folder

__all__ = ["login"]


def login(
    *,
    base_url: BaseUrl = None,
    data: DataFolder = None,
    image: Annotated[Path | None, Parameter(help=say("login.image"))] = None,
    force: Annotated[bool, Parameter(negative="", show_default=False, help=say("login.force"))] = False,
) -> int:
    """Sign in with a QR code."""
    signed_in = asyncio.run(_login(data_folder(data), base_url, image, is_forced=force))
    if isinstance(signed_in, AlreadyBound):
        out().print(say("login.bound"), markup=False)
        return 0
    account = signed_in.account
    out().print(say("login.done", account=account.account_id, owner=account.owner_id or "?"), markup=False)
    return 0


async def _login(
    folder: Path, base_url: str | None, image: Path | None, *, is_forced: bool
) -> StoredAccount | AlreadyBound:
    async with Accounts(folder) as accounts:
        return await sign_in_at_terminal(accounts, base_url=base_url, is_forced=is_forced, image=image)
