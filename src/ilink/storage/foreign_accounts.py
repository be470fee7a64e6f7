"""Accounts in the state folders of other iLink programs, read and never changed.

Each keeps a token with the ids beside it as a JSON object in a file of its own, and where it polled up to in the same
file or one beside it. The names differ, the facts do not:

* the official plugin: `accounts/<hex>-im-bot.json` and `<hex>-im-bot.sync.json` (official 2.4.9);
* wechatbot: `credentials.json`; weilink: `<session>/token.json`, its cursor in it (peer: wechatbot-py, weilink);
* weixin-channel: `accounts/<id>.json`, its cursor in `<id>.cursor.json` above; weixin-ilink: `<name>.json`, its cursor
  as it is in `<name>.json.sync`; wechat-clawbot: as the official plugin, and `account.json` with `sync_buf.txt` in its
  channel's folder (peer: weixin-channel-sdk, weixin-ilink, wechat-clawbot);
* others that keep the fields of the login's answer as they came (peer: weixin-bot).

One that keeps a token alone is known by what the token begins with (peer: nonebot-adapter-claweixin).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ilink.errors import ConfigError
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

__all__ = ["ForeignAccount", "find_foreign_accounts"]

_MOST_FILES: Final = 5_000
_MOST_BYTES: Final = 1 << 20
_FILE_NAME: Final = re.compile(r"([0-9a-zA-Z]+)-im-bot\Z")
_TOKEN_OWNER: Final = re.compile(r"([0-9a-zA-Z]+@im\.bot):")

_TOKEN: Final = ("token", "bot_token", "botToken")
_ACCOUNT: Final = ("accountId", "account_id", "bot_id", "botId", "ilink_bot_id", "ilinkBotId")
_OWNER: Final = ("userId", "user_id", "ilink_user_id", "ilinkUserId", "owner_id")
_BASE_URL: Final = ("baseUrl", "base_url", "baseurl", "api_root")
_CURSOR: Final = ("get_updates_buf", "cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignAccount:
    """An account that another program is signed in as.

    Attributes:
        account: The account; its base URL is empty where the program kept none.
        cursor: Where it polled up to; empty where that is not known.
        path: The file it was read from.
    """

    account: Account
    cursor: Cursor
    path: Path


def find_foreign_accounts(folder: Path) -> tuple[ForeignAccount, ...]:
    """Return the accounts in a folder and those below it; of an account that is there twice, the newer file.

    Raises:
        ConfigError: There is no such folder, it cannot be read, or it holds too many files to be a state folder.
    """
    if not folder.is_dir():
        message = f"there is no folder {folder}"
        raise ConfigError(message)
    found: dict[AccountId, tuple[float, ForeignAccount]] = {}
    try:
        for path in _files(folder):
            account = _read_account(path)
            changed_at = path.stat().st_mtime
            if account is not None and found.get(account.account.account_id, (0.0,))[0] <= changed_at:
                found[account.account.account_id] = changed_at, account
    except OSError as error:
        message = f"cannot read the folder {folder}: {error.strerror or error}"
        raise ConfigError(message) from error
    return tuple(account for _, account in found.values())


def _files(folder: Path) -> Iterator[Path]:
    for count, path in enumerate(folder.rglob("*.json")):
        if count >= _MOST_FILES:
            message = f"{folder} holds more than {_MOST_FILES} JSON files; name the state folder of one program"
            raise ConfigError(message)
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            yield path


def _read_account(path: Path) -> ForeignAccount | None:
    fields = _read_object(path)
    token = _text(fields, _TOKEN)
    account_id = _text(fields, _ACCOUNT) or _id_of(path) or _id_in(token)
    if not token or not account_id:
        return None
    owner = _text(fields, _OWNER)
    account = Account(
        account_id=AccountId(account_id),
        token=Secret(token),
        base_url=_text(fields, _BASE_URL),
        owner_id=UserId(owner) if owner else None,
    )
    cursor = _text(fields, _CURSOR) or _cursor_beside(path, account_id)
    return ForeignAccount(account=account, cursor=Cursor(cursor), path=path)


def _cursor_beside(path: Path, account_id: str) -> str:
    """Return the cursor in the files that programs keep it in beside an account's; empty when there is none."""
    above = f"{account_id.replace('@', '_')}.cursor.json"
    objects = (path.with_name(f"{path.stem}.sync.json"), path.parent / above, path.parent.parent / above)
    texts = (path.with_name(f"{path.name}.sync"), path.with_name("sync_buf.txt"))
    found = [*(_text(_read_object(file), _CURSOR) for file in objects), *(_read_text(file) for file in texts)]
    return next((cursor for cursor in found if cursor), "")


def _id_of(path: Path) -> str:
    """Return the id that the official plugin made a file name of (official 2.4.9)."""
    match = _FILE_NAME.match(path.stem)
    return f"{match[1]}@im.bot" if match else ""


def _id_in(token: str) -> str:
    """Return the id that a token begins with."""
    match = _TOKEN_OWNER.match(token)
    return match[1] if match else ""


def _read_text(path: Path) -> str:
    """Return a file's text; an empty one for what is no short text."""
    try:
        return path.read_text("utf-8").strip() if path.stat().st_size <= _MOST_BYTES else ""
    except (OSError, UnicodeError):
        return ""


def _read_object(path: Path) -> dict[str, object]:
    """Return a file's JSON object; an empty one for anything else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _text(fields: dict[str, object], names: tuple[str, ...]) -> str:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), "")
