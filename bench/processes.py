"""The programs under measurement: started, heard, and ended whatever happens."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Gateway", "Program", "start", "start_gateway", "start_stub"]

REPOSITORY: Final = Path(__file__).resolve().parent.parent
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0


class BenchError(Exception):
    """A program did not do what a measurement needs; the message has its last words."""


class Program:
    """A running program that talks in lines."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def hear(self, beginning: str, *, seconds: float = _START_SECONDS) -> str:
        """Wait for a line that begins so and return it.

        Raises:
            BenchError: It ended, or the time is up.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                while line := (await self._process.stdout.readline()).decode("utf-8", "replace"):
                    if line.startswith(beginning):
                        return line.strip()
        except TimeoutError:
            message = f"said nothing that begins with {beginning!r} for {seconds:.0f} s: {self.last_words()}"
            raise BenchError(message) from None
        message = f"ended before it said {beginning!r}: {self.last_words()}"
        raise BenchError(message)

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def last_words(self) -> str:
        """Return the last line it wrote to standard error."""
        lines = self._errors.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no word on standard error"

    async def stop(self) -> None:
        """End it: asked first, then without asking."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _prepare(scratch: Path) -> Path:
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch / "stderr.txt"


@asynccontextmanager
async def start(
    command: list[str], *, scratch: Path, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run a program for the length of the block; its standard error goes to a file in `scratch`."""
    errors = _prepare(scratch)
    with errors.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})},
            limit=1 << 20,
        )
    program = Program(process, errors)
    try:
        yield program
    finally:
        await program.stop()


class Gateway(msgspec.Struct):
    """Where a server listens; the stub has one address for everything.

    Attributes:
        authority: The file of the authority that vouches for it, when it speaks TLS.
    """

    api_url: str
    control_url: str
    pid: int
    authority: str | None = None


@asynccontextmanager
async def start_stub(scratch: Path) -> AsyncIterator[Gateway]:
    """Run the bare server."""
    async with start([sys.executable, "-m", "bench.stub"], scratch=scratch) as program:
        url = await program.hear("http")
        yield Gateway(url, url, program.pid)


@asynccontextmanager
async def start_gateway(scratch: Path, *more: str) -> AsyncIterator[Gateway]:
    """Run our gateway on a folder of its own, as an operator would; `more` are further arguments."""
    command = [
        *(sys.executable, "-m", "ilink", "gateway", "--ready-json"),
        *("--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--data", str(scratch / "data")),
        *more,
    ]
    async with start(command, scratch=scratch) as program:
        yield msgspec.json.decode(await program.hear("{"), type=Gateway)
