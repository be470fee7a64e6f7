"""The same program with another URL: accounts, journal, agenda and all beside them in PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from accounts_house import KEY, Street, account_of, echo
from bot_house import running

from ilink import AccountId, Bot, ConfigError, Context, Message, StoreError, StoreLockedError, UserId
from ilink.bot.store import find_place, open_store
from ilink.storage.accounts import AccountState
from ilink.storage.accounts_postgres import PostgresAccounts
from ilink.storage.accounts_sqlite import local_database
from ilink.storage.keys import new_key
from ilink.storage.leases import AccountLeases
from ilink.storage.postgres import PostgresDatabase

BOT = AccountId("a@im.bot")


@pytest.fixture
def street(tmp_path: Path, postgres_url: str) -> Street:
    return Street(tmp_path / "data", url=postgres_url)


async def test_a_bot_works_for_the_accounts_of_a_database(street: Street) -> None:
    await street.sign_in("a")
    await street.sign_in("b")
    bot = street.bot()
    echo(bot)
    async with street.running(bot, "a", "b"):
        for name in ("a", "b"):
            street.server(name).says("mia", f"hi {name}")
            await street.server(name).until(lambda name=name: bool(street.server(name).sent))
        await street.sign_in("c")
        await street.until(lambda: "c@im.bot" in street.opened)
    assert street.server("a").heard("mia") == ["a@im.bot: hi a"]
    assert street.server("b").heard("mia") == ["b@im.bot: hi b"]
    assert not (street.folder / "ilink.db").exists()


async def test_nothing_is_handled_twice_after_a_restart(street: Street) -> None:
    await street.sign_in("a")
    update = street.server("a").says("mia", "once")
    for _ in range(2):
        bot = street.bot()
        echo(bot)
        async with street.running(bot, "a"):
            street.server("a").hands_out(update)
            street.server("a").says("mia", "more")
            before = len(street.server("a").sent)
            await street.server("a").until(lambda before=before: len(street.server("a").sent) > before)
    assert street.server("a").heard("mia").count("a@im.bot: once") == 1


async def test_answers_are_waited_for_across_a_restart(street: Street) -> None:
    """A conversation's state, the question's deadline and its result are in the database too."""
    await street.sign_in("a")

    def made() -> Bot:
        bot = street.bot()

        @bot.on_text()
        async def order(message: Message, ctx: Context) -> None:
            size = await ctx.ask("Which size?")
            await message.reply(f"One {size}.")

        return bot

    server = street.server("a")
    async with street.running(made(), "a"):
        server.says("mia", "order")
        await server.until(lambda: server.heard("mia") == ["Which size?"])
    async with street.running(made(), "a"):
        server.says("mia", "large")
        await server.until(lambda: server.heard("mia") == ["Which size?", "One large."])


async def test_another_process_sends_through_the_one_that_runs(street: Street) -> None:
    await street.sign_in("a")
    bot = street.bot()
    echo(bot)
    other = street.bot(account=str(BOT), accounts=None)
    async with street.running(bot, "a"):
        street.server("a").says("mia", "hi")
        await street.server("a").until(lambda: bool(street.server("a").sent))
        receipt = await other.send(UserId("mia"), "from elsewhere", wait=10)
    assert receipt.is_final
    assert street.server("a").heard("mia")[-1] == "from elsewhere"
    assert street.opened == [BOT], "only the process that runs has spoken to the server"


async def test_a_second_process_is_refused_and_told_who_works(street: Street) -> None:
    await street.sign_in("a")
    first, second = street.bot(), street.bot(account=str(BOT), accounts=None)
    echo(first)
    echo(second)
    async with street.running(first, "a"):
        with pytest.raises(StoreLockedError, match=r"the account a@im\.bot is in use by pid \d+ .* on "):
            await second.serve()
    async with running(second):
        street.server("a").says("mia", "hi")
        await street.server("a").until(lambda: bool(street.server("a").sent))


class TestPlaces:
    URL = "postgresql://me:hush@db.example/bots"

    def test_an_address_is_no_folder_and_a_folder_is_no_address(self, tmp_path: Path) -> None:
        environ = {"ILINK_DATA": str(tmp_path), "ILINK_DATABASE_URL": self.URL}
        assert find_place(environ=environ).database_url == self.URL
        assert find_place(tmp_path / "mine", environ=environ).database_url is None
        assert find_place(environ={"ILINK_DATA": str(tmp_path)}).database_url is None
        assert find_place(self.URL, environ={"ILINK_DATA": str(tmp_path)}).folder == tmp_path

    def test_an_address_of_something_else_is_refused(self) -> None:
        for data, environ in (("mysql://me:hush@db/bots", {}), (None, {"ILINK_DATABASE_URL": "db.example:hush"})):
            with pytest.raises(ConfigError, match="names no PostgreSQL database") as refused:
                find_place(data, environ=environ)
            assert "hush" not in str(refused.value)

    def test_the_password_is_in_no_representation(self) -> None:
        place = find_place(self.URL, environ={"ILINK_STORE_KEY": "hush"})
        assert "hush" not in f"{place!r} {place}"
        assert "hush" not in repr(Bot(data=self.URL)._blueprint)


class TestLeases:
    async def test_a_lease_runs_out_when_its_holder_says_nothing(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url) as database:
            dead = AccountLeases(database, ttl=0.2, renew=3600)
            async with AccountLeases(database, ttl=30) as heir, dead:
                await dead.take(BOT)
                with pytest.raises(StoreLockedError):
                    await heir.take(BOT)
                await database.execute("SELECT pg_sleep(0.3)")
                await heir.take(BOT)
                await dead.give_back(BOT)
                async with AccountLeases(database) as third:
                    with pytest.raises(StoreLockedError):
                        await third.take(BOT)

    async def test_a_lease_that_is_renewed_stays(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url) as database, AccountLeases(database, ttl=2, renew=0.05) as leases:
            await leases.take(BOT)
            await database.execute("UPDATE account_leases SET expires_at = clock_timestamp() + interval '1 ms'")
            remaining = "SELECT expires_at > clock_timestamp() + interval '1 second' AS is_renewed FROM account_leases"
            while not (row := await database.read_row(remaining)) or not row["is_renewed"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def test_who_has_lost_a_lease_ends_what_it_does(self, postgres_url: str) -> None:
        async with (
            PostgresDatabase(postgres_url) as database,
            AccountLeases(database, renew=0.05) as slow,
            AccountLeases(database, renew=3600) as heir,
        ):
            ends: list[str] = []

            async def work() -> None:
                async with slow.lock(BOT):
                    await database.execute("DELETE FROM account_leases")  # as if it had run out
                    await heir.take(BOT)
                    try:
                        await asyncio.Event().wait()
                    finally:
                        ends.append("cancelled")

            with pytest.raises(StoreLockedError, match="stood still for too long"):
                await work()
            assert ends == ["cancelled"]
            with pytest.raises(StoreLockedError):
                await slow.take(BOT)

    async def test_a_fleet_and_a_single_process_keep_out_of_each_others_way(self, postgres_url: str) -> None:
        async with PostgresDatabase(postgres_url) as database, AccountLeases(database) as leases:
            await database.execute(
                "INSERT INTO worker_sessions (session_id, node, pid, version, weight, expires_at)"
                " VALUES (gen_random_uuid(), 'elsewhere', 7, '1', 100, clock_timestamp() + interval '1 minute')"
            )
            claimed = "UPDATE slots SET owner = (SELECT session_id FROM worker_sessions) WHERE slot_id = slot_of($1)"
            await database.execute(claimed, BOT)
            with pytest.raises(StoreLockedError, match=r"pid 7 on elsewhere \(a fleet\)"):
                await leases.take(BOT)
            await database.execute("UPDATE worker_sessions SET state = 'dead'")
            await leases.take(BOT)


class TestKeys:
    @pytest.fixture(params=["sqlite", "postgres"])
    def street(self, request: pytest.FixtureRequest, tmp_path: Path) -> Street:
        url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
        return Street(tmp_path / "data", url=url, is_sealed=True)

    async def test_tokens_are_not_in_what_is_stored(self, street: Street) -> None:
        await street.sign_in("a")
        assert b"token of a" not in await stored_token(street)

    async def test_without_a_key_nothing_is_opened(self, street: Street) -> None:
        await street.sign_in("a")
        with pytest.raises((ConfigError, StoreError), match="ILINK_STORE_KEY"):
            async with open_store(find_place(street.data, environ={})):
                pass

    async def test_with_another_key_nothing_is_begun(self, street: Street) -> None:
        await street.sign_in("a")
        street.environ["ILINK_STORE_KEY"] = new_key()
        bot = street.bot()
        echo(bot)
        with pytest.raises(StoreError, match=r"sealed with the key [0-9a-f]{12}.*add that key") as refused:
            await bot.serve()
        assert street.environ["ILINK_STORE_KEY"] not in str(refused.value)
        with pytest.raises(StoreError, match="add that key"):
            async with street.store():
                pass
        assert street.opened == []

    async def test_keys_are_changed_one_behind_the_other(self, street: Street) -> None:
        await street.sign_in("a")
        newer = new_key()
        both, alone = {"ILINK_STORE_KEY": f"{newer}, {KEY}"}, {"ILINK_STORE_KEY": newer}
        async with open_store(find_place(street.data, environ=both)) as store:
            assert (await store.accounts.list())[0].account == account_of("a")
            assert await store.reseal() == 1
            assert await store.reseal() == 0
        async with open_store(find_place(street.data, environ=alone)) as store:
            (stored,) = await store.accounts.list()
        assert stored.account == account_of("a")

    async def test_a_token_that_was_moved_to_another_account_does_not_open(self, street: Street) -> None:
        await street.sign_in("a")
        await street.sign_in("b")
        await change(street, "UPDATE accounts SET token = (SELECT token FROM accounts WHERE account_id = 'a@im.bot')")
        async with street.store() as store:
            with pytest.raises(StoreError, match=r"the stored token of b@im\.bot was damaged or moved"):
                await store.accounts.find(AccountId("b@im.bot"))

    async def test_a_token_that_does_not_open_stops_no_other_account(
        self, street: Street, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("a", "b", "c"):
            await street.sign_in(name)
        moved = "(SELECT token FROM accounts WHERE account_id = 'a@im.bot')"
        await change(street, f"UPDATE accounts SET token = {moved} WHERE account_id = 'b@im.bot'")
        async with street.store() as store:
            accounts = store.accounts
            for _ in range(2):
                found = {one.account.account_id for one in await accounts.list()}
                assert found == {"a@im.bot", "c@im.bot"}
                assert len(await accounts.known_tokens()) == 2
                if isinstance(accounts, PostgresAccounts):
                    assert {one.account.account_id for one in await accounts.list_slots(range(4096))} == found
        told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        words = "the stored token of b@im.bot was damaged or moved; restore it, or sign in again"
        assert told == [f"the account b@im.bot is left out: {words}"]

    async def test_a_displaced_account_has_no_token_left(self, street: Street) -> None:
        await street.sign_in("a", owner="mia")
        await street.sign_in("b", owner="mia")
        async with street.store() as store:
            stored = await store.accounts.find(BOT)
        assert stored is not None
        assert (stored.state, stored.account.token.reveal()) == (AccountState.DISPLACED, "")


async def stored_token(street: Street) -> bytes:
    if isinstance(street.data, str):
        async with PostgresDatabase(street.data) as database:
            row = await database.read_row("SELECT token FROM accounts")
            assert row is not None
            return row["token"]
    async with local_database(street.folder) as database:
        (token,) = await database.read(lambda connection: connection.execute("SELECT token FROM accounts").fetchone())
        return base64.b64decode(token)


async def change(street: Street, statement: str) -> None:
    if isinstance(street.data, str):
        async with PostgresDatabase(street.data) as database:
            await database.execute(statement)
    else:
        async with local_database(street.folder) as database:
            await database.write(lambda connection: connection.execute(statement))
