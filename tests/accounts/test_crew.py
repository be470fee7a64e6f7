"""Accounts of one program work side by side, come and go while it runs, and never stop each other."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from accounts_house import Street, account_of, echo, works
from bot_house import running

from ilink import AccountId, Bot, ConfigError, Message, ProtocolError, SessionState, StaleTokenError, StoreLockedError
from ilink.bot import AccountFailed, Incident
from ilink.storage.accounts_sqlite import SqliteAccounts

STALE = StaleTokenError("session timeout", endpoint="getupdates", ret=-14)
FOR_GOOD = ProtocolError("this is no server of ours")


async def test_each_account_answers_whoever_writes_to_it(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    async with street.running(bot, "a", "b"):
        for name in ("a", "b"):
            street.server(name).says("mia", f"hi {name}")
            await street.server(name).until(lambda name=name: bool(street.server(name).sent))
    assert street.server("a").heard("mia") == ["a@im.bot: hi a"]
    assert street.server("b").heard("mia") == ["b@im.bot: hi b"]
    assert bot.state is SessionState.STOPPED


async def test_without_accounts_only_the_newest_login_works(street: Street) -> None:
    await street.sign_in("a")
    await asyncio.sleep(0.002)  # logins are told apart by milliseconds
    await street.sign_in("b")
    bot = street.bot(accounts=None)
    echo(bot)
    async with street.running(bot, "b"):
        pass
    assert street.opened == ["b@im.bot"]


@pytest.mark.parametrize("how", ["argument", "variable"])
async def test_only_the_accounts_that_are_named_work(street: Street, how: str) -> None:
    for name in ("a", "b", "c"):
        await street.sign_in(name)
    ids = ["a@im.bot", "c@im.bot"]
    if how == "argument":
        bot = street.bot(accounts=ids)
    else:
        bot = street.bot(accounts=None, environ={"ILINK_ACCOUNT": ", ".join(ids)})
    echo(bot)
    async with street.running(bot, "a", "c"):
        assert set(bot.states) == set(ids)
    assert "b@im.bot" not in street.opened


@pytest.mark.parametrize("options", [{"accounts": "all", "account": "a@im.bot"}, {"accounts": []}, {"accounts": [""]}])
def test_settings_that_name_no_account_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"accounts?="):
        Bot(**options)


async def test_a_login_in_another_process_is_taken_up_while_the_bot_runs(street: Street) -> None:
    await street.sign_in("a")
    bot = street.bot()
    echo(bot)
    async with street.running(bot, "a"):
        await street.sign_in("b")
        await street.until(lambda: works(bot, "b"))
        street.server("b").says("mia", "hi")
        await street.server("b").until(lambda: bool(street.server("b").sent))
        assert works(bot, "a")


async def test_an_account_is_added_and_removed_by_the_program(street: Street) -> None:
    await street.sign_in("a")
    bot = street.bot(accounts=["a@im.bot"])
    echo(bot)
    async with street.running(bot, "a"):
        stored = await bot.add_account(account_of("b"))
        assert stored.generation == 1
        await street.until(lambda: works(bot, "b"))
        assert await bot.remove_account("b@im.bot")
        await street.until(lambda: set(bot.states) == {"a@im.bot"})
        assert not await bot.remove_account("b@im.bot")
        assert street.server("b").notified == ["start", "stop"]
        assert street.server("a").notified == ["start"]


async def test_a_removed_account_finishes_its_handlers_and_sends_what_they_say(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    began, may_finish = asyncio.Event(), asyncio.Event()

    @bot.on_text()
    async def answer(message: Message) -> None:
        began.set()
        await may_finish.wait()
        await message.reply("done")

    async with street.running(bot, "a", "b"):
        street.server("a").says("mia", "hi")
        await began.wait()
        await street.sign_out("a")
        await street.until(lambda: bot._crew is not None and bot._crew._berths["a@im.bot"].stop.is_set())
        may_finish.set()
        await street.until(lambda: set(bot.states) == {"b@im.bot"})
        assert street.server("a").heard("mia") == ["done"]
        assert works(bot, "b")


async def test_what_a_removed_account_had_to_say_waits_until_it_is_signed_in_again(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    async with street.running(bot, "a", "b"):
        street.server("a").fault_for = lambda _message: RefusedError()
        receipt = await bot.send("mia", "hello", account="a@im.bot")
        assert not receipt.is_final
        await bot.remove_account("a@im.bot")
        await street.until(lambda: "a@im.bot" not in bot.states)
        street.server("a").fault_for = lambda _message: None
        await bot.add_account(account_of("a"))
        await street.server("a").until(lambda: street.server("a").heard("mia") == ["hello"])
        assert (await bot.outbox.receipt(receipt.client_id, wait=10)).is_final  # type: ignore[union-attr]


async def test_a_handler_may_remove_the_account_it_works_for(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()

    @bot.on_text()
    async def leave(message: Message) -> None:
        await message.reply("goodbye")
        await bot.remove_account(message.account)

    async with street.running(bot, "a", "b"):
        street.server("a").says("mia", "leave")
        await street.until(lambda: set(bot.states) == {"b@im.bot"})
    assert street.server("a").heard("mia") == ["goodbye"]


async def test_a_bot_of_one_account_ends_in_order_when_it_is_removed(street: Street) -> None:
    await street.sign_in("a")
    bot = street.bot(accounts=None)
    echo(bot)
    async with street.running(bot, "a"), asyncio.timeout(45):
        with pytest.raises(ConfigError, match="one account"):
            await bot.remove_account("a@im.bot")
        await street.sign_out("a")
        await street.until(lambda: street.server("a").notified == ["start", "stop"])


async def test_an_account_whose_token_died_waits_for_its_login_while_the_others_work(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    changes: list[tuple[SessionState, AccountId]] = []

    @bot.on_state
    def changed(state: SessionState, account: AccountId) -> None:
        changes.append((state, account))

    async with street.running(bot, "a", "b"):
        street.server("a").poll_errors.extend([STALE, STALE])
        street.server("a").change()
        await street.until(lambda: bot.states[AccountId("a@im.bot")] is SessionState.EXPIRED)
        assert bot.state is SessionState.ACTIVE
        street.server("b").says("mia", "hi")
        await street.server("b").until(lambda: bool(street.server("b").sent))
        await street.sign_in("a")
        await street.until(lambda: works(bot, "a"))
    assert (SessionState.EXPIRED, "a@im.bot") in changes
    assert (SessionState.EXPIRED, "b@im.bot") not in changes


async def test_an_account_that_cannot_go_on_is_told_and_tried_again_and_stops_nobody(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    told: list[tuple[Incident, AccountId]] = []
    bot.on_incident(lambda incident, account: told.append((incident, account)))
    street.server("a").poll_errors.append(FOR_GOOD)
    async with street.running(bot, "b"):
        await street.until(lambda: bool(told))
        assert told == [(AccountFailed(AccountId("a@im.bot"), FOR_GOOD), "a@im.bot")]
        assert bot.states[AccountId("a@im.bot")] is SessionState.STOPPED
        street.server("b").says("mia", "hi")
        await street.server("b").until(lambda: bool(street.server("b").sent))
        street.clock.late += 61.0
        await street.until(lambda: works(bot, "a"))


async def test_a_bot_of_one_account_ends_with_its_error(street: Street) -> None:
    await street.sign_in("a")
    bot = street.bot(accounts=None)
    echo(bot)
    street.server("a").poll_errors.append(FOR_GOOD)
    with pytest.raises(ProtocolError) as caught:
        await bot.serve()
    assert caught.value is FOR_GOOD


async def test_an_account_that_another_process_works_for_is_taken_up_when_that_ends(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    told: list[Incident] = []
    bot.on_incident(told.append)
    async with SqliteAccounts(street.folder) as accounts:
        lock = accounts.lock(AccountId("a@im.bot")).acquire()
    async with street.running(bot, "b"):
        await street.until(lambda: street.clock.slept.count(3.0) > 3)
        lock.release()
        await street.until(lambda: works(bot, "a"))
    failures = [incident for incident in told if isinstance(incident, AccountFailed)]
    assert [incident.account for incident in failures] == ["a@im.bot"]  # once, however often it was tried
    assert isinstance(failures[0].error, StoreLockedError)


async def test_a_mistake_in_the_program_ends_all_accounts(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)

    @bot.on_state
    def changed(_state: SessionState, account: AccountId) -> None:
        if account == "a@im.bot":
            raise ZeroDivisionError

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # one, or one for each change
        await bot.serve()
    assert "ZeroDivisionError" in repr(caught.value)


@pytest.mark.parametrize("accounts", ["all", ["a@im.bot", "b@im.bot"]])
async def test_the_account_of_an_owner_who_signed_in_anew_hands_over_beside_the_others(
    street: Street, accounts: Any
) -> None:
    await street.sign_in("a", owner="anna")
    await street.sign_in("b")
    bot = street.bot(accounts=accounts)
    echo(bot)
    async with street.running(bot, "a", "b"):
        street.server("a").fault_for = lambda _message: RefusedError()
        await bot.send("mia", "hello", account="a@im.bot")
        await street.sign_in("heir", owner="anna")
        looks = street.clock.slept.count(3.0)
        await street.until(lambda: street.clock.slept.count(3.0) > looks + 2)
        street.server("a").poll_errors.extend([STALE, STALE])
        street.server("a").change()
        await street.until(lambda: works(bot, "heir"))
        await street.server("heir").until(lambda: street.server("heir").heard("mia") == ["hello"])
        assert set(bot.states) == {"heir@im.bot", "b@im.bot"}


async def test_all_accounts_end_in_order_when_the_bot_is_stopped(street: Street) -> None:
    for name in ("a", "b", "c"):
        await street.sign_in(name)
    bot = street.bot()
    began: set[str] = set()
    may_finish = asyncio.Event()

    @bot.on_text()
    async def answer(message: Message) -> None:
        began.add(message.account)
        await may_finish.wait()
        await message.reply("done")

    async with street.running(bot, "a", "b", "c"):
        for name in ("a", "b", "c"):
            street.server(name).says("mia", "hi")
        await street.until(lambda: len(began) == 3)
        bot.stop()
        may_finish.set()
    assert all(street.server(name).heard("mia") == ["done"] for name in ("a", "b", "c"))
    assert all(street.server(name).notified == ["start", "stop"] for name in ("a", "b", "c"))


async def test_a_bot_for_all_accounts_signs_in_when_there_is_none(street: Street) -> None:
    bot = street.bot()
    echo(bot)
    with pytest.raises(ConfigError, match="ilink login"):
        await bot.serve()
    async with running(bot, login=lambda accounts: accounts.put(account_of("a"))):
        await street.until(lambda: works(bot, "a"))


class RefusedError(StaleTokenError):
    """A refusal that leaves the message where it is."""

    def __init__(self) -> None:
        super().__init__("session timeout", endpoint="sendmessage", ret=-14)


PROGRAM = """
import sys
from accounts_house import Street
from pathlib import Path

street = Street(Path(sys.argv[1]))
bot = street.bot()

@bot.on_text()
async def echo(message):
    await message.reply("never")

@bot.on_state
def changed(state, account):
    print(account, state, flush=True)

bot.run()
"""


async def test_sigterm_ends_all_accounts_in_order(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent / "bot")])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(street.folder), env={**os.environ, "PYTHONPATH": path}, stdout=PIPE
    )
    assert process.stdout is not None
    begun = {await process.stdout.readline() for _ in range(2)}
    assert begun == {b"a@im.bot active\n", b"b@im.bot active\n"}
    process.send_signal(signal.SIGTERM)
    ended, _ = await process.communicate()
    assert set(ended.splitlines()) == {b"a@im.bot stopped", b"b@im.bot stopped"}
    assert process.returncode == 0
