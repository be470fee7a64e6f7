"""How a process finds the accounts of its slots, and takes their journals over only while the slots are its own."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import pytest
from fleet_house import TERMS, Fleet

from ilink.errors import StoreLockedError
from ilink.fleet.accounts import SlotAccounts
from ilink.storage.accounts import AccountState, StoredAccount
from ilink.storage.accounts_postgres import PostgresAccounts
from ilink.storage.journal import Arrival
from ilink.storage.journal_postgres import PostgresJournal
from ilink.storage.keys import KEY_VARIABLE, new_key, read_keys
from ilink.storage.slots import slot_of
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Cursor, Secret, UserId

ENVIRON = {KEY_VARIABLE: new_key()}


def name_in(slots: Collection[int], *, after: int = 0) -> AccountId:
    """An account id in one of some slots."""
    names = (AccountId(f"bot-{number}@im.bot") for number in itertools.count(after))
    return next(name for name in names if slot_of(name) in slots)


def an_account(name: AccountId, *, owner: str | None = None, token: str = "t") -> Account:
    return Account(
        account_id=name,
        token=Secret(token),
        base_url="http://gate",
        owner_id=UserId(owner or f"owner of {name}"),
    )


class CountingAccounts(PostgresAccounts):
    """Accounts that count in which slots they were read."""

    read: list[frozenset[int]]

    async def list_slots(self, slots: Collection[int]) -> tuple[StoredAccount, ...]:
        self.read.append(frozenset(slots))
        return await super().list_slots(slots)


@pytest.fixture
def accounts(fleet: Fleet) -> CountingAccounts:
    keys = read_keys(ENVIRON)
    assert keys is not None
    made = CountingAccounts(fleet.database, keys=keys)
    made.read = []
    return made


def names_of(found: Collection[StoredAccount]) -> list[AccountId]:
    return sorted(stored.account.account_id for stored in found)


async def test_a_look_when_nothing_changed_reads_no_account(accounts: CountingAccounts) -> None:
    name = name_in(range(16))
    await accounts.put(an_account(name))
    known = SlotAccounts(accounts)
    assert names_of(await known.look(range(16))) == [name]
    for _ in range(3):
        assert names_of(await known.look(range(16))) == [name]
    assert accounts.read == [frozenset(range(16))]


async def test_only_slots_that_may_have_changed_are_read_again(accounts: CountingAccounts) -> None:
    known = SlotAccounts(accounts)
    await known.look(range(64))
    name = name_in({5})
    await accounts.put(an_account(name))
    assert names_of(await known.look(range(64))) == [name]
    assert accounts.read[1:] == [frozenset({5, 21, 37, 53})]


async def test_what_becomes_of_an_account_is_seen(accounts: CountingAccounts) -> None:
    name = name_in(range(16))
    known = SlotAccounts(accounts)
    assert await known.look(range(16)) == []
    stored = await accounts.put(an_account(name))
    assert await known.look(range(16)) == [stored]
    await accounts.mark(stored, AccountState.STALE)
    assert [one.state for one in await known.look(range(16))] == [AccountState.STALE]
    again = await accounts.put(an_account(name, token="new"))
    assert await known.look(range(16)) == [again]
    await accounts.remove(name)
    assert await known.look(range(16)) == []


async def test_slots_that_come_and_go_take_their_accounts_along(accounts: CountingAccounts) -> None:
    here, there = name_in({3}), name_in({4})
    await accounts.put(an_account(here))
    await accounts.put(an_account(there))
    known = SlotAccounts(accounts)
    assert names_of(await known.look({3})) == [here]
    assert names_of(await known.look({3, 4})) == sorted([here, there])
    assert accounts.read == [frozenset({3}), frozenset({4})]
    assert names_of(await known.look({4})) == [there]


async def test_a_change_is_seen_however_long_its_transaction_takes(fleet: Fleet, accounts: CountingAccounts) -> None:
    name, known = name_in(range(16)), SlotAccounts(accounts)
    await accounts.put(an_account(name))
    await known.look(range(16))
    async with fleet.database.transaction() as connection:
        await connection.execute("UPDATE accounts SET state = 'stale' WHERE account_id = $1", name)
        assert [one.state for one in await known.look(range(16))] == [AccountState.ACTIVE]
    assert [one.state for one in await known.look(range(16))] == [AccountState.STALE]


async def test_a_failed_look_hides_no_change(accounts: CountingAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    known = SlotAccounts(accounts)
    await known.look(range(16))
    name = name_in(range(16))
    await accounts.put(an_account(name))

    async def fail(_slots: Collection[int]) -> tuple[StoredAccount, ...]:
        raise StoreLockedError("away", holder="nobody")

    with monkeypatch.context() as broken:
        broken.setattr(accounts, "list_slots", fail)
        with pytest.raises(StoreLockedError):
            await known.look(range(16))
    assert names_of(await known.look(range(16))) == [name]


async def test_a_journal_is_adopted_only_by_who_has_the_slot(fleet: Fleet, accounts: CountingAccounts) -> None:
    name = name_in(range(16))
    await accounts.put(an_account(name))
    old, heir = await fleet.start(), await fleet.start()
    [epoch] = [one.epoch for one in await fleet.slots.claim(old, limit=16, terms=TERMS) if one.slot == slot_of(name)]
    async with PostgresJournal(fleet.database, name) as late, PostgresJournal(fleet.database, name) as new:
        late.adopt_only_with(old, epoch)
        # The old one looked at its lease and stands still; meanwhile its time is over, and the heir begins.
        await fleet.expire(old)
        await fleet.slots.reap()
        [taken] = [one for one in await fleet.slots.claim(heir, limit=16, terms=TERMS) if one.slot == slot_of(name)]
        await fleet.slots.fence(heir, [taken.slot])
        new.adopt_only_with(heir, taken.epoch)
        await new.adopt()
        with pytest.raises(StoreLockedError, match="went to another process"):
            await late.adopt()
        assert await new.is_ours()


async def test_an_epoch_that_is_over_adopts_nothing_in_the_same_process(
    fleet: Fleet, accounts: CountingAccounts
) -> None:
    name = name_in(range(16))
    await accounts.put(an_account(name))
    session = await fleet.start()
    vacancies = await fleet.slots.claim(session, limit=16, terms=TERMS)
    await fleet.slots.release(session, vacancies)
    await fleet.age_releases()
    async with PostgresJournal(fleet.database, name) as journal:
        journal.adopt_only_with(session, 1)
        with pytest.raises(StoreLockedError):
            await journal.adopt()
        assert {one.epoch for one in await fleet.slots.claim(session, limit=16, terms=TERMS)} == {2}
        with pytest.raises(StoreLockedError):  # the slot is its own again, but not by the lease that is named
            await journal.adopt()
        journal.adopt_only_with(session, 2)
        assert (await journal.adopt()).epoch > 0


async def test_accounts_displaced_before_are_told_of_wherever_they_were(accounts: CountingAccounts) -> None:
    before, heir = name_in({3}), name_in({900})
    await accounts.put(an_account(before, owner="ann"))
    await accounts.put(an_account(heir, owner="ann"))
    known = SlotAccounts(accounts)
    await known.look({900})
    assert known.displaced_by(heir) == (before,)
    await known.look({3})
    assert known.displaced_by(heir) == ()
    assert known.displaced_by(before) == ()


async def test_an_arrival_of_a_displaced_account_is_the_heirs(fleet: Fleet, accounts: CountingAccounts) -> None:
    before, heir = name_in({3}), name_in({900})
    stored = await accounts.put(an_account(before, owner="ann"))
    async with PostgresJournal(fleet.database, before) as old, PostgresJournal(fleet.database, heir) as new:
        await old.adopt()
        arrival = Arrival(raw=b"{}", identity="m:1", conversation="u:ann", user=UserId("ann"))
        await old.ingest([arrival], cursor=Cursor("c"), generation=stored.generation, hint_ms=None, now_ms=1)
        await accounts.put(an_account(heir, owner="ann"))
        await new.inherit(before)
        assert await new.waiting_conversations() == ["u:ann"]
