"""Two accounts with the same people, messages and names of everything: each is as if it were alone."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from accounts_house import Street
from bot_house import FAST, Connection, HastyClock, Server
from test_on_the_gateway import login_of

from ilink import Bot, Context, Duplicate, DuplicateKind, Job, Message, Pairing, Quote, Rate, Secret, State, UserId
from ilink.client.answers import TypingConfig
from ilink.messages.media import UploadSource
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.testing import LocalGateway

NAMES = ("a", "b")


@pytest.fixture(params=["sqlite", "postgres"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> Street:
    """A street with two accounts, whose servers number messages alike and hear from the same people."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    street = Street(tmp_path / "data", url=url)
    for name in NAMES:
        await street.sign_in(name, owner=f"owner of {name}")
    return street


@asynccontextmanager
async def at_work(home: Street, bot: Bot) -> AsyncIterator[tuple[Server, Server]]:
    async with home.running(bot, *NAMES):
        yield home.server("a"), home.server("b")


async def heard(server: Server, count: int, user: str = "mia") -> list[str]:
    """What somebody heard, as soon as there is so much of it."""
    await server.until(lambda: len(server.heard(user)) >= count)
    return server.heard(user)


async def settled(home: Street, bot: Bot) -> None:
    """Wait until everything that was said is stored, handled and answered."""
    await home.until(lambda: all(is_read(home.server(name)) for name in NAMES))
    async with asyncio.timeout(45):
        while (counts := await bot.counts()).waiting or counts.outgoing:  # noqa: ASYNC110  # a count tells nobody
            await asyncio.sleep(0.002)


def is_read(server: Server) -> bool:
    """Whether the batch that was handed out last is stored: its cursor is asked with."""
    return not server.mail and (not server.cursor or server.polls[-1] == f"cursor-{server.cursor}")


def name_of(account: str) -> str:
    return account.partition("@")[0]


def quoting(number: str) -> list[object]:
    return [{"type": 1, "text_item": {"text": "this"}, "ref_msg": {"svr_id": number}}]


class TestQuotes:
    @pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="-".join)
    async def test_an_id_means_what_this_account_said_or_heard_under_it(
        self, home: Street, order: tuple[str, str]
    ) -> None:
        quotes: dict[str, list[Quote]] = {"a": [], "b": []}

        def listening() -> Bot:
            bot = home.bot()

            @bot.on_any()
            async def answer(message: Message) -> None:
                if message.quote is not None:
                    quotes[name_of(message.account)].append(message.quote)
                await message.reply(f"{name_of(message.account)} answers")

            return bot

        async with at_work(home, bot := listening()):
            for name in order:
                home.server(name).says("mia", f"a secret of {name}")
                await heard(home.server(name), 1)
            await settled(home, bot)
        async with at_work(home, bot := listening()):
            for name in order:
                for number in ("9001", "7500000000000000001"):
                    home.server(name).says("mia", "", item_list=quoting(number))
            await settled(home, bot)
        for name in NAMES:
            assert [(quote.text, quote.is_ours) for quote in quotes[name]] == [
                (f"{name} answers", True),
                (f"a secret of {name}", False),
            ]

    async def test_what_only_the_other_account_knows_is_not_known(self, home: Street) -> None:
        quotes: list[Quote | None] = []
        bot = home.bot()

        @bot.on_any()
        async def answer(message: Message) -> None:
            if name_of(message.account) == "b":
                quotes.append(message.quote)
            else:
                await message.reply("for mia alone")

        async with at_work(home, bot) as (a, b):
            a.number = 10  # so that the question itself has another id
            a.says("mia", "a secret of a")
            await heard(a, 1)
            await settled(home, bot)
            b.says("mia", "", item_list=quoting("9001"))
            b.says("mia", "", item_list=quoting("7500000000000000011"))
            await settled(home, bot)
        assert [(quote.is_known, quote.text) for quote in quotes if quote] == [(False, ""), (False, "")]


async def test_each_account_counts_by_itself_how_much_somebody_says(home: Street) -> None:
    bot = home.bot(policies=replace(FAST, rate=Rate(messages=1, seconds=1e6)))

    @bot.on_text()
    async def answer(message: Message) -> None:
        await message.reply(f"yes, {message.text}")

    async with at_work(home, bot) as (a, b):
        for server in (a, b):
            server.says("mia", "one")
            server.says("mia", "two")
            server.says("mia", "three")
            told = await heard(server, 2)
            assert told[0] == "yes, one"
            assert not told[1].startswith("yes")
        await settled(home, bot)
    assert [len(server.heard("mia")) for server in (a, b)] == [2, 2]


class TestDuplicates:
    async def test_the_same_message_is_handled_once_by_each(self, home: Street) -> None:
        handled: Counter[str] = Counter()
        twice: Counter[str] = Counter()

        def listening() -> Bot:
            bot = home.bot()

            @bot.on_text()
            async def count(message: Message) -> None:
                handled[name_of(message.account)] += 1

            @bot.on_duplicate
            def note(duplicate: Duplicate, account: str) -> None:
                assert duplicate.kind is DuplicateKind.KNOWN
                twice[name_of(account)] += 1

            return bot

        for expected in ({}, dict.fromkeys(NAMES, 1)):
            async with at_work(home, bot := listening()) as (a, b):
                for server in (a, b):
                    server.number = 0
                    server.says("mia", "hello")
                await settled(home, bot)
                await home.until(lambda expected=expected: dict(twice) == expected)
            assert handled == dict.fromkeys(NAMES, 1)

    async def test_the_same_words_at_the_same_moment_are_no_suspects(self, home: Street) -> None:
        bot = home.bot()
        suspects: list[bool] = []

        @bot.on_text()
        async def note(message: Message) -> None:
            suspects.append(message.suspect_duplicate)

        async with at_work(home, bot) as (a, b):
            a.says("mia", "hello")
            await home.until(lambda: len(suspects) == 1)
            b.number = 5  # another id, the same words, the same millisecond
            b.says("mia", "hello", create_time_ms=1_790_000_000_001)
            await home.until(lambda: len(suspects) == 2)
        assert suspects == [False, False]


class TestJobs:
    async def test_a_declared_job_is_done_once_for_each_also_when_it_was_due_while_nobody_was_there(
        self, home: Street
    ) -> None:
        moment = datetime.fromtimestamp(home.clock.now_ms() / 1000).astimezone() + timedelta(hours=1)

        def ringing() -> Bot:
            bot = home.bot()

            @bot.at(moment, name="ring", to="mia")
            async def ring(job: Job) -> None:
                await job.send(f"{name_of(job.account)} rings")

            return bot

        for name in NAMES:
            home.server(name).says("mia", "hello")
        async with at_work(home, bot := ringing()) as (a, b):
            await settled(home, bot)
            assert (a.sent, b.sent) == ([], [])
        home.clock.ahead_ms += 2 * 3_600_000
        for _ in range(2):
            async with at_work(home, bot := ringing()):
                assert await heard(a, 1) == ["a rings"]
                assert await heard(b, 1) == ["b rings"]
                await settled(home, bot)
        assert (len(a.sent), len(b.sent)) == (1, 1)

    async def test_the_same_key_is_planned_and_unplanned_for_one(self, home: Street) -> None:
        bot = home.bot()
        answers: dict[str, list[bool]] = {"a": [], "b": []}

        @bot.on_command("plan")
        async def plan(message: Message, hours: int) -> None:
            planned = await bot.schedule("remind", in_=hours * 3600.0, data=name_of(message.account), key="same")
            answers[name_of(message.account)].append(planned)

        @bot.on_command("forget")
        async def forget(message: Message) -> None:
            answers[name_of(message.account)].append(await bot.unschedule("remind", key="same"))

        @bot.job(to="mia")
        async def remind(job: Job) -> None:
            await job.send(f"{job.data} of {name_of(job.account)}")

        async with at_work(home, bot) as (a, b):
            a.says("mia", "/plan 1")
            await settled(home, bot)
            b.says("mia", "/plan 2")
            a.says("mia", "/plan 3")
            await settled(home, bot)
            assert answers == {"a": [True, False], "b": [True]}
            b.says("mia", "/forget")
            b.says("mia", "/forget")
            b.says("mia", "/plan 1")
            await settled(home, bot)
            assert answers["b"] == [True, True, False, True]
            home.clock.ahead_ms += 2 * 3_600_000
            assert await heard(a, 1) == ["a of a"]
            assert await heard(b, 1) == ["b of b"]

    @pytest.mark.parametrize("hours", [(1, 1), (2, 1), (1, 2)], ids=str)
    async def test_the_same_key_may_stand_for_other_data_also_after_a_restart(
        self, home: Street, hours: tuple[int, int]
    ) -> None:
        """At the same millisecond, or one earlier than the other."""
        begun = datetime.fromtimestamp(home.clock.now_ms() // 1000, UTC)

        def reminding() -> Bot:
            bot = home.bot()

            @bot.on_command("plan")
            async def plan(message: Message, hours: int) -> None:
                moment = begun + timedelta(hours=hours)
                await bot.schedule("remind", at=moment, data=name_of(message.account), key="same")

            @bot.job(to="mia")
            async def remind(job: Job) -> None:
                await job.send(f"{job.data} of {name_of(job.account)}")

            return bot

        async with at_work(home, bot := reminding()) as both:
            for server, number in zip(both, hours, strict=True):
                server.says("mia", f"/plan {number}")
            await settled(home, bot)
        async with at_work(home, bot := reminding()):
            for hour in (1, 2):
                home.clock.ahead_ms += 61 * 60_000
                for name, number in zip(NAMES, hours, strict=True):
                    if number == hour:
                        assert await heard(home.server(name), 1) == [f"{name} of {name}"]
                await settled(home, bot)
                assert [len(server.sent) for server in both] == [int(number <= hour) for number in hours]

    async def test_what_is_done_once_is_done_once_for_each(self, home: Street) -> None:
        bot = home.bot()
        made: Counter[str] = Counter()

        @bot.on_text()
        async def draw(message: Message, ctx: Context) -> None:
            def make() -> str:
                made[name_of(message.account)] += 1
                return f"drawn by {name_of(message.account)}"

            drawn = await ctx.once("draw", make)
            if message.attempt == 1:
                raise ValueError(drawn)
            await message.reply(drawn)

        async with at_work(home, bot) as (a, b):
            for server in (a, b):
                server.says("mia", "go")
            assert await heard(a, 1) == ["drawn by a"]
            assert await heard(b, 1) == ["drawn by b"]
        assert made == dict.fromkeys(NAMES, 1)


class TestPairing:
    @pytest.fixture(autouse=True)
    def same_codes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let chance be no reason why a code of one account means nothing to another."""
        monkeypatch.setattr("ilink.bot.access.secrets", SimpleNamespace(choice=lambda letters: letters[0]))

    async def test_the_same_code_lets_somebody_in_at_one(self, home: Street) -> None:
        bot = home.bot(allow=Pairing())

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply(f"welcome to {name_of(message.account)}")

        async with at_work(home, bot) as (a, b):
            codes: list[str] = []
            for server in (a, b):
                server.says("mia", "let me in")
                (told,) = await heard(server, 1)
                codes += set(re.findall(r"[0-9A-Z]{4}-[0-9A-Z]{4}", told))
            assert codes == [codes[0]] * 2
            b.says("owner of b", f"/pair {codes[0]}")
            await heard(b, 1, "owner of b")
            b.says("mia", "and now?")
            assert (await heard(b, 2))[1] == "welcome to b"
            a.says("mia", "and now?")
            await settled(home, bot)
            assert len(a.heard("mia")) == 1
            a.says("owner of a", f"/pair {codes[0]}")
            await heard(a, 1, "owner of a")
            a.says("mia", "and now?")
            assert (await heard(a, 2))[1] == "welcome to a"

    async def test_wrong_codes_lock_the_door_they_were_tried_at(self, home: Street) -> None:
        bot = home.bot(allow=Pairing(wrong_codes=2))

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply("welcome")

        async with at_work(home, bot) as (a, b):
            b.says("mia", "let me in")
            (told,) = await heard(b, 1)
            code = re.findall(r"[0-9A-Z]{4}-[0-9A-Z]{4}", told)[0]
            for _ in range(3):
                a.says("owner of a", "/pair WRNG-WRNG")
            locked = (await heard(a, 3, "owner of a"))[2]
            b.says("owner of b", f"/pair {code}")
            assert (await heard(b, 1, "owner of b"))[0] not in (locked, a.heard("owner of a")[0])
            b.says("mia", "and now?")
            assert (await heard(b, 2))[1] == "welcome"


@dataclass
class Diary:
    entries: str = ""


class TestConversations:
    async def test_states_questions_and_cancels_are_of_one(self, home: Street) -> None:
        def talking() -> Bot:
            bot = home.bot()

            @bot.on_command("order")
            async def order(message: Message, ctx: Context) -> None:
                await message.reply(f"{await ctx.ask('What?')} from {name_of(message.account)}")

            @bot.on_text()
            async def write(message: Message, diary: State[Diary]) -> None:
                diary.value.entries += message.text
                await message.reply(diary.value.entries)

            return bot

        async with at_work(home, bot := talking()) as (a, b):
            for server, words in ((a, "one"), (b, "two")):
                server.says("mia", words)
                assert await heard(server, 1) == [words]
            a.says("mia", "/order")
            assert (await heard(a, 2))[1] == "What?"
            b.says("mia", "!")
            assert (await heard(b, 2))[1] == "two!"
            b.says("mia", "/order")
            assert (await heard(b, 3))[2] == "What?"
            await settled(home, bot)
        async with at_work(home, talking()):
            a.says("mia", "/cancel")
            await heard(a, 3)
            b.says("mia", "tea")
            assert (await heard(b, 4))[3] == "tea from b"
            for server, words in ((a, "one."), (b, "two!.")):
                server.says("mia", ".")
                assert (await heard(server, 5 if server is b else 4))[-1] == words

    async def test_a_question_is_open_as_long_as_its_own_account_waits(self, home: Street) -> None:
        def asking() -> Bot:
            bot = home.bot()

            @bot.on_command("order")
            async def order(message: Message, ctx: Context, hours: int) -> None:
                answer = await ctx.ask("What?", timeout=hours * 3600, default="nothing")
                await message.reply(f"{answer} from {name_of(message.account)}")

            return bot

        late, early = home.server("a"), home.server("b")
        async with at_work(home, bot := asking()):
            late.says("mia", "/order 2")
            early.says("mia", "/order 1")
            for server in (late, early):
                assert await heard(server, 1) == ["What?"]
                server.says("zoe", "/order 9")
                await heard(server, 1, "zoe")
            late.says("zoe", "/cancel")
            await heard(late, 2, "zoe")
            await settled(home, bot)
        async with at_work(home, bot := asking()):
            home.clock.ahead_ms += 90 * 60_000
            assert (await heard(early, 2))[1] == "nothing from b"
            await settled(home, bot)
            assert late.heard("mia") == ["What?"]
            late.says("mia", "tea")
            assert (await heard(late, 2))[1] == "tea from a"
            early.says("zoe", "tea")
            assert (await heard(early, 2, "zoe"))[1] == "tea from b"

    async def test_a_conversation_that_is_stuck_holds_up_its_own_account_only(self, home: Street) -> None:
        bot = home.bot(policies=replace(FAST, attempts=1, on_failure="park"))

        @bot.on_text()
        async def answer(message: Message) -> None:
            if name_of(message.account) == "a" and message.text == "one":
                raise ValueError
            await message.reply(message.text)

        async with at_work(home, bot) as (a, b):
            a.says("mia", "one")
            a.says("mia", "two")
            await home.until(lambda: bot.incidents != {})
            b.says("mia", "one")
            b.says("mia", "two")
            assert await heard(b, 2) == ["one", "two"]
            assert a.heard("mia") == []


class TestSending:
    async def test_what_one_used_up_the_other_has_left_also_after_a_restart(self, home: Street) -> None:
        def counting() -> Bot:
            bot = home.bot()

            @bot.on_text()
            async def answer(message: Message) -> None:
                for number in range(8 if name_of(message.account) == "a" else 1):
                    await message.reply(f"{number}")

            return bot

        async with at_work(home, bot := counting()) as (a, b):
            a.says("mia", "hello")
            await heard(a, 8)
            assert "never written" in (await bot.can_send("mia", account="b@im.bot")).why
            b.says("mia", "hello")
            await heard(b, 1)
            await settled(home, bot)
        async with at_work(home, bot := counting()):
            forecasts = [await bot.can_send("mia", account=f"{name}@im.bot") for name in NAMES]
            assert [forecast.left for forecast in forecasts] == [2, 9]
            assert not any("never written" in forecast.why for forecast in forecasts)

    async def test_answers_to_the_same_message_have_names_of_their_own(self, home: Street) -> None:
        bot = home.bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply("the same words")

        async with at_work(home, bot) as (a, b):
            for server in (a, b):
                server.says("mia", "hello")
                await heard(server, 1)
        assert a.sent[0].client_id != b.sent[0].client_id
        assert a.sent[0].run_id != b.sent[0].run_id

    async def test_typing_is_shown_where_somebody_types_with_a_ticket_from_there(
        self, home: Street, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def ticket_of(connection: Connection, _user: UserId, **_: object) -> TypingConfig:
            return TypingConfig(typing_ticket=Secret(str(id(connection._server))))

        async def check_ticket(connection: Connection, user: UserId, ticket: Secret, *, is_typing: bool = True) -> None:
            assert ticket.reveal() == str(id(connection._server))
            connection._server.typing.append((user, is_typing))
            connection._server.change()

        monkeypatch.setattr(Connection, "get_config", ticket_of)
        monkeypatch.setattr(Connection, "send_typing", check_ticket)
        bot = home.bot()
        may_end = {name: asyncio.Event() for name in NAMES}

        @bot.on_text()
        async def think(message: Message) -> None:
            async with message.typing():
                await may_end[name_of(message.account)].wait()
            await message.reply("done")

        async with at_work(home, bot) as (a, b):
            a.says("mia", "hello")
            await a.until(lambda: ("mia", True) in a.typing)
            assert b.typing == []
            b.says("mia", "hello")
            await b.until(lambda: ("mia", True) in b.typing)
            may_end["a"].set()
            await heard(a, 1)
            assert a.typing[-1] == ("mia", False)
            assert ("mia", False) not in b.typing
            may_end["b"].set()
            await heard(b, 1)
            assert b.typing[-1] == ("mia", False)


async def test_the_same_picture_is_uploaded_by_each_and_each_sends_its_own(tmp_path: Path) -> None:
    """On a real gateway, whose keys and links are of one bot."""
    same: UploadSource = b"\x89PNG\r\n\x1a\n" + bytes(2_000)
    async with LocalGateway() as gateway:
        anna, ben, mia = [await gateway.person(name) for name in ("anna", "ben", "mia")]
        bot = Bot(data=tmp_path, accounts="all", allow="anyone", clock=HastyClock(), policies=FAST, environ={})

        @bot.on_text()
        async def show(message: Message) -> None:
            own = f"only of {message.account}".encode()
            await message.reply_media(same if message.text == "same" else own, name="it.bin")

        async with SqliteAccounts(tmp_path) as accounts:
            for person in (anna, ben):
                await login_of(gateway, person, asyncio.Event())(accounts)
        bots = [one.bot_id for one in (anna, ben)]
        async with Street(tmp_path).running(bot):
            for text in ("same", "own", "same"):
                for bot_id in bots:
                    await mia.says(text, bot_id=bot_id)
            for bot_id in bots:
                found = [await (await mia.receives(bot_id=bot_id)).read() for _ in range(3)]
                assert found == [same, f"only of {bot_id}".encode(), same]
        log = gateway.rules.wire
        asked = [log.entries(since=0, bot_id=bot_id, endpoint="getuploadurl", limit=99) for bot_id in bots]
        assert [len(entries) for entries in asked] == [2, 2]
        gateway.assert_no_findings()
