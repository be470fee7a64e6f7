"""Every knob changes what is seen: for the whole gateway, and for one bot or person where that means something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_house import BotClient, House, open_house
from knob_facts import FACTS, Fact, Side

from ilink.gateway.http import CdnDoor, ProtocolApp
from ilink.gateway.knob_table import KNOBS, PROFILES
from ilink.gateway.problems import InvalidRequestError, KnobError, UnknownThingError
from ilink.wire.ids import AccountId, UserId

QUICK: dict[str, object] = {"poll.hold_ms": 0, "poll.error_delay_ms": 0}
EVERY = [(name, fact) for name, facts in FACTS.items() for fact in facts]
SCOPED = [(name, fact, kind) for name, fact in EVERY for kind in KNOBS[name].scopes]
REFUSED = [(name, kind) for name, knob in KNOBS.items() for kind in ("bot", "person") if kind not in knob.scopes]


def name_of(value: object) -> str | None:
    return str(value.value) if isinstance(value, Fact) else None


@asynccontextmanager
async def sides(folder: Path, fact: Fact) -> AsyncIterator[tuple[Side, Side]]:
    """A gateway on which two people have a bot each, and a third one too."""
    async with open_house(folder, knobs=QUICK) as house:
        house.caller.app = ProtocolApp(house.gateway, cdn=CdnDoor(house.gateway))
        alice, bob = await house.person("alice"), await house.person("bob")
        hers, his = await house.login(alice), await house.login(bob)
        stranger = await house.person("carol")
        other = await house.login(stranger)
        await house.gateway.configure(knobs=fact.base)
        yield Side(house, alice, hers, stranger, other), Side(house, bob, his, stranger, other)


async def look(folder: Path, fact: Fact, *, setting: dict[str, object] | None, kind: str, of: int) -> object:
    """Return what one of the two sees on a gateway of its own, with knobs set for the first of them."""
    async with sides(folder, fact) as both:
        first = both[0]
        if setting is not None:
            await first.house.gateway.configure(
                knobs=setting,
                bot_id=AccountId(first.bot.bot_id) if kind == "bot" else None,
                user_id=UserId(first.person) if kind == "person" else None,
            )
        return await fact.look(both[of])


def test_every_knob_and_every_choice_has_a_fact() -> None:
    assert list(FACTS) == list(KNOBS)
    for name, knob in KNOBS.items():
        if knob.kind == "choice":
            assert {knob.default, *(fact.value for fact in FACTS[name])} == set(knob.choices)


@pytest.mark.parametrize(("name", "fact"), EVERY, ids=name_of)
async def test_a_knob_changes_what_is_seen(tmp_path: Path, name: str, fact: Fact) -> None:
    without = await look(tmp_path / "a", fact, setting=None, kind="all", of=0)
    assert await look(tmp_path / "b", fact, setting={name: fact.value}, kind="all", of=0) != without
    assert await look(tmp_path / "c", fact, setting={name: fact.value}, kind="all", of=1) != without


@pytest.mark.parametrize(("name", "fact"), EVERY, ids=name_of)
async def test_a_knob_that_is_set_to_what_it_is_changes_nothing(tmp_path: Path, name: str, fact: Fact) -> None:
    """So that what is seen differs by the value alone: not by chance, and not by setting something."""
    values = {knob.name: knob.default for knob in KNOBS.values()} | QUICK | fact.base
    assert values[name] != fact.value
    without = await look(tmp_path / "a", fact, setting=None, kind="all", of=0)
    assert await look(tmp_path / "b", fact, setting={name: values[name]}, kind="all", of=0) == without


@pytest.mark.parametrize("name", [name for name, facts in FACTS.items() if len(facts) > 1])
async def test_each_choice_of_a_knob_is_seen_as_itself(tmp_path: Path, name: str) -> None:
    alike = [fact for fact in FACTS[name] if fact.look is FACTS[name][0].look]
    seen: list[object] = []
    for n, fact in enumerate(alike):
        found = await look(tmp_path / str(n), fact, setting={name: fact.value}, kind="all", of=0)
        assert found not in seen, fact.value
        seen.append(found)


@pytest.mark.parametrize(("name", "fact", "kind"), SCOPED, ids=name_of)
async def test_a_knob_of_one_changes_what_this_one_sees_and_nothing_for_the_other(
    tmp_path: Path, name: str, fact: Fact, kind: str
) -> None:
    without = await look(tmp_path / "a", fact, setting=None, kind=kind, of=0)
    assert await look(tmp_path / "b", fact, setting={name: fact.value}, kind=kind, of=0) != without
    assert await look(tmp_path / "c", fact, setting={name: fact.value}, kind=kind, of=1) == without


@pytest.mark.parametrize(("name", "kind"), REFUSED)
async def test_a_knob_that_means_nothing_for_one_is_refused_with_the_reason(
    house: House, bot: BotClient, alice: str, name: str, kind: str
) -> None:
    before = house.gateway.config()
    scope = {"bot_id": AccountId(bot.bot_id)} if kind == "bot" else {"user_id": UserId(alice)}
    with pytest.raises(KnobError, match=f"cannot be set per {kind}, because .* set it per gateway") as caught:
        await house.gateway.configure(knobs={name: KNOBS[name].default}, **scope)  # type: ignore[arg-type]
    assert caught.value.knob == name
    assert house.gateway.config() == before


async def test_a_person_comes_before_a_bot_and_a_bot_before_the_gateway(
    house: House, bot: BotClient, alice: str
) -> None:
    async def suggested() -> object:
        return (await bot.poll(""))["longpolling_timeout_ms"]

    configure, bot_id, user_id = house.gateway.configure, AccountId(bot.bot_id), UserId(alice)
    await house.knobs(poll__hold_ms=0, poll__suggest_ms=1)
    assert await suggested() == 1
    await configure(knobs={"poll.suggest_ms": 3}, user_id=user_id)
    await configure(knobs={"poll.suggest_ms": 2}, bot_id=bot_id)
    assert await suggested() == 3
    await house.gateway.drop_config(user_id=user_id)
    assert await suggested() == 2
    await house.gateway.drop_config(bot_id=bot_id)
    assert await suggested() == 1


async def test_what_is_set_for_one_is_merged_shown_and_dropped_with_all(
    house: House, bot: BotClient, alice: str
) -> None:
    bot_id, user_id = AccountId(bot.bot_id), UserId(alice)
    await house.gateway.configure(knobs={"poll.suggest_ms": 2}, bot_id=bot_id)
    shown = await house.gateway.configure(knobs={"ids.send_as": "omit"}, bot_id=bot_id)
    assert [one.knobs for one in shown.overrides] == [{"poll.suggest_ms": 2, "ids.send_as": "omit"}]
    await house.gateway.configure(knobs={"ids.send_as": "string"}, user_id=user_id)
    both = await house.gateway.config_of(bot_id=bot_id, user_id=user_id)
    assert (both.knobs["poll.suggest_ms"], both.knobs["ids.send_as"], len(both.overrides)) == (2, "string", 2)
    all_of_them = house.gateway.config()
    assert (all_of_them.knobs["poll.suggest_ms"], len(all_of_them.overrides)) == (35_000, 2)
    await house.gateway.drop_config()
    assert house.gateway.config().overrides == []


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_profile_of_one_bot_sets_all_that_can_be_set_there(house: House, bot: BotClient, profile: str) -> None:
    await house.knobs(poll__suggest_ms=1)
    shown = await house.gateway.configure(profile=profile, bot_id=AccountId(bot.bot_id))
    assert shown.profile == profile
    (override,) = shown.overrides
    assert set(override.knobs) == {name for name, knob in KNOBS.items() if "bot" in knob.scopes}
    expected = PROFILES[profile] | {"poll.suggest_ms": PROFILES[profile].get("poll.suggest_ms", 35_000)}
    assert {name: shown.knobs[name] for name in expected if name in override.knobs} == {
        name: value for name, value in expected.items() if name in override.knobs
    }


async def test_wrong_scopes_are_refused_and_nothing_is_set(house: House, bot: BotClient, alice: str) -> None:
    knobs = {"poll.suggest_ms": 2}
    with pytest.raises(InvalidRequestError, match="not both"):
        await house.gateway.configure(knobs=knobs, bot_id=AccountId(bot.bot_id), user_id=UserId(alice))
    with pytest.raises(UnknownThingError, match="bot"):
        await house.gateway.configure(knobs=knobs, bot_id=AccountId("nobody@im.bot"))
    with pytest.raises(UnknownThingError, match="person"):
        await house.gateway.configure(knobs=knobs, user_id=UserId("nobody@im.wechat"))
    with pytest.raises(KnobError, match="allowed is"):
        await house.gateway.configure(knobs={**knobs, "poll.hold_ms": -1}, user_id=UserId(alice))
    with pytest.raises(KnobError, match="did you mean"):
        await house.gateway.configure(knobs={**knobs, "poll.hold": 1}, bot_id=AccountId(bot.bot_id))
    assert house.gateway.config().overrides == []


async def test_what_differs_for_one_survives_a_restart_and_goes_with_a_reset(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        alice = await house.person()
        bot = await house.login(alice)
        await house.knobs(poll__hold_ms=0)
        await house.gateway.configure(knobs={"poll.suggest_ms": 2}, bot_id=AccountId(bot.bot_id))
        await house.gateway.configure(profile="suppressed", knobs={"poll.hold_ms": 0}, user_id=UserId(alice))
        before = house.gateway.config()
    async with open_house(tmp_path, seed=None) as house:
        assert house.gateway.config() == before
        bot = BotClient(house.caller, bot.token, bot.bot_id, bot.user_id)
        assert (await bot.poll(""))["longpolling_timeout_ms"] == 35_000  # the person's profile
        await house.gateway.drop_config(user_id=UserId(alice))
        assert (await bot.poll(""))["longpolling_timeout_ms"] == 2
        await house.gateway.reset()
        assert house.gateway.config().overrides == []
