"""The QR login as a state machine: values in, values out (protocol §3.1).

A driver holds one `LoginState`. It does what `state.step` says and hands the outcome to the method of the same meaning,
which returns the next state. Times are seconds of one clock that never runs backwards, passed as arguments.

Three deviations from the official client are deliberate (protocol §7.1): an unknown status counts as *wait*, and a new
code forgets both the redirected host and a verify code that was typed for the old one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from ilink.wire.accounts import Account
from ilink.wire.enums import LoginStatus
from ilink.wire.ids import AccountId, Secret, UserId

__all__ = [
    "LOGIN_SECONDS",
    "MAX_CODES",
    "AlreadyBound",
    "AskVerifyCode",
    "FetchCode",
    "GaveUp",
    "GiveUpReason",
    "LoginCode",
    "LoginReport",
    "LoginState",
    "LoginStep",
    "PollStatus",
    "SignedIn",
]

MAX_CODES: Final = 3
"""How many codes one login shows at most (official 2.4.9)."""

LOGIN_SECONDS: Final = 480.0
"""How long a login takes at most (official 2.4.9)."""

POLL_PAUSE: Final = 1.0
"""Seconds between two questions for the status (official 2.4.9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCode:
    """A code that waits to be scanned; keep it to resume the login after a restart.

    Attributes:
        qrcode: The server's name of the code, by which its status is asked.
        link: The text to show as a QR image; it is opened by WeChat, not by a browser.
        number: Which of the login's codes this is, from 1.
        host: Where to ask for the status after a redirect; None for where the code came from.
    """

    qrcode: str = field(repr=False)
    link: str = field(repr=False)
    number: int = 1
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginReport:
    """One answer about a code's status. An empty text counts as absent.

    Attributes:
        status: One of `LoginStatus`, or a word nobody has documented.
        token: With `confirmed`: the account's token.
        account_id: With `confirmed`: the bot's id.
        owner_id: With `confirmed`: who scanned.
        base_url: With `confirmed`: where the account is served.
        host: With `scaned_but_redirect`: where to ask from now on, a host or a whole URL (peer: nanobot).
    """

    status: str
    token: str | None = field(default=None, repr=False)
    account_id: str | None = None
    owner_id: str | None = None
    base_url: str | None = None
    host: str | None = None


class GiveUpReason(StrEnum):
    """Why a login ended without an account."""

    CODES = "codes"
    TIME = "time"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class FetchCode:
    """Fetch a new code, then call `fetched`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollStatus:
    """Wait `pause` seconds, ask for the status, then call `reported`.

    A question that fails in whatever way is a report of `wait`.
    """

    pause: float = POLL_PAUSE
    verify_code: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskVerifyCode:
    """Ask the person for the digits on the phone, then call `typed`.

    Attributes:
        was_wrong: Whether the server did not accept the last ones.
    """

    was_wrong: bool = False


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The end: the login worked."""

    account: Account


@dataclass(frozen=True, slots=True)
class AlreadyBound:
    """The end: the bot is bound to this installation already, by one of the tokens sent along; there is no new one."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The end: no account. `missing` names what a confirmed answer lacked."""

    reason: GiveUpReason
    missing: str = ""


LoginStep = FetchCode | PollStatus | AskVerifyCode | SignedIn | AlreadyBound | GaveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginState:
    """A login under way.

    Attributes:
        deadline: When it ends, whatever happens.
        step: What the driver does next.
        codes: How many codes were fetched.
        code: The code that waits, if one does.
        verify_code: What the person typed and the server has not accepted yet; it goes with every question.
    """

    deadline: float
    step: LoginStep = field(default_factory=FetchCode)
    codes: int = 0
    code: LoginCode | None = None
    verify_code: Secret | None = None

    @classmethod
    def start(cls, now: float, *, seconds: float = LOGIN_SECONDS, resume: LoginCode | None = None) -> LoginState:
        """Begin a login, or go on with a code that was fetched before a restart."""
        if resume is None:
            return cls(deadline=now + seconds)
        return cls(deadline=now + seconds, codes=resume.number, code=resume, step=PollStatus(pause=0.0))

    def fetched(self, qrcode: str, link: str, *, now: float) -> LoginState:
        """Take a new code; nothing of the one before is kept."""
        number = self.codes + 1
        code = LoginCode(qrcode=qrcode, link=link, number=number)
        return _in_time(replace(self, codes=number, code=code, verify_code=None, step=PollStatus()), now)

    def typed(self, digits: str, *, now: float) -> LoginState:
        """Take what the person typed. It is sent at once; nothing typed leaves the question to the next answer."""
        verify_code = Secret(digits.strip()) if digits.strip() else None
        pause = POLL_PAUSE if verify_code is None else 0.0
        step = PollStatus(pause=pause, verify_code=verify_code)
        return _in_time(replace(self, verify_code=verify_code, step=step), now)

    def reported(self, report: LoginReport, *, now: float, base_url: str) -> LoginState:
        """Take an answer about the status.

        Args:
            report: The answer.
            now: The clock's time.
            base_url: Where the question was asked: an account whose answer names no address is served there.
        """
        match report.status:
            case LoginStatus.CONFIRMED:
                return replace(self, step=_confirmed(report, base_url))
            case LoginStatus.BOUND_REDIRECT:
                return replace(self, step=AlreadyBound())
            case LoginStatus.EXPIRED | LoginStatus.VERIFY_CODE_BLOCKED:
                return _in_time(_refreshed(self), now)
            case LoginStatus.NEED_VERIFY_CODE:
                step = AskVerifyCode(was_wrong=self.verify_code is not None)
                return _in_time(replace(self, verify_code=None, step=step), now)
            case LoginStatus.SCANNED:
                return _in_time(_polling(replace(self, verify_code=None)), now)
            case LoginStatus.SCANNED_BUT_REDIRECT:
                return _in_time(_polling(_redirected(self, report.host)), now)
            case _:
                return _in_time(_polling(self), now)


def _in_time(state: LoginState, now: float) -> LoginState:
    return state if now < state.deadline else replace(state, step=GaveUp(GiveUpReason.TIME))


def _polling(state: LoginState) -> LoginState:
    return replace(state, step=PollStatus(verify_code=state.verify_code))


def _redirected(state: LoginState, host: str | None) -> LoginState:
    """Ask elsewhere from now on; a redirect that names no host changes nothing (official 2.4.9)."""
    if not host or state.code is None:
        return state
    return replace(state, code=replace(state.code, host=host))


def _refreshed(state: LoginState) -> LoginState:
    step = GaveUp(GiveUpReason.CODES) if state.codes >= MAX_CODES else FetchCode()
    return replace(state, code=None, step=step)


def _confirmed(report: LoginReport, base_url: str) -> SignedIn | GaveUp:
    """Read the credentials; the official client fails without a bot id, and without a token nothing works."""
    if not report.account_id:
        return GaveUp(GiveUpReason.INCOMPLETE, "ilink_bot_id")
    if not report.token:
        return GaveUp(GiveUpReason.INCOMPLETE, "bot_token")
    account = Account(
        account_id=AccountId(report.account_id),
        token=Secret(report.token),
        base_url=report.base_url or base_url,
        owner_id=UserId(report.owner_id) if report.owner_id else None,
    )
    return SignedIn(account)
