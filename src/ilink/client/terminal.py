"""Signing in at a terminal: the code as a picture of characters, and a prompt for the digits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final, TextIO

from ilink.client.client import Client
from ilink.client.login import log_in
from ilink.client.qr import choose_style, qr_png, qr_text
from ilink.client.words import Words
from ilink.errors import LoginCancelledError
from ilink.flows.login import AlreadyBound, LoginCode
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.storage.private import replace_private_file
from ilink.wire.enums import LoginStatus

__all__ = ["TerminalPrompt", "sign_in_at_terminal"]

_say: Final = Words("ilink.client")


async def sign_in_at_terminal(
    accounts: Accounts, *, base_url: str | None = None, is_forced: bool = True, image: Path | None = None
) -> StoredAccount | AlreadyBound:
    """Sign in with a QR code on standard error, and store the account once it is confirmed.

    Args:
        accounts: Where the account is stored.
        base_url: Where to sign in; else `ILINK_BASE_URL`, else Tencent's server.
        is_forced: Get new credentials even if this machine holds good ones for whoever scans.
        image: A file to write the code to as a PNG too; readable by nobody else.

    Raises:
        LoginError: Nobody confirmed a code, or standard input ended when digits were asked for.
        TransportError, ApiError, RemoteProtocolError: The server gave no code.
        StoreError: The account could not be stored; the older credentials are still there.

    Cancellation: ends the login; nothing is stored.
    """
    known = () if is_forced else await accounts.known_tokens()
    prompt = TerminalPrompt(image=image)
    async with Client(base_url=base_url) as client:
        signed_in = await log_in(client, prompt, known_tokens=known)
    return signed_in if isinstance(signed_in, AlreadyBound) else await accounts.put(signed_in)


class TerminalPrompt:
    """Shows a login on standard error and reads digits from standard input; a `LoginPrompt`.

    Args:
        image: A file to write each code to as a PNG too.
        output: Where to show it.
    """

    def __init__(self, *, image: Path | None = None, output: TextIO | None = None) -> None:
        self._image = image
        self._output = output or sys.stderr

    async def show_code(self, code: LoginCode) -> None:
        """Draw the code, its link below, and write the picture."""
        style = choose_style(self._output.encoding, has_colours=_has_colours(self._output))
        if code.number > 1:
            self._write(_say("new_code"))
        self._write(_say("scan"), "", qr_text(code.link, style=style), code.link)
        if self._image is not None:
            replace_private_file(self._image, qr_png(code.link))
            self._write(_say("image", path=self._image))

    async def show_status(self, status: str, code: LoginCode) -> None:
        """Say what the person has to do next."""
        if status == LoginStatus.SCANNED:
            self._write(_say("scanned"))
        elif status == LoginStatus.SCANNED_BUT_REDIRECT and code.host is not None:
            self._write(_say("redirected", host=code.host))

    async def ask_verify_code(self, *, was_wrong: bool) -> str:
        """Ask for the digits that the phone shows.

        Raises:
            LoginCancelledError: Standard input has ended, so nobody can answer.
        """
        self._output.write(_say("wrong_digits" if was_wrong else "digits"))
        self._output.flush()
        line = await _read_line()
        if not line:
            message = "the phone asks for a verify code, and standard input has ended; sign in at a terminal"
            raise LoginCancelledError(message)
        return line.strip()

    def _write(self, *lines: str) -> None:
        self._output.write("\n".join(lines) + "\n")
        self._output.flush()


def _has_colours(output: TextIO) -> bool:
    return output.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


async def _read_line() -> str:
    """Read a line without leaving a thread behind when the wait is cancelled; empty at the end of the input."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(sys.stdin, readable.set)
    except (NotImplementedError, OSError):  # Windows; and a file, which never makes anybody wait
        return await asyncio.to_thread(sys.stdin.readline)
    with contextlib.ExitStack() as exits:
        exits.callback(loop.remove_reader, sys.stdin)
        await readable.wait()
    return sys.stdin.readline()
