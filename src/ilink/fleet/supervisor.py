"""The worker processes of one machine: started, started again when they die, and ended in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from asyncio import Event, TaskGroup
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from ilink.fleet.settings import PLACE_VARIABLE
from ilink.flows.polling import Backoff

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)

_BACKOFF: Final = Backoff(first=1.0, ceiling=30.0)
_HEALTHY: Final = 60.0
"""Seconds after which a process counts as well started, so that its next death is its first."""
_LAST: Final = 5.0
"""Seconds that a process has for ending beyond the time it gives itself."""


class Supervisor:
    """Keeps worker processes running.

    Args:
        command: What starts one.
        count: How many there are.
        environ: What they find in their environment, secrets included.
        drain_seconds: How long they may take to end.
        hopeless: Exit codes that say that starting again is of no use: wrong settings.
        backoff: The pauses before a process is started again.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        count: int,
        environ: Mapping[str, str],
        drain_seconds: float,
        hopeless: frozenset[int] = frozenset(),
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._command = command
        self._count = count
        self._environ = dict(environ)
        self._drain_seconds = drain_seconds
        self._hopeless = hopeless
        self._backoff = backoff
        self._processes: dict[int, Process] = {}
        self._code = 0

    @property
    def pids(self) -> Mapping[int, int]:
        """The processes that run, by their place."""
        return {place: process.pid for place, process in self._processes.items()}

    async def run(self, stop: Event) -> int:
        """Keep the processes running until `stop` is set or one of them is hopeless, and end them in order.

        Returns:
            0, or the exit code of the hopeless one.

        Cancellation: kills them.
        """
        async with TaskGroup() as tasks:
            for place in range(self._count):
                tasks.create_task(self._keep(place, stop))
        return self._code

    async def _keep(self, place: int, stop: Event) -> None:
        loop = asyncio.get_running_loop()
        deaths = 0
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                began = loop.time()
                code = await self._run_one(place, stopping)
                if stop.is_set():
                    return
                if code in self._hopeless:
                    self._code = code
                    stop.set()
                    return
                deaths = 1 if loop.time() - began > _HEALTHY else deaths + 1
                pause = self._backoff.delay(deaths, jitter=1.0)
                _log.error("worker %d %s; starting it again in %.0f s", place + 1, _how(code), pause)
                await asyncio.wait({stopping}, timeout=pause)
        finally:
            stopping.cancel()

    async def _run_one(self, place: int, stopping: asyncio.Task[bool]) -> int:
        """Run one process until it ends; when all are to end it is told so, and killed if it takes too long."""
        # A session of its own: Ctrl-C at the terminal reaches this process only, which ends the others in order.
        environ = {**self._environ, PLACE_VARIABLE: str(place)}
        process = await asyncio.create_subprocess_exec(*self._command, env=environ, start_new_session=True)
        self._processes[place] = process
        ending = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                await asyncio.wait({ending}, timeout=self._drain_seconds + _LAST)
            if not ending.done():
                _log.error("worker %d does not end; it is killed, and others wait for the end of its lease", place + 1)
                with suppress(ProcessLookupError):
                    process.kill()
            return await ending
        finally:
            if not ending.done():
                with suppress(ProcessLookupError):
                    process.kill()
                await asyncio.wait({ending})
            del self._processes[place]


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
