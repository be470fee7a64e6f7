"""Everything that can be done with leases in any order, against a small model of what has to come of it."""

from __future__ import annotations

from asyncio import Runner
from contextlib import AsyncExitStack

import pytest
from fleet_house import FEW, TERMS, WORKER, Fleet, new_session, open_fleet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from ilink.storage.slots import SessionId, Vacancy


class SlotsMachine(RuleBasedStateMachine):
    """The model: who is live, draining or dead, and the owner and epoch of every slot."""

    url: str
    sessions = Bundle("sessions")
    vacancies = Bundle("vacancies")

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner()
        self.exits = AsyncExitStack()
        self.fleet: Fleet = self.runner.run(self.exits.enter_async_context(open_fleet(self.url)))
        self.states: dict[SessionId, str] = {}
        self.late: set[SessionId] = set()
        self.owners: dict[int, SessionId | None] = dict.fromkeys(range(FEW))
        self.epochs: dict[int, int] = dict.fromkeys(range(FEW), 0)
        self.given: dict[int, SessionId | None] = dict.fromkeys(range(FEW))
        self.released_by: dict[int, SessionId | None] = dict.fromkeys(range(FEW))

    def teardown(self) -> None:
        self.runner.run(self.exits.aclose())
        self.runner.close()

    @rule(target=sessions)
    def start(self) -> SessionId:
        session = new_session()
        self.runner.run(self.fleet.slots.open_session(session, WORKER, ttl=3600))
        self.states[session] = "live"
        return session

    @rule(session=sessions)
    def stay_silent(self, session: SessionId) -> None:
        if self.states[session] != "dead":
            self.runner.run(self.fleet.expire(session))
            self.late.add(session)

    @rule(session=sessions)
    def renew(self, session: SessionId) -> None:
        is_believed = self.runner.run(self.fleet.slots.renew(session, ttl=3600, report={}))
        assert is_believed == (self.states[session] != "dead")
        self.late.discard(session)

    @rule()
    def reap(self) -> None:
        died = {one for one in self.late if self.states[one] != "dead"}
        assert self.runner.run(self.fleet.slots.reap()) == len(died)
        for one in died:
            self.states[one] = "dead"
            self.free(one, by=None)
        self.late.clear()

    @rule(session=sessions)
    def drain(self, session: SessionId) -> None:
        self.runner.run(self.fleet.slots.drain(session))
        if self.states[session] == "live":
            self.states[session] = "draining"

    @rule(session=consumes(sessions))
    def close(self, session: SessionId) -> None:
        self.runner.run(self.fleet.slots.close_session(session))
        self.states[session] = "dead"
        self.late.discard(session)
        self.free(session, by=session)

    @rule(target=vacancies, session=sessions, limit=st.integers(0, FEW))
    def claim(self, session: SessionId, limit: int) -> tuple[SessionId, list[Vacancy]]:
        may_take = self.states[session] == "live" and session not in self.late
        for_anybody = [
            slot
            for slot, owner in self.owners.items()
            if owner is None and self.given[slot] in (None, session) and self.released_by[slot] != session
        ]
        wanted = sorted(for_anybody, key=lambda slot: (self.given[slot] != session, slot))[:limit]
        taken = self.runner.run(self.fleet.slots.claim(session, limit=limit, terms=TERMS))
        assert {one.slot for one in taken} == (set(wanted) if may_take else set())
        for one in taken:
            assert one.epoch == self.epochs[one.slot] + 1
            self.owners[one.slot], self.epochs[one.slot], self.given[one.slot] = session, one.epoch, None
        return session, taken

    @rule(taken=vacancies, other=st.none() | sessions, share=st.integers(1, 3))
    def release(self, taken: tuple[SessionId, list[Vacancy]], other: SessionId | None, share: int) -> None:
        session, slots = taken
        given = slots[::share]
        mine = [one for one in given if (self.owners[one.slot], self.epochs[one.slot]) == (session, one.epoch)]
        assert self.runner.run(self.fleet.slots.release(session, given, to=other)) == len(mine)
        for one in mine:
            self.owners[one.slot], self.given[one.slot], self.released_by[one.slot] = None, other, session

    @rule()
    def let_time_pass(self) -> None:
        """Cool-downs and hand-overs end; a slot is then as if nobody had had it."""
        self.runner.run(self.fleet.age_releases())
        self.given = dict.fromkeys(range(FEW))
        self.released_by = dict.fromkeys(range(FEW))

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        rows = self.runner.run(self.fleet.database.read("SELECT slot_id, owner, epoch FROM slots"))
        assert {row["slot_id"]: (row["owner"], row["epoch"]) for row in rows} == {
            slot: (self.owners[slot], self.epochs[slot]) for slot in range(FEW)
        }

    def free(self, session: SessionId, *, by: SessionId | None) -> None:
        for slot, owner in self.owners.items():
            if owner == session:
                self.owners[slot], self.given[slot], self.released_by[slot] = None, None, by


@pytest.mark.timeout(120)
def test_slots_do_what_the_model_says(postgres_url: str) -> None:
    machine = type("Machine", (SlotsMachine,), {"url": postgres_url})
    run_state_machine_as_test(machine, settings=settings(max_examples=8, stateful_step_count=40))  # type: ignore[no-untyped-call]
