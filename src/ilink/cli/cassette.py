"""`ilink cassette`: recordings of real exchanges, and how the gateway compares with them."""

from __future__ import annotations

import asyncio
import json as std_json
import secrets
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from msgspec import to_builtins
from rich import box
from rich.table import Table

from ilink.cassettes import (
    Comparison,
    Difference,
    Miss,
    Outcome,
    Recorder,
    Replayer,
    compare,
    read_cassette,
    run_parity,
)
from ilink.cli.options import Json
from ilink.cli.output import answer_json, errors, out
from ilink.cli.words import say
from ilink.client.qr import qr_text
from ilink.errors import ConfigError
from ilink.gateway.knob_table import KNOBS
from ilink.transport.http import HttpTransport
from ilink.wire.endpoints import CDN_BASE_URL, DEFAULT_BASE_URL

__all__ = ["cassette"]

File = Annotated[Path, Parameter(help=say("cassette.file"))]
NewFile = Annotated[Path, Parameter(help=say("cassette.new_file"))]
Listen = Annotated[str, Parameter(help=say("cassette.listen"))]
BaseUrl = Annotated[str, Parameter(help=say("cassette.base_url"), env_var="ILINK_BASE_URL")]
CdnUrl = Annotated[str, Parameter(help=say("cassette.cdn_url"), env_var="ILINK_CDN_URL")]
Knobs = Annotated[list[str] | None, Parameter(name="--knob", negative="", help=say("cassette.knob"))]

_PAUSE: Final = 3.0

cassette = App(name="cassette", help=say("cassette.help"))


@cassette.command(name="record", help=say("cassette.record.help"))
def record(
    file: NewFile,
    *,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    cdn_url: CdnUrl = CDN_BASE_URL,
    listen: Listen = "127.0.0.1:0",
) -> int:
    """Record until Ctrl-C."""

    async def run() -> None:
        async with (
            HttpTransport() as transport,
            Recorder(file, transport=transport, base_url=base_url, cdn_url=cdn_url, listen=listen) as recorder,
        ):
            _tell(say("cassette.record.ready", base_url=base_url, file=file, url=recorder.url))
            try:
                await asyncio.Event().wait()
            finally:
                _tell(say("cassette.recorded", count=recorder.recorded, file=file))

    return _until_interrupted(run())


@cassette.command(name="replay", help=say("cassette.replay.help"))
def replay(
    file: File,
    *,
    listen: Listen = "127.0.0.1:0",
    paced: Annotated[bool, Parameter(negative="", show_default=False, help=say("cassette.replay.paced"))] = False,
) -> int:
    """Serve until Ctrl-C."""
    found = read_cassette(file)

    async def run() -> None:
        async with Replayer(found, listen=listen, at_once=not paced) as replayer:
            _tell(say("cassette.replay.ready", file=file, count=len(found.takes), url=replayer.url))
            try:
                await asyncio.Event().wait()
            finally:
                for miss in replayer.misses:
                    _tell(_describe(miss))

    return _until_interrupted(run())


@cassette.command(name="compare", help=say("cassette.compare.help"))
def compare_command(
    file: File,
    *,
    profile: Annotated[str, Parameter(help=say("cassette.profile"))] = "observed",
    knob: Knobs = None,
    json: Json = False,
) -> int:
    """Compare; the exit code is 0 if everything was played and nothing differs, else 1."""
    knobs = dict(_read_knob(text) for text in knob or [])
    found = asyncio.run(compare(read_cassette(file), profile=profile, knobs=knobs))
    if json:
        answer_json(to_builtins(found))
    else:
        _print_comparison(found)
    return 0 if found.is_same else 1


@cassette.command(name="parity", help=say("cassette.parity.help"))
def parity(
    *,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    cdn_url: CdnUrl = CDN_BASE_URL,
    record_into: Annotated[Path | None, Parameter(name="--record", help=say("cassette.parity.record"))] = None,
    spend: Annotated[bool, Parameter(negative="", show_default=False, help=say("cassette.parity.spend"))] = False,
    pause: Annotated[float, Parameter(help=say("cassette.parity.pause"))] = _PAUSE,
    json: Json = False,
) -> int:
    """Try; the exit code is 0 if the server does as the gateway does, else 1."""

    async def run() -> list[Outcome]:
        found: list[Outcome] = []
        async with aclosing(_parity(base_url, cdn_url, record_into, pause=pause, spends=spend)) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)
                mark = "=" if outcome.is_as_expected else "≠"
                errors().print(f"{mark} {outcome.name}: {outcome.seen}", markup=False)
        return found

    found = asyncio.run(run())
    otherwise = [outcome for outcome in found if not outcome.is_as_expected]
    if json:
        answer_json(to_builtins(found))
    else:
        _print_outcomes(otherwise)
        _tell(say("cassette.parity.done", count=len(found), otherwise=len(otherwise)))
    return 1 if otherwise else 0


async def _parity(
    base_url: str, cdn_url: str, record_into: Path | None, *, pause: float, spends: bool
) -> AsyncGenerator[Outcome, None]:
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(HttpTransport())
        if record_into is not None:
            recorder = Recorder(record_into, transport=transport, base_url=base_url, cdn_url=cdn_url)
            await stack.enter_async_context(recorder)
            base_url, cdn_url = recorder.url, f"{recorder.url}/c2c"
        steps = run_parity(
            transport,
            _Keyboard(),
            random_id=secrets.token_hex(6),
            base_url=base_url,
            cdn_url=cdn_url,
            pause=pause,
            spends=spends,
        )
        async with aclosing(steps):
            async for outcome in steps:
                yield outcome


class _Keyboard:
    """Asks the person in front of the terminal to take their phone."""

    async def scan(self, url: str, qrcode: str) -> None:
        """Show the code; the run goes on by itself when it is confirmed."""
        errors().print(qr_text(url or qrcode), markup=False)
        errors().print(url, markup=False)
        _tell(say("cassette.parity.scan"))

    async def write(self, text: str) -> None:
        """Ask for a message, and wait until it was written."""
        _tell(say("cassette.parity.write", text=text))
        await asyncio.to_thread(errors().input, say("cassette.parity.written"))


def _until_interrupted(work: Coroutine[object, object, None]) -> int:
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        return 0
    return 0


def _read_knob(text: str) -> tuple[str, object]:
    """Read NAME=VALUE; texts stand as they are, everything else as in JSON.

    Raises:
        ConfigError: It is not of this form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(say("cassette.knob.wrong", text=repr(text)))
    if name in KNOBS and KNOBS[name].kind in ("choice", "rate"):
        return name, value
    try:
        return name, std_json.loads(value)
    except ValueError:
        return name, value


def _print_comparison(found: Comparison) -> None:
    for n, why in found.skipped:
        _tell(say("cassette.compare.skipped", n=n, why=why))
    groups: dict[tuple[str, str, str, str, str], list[int]] = {}
    for one in found.differences:
        groups.setdefault(_group(one), []).append(one.n)
    if groups:
        table = Table(box=box.SIMPLE_HEAD)
        for heading in ("kind", "where", "recorded", "ours", "takes"):
            table.add_column(say(f"cassette.compare.{heading}"), overflow="fold")
        for (endpoint, kind, where, recorded, ours), takes in groups.items():
            table.add_row(kind, f"{endpoint} {where}", recorded or "–", ours or "–", ", ".join(map(str, takes[:8])))
        out().print(table)
    counts = {"played": found.played, "skipped": len(found.skipped), "differences": len(found.differences)}
    _tell(say("cassette.compare.done", **counts))
    if found.is_same:
        _tell(say("cassette.compare.same"))


def _describe(miss: Miss) -> str:
    if miss.n is None:
        return say("cassette.replay.empty", endpoint=miss.endpoint)
    missing, added = ", ".join(miss.missing) or "–", ", ".join(miss.added) or "–"
    return say("cassette.replay.missed", endpoint=miss.endpoint, n=miss.n, missing=missing, added=added)


def _group(one: Difference) -> tuple[str, str, str, str, str]:
    return one.endpoint, one.kind, one.where, one.recorded, one.ours


def _print_outcomes(otherwise: list[Outcome]) -> None:
    if not otherwise:
        return
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("step", "question", "expected", "seen"):
        table.add_column(say(f"cassette.parity.{heading}"), overflow="fold")
    for one in otherwise:
        table.add_row(one.name, one.question, one.expected, one.seen)
    out().print(table)


def _tell(text: str) -> None:
    errors().print(text, markup=False)
