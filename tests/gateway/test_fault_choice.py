"""Which requests a fault strikes: by match, by count, by chance and by time, whatever it does and wherever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fault_house import FaultHouse, open_fault_house

from ilink.gateway.fault_actions import ACTIONS, FaultAction

ONE_OF_EACH: dict[str, dict[str, object]] = {
    "delay_ms": {"delay_ms": 1},
    "hang": {"hang": True},
    "http_status": {"http_status": 524},
    "ret": {"ret": -1},
    "reset": {"reset": "before"},
    "truncate_json": {"truncate_json": True},
    "omit": {"omit": ["ret", "x-encrypted-param", "content-type"]},
    "drop_silently": {"drop_silently": True},
    "duplicate": {"duplicate": "same_id"},
    "reorder": {"reorder": True},
    "lose_cursor": {"lose_cursor": True},
    "corrupt": {"corrupt": True},
    "slow_bytes_per_s": {"slow_bytes_per_s": 2**30},
}
EVERYWHERE = [(name, endpoint) for name, action in ACTIONS.items() for endpoint in sorted(action.endpoints)]


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[FaultHouse]:
    async with open_fault_house(tmp_path, "memory") as there:
        await there.house.knobs(poll__error_delay_ms=0, quota__per_inbound=1000)
        yield there


async def strikes(there: FaultHouse, action: str, endpoint: str) -> bool:
    """Make a call that succeeds where nothing fails, and tell whether it was struck."""
    before = sum(there.hits())
    if action == "hang":  # nobody waits for what never comes: the gateway lets everybody go
        await _hang(there, endpoint)
    else:
        if action == "reorder":
            await there.says("another")
        await there.request(endpoint)
    return sum(there.hits()) > before


async def _hang(there: FaultHouse, endpoint: str) -> None:
    before = sum(there.hits())
    asking = asyncio.ensure_future(there.request(endpoint))
    await there.house.until(lambda: asking.done() or sum(there.hits()) > before)
    if not asking.done():
        await there.house.until(lambda: asking.done() or len(there.house.gateway.state.waiting) > 0)
        there.house.gateway.state.waiting.release()
    await asking


def test_every_action_is_tried() -> None:
    assert list(ONE_OF_EACH) == list(ACTIONS)
    assert {key for one in ONE_OF_EACH.values() for key in one} <= set(FaultAction.__struct_fields__)


@pytest.mark.parametrize(("action", "endpoint"), EVERYWHERE)
async def test_a_fault_strikes_at_its_count_and_at_its_time_only(there: FaultHouse, action: str, endpoint: str) -> None:
    await there.house.gateway.freeze_clock(frozen=action != "delay_ms" and action != "slow_bytes_per_s")
    advance = there.house.gateway.advance_clock
    there.fault(endpoint=endpoint, nth=2, times=2, after_s=60, for_s=30, every_s=3600, **ONE_OF_EACH[action])
    seen: list[bool] = []
    for seconds in (0, 61, 1, 31, 3600 - 33, 1):  # asleep, 1st, 2nd, asleep, 3rd by then an hour later, used up
        await advance(seconds)
        seen.append(await strikes(there, action, endpoint))
    assert seen == [False, False, True, False, True, False]


@pytest.mark.parametrize(("action", "endpoint"), EVERYWHERE)
async def test_a_fault_for_somebody_else_strikes_nobody_here(there: FaultHouse, action: str, endpoint: str) -> None:
    stranger = await there.house.person("bob")
    other = await there.house.login(stranger)
    await there.house.gateway.scan(await there.house.qrcode(), there.alice)  # the newest code is hers again
    there.fault(endpoint=endpoint, user_id=stranger, **ONE_OF_EACH[action])
    there.fault(endpoint=endpoint, bot_id=other.bot_id, **ONE_OF_EACH[action])
    there.fault(endpoint=endpoint, probability=0.0, **ONE_OF_EACH[action])
    assert not await strikes(there, action, endpoint)


async def test_a_schedule_without_an_end_goes_on(there: FaultHouse) -> None:
    there.fault(endpoint="getconfig", after_s=60, ret=-2)
    assert not await strikes(there, "ret", "getconfig")
    for _ in range(3):
        await there.house.gateway.advance_clock(86_400)
        assert await strikes(there, "ret", "getconfig")


@pytest.mark.parametrize(("every_s", "round_s"), [(None, 0), (3600, 0), (3600, 3600)])
async def test_a_fault_is_at_work_from_its_first_moment_to_before_its_last(
    there: FaultHouse, every_s: int | None, round_s: int
) -> None:
    await there.house.gateway.freeze_clock(frozen=True)
    there.fault(endpoint="getconfig", after_s=60, for_s=30, every_s=every_s, ret=-2)
    seen: list[bool] = []
    for seconds in (round_s + 59.75, 0.25, 29.75, 0.25):
        await there.house.gateway.advance_clock(seconds)
        seen.append(await strikes(there, "ret", "getconfig"))
    assert seen == [False, True, True, False]


@pytest.mark.parametrize("action", ["duplicate", "corrupt"])
async def test_a_fault_everywhere_strikes_only_where_it_makes_sense(there: FaultHouse, action: str) -> None:
    there.fault(endpoint="*", **ONE_OF_EACH[action])
    for endpoint in sorted(ACTIONS["delay_ms"].endpoints):
        assert await strikes(there, action, endpoint) == (endpoint in ACTIONS[action].endpoints), endpoint


@pytest.mark.parametrize("action", ["ret", "truncate_json"])
async def test_a_fault_of_answers_in_json_leaves_the_cdn_alone(there: FaultHouse, action: str) -> None:
    permission = await there.permission()
    there.fault(endpoint="*", **ONE_OF_EACH[action])
    uploaded = await there.upload(permission)
    assert (uploaded.status, (await there.download(uploaded.headers["x-encrypted-param"])).status) == (200, 200)
    assert there.hits() == [0]


async def test_an_answer_is_struck_if_its_fault_is_at_work_when_it_leaves(there: FaultHouse) -> None:
    await there.house.gateway.freeze_clock(frozen=True)
    there.fault(endpoint="getupdates", after_s=10, for_s=10, lose_cursor=True)
    poll = there.bot.begin_poll()
    await there.house.held(there.bot)
    await there.house.gateway.advance_clock(15)
    await there.says("hi")
    assert (await poll.answer()).json["get_updates_buf"] == ""
