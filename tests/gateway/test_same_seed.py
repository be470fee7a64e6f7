"""The same seed, the same moment and the same requests give the same run, byte for byte."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from fault_house import FaultHouse, open_fault_house

from ilink.gateway.problems import InvalidRequestError

MOMENT = datetime(2026, 3, 22, 12, 0, 0, 123_456, tzinfo=UTC)


async def play(folder: Path, seed: int) -> list[bytes]:
    """Run one script, and return every answer and everything that can be looked at afterwards."""
    async with open_fault_house(folder, "memory", seed=1) as there:
        gateway = there.house.gateway
        await gateway.reset(seed, now=MOMENT)
        seen: list[bytes] = []
        there.alice = await there.house.person()
        there.bot = await there.house.login(there.alice)
        seen.append(there.bot.token.encode())
        there.fault(endpoint="getupdates", probability=0.5, duplicate="new_id")
        there.fault(endpoint="sendmessage", probability=0.5, ret=-2, errmsg="prepare failed")
        await gateway.configure(knobs={"poll.duplicate_rate": 0.5})
        cursor = ""
        for n in range(8):
            await there.says(f"message {n}")
            outcome = await there.poll(cursor)
            cursor = outcome.json["get_updates_buf"]
            token = outcome.json["msgs"][0]["context_token"]
            message = there.bot.message(there.alice, f"answer {n}", context_token=token, client_id=f"c-{n}")
            seen += [outcome.body, (await there.post("sendmessage", message)).body]
            await gateway.advance_clock(0.7 * n)
        seen += await media(there)
        views = (
            await gateway.people(),
            await gateway.codes(),
            await gateway.transcript(there.bot.bot_id, there.alice),
            await gateway.mailbox(there.bot.bot_id),
            gateway.faults.views(),
            [(event.id, event.kind, event.at_ms) for event in gateway.events.after(0)],
        )
        return seen + [msgspec.json.encode(view) for view in views]


async def media(there: FaultHouse) -> list[bytes]:
    async def chunks():
        yield b"some words"

    posted = await there.house.gateway.post_media(there.alice, there.bot.bot_id, "file", chunks(), name="a.txt")
    seen = [msgspec.json.encode(posted), (await there.request("getuploadurl")).body]
    reference = (await there.upload()).headers["x-encrypted-param"]
    assert base64.b64decode(reference)
    return [*seen, reference.encode(), (await there.request("get_bot_qrcode")).body]


async def test_the_same_seed_gives_the_same_run_byte_for_byte(tmp_path: Path) -> None:
    first = await play(tmp_path / "a", 7)
    second = await play(tmp_path / "b", 7)
    assert second == first
    another = await play(tmp_path / "c", 8)
    assert [n for n in range(1, len(first) - 6) if another[n] == first[n] and len(first[n]) > 60] == []


async def test_a_moment_that_no_clock_shows_is_refused_and_nothing_forgotten(house, alice) -> None:
    for moment in (datetime(1969, 12, 31, tzinfo=UTC), datetime(9500, 1, 1, tzinfo=UTC)):
        with pytest.raises(InvalidRequestError, match="now"):
            await house.gateway.reset(7, now=moment)
    assert [one.user_id for one in await house.gateway.people()] == [alice]


async def test_the_clock_stops_short_of_the_end_of_dates(house) -> None:
    with pytest.raises(InvalidRequestError, match="9000"):
        await house.gateway.advance_clock(timedelta(days=366 * 7000).total_seconds())
    assert house.gateway.now.year < 9000
