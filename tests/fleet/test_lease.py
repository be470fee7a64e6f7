"""What a lease permits, by a clock that tests move and a store in memory that may fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from fleet_house import WORKER, new_session

from ilink.errors import StoreError
from ilink.fleet.lease import Lease, SessionLostError
from ilink.storage.slots import (
    LeaseTerms,
    SessionId,
    SessionState,
    Survey,
    Vacancy,
    WorkerInfo,
    WorkerSession,
)

TERMS = LeaseTerms(ttl=30, renew=5, margin=10)
ALL = 8


class Time:
    """A clock that goes on when it is slept by, and as fast as a test wants."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asleep = asyncio.Event()
        self.go_on = asyncio.Event()
        self.slept: list[float] = []

    def uptime(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.asleep.set()
        await self.go_on.wait()
        self.go_on.clear()
        self.now += seconds


class Memory:
    """Slots in memory."""

    def __init__(self) -> None:
        self.owners: dict[int, SessionId | None] = dict.fromkeys(range(ALL))
        self.epochs: Counter[int] = Counter()
        self.sessions: dict[SessionId, SessionState] = {}
        self.fenced: list[int] = []
        self.released: list[tuple[int, SessionId | None]] = []
        self.is_broken = False
        self.is_answer_lost = False
        self.on_renew: Callable[[], None] = lambda: None
        self.expires_in: dict[SessionId, float] = {}

    def _check(self) -> None:
        if self.is_broken:
            raise StoreError("the database is away")

    async def open_session(self, session: SessionId, info: WorkerInfo, *, ttl: float) -> None:
        self._check()
        self.sessions[session] = SessionState.LIVE

    async def renew(self, session: SessionId, *, ttl: float, report: Mapping[str, object]) -> bool:
        self._check()
        self.on_renew()
        return self.sessions[session] is not SessionState.DEAD

    async def drain(self, session: SessionId) -> None:
        self._check()
        self.sessions[session] = SessionState.DRAINING

    async def close_session(self, session: SessionId) -> None:
        self._check()
        self.sessions[session] = SessionState.DEAD

    async def reap(self) -> int:
        return 0

    async def claim(self, session: SessionId, *, limit: int, terms: LeaseTerms) -> list[Vacancy]:
        taken = [slot for slot, owner in self.owners.items() if owner is None][:limit]
        for slot in taken:
            self.owners[slot] = session
            self.epochs[slot] += 1
        if taken and self.is_answer_lost:
            self.is_answer_lost = False
            raise StoreError("the connection was lost after the write")
        return [Vacancy(slot=slot, epoch=self.epochs[slot]) for slot in taken]

    async def release(self, session: SessionId, slots: Iterable[Vacancy], *, to: SessionId | None = None) -> int:
        self._check()
        for one in slots:
            self.owners[one.slot] = to
            self.released.append((one.slot, to))
        return 0

    async def held(self, session: SessionId) -> list[Vacancy]:
        mine = [slot for slot, owner in self.owners.items() if owner == session]
        return [Vacancy(slot=slot, epoch=self.epochs[slot]) for slot in mine]

    async def survey(self) -> Survey:
        live = [
            WorkerSession(
                session_id=session,
                info=WORKER,
                state=state,
                age=100,
                expires_in=self.expires_in.get(session, 20),
                slots=list(self.owners.values()).count(session),
            )
            for session, state in self.sessions.items()
            if state is not SessionState.DEAD
        ]
        return Survey(sessions=live, free=list(self.owners.values()).count(None))

    async def fence(self, session: SessionId, slots: Sequence[int]) -> int:
        self.fenced += slots
        return 0


class Work:
    """Accounts in slots, that end when they are told."""

    def __init__(self) -> None:
        self.accounts: dict[int, int] = {}
        self.looks = 0

    def look_again(self) -> None:
        self.looks += 1

    def load(self, slots: Collection[int]) -> Mapping[int, int]:
        return {slot: count for slot, count in self.accounts.items() if slot in slots}

    def report(self) -> Mapping[str, object]:
        return {}


class House:
    """A lease that is kept, beat by beat."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ilink.fleet.lease.fair_shares", fair_shares)
        self.slots, self.work, self.time = Memory(), Work(), Time()
        self.lease = Lease(self.slots, WORKER, terms=TERMS, work=self.work, clock=self.time, moves=2)
        self.keeping: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        self.keeping = asyncio.create_task(self.lease.keep())
        await self.time.asleep.wait()
        try:
            yield
        finally:
            self.keeping.cancel()
            await asyncio.gather(self.keeping, return_exceptions=True)

    async def beat(self) -> None:
        self.time.asleep.clear()
        self.time.go_on.set()
        assert self.keeping is not None
        waiting = asyncio.create_task(self.time.asleep.wait())
        await asyncio.wait({waiting, self.keeping}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()


def fair_shares(weights: Mapping[SessionId, int]) -> dict[SessionId, int]:
    return dict.fromkeys(weights, ALL // len(weights))


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    return House(monkeypatch)


async def test_what_is_taken_is_fenced_before_anything_may_be_done_with_it(house: House) -> None:
    async with house.kept():
        assert house.slots.fenced == list(range(ALL))
        assert house.lease.wanted == frozenset(range(ALL))
        assert house.lease.may_poll(3)
        assert house.lease.epoch(3) == 1
        assert not house.lease.may_poll(ALL)


async def test_a_process_that_stood_still_may_do_nothing_before_it_looked(house: House) -> None:
    async with house.kept():
        house.time.now += TERMS.ttl - TERMS.margin
        assert not house.lease.may_poll(3)
        assert not house.lease.may_act(3)
        await house.beat()
        assert house.lease.may_poll(3)


async def test_nothing_is_polled_that_could_not_be_stored(house: House) -> None:
    async with house.kept():
        house.slots.is_broken = True
        await house.beat()
        assert not house.lease.may_poll(3)
        assert house.lease.may_act(3)
        house.slots.is_broken = False
        await house.beat()
        assert house.lease.may_poll(3)


async def test_a_lease_is_trusted_from_the_moment_its_renewal_was_asked_for(house: House) -> None:
    async with house.kept():
        house.slots.on_renew = lambda: setattr(house.time, "now", house.time.now + 4)
        await house.beat()
        house.time.now += TERMS.ttl - TERMS.margin - 4
        assert not house.lease.may_act(3)


async def test_no_poll_begins_once_everything_is_given_away(house: House) -> None:
    async with house.kept():
        await house.lease.drain()
        assert not house.lease.may_poll(3)
        assert house.lease.may_act(3)


async def test_what_was_claimed_while_the_answer_was_lost_is_found(house: House) -> None:
    house.slots.is_answer_lost = True
    async with house.kept():
        assert house.lease.wanted == frozenset()
        await house.beat()
        assert house.lease.wanted == frozenset(range(ALL))
        assert house.slots.fenced == list(range(ALL))


async def test_a_slot_that_others_had_meanwhile_is_begun_anew_under_its_new_epoch(house: House) -> None:
    async with house.kept():
        house.slots.is_broken = True
        await house.beat()
        house.slots.epochs[3] += 2  # another had it, and it came back
        house.slots.is_broken = False
        await house.beat()
        assert house.lease.epoch(3) == 3
        assert house.slots.fenced == [*range(ALL), 3]


async def test_who_was_taken_for_dead_ends_at_once(house: House) -> None:
    async with house.kept():
        house.slots.sessions[house.lease.session] = SessionState.DEAD
        await house.beat()
        assert house.keeping is not None
        with pytest.raises(SessionLostError):
            await house.keeping
        assert not house.lease.may_act(3)


async def test_the_end_of_anothers_lease_is_not_slept_over(house: House) -> None:
    async with house.kept():
        other = new_session()
        house.slots.sessions[other] = SessionState.LIVE
        await house.beat()
        assert house.time.slept[-1] == TERMS.renew
        house.slots.expires_in[other] = 2.5
        await house.beat()
        assert house.time.slept[-1] == 2.5
        house.slots.expires_in[other] = -3  # somebody is just declaring it dead
        await house.beat()
        assert house.time.slept[-1] == TERMS.renew / 5


async def test_a_process_that_comes_gets_busy_and_idle_slots_in_their_proportion(house: House) -> None:
    async with house.kept():
        other = new_session()
        house.slots.sessions[other] = SessionState.LIVE
        house.work.accounts = {0: 1, 1: 5, 2: 1, 3: 9}
        await house.beat()
        assert sorted(house.slots.released) == [(4, other), (5, other)]
        assert house.lease.wanted == {1, 3, 6, 7}
        assert not house.lease.may_poll(0)
        assert house.lease.may_act(0)
        await house.lease.settle(set())
        assert house.lease.owned == {1, 3, 6, 7}
        assert house.slots.owners[0] == other


async def test_no_more_busy_slots_are_given_at_once_than_are_allowed(house: House) -> None:
    async with house.kept():
        house.slots.sessions[new_session()] = SessionState.LIVE
        house.work.accounts = dict.fromkeys(range(ALL), 1)
        await house.beat()
        assert len(house.lease.wanted) == ALL - 2
        await house.beat()
        assert len(house.lease.wanted) == ALL - 2


async def test_who_drains_gives_each_slot_when_its_accounts_have_ended(house: House) -> None:
    async with house.kept():
        other = new_session()
        house.work.accounts = {7: 1}
        house.slots.sessions[other] = SessionState.LIVE
        await house.beat()
        await house.lease.drain()
        assert house.lease.wanted == frozenset()
        await house.lease.settle({7})
        assert house.lease.owned == {7}
        assert {heir for _, heir in house.slots.released} == {other}
        await house.lease.settle(set())
        assert house.lease.owned == frozenset()


async def test_a_slot_whose_release_was_not_heard_of_is_still_known_to_be_ours(house: House) -> None:
    async with house.kept():
        house.slots.sessions[new_session()] = SessionState.LIVE
        true_release = house.slots.release

        async def cut(*_: object, **__: object) -> int:
            raise StoreError("the connection was cut")

        house.slots.release = cut  # type: ignore[method-assign]
        await house.beat()
        assert len(house.lease.owned) < ALL
        house.slots.release = true_release  # type: ignore[method-assign]
        await house.beat()
        assert list(house.slots.owners.values()).count(house.lease.session) == ALL // 2
        assert len(house.lease.owned) == ALL // 2


async def test_who_is_first_waits_a_moment_for_those_who_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(monkeypatch)
    house.lease = Lease(house.slots, WORKER, terms=TERMS, work=house.work, clock=house.time, peers=2)
    true_survey = house.slots.survey

    async def young() -> Survey:
        survey = await true_survey()
        return Survey(
            sessions=[
                WorkerSession(session_id=one.session_id, info=WORKER, state=one.state, age=1, expires_in=20)
                for one in survey.sessions
            ],
            free=survey.free,
        )

    house.slots.survey = young  # type: ignore[method-assign]
    async with house.kept():
        assert house.lease.owned == frozenset()
        house.slots.survey = true_survey  # type: ignore[method-assign]
        await house.beat()
        assert len(house.lease.owned) == ALL
