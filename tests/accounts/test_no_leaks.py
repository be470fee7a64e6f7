"""The same people talk to several accounts of one program, and nothing of one is ever seen by another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from accounts_house import Street, echo
from bot_house import FAST, HastyClock
from test_on_the_gateway import login_of

from ilink import Bot, ConfigError, Context, Job, Message, Pairing, State
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.testing import LocalGateway

NAMES = ("a", "b", "c")


@dataclass
class Diary:
    entries: str = ""


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_said_to_one_account_is_seen_by_another(street: Street, seed: int) -> None:
    for name in NAMES:
        await street.sign_in(name)
    bot = street.bot()

    @bot.on_command("ask")
    async def ask(message: Message, ctx: Context) -> None:
        answer = await ctx.ask("secret?")
        async with message.typing():
            await message.reply(f"heard {answer}")

    @bot.on_command("plan")
    async def plan(message: Message, rest: str = "") -> None:
        await bot.schedule("remind", in_=0.0, data=rest, key="same", replace=True)

    @bot.job()
    async def remind(job: Job) -> None:
        assert job.account[0] == str(job.data)[0]
        await bot.send("mia", f"remember {job.data}")

    @bot.on_text()
    async def write(message: Message, diary: State[Diary]) -> None:
        diary.value.entries += f" {message.text}"
        await message.reply(f"diary{diary.value.entries}")
        await bot.send(message.user, f"by the way {message.text}")

    random = Random(seed)
    asked = dict.fromkeys(NAMES, False)
    async with street.running(bot, *NAMES):
        for step in range(40):
            name = random.choice(NAMES)
            # Each account numbers its messages from one, so their ids are the same and only the account differs.
            canary = f"{name}-canary-{step}"
            what = random.choice(["ask", "plan", "write", "write"])
            if what == "ask" and not asked[name]:
                street.server(name).says("mia", "/ask")
                asked[name] = True
            elif what == "plan" and not asked[name]:
                street.server(name).says("mia", f"/plan {canary}")
            else:
                street.server(name).says("mia", canary)
                asked[name] = False
            if random.random() < 0.3:
                await asyncio.sleep(0.002)
        await street.until(lambda: all(_all_done(street, name) for name in NAMES))
        await _settled(bot)
        for name in NAMES:
            assert (await bot.counts(account=f"{name}@im.bot")).dead == 0
    for name in NAMES:
        server = street.server(name)
        others = [other for other in NAMES if other != name]
        assert server.sent
        assert not [text for text in server.heard("mia") for other in others if f"{other}-canary" in text]


def _all_done(street: Street, name: str) -> bool:
    return not street.server(name).mail


async def _settled(bot: Bot) -> None:
    async with asyncio.timeout(45):
        while (counts := await bot.counts()).waiting or counts.outgoing:  # noqa: ASYNC110  # a count tells nobody
            await asyncio.sleep(0.005)


async def test_windows_and_tokens_belong_to_the_account_that_heard_them(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    a, b = street.server("a"), street.server("b")
    async with street.running(bot, "a", "b"):
        a.says("mia", "hi", context_token="token of a")
        await a.until(lambda: len(a.sent) == 1)
        assert (await bot.can_send("mia", account="a@im.bot")).can_send
        assert (await bot.can_send("mia", account="b@im.bot")).left != (
            await bot.can_send("mia", account="a@im.bot")
        ).left
        await bot.send("mia", "only a knows you")
        await a.until(lambda: len(a.sent) == 2)
        b.says("mia", "hi", context_token="token of b")
        await b.until(lambda: len(b.sent) == 1)
        with pytest.raises(ConfigError, match="2 accounts know mia: say which is meant with account="):
            await bot.send("mia", "who?")
        with pytest.raises(ConfigError, match="none of 2 accounts knows zoe"):
            await bot.send("zoe", "who?")
    tokens = [{given.reveal() for m in s.sent if (given := m.context_token) is not None} for s in (a, b)]
    assert tokens == [{"token of a"}, {"token of b"}]


async def test_who_was_let_in_by_one_account_is_a_stranger_to_another(street: Street) -> None:
    await street.sign_in("a", owner="owner")
    await street.sign_in("b", owner="other owner")
    bot = street.bot(allow=Pairing())
    echo(bot)
    a, b = street.server("a"), street.server("b")
    async with street.running(bot, "a", "b"):
        a.says("mia", "let me in")
        await a.until(lambda: len(a.heard("mia")) == 1)
        code = next(word for word in a.heard("mia")[0].replace(".", " ").split() if len(word) == 9 and word[4] == "-")
        b.says("other owner", f"/pair {code}")
        await b.until(lambda: len(b.sent) == 1)
        a.says("mia", "still not")
        a.says("owner", f"/pair {code}")
        await a.until(lambda: len(a.heard("owner")) == 1)
        a.says("mia", "now")
        await a.until(lambda: a.heard("mia")[-1] == "a@im.bot: now")
        b.says("mia", "hello")
        await b.until(lambda: len(b.heard("mia")) == 1)
    assert not b.heard("mia")[0].startswith("b@im.bot")


async def test_one_person_and_two_bots_on_one_gateway_and_a_third_on_another(tmp_path: Path) -> None:
    async with LocalGateway(seed=1) as gateway, LocalGateway(seed=2) as elsewhere:
        anna, ben, mia = [await gateway.person(name) for name in ("anna", "ben", "mia")]
        zoe = await elsewhere.person("zoe")
        bot = Bot(data=tmp_path, accounts="all", allow="anyone", clock=HastyClock(), policies=FAST, environ={})

        @bot.on_text()
        async def answer(message: Message, diary: State[Diary]) -> None:
            diary.value.entries += f" {message.text}"
            async with message.typing():
                await message.reply(f"diary{diary.value.entries}")

        async with SqliteAccounts(tmp_path) as accounts:
            for person, where in ((anna, gateway), (ben, gateway), (zoe, elsewhere)):
                await login_of(where, person, asyncio.Event())(accounts)
        first, second, third = anna.bot_id, ben.bot_id, zoe.bot_id
        assert None not in (first, second, third)
        async with Street(tmp_path).running(bot):
            for text in ("one", "two"):
                await mia.says(f"{text}-first", bot_id=first)
                await mia.says(f"{text}-second", bot_id=second)
                await zoe.says(f"{text}-third")
            heard_first = [await mia.hears(bot_id=first) for _ in range(2)]
            heard_second = [await mia.hears(bot_id=second) for _ in range(2)]
            heard_third = [await zoe.hears() for _ in range(2)]
            await bot.send(zoe.user_id, "only one account knows you")
            assert await zoe.hears() == "only one account knows you"
        assert heard_first == ["diary one-first", "diary one-first two-first"]
        assert heard_second == ["diary one-second", "diary one-second two-second"]
        assert heard_third == ["diary one-third", "diary one-third two-third"]
        gateway.assert_no_findings()
        elsewhere.assert_no_findings()
