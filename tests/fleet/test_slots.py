"""The leases of a fleet, on a real PostgreSQL: who has what, and that nobody has it twice."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from fleet_house import FEW, TERMS, WORKER, Fleet, epochs, new_session

from ilink.storage.roles import Role
from ilink.storage.slots import SLOTS, LeaseTerms, SessionState, Vacancy, fair_shares, slot_of
from ilink.storage.slots_postgres import PostgresSlots
from ilink.wire.ids import AccountId


def test_slots_of_accounts_spread_and_never_change() -> None:
    assert slot_of(AccountId("b1@im.bot")) == int(sha256(b"b1@im.bot").hexdigest()[:3], 16)
    slots = [slot_of(AccountId(f"bot-{number}@im.bot")) for number in range(40_960)]
    assert {min(slots), max(slots)} == {0, SLOTS - 1}
    assert max(slots.count(slot) for slot in set(slots[:100])) < 40


async def test_the_database_knows_the_same_slots(fleet: Fleet) -> None:
    names = [f"bot-{number}@im.bot" for number in range(200)] + ["ü@im.bot", "微信@im.bot"]
    told = await fleet.database.read("SELECT name, slot_of(name) AS slot FROM unnest($1::text[]) AS t (name)", names)
    assert {row["name"]: row["slot"] for row in told} == {name: slot_of(AccountId(name)) for name in names}


@pytest.mark.parametrize(
    "times", [{"ttl": 10.0, "renew": 5.0, "margin": 5.0}, {"renew": 0.0}, {"ttl": 5.0}, {"margin": -1.0}]
)
def test_terms_that_cannot_be_kept_are_refused(times: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        LeaseTerms(**times)


@pytest.mark.parametrize("weights", [[100], [100, 100, 100], [1, 2, 3, 5], [7] * 100, [1, 10_000]])
def test_shares_are_all_slots_and_follow_weights(weights: Sequence[int]) -> None:
    shares = fair_shares({new_session(): weight for weight in weights})
    assert sum(shares.values()) == SLOTS
    for share, weight in zip(shares.values(), weights, strict=True):
        assert abs(share - SLOTS * weight / sum(weights)) < 1


async def test_a_process_takes_free_slots_with_a_new_epoch(fleet: Fleet) -> None:
    one = await fleet.start()
    taken = await fleet.slots.claim(one, limit=3, terms=TERMS)
    assert [vacancy.epoch for vacancy in taken] == [1, 1, 1]
    assert await fleet.slots.held(one) == taken
    survey = await fleet.slots.survey()
    assert (survey.free, survey.sessions[0].slots, survey.sessions[0].info) == (FEW - 3, 3, WORKER)


async def test_two_processes_never_take_the_same_slot(fleet: Fleet) -> None:
    sessions = [await fleet.start() for _ in range(4)]
    taken = await asyncio.gather(*(fleet.slots.claim(one, limit=FEW, terms=TERMS) for one in sessions))
    numbers = [vacancy.slot for vacancies in taken for vacancy in vacancies]
    assert sorted(numbers) == list(range(FEW))


async def test_who_claims_leaves_out_what_somebody_else_is_claiming(fleet: Fleet) -> None:
    one, two = await fleet.start(), await fleet.start()
    async with asyncio.timeout(45), fleet.database.transaction() as connection:
        await connection.execute("SELECT claim_slots($1, 4, interval '0', interval '0')", one)
        taken = await fleet.slots.claim(two, limit=FEW, terms=TERMS)
    assert len(taken) == FEW - 4
    assert len(await fleet.slots.held(one)) == 4


async def test_who_is_not_known_or_not_live_takes_nothing(fleet: Fleet) -> None:
    assert await fleet.slots.claim(new_session(), limit=1, terms=TERMS) == []
    late = await fleet.start()
    await fleet.expire(late)
    assert await fleet.slots.claim(late, limit=1, terms=TERMS) == []
    draining = await fleet.start()
    await fleet.slots.drain(draining)
    assert await fleet.slots.claim(draining, limit=1, terms=TERMS) == []


async def test_a_late_process_that_nobody_missed_goes_on(fleet: Fleet) -> None:
    one = await fleet.start()
    taken = await fleet.slots.claim(one, limit=2, terms=TERMS)
    await fleet.expire(one)
    assert await fleet.slots.renew(one, ttl=30, report={"polls": 2})
    assert await fleet.slots.reap() == 0
    assert await fleet.slots.held(one) == taken
    assert (await fleet.slots.survey()).sessions[0].report == {"polls": 2}


async def test_death_is_one_way_and_frees_everything(fleet: Fleet) -> None:
    one, two = await fleet.start(), await fleet.start()
    taken = await fleet.slots.claim(one, limit=FEW, terms=TERMS)
    await fleet.expire(one)
    assert await fleet.slots.reap() == 1
    assert not await fleet.slots.renew(one, ttl=30, report={})
    assert await fleet.slots.claim(one, limit=1, terms=TERMS) == []
    again = await fleet.slots.claim(two, limit=FEW, terms=TERMS)
    assert epochs(again) == {vacancy.slot: 2 for vacancy in taken}
    assert await fleet.slots.reap() == 0


async def test_an_open_session_is_not_opened_again(fleet: Fleet) -> None:
    one = await fleet.start()
    await fleet.expire(one)
    await fleet.slots.reap()
    await fleet.slots.open_session(one, WORKER, ttl=30)
    assert not await fleet.slots.renew(one, ttl=30, report={})


async def test_a_slot_that_a_dying_process_claims_is_freed_by_the_next_look(fleet: Fleet) -> None:
    one = await fleet.start()
    await fleet.database.execute("UPDATE worker_sessions SET state = 'dead'")
    await fleet.database.execute("UPDATE slots SET owner = $1, epoch = 1 WHERE slot_id = 0", one)
    await fleet.slots.reap()
    assert await fleet.slots.held(one) == []


async def test_a_slot_whose_owner_cannot_be_seen_yet_is_left_alone(fleet: Fleet) -> None:
    stranger = new_session()
    await fleet.database.execute("UPDATE slots SET owner = $1 WHERE slot_id = 0", stranger)
    await fleet.slots.reap()
    assert len(await fleet.slots.held(stranger)) == 1


async def test_released_slots_are_for_others_first(fleet: Fleet) -> None:
    one, two = await fleet.start(), await fleet.start()
    taken = await fleet.slots.claim(one, limit=FEW, terms=TERMS)
    assert await fleet.slots.release(one, taken[:2]) == 2
    assert await fleet.slots.claim(one, limit=FEW, terms=TERMS) == []
    assert epochs(await fleet.slots.claim(two, limit=1, terms=TERMS)) == {taken[0].slot: 2}
    await fleet.age_releases()
    assert epochs(await fleet.slots.claim(one, limit=FEW, terms=TERMS)) == {taken[1].slot: 2}


async def test_only_the_owner_of_that_time_gives_away(fleet: Fleet) -> None:
    one, two = await fleet.start(), await fleet.start()
    (vacancy,) = await fleet.slots.claim(one, limit=1, terms=TERMS)
    assert await fleet.slots.release(two, [vacancy]) == 0
    assert await fleet.slots.release(one, [Vacancy(slot=vacancy.slot, epoch=vacancy.epoch - 1)]) == 0
    assert await fleet.slots.release(one, [vacancy]) == 1
    assert await fleet.slots.release(one, [vacancy]) == 0


async def test_what_is_given_to_somebody_waits_for_them_for_a_while(fleet: Fleet) -> None:
    one, two, three = await fleet.start(), await fleet.start(), await fleet.start()
    taken = await fleet.slots.claim(one, limit=FEW, terms=TERMS)
    await fleet.slots.release(one, taken[-2:], to=two)
    assert await fleet.slots.claim(three, limit=FEW, terms=TERMS) == []
    await fleet.slots.release(one, taken[:1])
    # What is meant for it comes first, whatever else is free.
    assert epochs(await fleet.slots.claim(two, limit=1, terms=TERMS)) == {taken[-2].slot: 2}
    await fleet.age_releases()
    assert set(epochs(await fleet.slots.claim(three, limit=FEW, terms=TERMS))) == {taken[0].slot, taken[-1].slot}


async def test_a_process_that_drains_keeps_what_it_has_and_ends_with_all_of_it(fleet: Fleet) -> None:
    one, two = await fleet.start(), await fleet.start()
    await fleet.slots.claim(one, limit=FEW, terms=TERMS)
    await fleet.slots.drain(one)
    survey = await fleet.slots.survey()
    assert [session.session_id for session in survey.live] == [two]
    assert survey.sessions[0].state is SessionState.DRAINING
    assert await fleet.slots.renew(one, ttl=30, report={})
    assert len(await fleet.slots.held(one)) == FEW
    await fleet.slots.close_session(one)
    assert not await fleet.slots.renew(one, ttl=30, report={})
    assert len(await fleet.slots.claim(two, limit=FEW, terms=TERMS)) == FEW
    await fleet.slots.close_session(one)
    assert len(await fleet.slots.held(two)) == FEW


async def test_dead_sessions_are_forgotten_after_a_day(fleet: Fleet) -> None:
    one = await fleet.start()
    await fleet.slots.close_session(one)
    await fleet.slots.reap()
    count = "SELECT count(*) FROM worker_sessions"
    assert await fleet.value(count) == 1
    await fleet.database.execute("UPDATE worker_sessions SET expires_at = expires_at - interval '2 days'")
    await fleet.slots.reap()
    assert await fleet.value(count) == 0


async def test_processes_that_claim_release_and_die_never_share_a_slot(fleet: Fleet) -> None:
    """Real processes, each with its own connections; every change of an owner is written down by the database."""
    await fleet.keep_audit()
    script = Path(__file__).with_name("claiming_process.py")
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, str(script), fleet.url, str(seed), stdin=PIPE, stderr=PIPE)
        for seed in range(3)
    ]
    for turn in range(20):
        await asyncio.sleep(0.02)
        await fleet.slots.reap()
        if turn == 10:
            processes[0].kill()
    for process in processes[1:]:
        _, errors = await process.communicate(b"\n")
        assert process.returncode == 0, errors.decode()
    await processes[0].communicate()
    assert await fleet.audit_complaints() == []
    assert await fleet.value("SELECT count(*) FROM owners_audit") > 20


async def test_a_fence_takes_the_journals_of_ones_slots_and_no_others(fleet: Fleet) -> None:
    one, two = await fleet.start(), await fleet.start()
    names = [AccountId(f"bot-{number}@im.bot") for number in range(3 * SLOTS // FEW)]
    await fleet.database.execute(
        "INSERT INTO journals (account_id, epoch) SELECT name, 5 FROM unnest($1::text[]) AS t (name)", names
    )
    mine = [vacancy.slot for vacancy in await fleet.slots.claim(one, limit=FEW // 2, terms=TERMS)]
    await fleet.slots.claim(two, limit=FEW, terms=TERMS)
    await fleet.slots.fence(one, list(range(FEW)))
    rows = await fleet.database.read("SELECT account_id, epoch FROM journals")
    assert {row["account_id"] for row in rows if row["epoch"] == 6} == {name for name in names if slot_of(name) in mine}
    assert {row["epoch"] for row in rows} == {5, 6}


@pytest.mark.parametrize("role", [Role.ALL, Role.POLLER, Role.HANDLER, Role.SENDER])
async def test_a_fence_is_for_what_one_does_and_leaves_the_others_alone(fleet: Fleet, role: Role) -> None:
    slots = PostgresSlots(fleet.database, role=role)
    session = new_session()
    await slots.open_session(session, replace(WORKER, role=role), ttl=3600)
    await fleet.database.execute(
        "INSERT INTO journals (account_id, epoch, poller, handler, sender) VALUES ('bot@im.bot', 9, 1, 2, 3)"
    )
    await fleet.database.execute("UPDATE slots SET owner = $1 WHERE role = $2", session, role.value)
    await fleet.database.execute(
        "INSERT INTO slots (role, slot_id, owner) VALUES ($1, slot_of('bot@im.bot'), $2)"
        " ON CONFLICT (role, slot_id) DO UPDATE SET owner = excluded.owner",
        role.value,
        session,
    )
    await slots.fence(session, range(SLOTS))
    row = await fleet.database.read_row("SELECT poller, handler, sender FROM journals")
    assert row is not None
    assert (
        tuple(row)
        == {
            Role.ALL: (10, 10, 10),
            Role.POLLER: (10, 2, 3),
            Role.HANDLER: (1, 10, 3),
            Role.SENDER: (1, 2, 10),
        }[role]
    )
