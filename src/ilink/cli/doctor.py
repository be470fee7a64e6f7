"""`ilink doctor`: what a bot needs, checked one by one, with what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from cyclopts import Parameter
from rich import box
from rich.table import Table

from ilink.bot.store import Store, StorePlace, open_store
from ilink.cli.options import AccountName, BaseUrl, DatabaseUrl, DataFolder, Json, place_of
from ilink.cli.output import answer_json, out
from ilink.cli.send import choose_account
from ilink.cli.words import say
from ilink.client.client import Client
from ilink.errors import ApiError, ConfigError, IlinkError, StaleTokenError, StoreError, StoreLockedError
from ilink.storage.accounts import AccountState, StoredAccount
from ilink.storage.private import make_private_folder
from ilink.wire.ids import Cursor, UserId

__all__ = ["compare_clocks", "doctor"]

_SECONDS: Final = 8.0
_LEAST_BYTES: Final = 100 << 20
_LATE: Final = 120.0
"""Seconds by which the machine's clock may differ from the server's."""
_CERTIFICATE_DAYS: Final = 7
_POLL: Final = 3.0
"""Seconds that a poll is waited for; one that is still held then is as it should be."""

Name = Literal["disk", "database", "account", "lock", "proxy", "dns", "tls", "clock", "token", "poll"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check found; `advice` is empty when there is nothing to do."""

    check: Name
    verdict: Literal["ok", "bad", "skipped"]
    found: str
    advice: str = ""


def doctor(
    *,
    account: AccountName = None,
    base_url: BaseUrl = None,
    data: DataFolder = None,
    database_url: DatabaseUrl = None,
    poll: Annotated[bool, Parameter(negative="", show_default=False, help=say("doctor.poll"))] = False,
    json: Json = False,
) -> int:
    """Check everything; 1 when something is bad."""
    verdicts = asyncio.run(_examine(place_of(data, database_url), account, base_url, wants_poll=poll))
    if json:
        answer_json([asdict(verdict) for verdict in verdicts])
    else:
        out().print(_table(verdicts))
    return 1 if any(verdict.verdict == "bad" for verdict in verdicts) else 0


async def _examine(place: StorePlace, wanted: str | None, base_url: str | None, *, wants_poll: bool) -> list[Verdict]:
    verdicts = [_disk(place.folder)]
    stored: StoredAccount | None = None
    is_locked = False
    if verdicts[0].verdict == "ok":
        stored, *found = await _account(place, wanted)
        verdicts += found
        is_locked = any(verdict.check == "lock" and verdict.verdict == "skipped" for verdict in found)
    async with Client(None if stored is None else stored.account, base_url=base_url) as client:
        url = urlsplit(client.base_url)
        proxy = _proxy(url)
        verdicts += [proxy, *await _network(url, is_proxied=proxy.verdict == "skipped")]
        is_reachable = all(verdict.verdict != "bad" for verdict in verdicts[-3:])
        usable = stored if is_reachable else None
        verdicts += await _server(client, usable, await _cursor(place, usable), may_poll=wants_poll and not is_locked)
    return verdicts


def _disk(folder: Path) -> Verdict:
    try:
        make_private_folder(folder)
        probe = folder / f".doctor-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except (OSError, StoreError) as error:
        return Verdict(check="disk", verdict="bad", found=f"{folder}: {error}", advice=say("doctor.disk.advice"))
    verdict: Literal["ok", "bad"] = "ok" if free >= _LEAST_BYTES else "bad"
    advice = "" if verdict == "ok" else say("doctor.disk.full")
    return Verdict(
        check="disk", verdict=verdict, found=say("doctor.disk", folder=folder, mib=free >> 20), advice=advice
    )


async def _account(place: StorePlace, wanted: str | None) -> tuple[StoredAccount | None, *tuple[Verdict, ...]]:
    try:
        async with open_store(place) as store:
            stored = choose_account(await store.accounts.list(), wanted)
            found = say("doctor.account", account=stored.account.account_id, state=stored.state.value)
            verdict: Literal["ok", "bad"] = "bad" if stored.state is AccountState.STALE else "ok"
            advice = say("doctor.login") if verdict == "bad" else ""
            lock = await _lock(store, stored)
    except StoreError as error:  # what to do is in its words
        return None, _store_verdict(place, str(error), is_bad=True), _skipped("account"), _skipped("lock")
    except ConfigError as error:
        bad = Verdict(check="account", verdict="bad", found=str(error), advice=say("doctor.login"))
        return None, bad, _skipped("lock")
    checked = Verdict(check="account", verdict=verdict, found=found, advice=advice)
    if place.database_url is None:
        return stored, checked, lock
    return stored, _store_verdict(place, say("doctor.database", place=place), is_bad=False), checked, lock


def _store_verdict(place: StorePlace, found: str, *, is_bad: bool) -> Verdict:
    """Tell of what accounts are kept in, once it was opened."""
    check: Name = "disk" if place.database_url is None else "database"
    return Verdict(check=check, verdict="bad" if is_bad else "ok", found=found)


async def _cursor(place: StorePlace, stored: StoredAccount | None) -> Cursor:
    if stored is None:
        return Cursor("")
    async with open_store(place) as store:
        return (await store.accounts.position(stored.account.account_id)).cursor


async def _lock(store: Store, stored: StoredAccount) -> Verdict:
    try:
        async with store.lock(stored.account.account_id):
            return Verdict(check="lock", verdict="ok", found=say("doctor.lock.free"))
    except StoreLockedError as error:
        return Verdict(check="lock", verdict="skipped", found=say("doctor.lock.held", holder=error.holder))


def _proxy(url: SplitResult) -> Verdict:
    """Tell whether a proxy is between; its password, if it has one, is not shown."""
    proxy = getproxies().get(url.scheme, "")
    if not proxy or proxy_bypass(url.hostname or ""):
        return Verdict(check="proxy", verdict="ok", found=say("doctor.proxy.none"))
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    place = f"{parts.hostname}:{parts.port or ''}"
    return Verdict(
        check="proxy", verdict="skipped", found=say("doctor.proxy", proxy=place), advice=say("doctor.proxy.advice")
    )


async def _network(url: SplitResult, *, is_proxied: bool) -> list[Verdict]:
    """Look the server up, connect to it, and compare the clocks; through a proxy that is the proxy's business."""
    if is_proxied:
        return [_skipped("dns"), _skipped("tls"), _skipped("clock")]
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_SECONDS):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        bad = Verdict(check="dns", verdict="bad", found=f"{host}: {_why(error)}", advice=say("doctor.dns.advice"))
        return [bad, _skipped("tls"), _skipped("clock")]
    addresses = sorted({str(info[4][0]) for info in infos})
    dns = Verdict(check="dns", verdict="ok", found=f"{host}: {', '.join(addresses[:4])}")
    return [dns, *await _greet(host, port, is_secure=url.scheme == "https")]


async def _greet(host: str, port: int, *, is_secure: bool) -> list[Verdict]:
    try:
        async with asyncio.timeout(_SECONDS):
            context = ssl.create_default_context() if is_secure else None
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                certificate = writer.get_extra_info("peercert")
                writer.write(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.close()
    except ssl.SSLError as error:
        advice = say("doctor.tls.advice")
        return [Verdict(check="tls", verdict="bad", found=f"{host}: {_why(error)}", advice=advice), _skipped("clock")]
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as error:
        advice = say("doctor.connect.advice")
        found = f"{host}:{port}: {_why(error)}"
        return [Verdict(check="tls", verdict="bad", found=found, advice=advice), _skipped("clock")]
    return [_certificate(certificate) if is_secure else _skipped("tls", say("doctor.tls.plain")), compare_clocks(head)]


def _certificate(certificate: dict[str, str]) -> Verdict:
    ends = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((ends - time.time()) / 86_400)
    advice = say("doctor.tls.soon") if days < _CERTIFICATE_DAYS else ""
    return Verdict(check="tls", verdict="ok", found=say("doctor.tls", days=days), advice=advice)


def compare_clocks(head: bytes) -> Verdict:
    """Compare this machine's time with the one in the server's answer."""
    lines = (line.partition(b":") for line in head.splitlines())
    date = next((value.decode("ascii", "replace").strip() for name, _, value in lines if name.lower() == b"date"), "")
    try:
        late = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return _skipped("clock")
    if abs(late) <= _LATE:
        return Verdict(check="clock", verdict="ok", found=say("doctor.clock", seconds=f"{late:+.0f}"))
    found = say("doctor.clock", seconds=f"{late:+.0f}")
    return Verdict(check="clock", verdict="bad", found=found, advice=say("doctor.clock.advice"))


async def _server(client: Client, stored: StoredAccount | None, cursor: Cursor, *, may_poll: bool) -> list[Verdict]:
    """Try the token, and a poll if that is wanted: a server may hand a message out once only (observed: ocw#164)."""
    if stored is None:
        return [_skipped("token"), _skipped("poll")]
    token = await _ask("token", lambda: client.get_config(stored.account.owner_id or UserId("")))
    if token.verdict == "bad" or not may_poll:
        return [token, _skipped("poll", say("doctor.poll.skipped"))]
    return [token, await _ask("poll", lambda: client.get_updates(cursor, timeout=_POLL))]


async def _ask(check: Name, question: Callable[[], Awaitable[object]]) -> Verdict:
    try:
        async with asyncio.timeout(_SECONDS):
            await question()
    except StaleTokenError as error:
        return Verdict(check=check, verdict="bad", found=str(error), advice=say("doctor.login"))
    except ApiError as error:  # the token was taken, the question was not
        return Verdict(check=check, verdict="ok", found=str(error))
    except (IlinkError, TimeoutError) as error:
        return Verdict(check=check, verdict="bad", found=_why(error), advice=say("doctor.connect.advice"))
    return Verdict(check=check, verdict="ok", found=say("doctor.answers"))


def _skipped(check: Name, why: str = "") -> Verdict:
    return Verdict(check=check, verdict="skipped", found=why)


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    colours = {"ok": "green", "bad": "bold red", "skipped": "dim"}
    for verdict in verdicts:
        word = f"[{colours[verdict.verdict]}]{say(f'doctor.{verdict.verdict}')}[/]"
        table.add_row(verdict.check, word, "\n".join(text for text in (verdict.found, verdict.advice) if text))
    return table
