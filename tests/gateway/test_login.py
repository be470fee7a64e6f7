"""The login through every status, and who is bound to what (protocol §3.1, §3.2, §8.4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_house import BotClient, House, open_house

from ilink.gateway.problems import ConflictError, InvalidRequestError, UnknownThingError
from ilink.wire.ids import UserId


async def test_a_held_status_poll_is_answered_when_the_code_is_scanned(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    assert (await house.status(qrcode))["status"] == "wait"
    held = house.begin_status(qrcode)
    await house.until(lambda: len(house.gateway.state.waiting) == 1)
    await house.gateway.scan(qrcode, UserId(alice))
    assert (await held.answer()).json["status"] == "scaned"
    held = house.begin_status(qrcode)
    await house.until(lambda: len(house.gateway.state.waiting) == 1)
    await house.gateway.confirm(qrcode)
    assert (await held.answer()).json["status"] == "confirmed"


async def test_a_status_is_repeated_after_the_hold(house: House) -> None:
    await house.knobs(qr__hold_ms=0)
    qrcode = await house.qrcode()
    assert [(await house.status(qrcode))["status"] for _ in range(3)] == ["wait"] * 3


async def test_confirmed_is_repeated_until_the_code_runs_out(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    await house.gateway.confirm(qrcode, user_id=UserId(alice))
    first = await house.status(qrcode)
    assert await house.status(qrcode) == first
    await house.gateway.advance_clock(120)
    assert await house.status(qrcode) == {"ret": 0, "status": "expired"}


async def test_a_held_status_poll_is_answered_when_the_code_runs_out(house: House) -> None:
    await house.knobs(qr__hold_ms=30_000)
    qrcode = await house.qrcode()
    await house.status(qrcode)
    held = house.begin_status(qrcode)
    await house.until(lambda: len(house.gateway.state.waiting) == 1)
    await house.gateway.advance_clock(120)
    assert (await held.answer()).json["status"] == "expired"


@pytest.mark.parametrize("qrcode", ["0" * 32, "x", "%00", "é"])
async def test_an_unknown_code_is_expired(house: House, qrcode: str) -> None:
    assert await house.status(qrcode) == {"ret": 0, "status": "expired"}


async def test_a_status_poll_without_a_code_names_what_is_missing(house: House) -> None:
    assert await house.status("") == {"ret": -2, "errmsg": "qrcode required"}


async def test_the_right_digits_lead_to_scanned(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    await house.gateway.scan(qrcode, UserId(alice))
    await house.gateway.require_code(qrcode, "123456")
    assert (await house.status(qrcode))["status"] == "need_verifycode"
    with pytest.raises(ConflictError, match="digits"):
        await house.gateway.confirm(qrcode)
    assert (await house.status(qrcode, "000000"))["status"] == "need_verifycode"
    assert (await house.status(qrcode, "123456"))["status"] == "scaned"
    await house.gateway.confirm(qrcode)
    assert (await house.status(qrcode, "123456"))["status"] == "confirmed"


async def test_digits_to_type_are_as_many_as_the_knob_says(house: House, alice: str) -> None:
    await house.knobs(qr__code_len=4)
    qrcode = await house.qrcode()
    with pytest.raises(InvalidRequestError, match=r"4 digits \(knob qr\.code_len\)"):
        await house.gateway.require_code(qrcode, "123456")
    assert (await house.gateway.require_code(qrcode, "1234")).verify_code == "1234"


async def test_three_wrong_digits_block_the_code(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    await house.gateway.require_code(qrcode, "123456")
    answers = [(await house.status(qrcode, f"00000{n}"))["status"] for n in range(3)]
    assert answers == ["need_verifycode", "need_verifycode", "verify_code_blocked"]
    assert (await house.status(qrcode, "123456"))["status"] == "verify_code_blocked"
    with pytest.raises(ConflictError, match="over"):
        await house.gateway.confirm(qrcode, user_id=UserId(alice))


async def test_the_knob_asks_for_digits_at_every_scan(house: House, alice: str) -> None:
    await house.knobs(qr__require_code=True, qr__code_len=4, qr__code_attempts=1)
    qrcode = await house.qrcode()
    view = await house.gateway.scan(qrcode, UserId(alice))
    assert (view.status, len(view.verify_code or "")) == ("need_verifycode", 4)
    wrong = "0000" if view.verify_code != "0000" else "1111"
    assert (await house.status(qrcode, wrong))["status"] == "verify_code_blocked"


async def test_a_redirect_is_done_for_who_asks_at_its_host(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    await house.gateway.scan(qrcode, UserId(alice))
    await house.gateway.redirect(qrcode, "idc7.test:8443")
    assert (await house.status(qrcode))["redirect_host"] == "idc7.test:8443"
    assert (await house.status(qrcode, headers={"Host": "idc7.test:8443"}))["status"] == "scaned"
    await house.gateway.confirm(qrcode)
    assert (await house.status(qrcode, headers={"Host": "idc7.test:8443"}))["status"] == "confirmed"


@pytest.mark.parametrize("host", ["", "https://x.test", "x.test/path", "a b", "x:port"])
async def test_a_redirect_needs_a_host(house: House, host: str) -> None:
    qrcode = await house.qrcode()
    with pytest.raises(InvalidRequestError):
        await house.gateway.redirect(qrcode, host)


async def test_an_ended_code_is_expired(house: House, alice: str) -> None:
    qrcode = await house.qrcode()
    await house.gateway.expire_code(qrcode)
    assert (await house.status(qrcode))["status"] == "expired"
    with pytest.raises(ConflictError):
        await house.gateway.scan(qrcode, UserId(alice))


async def test_a_bound_installation_is_told_so(house: House, bot: BotClient, alice: str) -> None:
    qrcode = await house.qrcode([bot.token, "stale@im.bot:secret"])
    assert (await house.gateway.scan(qrcode, UserId(alice))).status == "binded_redirect"
    assert await house.status(qrcode) == {"ret": 0, "status": "binded_redirect"}
    assert (await bot.send(alice))["ret"] == -2  # the token still works


async def test_another_persons_token_binds_nothing(house: House, bot: BotClient) -> None:
    bob = await house.person("bob")
    qrcode = await house.qrcode([bot.token])
    assert (await house.gateway.scan(qrcode, UserId(bob))).status == "scaned"


async def test_stale_tokens_are_refused_where_the_knob_says_so(house: House, bot: BotClient) -> None:
    await house.knobs(qr__stale_token="-3")
    tokens = {"local_token_list": [bot.token, "gone@im.bot:secret"]}
    answer = await house.caller.call("POST", "/ilink/bot/get_bot_qrcode", tokens)
    assert answer.json == {"ret": -3, "errmsg": "invalid arguments"}
    assert await house.qrcode([bot.token])


async def test_a_new_login_kills_the_older_token_and_its_held_poll(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(poll__error_delay_ms=0)
    poll = bot.begin_poll()
    await house.held(bot)
    newer = await house.login(alice)
    assert (await poll.answer()).json["errcode"] == -14
    assert (await bot.send(alice))["errcode"] == -14
    assert newer.bot_id != bot.bot_id
    assert {one.bot_id: one.state for one in await house.gateway.bots()} == {
        bot.bot_id: "replaced",
        newer.bot_id: "live",
    }


async def test_the_older_token_lives_on_for_the_delay(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(bind__revoke_delay_s=29, poll__error_delay_ms=0)
    await house.login(alice)
    poll = bot.begin_poll()
    await house.held(bot)
    await house.gateway.advance_clock(28)
    assert not poll.task.done()
    await house.gateway.advance_clock(1)
    assert (await poll.answer()).json["errcode"] == -14


async def test_several_bots_live_where_bind_single_is_off(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(bind__single=False)
    newer = await house.login(alice)
    for one in (bot, newer):
        assert (await one.call("msg/notifystart", {}))["ret"] == 0


async def test_a_token_older_than_its_life_is_stale(house: House, bot: BotClient) -> None:
    await house.knobs(token__ttl_s=3600)
    assert (await bot.call("msg/notifystart", {}))["ret"] == 0
    await house.gateway.advance_clock(3600)
    assert (await bot.call("msg/notifystart", {}))["errcode"] == -14
    assert (await house.gateway.bot(bot.bot_id)).state == "expired"


async def test_no_token_is_stored_in_the_clear(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        bot = await house.login(await house.person())
    secret = bot.token.split(":")[1].encode()
    assert all(secret not in file.read_bytes() for file in tmp_path.glob("gateway.sqlite*"))


async def test_confirmed_is_repeated_after_a_restart(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        qrcode = await house.qrcode()
        await house.gateway.confirm(qrcode, user_id=UserId(await house.person()))
        first = await house.status(qrcode)
    async with open_house(tmp_path) as house:
        assert await house.status(qrcode) == first


async def test_a_code_belongs_to_who_scanned_it(house: House, alice: str) -> None:
    bob = UserId(await house.person("bob"))
    qrcode = await house.qrcode()
    with pytest.raises(ConflictError, match="nobody"):
        await house.gateway.confirm(qrcode)
    await house.gateway.scan(qrcode, UserId(alice))
    for step in (house.gateway.scan(qrcode, bob), house.gateway.confirm(qrcode, user_id=bob)):
        with pytest.raises(ConflictError, match="somebody else"):
            await step
    with pytest.raises(UnknownThingError):
        await house.gateway.scan(qrcode, UserId("nobody@im.wechat"))
    with pytest.raises(UnknownThingError):
        await house.gateway.code("0" * 32)


async def test_waiting_for_a_code_ends_with_the_newest_unscanned_one(house: House, alice: str) -> None:
    assert await house.gateway.wait_code(timeout=0) is None
    waiting = house.caller.begin("GET", "/ilink/bot/get_bot_qrcode")
    found = await house.gateway.wait_code(timeout=5)
    assert found is not None
    assert found.qrcode == (await waiting.answer()).json["qrcode"]
    await house.gateway.scan(found.qrcode, UserId(alice))
    assert await house.gateway.wait_code(timeout=0) is None


async def test_codes_are_listed_newest_first_and_forgotten_in_time(house: House) -> None:
    first, second = await house.qrcode(), await house.qrcode()
    assert [code.qrcode for code in await house.gateway.codes()] == [second, first]
    await house.gateway.advance_clock(3600)
    third = await house.qrcode()
    assert [code.qrcode for code in await house.gateway.codes()] == [third]
