"""Worker processes of one machine: started again when they die, ended in order, given up when that is hopeless."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio import Event
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ilink.fleet.supervisor import Supervisor
from ilink.flows.polling import Backoff

AT_ONCE = Backoff(first=0.01, ceiling=0.01, floor=0.0)

GOOD = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1], f"ended-{time.time_ns()}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1], f"began-{time.time_ns()}").touch()
while True:
    time.sleep(1)
"""
DEAF = GOOD.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")


def supervisor(folder: Path, code: str, *, count: int = 2, drain_seconds: float = 30.0) -> Supervisor:
    return Supervisor(
        [sys.executable, "-c", code, str(folder)],
        count=count,
        environ=os.environ,
        drain_seconds=drain_seconds,
        hopeless=frozenset({2}),
        backoff=AT_ONCE,
    )


def marks(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}-*")))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(one: Supervisor) -> AsyncIterator[tuple[asyncio.Task[int], Event]]:
    stop = Event()
    task = asyncio.create_task(one.run(stop))
    try:
        yield task, stop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_processes_are_asked_to_end(tmp_path: Path) -> None:
    async with running(supervisor(tmp_path, GOOD)) as (task, stop):
        await until(lambda: marks(tmp_path, "began") == 2)
        stop.set()
        assert await task == 0
    assert marks(tmp_path, "ended") == 2


async def test_a_process_that_was_killed_is_started_again(tmp_path: Path) -> None:
    one = supervisor(tmp_path, GOOD)
    async with running(one) as (task, stop):
        await until(lambda: marks(tmp_path, "began") == 2)
        os.kill(one.pids[0], signal.SIGKILL)
        await until(lambda: marks(tmp_path, "began") == 3)
        stop.set()
        assert await task == 0
    assert marks(tmp_path, "ended") == 2


async def test_wrong_settings_end_all_of_them(tmp_path: Path) -> None:
    code = f"import pathlib, sys\nif any(pathlib.Path(sys.argv[1]).glob('began-*')): sys.exit(2)\n{GOOD}"
    async with running(supervisor(tmp_path, code, count=1)) as (task, _):
        await until(lambda: marks(tmp_path, "began") == 1)
        one = supervisor(tmp_path, code, count=1)
        assert await one.run(Event()) == 2
        assert not task.done()


async def test_a_process_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilink.fleet.supervisor._LAST", 0.0)
    async with running(supervisor(tmp_path, DEAF, count=1, drain_seconds=0.1)) as (task, stop):
        await until(lambda: marks(tmp_path, "began") == 1)
        stop.set()
        assert await task == 0
    assert marks(tmp_path, "ended") == 0


async def test_who_is_cancelled_leaves_no_process_behind(tmp_path: Path) -> None:
    one = supervisor(tmp_path, GOOD)
    async with running(one) as (task, _):
        await until(lambda: marks(tmp_path, "began") == 2)
        pids = list(one.pids.values())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and _lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
