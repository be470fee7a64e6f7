"""Processes that only poll, only handle or only send: real ones, on PostgreSQL, that find each other by the journal."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from fleet_house import WORKER, new_session
from fleet_people import ENVIRON, Crowd

from ilink.errors import ConfigError, StoreLockedError
from ilink.fleet.roles import read_roles
from ilink.fleet.status import FleetStatus, read_status
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.roles import Role
from ilink.storage.slots import LeaseTerms, SessionId
from ilink.storage.slots_postgres import PostgresSlots
from ilink.testing.gateway import LocalGateway

PARTS = (Role.POLLER, Role.HANDLER, Role.SENDER)
TERMS = LeaseTerms(cool_down=600, hand_over=600)


@dataclass
class Roles:
    """A crowd, and processes with roles that work for it."""

    url: str
    crowd: Crowd
    database: PostgresDatabase
    folder: Path
    processes: dict[Role, Process] = field(default_factory=dict[Role, Process])

    async def start(self, role: Role) -> Process:
        command = [str(Path(__file__).with_name("worker_process.py")), f"--role={role.value}", self.url]
        with (self.folder / "workers.log").open("ab") as log:
            self.processes[role] = await asyncio.create_subprocess_exec(
                sys.executable, *command, env=ENVIRON, stdout=log, stderr=asyncio.subprocess.STDOUT
            )
        return self.processes[role]

    async def kill(self, role: Role) -> None:
        victim = self.processes.pop(role)
        victim.kill()
        await victim.wait()

    async def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        codes = [await asyncio.wait_for(process.wait(), 60) for process in self.processes.values()]
        assert set(codes) <= {0}, (self.folder / "workers.log").read_text("utf-8")[-8000:]

    async def status_when(self, condition: Callable[[FleetStatus], bool]) -> FleetStatus:
        async with asyncio.timeout(60):
            while not condition(status := await read_status(self.database)):  # noqa: ASYNC110  # processes tell nobody
                await asyncio.sleep(0.1)
            return status


@asynccontextmanager
async def opened(url: str, folder: Path, *, people: int = 3) -> AsyncGenerator[Roles, None]:
    knobs = {"poll.hold_ms": 1000, "poll.error_delay_ms": 10}
    async with LocalGateway(knobs=knobs) as gateway, PostgresDatabase(url) as database:
        crowd = await Crowd.make(gateway, url, people, Random(1))
        roles = Roles(url, crowd, database, folder)
        try:
            yield roles
        finally:
            await roles.end()


@pytest.mark.timeout(240)
async def test_three_processes_do_together_what_one_does(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as roles:
        for role in PARTS:
            await roles.start(role)
        for _ in range(3):
            await roles.crowd.say_everywhere()
            assert await roles.crowd.wait_answered(60), (tmp_path / "workers.log").read_text()[-6000:]
        assert await roles.crowd.complaints() == []
        status = await roles.status_when(lambda status: not status.nobody.accounts and len(status.workers) == 3)
        assert {one.session.info.role: one.session.slots for one in status.workers} == dict.fromkeys(PARTS, 4096)
        assert status.missing == ()


@pytest.mark.timeout(240)
@pytest.mark.crash
@pytest.mark.parametrize("role", PARTS)
async def test_what_waits_for_a_part_is_done_when_somebody_does_it_again(
    postgres_url: str, tmp_path: Path, role: Role
) -> None:
    async with opened(postgres_url, tmp_path) as roles:
        for part in PARTS:
            await roles.start(part)
        await roles.crowd.say_everywhere()
        assert await roles.crowd.wait_answered(60), (tmp_path / "workers.log").read_text()[-6000:]
        await roles.kill(role)
        await roles.crowd.say_everywhere()
        await roles.status_when(lambda status: status.missing == (role,))
        await roles.start(role)
        assert await roles.crowd.wait_answered(90), (tmp_path / "workers.log").read_text()[-6000:]
        assert await roles.crowd.complaints() == []


async def test_who_does_everything_does_not_work_beside_those_who_do_a_part(postgres_url: str) -> None:
    async with PostgresDatabase(postgres_url) as database:
        alone, part = PostgresSlots(database), PostgresSlots(database, role=Role.POLLER)
        one = new_session()
        await part.open_session(one, WORKER, ttl=60)
        with pytest.raises(StoreLockedError, match="the same --role"):
            await alone.open_session(new_session(), WORKER, ttl=60)
        await part.close_session(one)
        await alone.open_session(new_session(), WORKER, ttl=60)
        with pytest.raises(StoreLockedError, match="4242 on node-1"):
            await part.open_session(one, WORKER, ttl=60)


async def test_each_role_has_its_own_slots(postgres_url: str) -> None:
    async with PostgresDatabase(postgres_url) as database:
        sessions: dict[Role, SessionId] = {}
        for role in PARTS:
            slots, session = PostgresSlots(database, role=role), new_session()
            await slots.open_session(session, WORKER, ttl=60)
            taken = await slots.claim(session, limit=5000, terms=TERMS)
            assert (len(taken), {vacancy.epoch for vacancy in taken}) == (4096, {1})
            sessions[role] = session
        handlers = PostgresSlots(database, role=Role.HANDLER)
        survey = await handlers.survey()
        assert ([one.session_id for one in survey.sessions], survey.free) == ([sessions[Role.HANDLER]], 0)
        await handlers.close_session(sessions[Role.HANDLER])
        assert len(await PostgresSlots(database, role=Role.POLLER).held(sessions[Role.POLLER])) == 4096
        assert (await read_status(database)).missing == (Role.HANDLER,)


def test_roles_are_named_once_or_with_commas() -> None:
    assert read_roles([]) == (Role.ALL,)
    assert read_roles(["poller, sender", "poller"]) == (Role.POLLER, Role.SENDER)


@pytest.mark.parametrize(("names", "words"), [(["pollers"], "there is no role 'pollers'"), (["all,poller"], "either")])
def test_roles_that_mean_nothing_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_roles(names)
