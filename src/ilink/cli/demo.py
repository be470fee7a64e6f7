"""`ilink demo`: gateway, phone page and an echo bot in one process, with nothing else needed and nothing kept."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import webbrowser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ilink.bot import Bot, SessionState
from ilink.cli.output import errors, out
from ilink.cli.page_login import log_in_on_page
from ilink.cli.words import say
from ilink.errors import IlinkError
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.messages import Message
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.testing import Person
from ilink.wire.ids import UserId

__all__ = ["demo"]

_LIMIT = 20.0
"""Seconds that each step of the check may take; on an idle machine each takes a fraction of one."""


def demo(
    *,
    check: Annotated[bool, Parameter(negative="", show_default=False, help=say("demo.check"))] = False,
    open_page: Annotated[bool, Parameter(name="--open", help=say("demo.open"))] = True,
) -> int:
    """Start everything, until Ctrl-C."""
    if not check:
        asyncio.run(_show(open_page=open_page))
        return 0
    try:
        asyncio.run(_check())
    except (IlinkError, AssertionError, TimeoutError) as error:
        errors().print(say("demo.check.failed", why=str(error) or type(error).__name__), style="bold red", markup=False)
        return 1
    return 0


async def _show(*, open_page: bool) -> None:
    async with GatewayServer() as server:
        console = out()
        console.print(f"\n[bold]{say('demo.ready')}[/]  ", end="")
        console.print(server.login_url, style="bold green underline", markup=False)
        console.print(f"{say('demo.steps')}\n", markup=False)
        if open_page:
            await asyncio.to_thread(webbrowser.open, server.login_url)
        async with _echo_bot(server, tell=errors()) as serving:
            await _until_stopped(serving)


async def _check() -> None:
    """Play the conversation that a person would have on the page, over the same sockets, and print it."""
    silent = Console(quiet=True)  # the conversation tells the same
    async with GatewayServer(ServerOptions(synchronous="OFF")) as server, _echo_bot(server, tell=silent) as serving:
        talk = asyncio.ensure_future(_converse(server))
        try:
            await asyncio.wait({talk, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            await talk
        finally:
            talk.cancel()


async def _converse(server: GatewayServer) -> None:
    console = out()
    gateway = server.gateway
    made = await gateway.add_person("Alice")
    alice = Person(gateway, UserId(made.user_id), made.name)
    console.print(say("demo.check.person", person=f"{alice.name} <{alice.user_id}>"), markup=False)
    code = await gateway.wait_code(timeout=_LIMIT)
    assert code is not None, "the bot asked for no login code"
    console.print(say("demo.check.code"), markup=False)
    await alice.scans(code.qrcode)
    bot_id = await alice.befriend(code.qrcode)
    console.print(say("demo.check.confirmed", bot=bot_id), markup=False)
    for text in ("hi", "你好", "How are you?"):
        before = gateway.events.newest
        await alice.says(text)
        console.print(f"  {alice.name}: {text}", markup=False)
        heard = await alice.hears(timeout=_LIMIT)
        assert heard == say("demo.reply", text=text), f"the bot answered {heard!r}"
        assert any(event.kind == "typing" for event in gateway.events.after(before)), "the bot was not seen typing"
        console.print(f"  {say('demo.check.typing')}\n  Bot:   {heard}", markup=False)
    console.print(say("demo.check.passed"), style="bold green", markup=False)


@asynccontextmanager
async def _echo_bot(server: GatewayServer, *, tell: Console) -> AsyncGenerator[asyncio.Future[None], None]:
    """Run the echo bot on the gateway with a journal of its own, and stop it in order at the end."""
    with tempfile.TemporaryDirectory(prefix="ilink-demo-") as folder:
        bot = Bot(allow="anyone", base_url=server.info.api_url, data=Path(folder), environ={})

        @bot.on_text()
        async def echo(message: Message) -> None:
            async with message.typing():
                await asyncio.sleep(0.5)  # long enough for a person to see the bot typing
            await message.reply(say("demo.reply", text=message.text))

        @bot.on_state
        def report(state: SessionState) -> None:
            if state is SessionState.EXPIRED:
                tell.print(say("demo.expired"), style="yellow", markup=False)

        async def login(accounts: Accounts) -> StoredAccount:
            return await log_in_on_page(server.info.api_url, accounts, tell)

        serving = asyncio.ensure_future(bot.serve(login=login))
        try:
            yield serving
        finally:
            bot.stop()
            await asyncio.wait({serving}, timeout=_LIMIT)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _until_stopped(serving: asyncio.Future[None]) -> None:
    """Wait for Ctrl-C or SIGTERM, or for the bot to fail."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stopped.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    serving.add_done_callback(lambda _: stopped.set())
    await stopped.wait()
    if serving.done():
        serving.result()
