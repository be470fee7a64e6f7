"""The bot's process of `ilink dev`: it runs the bot on the gateway beside it, and tells the page what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.request import ProxyHandler, Request, build_opener

import msgspec

from ilink.bot import Bot
from ilink.cli.output import errors
from ilink.cli.page_login import log_in_on_page
from ilink.cli.run import find_bot
from ilink.cli.words import say
from ilink.errors import ConfigError, IlinkError
from ilink.storage.accounts import Accounts, StoredAccount

__all__ = ["main"]

_OURS: Final = str(Path(__file__).parents[1])
_MOST: Final = 4_000
"""Characters of a traceback that go to the page; its end tells most."""


def main(place: str, api_url: str, control_url: str, data: str) -> int:
    """Run the bot until standard input ends; return 1 when it could not be run."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)-7s %(name)s: %(message)s", stream=sys.stderr)
    page = _Page(control_url)
    logging.getLogger().addHandler(_Failures(page))
    try:
        bot = find_bot(place)
        asyncio.run(_serve(bot, api_url, Path(data)))
    except IlinkError as error:
        _explain(error, page)
        return 1
    return 0


async def _serve(bot: Bot, api_url: str, data: Path) -> None:
    async def login(accounts: Accounts) -> StoredAccount:
        return await log_in_on_page(api_url, accounts, errors())

    with bot.relocated(base_url=api_url, data=data):
        loop = asyncio.get_running_loop()
        threading.Thread(target=_await_end, args=(loop, bot), daemon=True).start()
        errors().print(say("dev.running"), style="green", markup=False)
        await bot.serve(login=login)


def _await_end(loop: asyncio.AbstractEventLoop, bot: Bot) -> None:
    """Stop the bot when whoever runs `ilink dev` stops it, or is gone."""
    sys.stdin.buffer.read()
    with suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(bot.stop)


def _explain(error: IlinkError, page: _Page) -> None:
    """Show what is wrong with the file, and where in it."""
    cause = error.__cause__ if isinstance(error, ConfigError) else None
    where = "" if cause is None else _own_traceback(cause)
    errors().print(where, style="dim", markup=False)
    errors().print(f"{say('error')} {error}", style="bold red", markup=False)
    errors().print(say("dev.waiting"), style="cyan", markup=False)
    page.show(str(error), where)


def _own_traceback(error: BaseException) -> str:
    """Return a traceback from the bot's file on: what led there says nothing to its author."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def _is_ours(name: str) -> bool:
    return name.startswith((_OURS, "<frozen"))


class _Page:
    """The page beside, as far as it is told something."""

    def __init__(self, control_url: str) -> None:
        self._url = f"{control_url}/_sim/notice"
        self._opener = build_opener(ProxyHandler({}))

    def show(self, text: str, more: str) -> None:
        """Show a failure; a page that cannot be told is no reason to fail."""
        body = msgspec.json.encode({"text": text[:1000], "hint": more[-_MOST:]})
        request = Request(self._url, body, {"content-type": "application/json"})  # noqa: S310  # our own gateway
        with suppress(OSError), self._opener.open(request, timeout=5):
            pass


class _Failures(logging.Handler):
    """Tells the page of what is logged with a traceback."""

    def __init__(self, page: _Page) -> None:
        super().__init__(logging.WARNING)
        self._page = page

    def emit(self, record: logging.LogRecord) -> None:
        """Tell the page, in a thread, because the event loop must not wait for it."""
        if record.exc_info and (error := record.exc_info[1]) is not None:
            show = threading.Thread(target=self._page.show, args=(record.getMessage(), _own_traceback(error)))
            show.daemon = True
            show.start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
