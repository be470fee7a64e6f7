"""`ilink dev`: gateway, phone page and a bot that is started anew whenever its files change."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import webbrowser
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ilink.cli.options import DataFolder
from ilink.cli.output import errors, out
from ilink.cli.run import split_place
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.gateway.server import GatewayServer, ServerOptions

__all__ = ["dev"]

_STOP: Final = 12.0
"""Seconds a bot gets to stop in order; its own limit for handlers is 10."""


def dev(
    file: Annotated[str, Parameter(help=say("run.file"))],
    *,
    data: DataFolder = None,
    open_page: Annotated[bool, Parameter(name="--open", help=say("demo.open"))] = True,
) -> int:
    """Run everything until Ctrl-C."""
    path, _ = split_place(file)
    if not path.is_file():
        raise ConfigError(say("run.no_file", path=path))
    asyncio.run(_develop(file, path.resolve(), data, open_page=open_page))
    return 0


async def _develop(place: str, path: Path, data: Path | None, *, open_page: bool) -> None:
    with _folder(data) as folder:
        async with GatewayServer(ServerOptions(data=folder / "gateway")) as server:
            console = out()
            console.print(f"\n[bold]{say('demo.ready')}[/]  ", end="")
            console.print(server.login_url, style="bold green underline", markup=False)
            console.print(f"{say('dev.steps', path=path.name)}\n", markup=False)
            if open_page:
                await asyncio.to_thread(webbrowser.open, server.login_url)
            bot = [place, server.info.api_url, server.info.control_url, str(folder / "bot")]
            await _reload(path.parent, bot, _stop_event())


async def _reload(folder: Path, bot: list[str], stopping: asyncio.Event) -> None:
    """Run the bot, and run it anew after every change, until Ctrl-C."""
    changes = _changed_files(folder, stopping)
    # Looked out for before the bot is loaded, so that nothing is missed that is saved meanwhile.
    changed = asyncio.ensure_future(anext(changes, None))
    while True:
        async with _running(bot):
            names = await changed
        if names is None:
            return
        errors().print(say("dev.reload", names=", ".join(names)), style="cyan", markup=False)
        changed = asyncio.ensure_future(anext(changes, None))


@asynccontextmanager
async def _running(bot: list[str]) -> AsyncGenerator[None, None]:
    """Run the bot in a process of its own, and stop it in order: it ends when its standard input does.

    So it ends as well when this process is killed. It is in a group of its own, because a Ctrl-C would reach it beside
    the end of its input, and a second one means to stop at once.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ilink.cli.dev_bot", *bot, stdin=PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        await asyncio.shield(_end(process))


async def _end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _STOP)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _changed_files(folder: Path, stopping: asyncio.Event) -> AsyncIterator[list[str]]:
    """Yield the names of Python files that were saved, those of one moment together, until Ctrl-C."""
    # Loaded late: this command alone needs it, and it is in an extra.
    try:
        from watchfiles import PythonFilter, awatch  # pyright: ignore[reportUnknownVariableType]  # anyio may be missing
    except ImportError as error:
        raise ConfigError(say("dev.extra")) from error
    async for changes in awatch(folder, watch_filter=PythonFilter(), stop_event=stopping, raise_interrupt=False):
        yield sorted({Path(name).name for _, name in changes})


@contextmanager
def _folder(data: Path | None) -> Generator[Path, None, None]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="ilink-dev-") as folder:
        yield Path(folder)


def _stop_event() -> asyncio.Event:
    """Return what is set by Ctrl-C and SIGTERM."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopping
