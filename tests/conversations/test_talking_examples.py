"""The examples of conversations and jobs do what they show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bot_house import FAST, OWNER, HastyClock, Server, running

from ilink import Bot
from ilink.bot.store import StorePlace
from ilink.cli.run import find_bot

EXAMPLES = Path(__file__).parents[2] / "examples"


@asynccontextmanager
async def example(name: str, server: Server, clock: HastyClock, folder: Path) -> AsyncIterator[Bot]:
    """Run an example on a server in memory."""
    bot = find_bot(str(EXAMPLES / f"{name}.py"))
    bot._blueprint = replace(
        bot._blueprint, place=StorePlace(folder=folder), way=server.open, clock=clock, policies=FAST
    )
    async with running(bot):
        yield bot


async def said(server: Server, text: str, count: int = 1) -> list[str]:
    wanted = len(server.heard(OWNER)) + count
    server.says(OWNER, text)
    return await heard(server, wanted)


async def heard(server: Server, count: int) -> list[str]:
    await server.until(lambda: len(server.heard(OWNER)) >= count)
    return server.heard(OWNER)[-1:]


@pytest.mark.parametrize("name", ["form", "digest", "approvals"])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 60


async def test_form(server: Server, clock: HastyClock, tmp_path: Path) -> None:
    for visit in (1, 2):
        async with example("form", server, clock, tmp_path):
            if visit == 1:
                assert await said(server, "/order") == ["Hello! What is your name?"]
                assert "What would you like, Alice?" in (await said(server, "Alice"))[0]
            else:
                assert "What would you like, Alice?" in (await said(server, "/点单"))[0]
        async with example("form", server, clock, tmp_path):
            assert await said(server, "coffee") == ["How many?"]
            assert await said(server, "两杯") == ["That is 6 €. All right?"]
            assert await said(server, "好的") == [f"Order 502 is on its way. This is your visit number {visit}."]


async def test_digest(server: Server, clock: HastyClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with example("digest", server, clock, tmp_path / "data"):
        assert await said(server, "/remind 90 call Bob") == ["I will, in 90 minutes."]
        clock.ahead_ms += 90 * 60_000
        await server.until(lambda: any("call Bob" in text for text in server.heard(OWNER)))
        now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        clock.ahead_ms += int(
            (datetime.combine(now, now.min.time(), UTC) + timedelta(days=1) - now).total_seconds() * 1000
        )
        await server.until(lambda: any("Good morning" in text for text in server.heard(OWNER)))
        clock.ahead_ms += 2 * 86_400_000
        while not (tmp_path / "missed-digests.txt").exists():  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.001)


async def test_approvals(server: Server, clock: HastyClock, tmp_path: Path) -> None:
    async with example("approvals", server, clock, tmp_path):
        assert "Where shall 1.2 go?" in (await said(server, "/deploy 1.2"))[0]
        assert await said(server, "prod") == ["Deploy 1.2 to production?"]
    async with example("approvals", server, clock, tmp_path):
        assert await said(server, "同意") == ["1.2 is on production: build 5."]
        await said(server, "/deploy 1.3")
        await said(server, "1")
        assert await said(server, "不行") == ["All right, nothing happens."]
        await said(server, "/deploy 1.4")
        await said(server, "2")
        clock.ahead_ms += 3 * 3_600_000
        assert await heard(server, 9) == ["Nobody agreed in time; 1.4 stays where it is."]
