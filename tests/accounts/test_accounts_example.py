"""The example of two accounts does what it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from accounts_house import Street
from bot_house import FAST, Server

from ilink.bot.store import StorePlace
from ilink.cli.run import find_bot

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_accounts.py"


async def said(server: Server, text: str) -> str:
    count = len(server.heard("mia"))
    server.says("mia", text)
    await server.until(lambda: len(server.heard("mia")) > count)
    return server.heard("mia")[count]


async def test_two_accounts(street: Street, capsys: pytest.CaptureFixture[str]) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = find_bot(str(EXAMPLE))
    bot._blueprint = replace(
        bot._blueprint, place=StorePlace(folder=street.folder), way=street.open, clock=street.clock, policies=FAST
    )
    a, b = street.server("a"), street.server("b")
    async with street.running(bot, "a", "b"):
        assert await said(a, "/hello") == "Hello! What is your name?"
        assert await said(b, "/hello") == "Hello! What is your name?"
        assert await said(a, "Mia") == "Welcome, Mia."
        assert await said(b, "Miss M.") == "Welcome, Miss M.."
        assert await said(a, "/hello") == "Welcome, Mia."
        assert "does not work for the account nobody" in await said(a, "/notify nobody mia ring ring")
        assert await said(a, "/notify b@im.bot mia ring ring") == "It is on its way."
        await b.until(lambda: b.heard("mia")[-1] == "ring ring")
    assert "a@im.bot is stopped, and has welcomed 2" in capsys.readouterr().out


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60
