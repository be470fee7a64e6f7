"""Messages are kept as long as `history.keep_s` says, by the gateway's own clock."""

from __future__ import annotations

from pathlib import Path

from gateway_house import BotClient, House, open_house

from ilink.errors import StoreUnavailableError

DAY = 86_400


async def texts(house: House, bot: BotClient, user_id: str) -> list[str]:
    entries = await house.gateway.transcript(bot.bot_id, user_id)
    return [str(entry.items[0].text) for entry in entries]


async def test_old_messages_are_forgotten_as_the_clock_goes_on(house: House, bot: BotClient, alice: str) -> None:
    await house.knobs(history__keep_s=2 * DAY, poll__backlog_s=30 * DAY)
    for day in range(5):
        await house.gateway.post_message(alice, bot.bot_id, text=f"day {day}")
        await bot.send(alice, f"answer {day}")
        await house.gateway.advance_clock(DAY)

    assert await texts(house, bot, alice) == ["day 3", "answer 3", "day 4", "answer 4"]
    # What the bot has not asked for yet is no exception, and what is left is handed out as ever.
    assert [message["item_list"][0]["text_item"]["text"] for message in (await bot.poll())["msgs"]] == [
        "day 3",
        "day 4",
    ]
    await house.gateway.post_message(alice, bot.bot_id, text="today")
    assert (await bot.send(alice, "still here"))["ret"] == 0


async def test_nothing_is_forgotten_unless_somebody_says_so(house: House, bot: BotClient, alice: str) -> None:
    await house.gateway.post_message(alice, bot.bot_id, text="old")
    await house.gateway.advance_clock(1000 * DAY)

    assert await texts(house, bot, alice) == ["old"]


async def test_a_gateway_that_opens_forgets_what_became_old_meanwhile(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        alice = await house.person()
        bot = await house.login(alice)
        await house.gateway.post_message(alice, bot.bot_id, text="old")
        await house.gateway.advance_clock(10 * DAY)

    async with open_house(tmp_path, knobs={"history.keep_s": DAY}) as house:

        async def is_forgotten() -> bool:
            return await texts(house, bot, alice) == []

        await house.until(is_forgotten)


async def test_a_store_that_takes_nothing_is_asked_again_and_the_clock_goes_on(
    house: House, bot: BotClient, alice: str, monkeypatch
) -> None:
    await house.knobs(history__keep_s=DAY)
    await house.gateway.post_message(alice, bot.bot_id, text="old")

    async def refused(**_moments: int) -> None:
        message = "full"
        raise StoreUnavailableError(message)

    with monkeypatch.context() as trouble:
        trouble.setattr(house.gateway.state.store, "forget", refused)
        await house.gateway.advance_clock(10 * DAY)
        assert await texts(house, bot, alice) == ["old"]

    await house.gateway.advance_clock(1)
    assert await texts(house, bot, alice) == []
