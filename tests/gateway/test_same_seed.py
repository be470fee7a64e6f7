"""The same seed, the same moment and the same requests give the same run, byte for byte."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import pytest
from fault_house import FaultHouse, Outcome, open_fault_house

import ilink.gateway
from ilink.gateway.ids import IdSource
from ilink.gateway.problems import InvalidRequestError
from ilink.gateway.views import Quote
from ilink.wire.ids import UserId

MOMENT = datetime(2026, 3, 22, 12, 0, 0, 123_456, tzinfo=UTC)


async def play(folder: Path, seed: int, way: Literal["socket", "memory"] = "memory") -> list[bytes]:
    """Run the script on a gateway of its own."""
    async with open_fault_house(folder, way, seed=1) as there:
        return await run(there, seed)


async def run(there: FaultHouse, seed: int) -> list[bytes]:
    """Run one script, and return every answer and everything that can be looked at afterwards."""
    gateway = there.house.gateway
    await gateway.reset(seed, now=MOMENT)
    seen: list[bytes] = []
    there.alice = await there.house.person()
    there.bot = await there.house.login(there.alice)
    seen.append(there.bot.token.encode())
    there.fault(endpoint="getupdates", probability=0.5, duplicate="new_id")
    there.fault(endpoint="sendmessage", probability=0.5, ret=-2, errmsg="prepare failed")
    there.fault(endpoint="getconfig", probability=0.5, after_s=1, for_s=3, every_s=5, reset="after_headers")
    await gateway.configure(knobs={"poll.duplicate_rate": 0.5})
    await gateway.configure(knobs={"ids.send_as": "string"}, user_id=UserId(there.alice))
    cursor = ""
    for n in range(8):
        await there.says(f"message {n}")
        outcome = await there.poll(cursor)
        cursor = outcome.json["get_updates_buf"]
        token = outcome.json["msgs"][0]["context_token"]
        message = there.bot.message(there.alice, f"answer {n}", context_token=token, client_id=f"c-{n}")
        seen += [whole(outcome), whole(await there.post("sendmessage", message))]
        seen.append(whole(await there.post("getconfig", {"ilink_user_id": there.alice})))
        await gateway.advance_clock(0.7 * n)
    seen += await media(there)
    seen += await what_else_there_is(there)
    views = (
        await gateway.people(),
        await gateway.codes(),
        await gateway.transcript(there.bot.bot_id, there.alice),
        await gateway.mailbox(there.bot.bot_id),
        gateway.faults.views(),
        [(event.id, event.kind, event.at_ms) for event in gateway.events.after(0)],
        [replace(entry, held_ms=0) for entry in gateway.wire_log()],
    )
    seen += [msgspec.json.encode(view) for view in views]
    assert b'"reset"' in seen[-1]  # the scheduled fault struck, so that its chance counts here
    return seen + await loaded_again(there)


def whole(outcome: Outcome) -> bytes:
    """Return status, headers and what came of the body, in the order in which they came."""
    head = "\n".join([str(outcome.status), *(f"{name}: {value}" for name, value in outcome.headers.items())])
    return head.encode() + b"\n\n" + outcome.body


async def what_else_there_is(there: FaultHouse) -> list[bytes]:
    """Quote, type, drop an upload, and sign in by digits."""
    gateway = there.house.gateway
    ticket = (await there.bot.call("getconfig", {"ilink_user_id": there.alice}))["typing_ticket"]
    typing = {"ilink_user_id": there.alice, "typing_ticket": ticket, "status": 1}
    seen = [(await there.post("sendtyping", typing)).body, (await there.post("msg/notifystart", {})).body]
    first = (await gateway.transcript(there.bot.bot_id, there.alice))[0]
    quoted = Quote(message_id=str(first.message_id))
    await gateway.post_message(there.alice, there.bot.bot_id, text="that one?", quote=quoted)
    there.fault(endpoint="cdn_upload", drop_silently=True, times=1)
    seen.append(whole(await there.upload()))
    await gateway.configure(knobs={"qr.require_code": True})
    qrcode = await there.house.qrcode()
    await gateway.scan(qrcode, UserId(there.alice))
    await gateway.configure(knobs={"qr.require_code": False})
    return [*seen, str((await gateway.code(qrcode)).verify_code).encode(), (await there.poll()).body]


async def loaded_again(there: FaultHouse) -> list[bytes]:
    """Load what is there, which begins everything anew, and return what it is then."""
    gateway = there.house.gateway
    scene = await gateway.scene()
    await gateway.load_scene(scene)
    chat = await gateway.transcript(there.bot.bot_id, there.alice)
    return [msgspec.json.encode(one) for one in (scene, await gateway.bots(), await gateway.codes(), chat)]


async def media(there: FaultHouse) -> list[bytes]:
    async def chunks():
        yield b"some words"

    posted = await there.house.gateway.post_media(there.alice, there.bot.bot_id, "file", chunks(), name="a.txt")
    seen = [msgspec.json.encode(posted), (await there.request("getuploadurl")).body]
    reference = (await there.upload()).headers["x-encrypted-param"]
    assert base64.b64decode(reference)
    return [*seen, reference.encode(), (await there.request("get_bot_qrcode")).body]


@pytest.mark.of_a_folder("elsewhere events are numbered by the time, which all processes know")
@pytest.mark.parametrize("way", ["socket", "memory"])
async def test_the_same_seed_gives_the_same_run_byte_for_byte(tmp_path: Path, way: Literal["socket", "memory"]) -> None:
    first = await play(tmp_path / "a", 7, way)
    second = await play(tmp_path / "b", 7, way)
    assert second == first


@pytest.mark.of_a_folder("elsewhere events are numbered by the time, which all processes know")
async def test_a_gateway_that_is_reset_gives_the_same_run_again(tmp_path: Path) -> None:
    async with open_fault_house(tmp_path, "memory", seed=1) as there:
        first = await run(there, 7)
        await run(there, 8)
        assert await run(there, 7) == first


def files_of_the_gateway() -> dict[str, str]:
    folder = Path(ilink.gateway.__file__).parent
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.py")}


async def test_everything_that_draws_is_in_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: set[str] = set()
    stream = IdSource.stream

    def noted(ids: IdSource, kind: str) -> Random:
        drawn.add(kind.rstrip("0123456789"))
        return stream(ids, kind)

    monkeypatch.setattr(IdSource, "stream", noted)
    written = re.findall(r'\.(?:draw|stream|chance)\(\s*f?"([^"{]+)', "".join(files_of_the_gateway().values()))
    async with open_fault_house(tmp_path, "memory", seed=1) as there:
        drawn.clear()
        await run(there, 7)
    assert len(set(written)) > 15
    assert {kind for kind in written if not any(one.startswith(kind) for one in drawn)} == set()


def test_nothing_in_the_gateway_is_random_but_by_its_seed() -> None:
    source = re.compile(r"^(?:import|from) (?:random|secrets|uuid)\b|urandom", re.MULTILINE)
    assert {name for name, text in files_of_the_gateway().items() if source.search(text)} == {
        "ids.py",  # without a seed
        "control/guard.py",  # who may use the page
        "peers.py",  # what a process is called among others
        "sharing.py",  # when they look at the store
    }


async def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    first, another = await play(tmp_path / "a", 7), await play(tmp_path / "b", 8)
    polls = [n for n, one in enumerate(first) if b'"get_updates_buf"' in one]
    assert polls
    assert [n for n in polls if another[n] == first[n]] == []


async def test_a_moment_that_no_clock_shows_is_refused_and_nothing_forgotten(house, alice) -> None:
    for moment in (datetime(1969, 12, 31, tzinfo=UTC), datetime(9500, 1, 1, tzinfo=UTC)):
        with pytest.raises(InvalidRequestError, match="now"):
            await house.gateway.reset(7, now=moment)
    assert [one.user_id for one in await house.gateway.people()] == [alice]


async def test_the_clock_stops_short_of_the_end_of_dates(house) -> None:
    with pytest.raises(InvalidRequestError, match="9000"):
        await house.gateway.advance_clock(timedelta(days=366 * 7000).total_seconds())
    assert house.gateway.now.year < 9000
