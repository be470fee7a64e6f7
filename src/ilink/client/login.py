"""Signing in: shows codes, asks for digits, and returns the account."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from ilink.client.client import Client
from ilink.client.clock import Clock, SystemClock
from ilink.client.settings import refused_host
from ilink.errors import (
    ApiError,
    IlinkError,
    LoginError,
    ProtocolError,
    QrCodeExpiredError,
    TransportError,
)
from ilink.flows.login import (
    LOGIN_SECONDS,
    MAX_CODES,
    AlreadyBound,
    AskVerifyCode,
    FetchCode,
    GaveUp,
    GiveUpReason,
    LoginCode,
    LoginReport,
    LoginState,
    PollStatus,
    SignedIn,
)
from ilink.wire.accounts import Account
from ilink.wire.endpoints import GET_QRCODE_STATUS
from ilink.wire.enums import LoginStatus
from ilink.wire.ids import Secret

__all__ = ["LoginPrompt", "log_in"]

_log = logging.getLogger(__name__)


class LoginPrompt(Protocol):
    """What a login shows and asks: a terminal, a page, a chat.

    Each of these may raise, `LoginCancelledError` say; that ends the login and comes out of `log_in`.
    """

    async def show_code(self, code: LoginCode) -> None:
        """Show a code to be scanned, in place of the one before; whoever keeps it can resume the login with it."""
        ...

    async def show_status(self, status: str, code: LoginCode) -> None:
        """Say what became of the code; called when its status changes. A redirect changes the code's host."""
        ...

    async def ask_verify_code(self, *, was_wrong: bool) -> str:
        """Ask for the digits the phone shows; an empty text asks the server again first."""
        ...


async def log_in(
    client: Client,
    prompt: LoginPrompt,
    *,
    known_tokens: Sequence[Secret] = (),
    resume: LoginCode | None = None,
    timeout: float = LOGIN_SECONDS,
    clock: Clock | None = None,
) -> Account | AlreadyBound:
    """Sign in by QR code: three codes at most, all eight statuses, anything unknown is waited out.

    Nothing is stored; hand the account to `Accounts.put`, which replaces older credentials only now.

    Args:
        client: An open client; it needs no account.
        prompt: Shows and asks.
        known_tokens: Tokens stored on this machine, newest first, so that the server can say that the bot is bound here
            already. Send none to force new credentials (observed: nanobot#5310).
        resume: The code of a login that was cut off, to go on waiting for it.
        timeout: Seconds for everything; 480 in the official client.
        clock: Source of time.

    Returns:
        The account, or `AlreadyBound` when one of the known tokens is this bot's and goes on working.

    Raises:
        QrCodeExpiredError: Nobody confirmed any of the codes, or the time is over.
        LoginError: The server sent this program to a host that is not allowed, confirmed without credentials, or could
            not be asked until the time was over.
        LoginCancelledError: The prompt gave up.
        TransportError, ApiError, RemoteProtocolError: No code could be fetched.

    Cancellation: ends the login at once; nothing is left running, and a code shown stays valid at the server.
    Source: protocol §3.1 (official 2.4.9), with the deviations of `ilink.flows.login`.
    """
    driver = _Driver(client, prompt, clock or SystemClock())
    state = LoginState.start(driver.clock.monotonic(), seconds=timeout, resume=resume)
    if resume is not None:
        await prompt.show_code(resume)
    while True:
        match state.step:
            case FetchCode():
                state = await driver.fetch(state, known_tokens)
            case PollStatus() as step:
                state = await driver.poll(state, step)
            case AskVerifyCode() as step:
                state = await driver.ask(state, step)
            case SignedIn(account):
                return driver.checked(account)
            case AlreadyBound() as bound:
                return bound
            case GaveUp() as end:
                raise driver.explain(end, state)


class _Driver:
    """Does what the flow says, and remembers what only concerns the person: the last status, the last failure."""

    def __init__(self, client: Client, prompt: LoginPrompt, clock: Clock) -> None:
        self._client = client
        self._prompt = prompt
        self.clock = clock
        self._shown: str | None = None
        self._failure: IlinkError | None = None

    async def fetch(self, state: LoginState, known_tokens: Sequence[Secret]) -> LoginState:
        fresh = await self._client.get_qr_code(known_tokens)
        state = state.fetched(fresh.qrcode, fresh.link, now=self.clock.monotonic())
        self._shown = None
        if state.code is not None:
            await self._prompt.show_code(state.code)
        return state

    async def poll(self, state: LoginState, step: PollStatus) -> LoginState:
        await self.clock.sleep(step.pause)
        code = state.code
        assert code is not None  # the flow asks about a code it has
        base_url = self._client.login_base_url(code.host)
        report = await self._ask_status(code, step, left=state.deadline - self.clock.monotonic())
        state = state.reported(report, now=self.clock.monotonic(), base_url=base_url)
        if report.status != self._shown:
            self._shown = report.status
            await self._prompt.show_status(report.status, state.code or code)
        return state

    async def _ask_status(self, code: LoginCode, step: PollStatus, *, left: float) -> LoginReport:
        """Ask for the status; a question that fails counts as `wait` (official 2.4.9), and is remembered."""
        try:
            report = await self._client.get_login_status(
                code.qrcode,
                verify_code=step.verify_code,
                host=code.host,
                timeout=min(GET_QRCODE_STATUS.timeout, max(left, 1.0)),
            )
        except (TransportError, ApiError, ProtocolError) as error:
            _log.debug("the status of the code could not be asked: %s", error)
            self._failure = None if getattr(error, "timed_out", False) else error
            return LoginReport(status=LoginStatus.WAIT)
        self._failure = None
        return report

    async def ask(self, state: LoginState, step: AskVerifyCode) -> LoginState:
        """Ask for the digits, for as long as the login may take."""
        digits = ""
        left = state.deadline - self.clock.monotonic()
        try:
            async with asyncio.timeout(left):
                digits = await self._prompt.ask_verify_code(was_wrong=step.was_wrong)
        except TimeoutError:
            _log.debug("no verify code was typed in time")
        return state.typed(digits, now=self.clock.monotonic())

    def checked(self, account: Account) -> Account:
        """Return the account, unless it is said to be served where this program may not go."""
        if not self._client.hosts.allows(account.base_url):
            raise LoginError(refused_host(account.base_url, "the login's baseurl"))
        return account

    def explain(self, end: GaveUp, state: LoginState) -> LoginError:
        """Say why there is no account."""
        if end.reason is GiveUpReason.INCOMPLETE:
            return LoginError(f"the login was confirmed, but the answer has no {end.missing}; start a new login")
        if self._failure is not None:
            error: LoginError = QrCodeExpiredError(
                f"the login ended while the server could not be asked: {self._failure}"
            )
            error.__cause__ = self._failure
            return error
        if end.reason is GiveUpReason.CODES:
            return QrCodeExpiredError(f"{MAX_CODES} codes ran out before one was confirmed; start a new login")
        return QrCodeExpiredError(f"nobody confirmed the login in time, after {state.codes} codes; start a new login")
