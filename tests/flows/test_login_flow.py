"""The login as a table: from these answers follows this step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.flows.login import (
    LOGIN_SECONDS,
    AlreadyBound,
    AskVerifyCode,
    FetchCode,
    GaveUp,
    GiveUpReason,
    LoginCode,
    LoginReport,
    LoginState,
    LoginStep,
    PollStatus,
    SignedIn,
)
from ilink.wire.accounts import Account
from ilink.wire.enums import LoginStatus
from ilink.wire.ids import AccountId, Secret, UserId

BASE = "https://ilinkai.weixin.qq.com"
CONFIRMED = LoginReport(
    status="confirmed", token="a@im.bot:t", account_id="a@im.bot", owner_id="oW@im.wechat", base_url="https://x.example"
)


def waiting() -> LoginState:
    return LoginState.start(0.0).fetched("code-1", "https://link/1", now=0.0)


def told(state: LoginState, status: str, *, now: float = 1.0, host: str | None = None) -> LoginState:
    return state.reported(LoginReport(status=status, host=host), now=now, base_url=BASE)


def test_login_begins_with_a_code() -> None:
    assert LoginState.start(0.0).step == FetchCode()
    assert waiting().step == PollStatus(pause=1.0)
    assert waiting().code == LoginCode(qrcode="code-1", link="https://link/1", number=1)


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("wait", PollStatus(pause=1.0)),
        ("scaned", PollStatus(pause=1.0)),
        ("scaned_but_redirect", PollStatus(pause=1.0)),
        ("expired", FetchCode()),
        ("verify_code_blocked", FetchCode()),
        ("need_verifycode", AskVerifyCode(was_wrong=False)),
        ("binded_redirect", AlreadyBound()),
        ("confirmed", GaveUp(GiveUpReason.INCOMPLETE, "ilink_bot_id")),
        ("something_new", PollStatus(pause=1.0)),
        ("", PollStatus(pause=1.0)),
    ],
)
def test_each_status_leads_to_its_step(status: str, step: LoginStep) -> None:
    assert told(waiting(), status).step == step


def test_table_above_knows_every_status() -> None:
    table = test_each_status_leads_to_its_step.pytestmark[0].args[1]
    assert {status.value for status in LoginStatus} <= {row[0] for row in table}


def test_confirmed_gives_the_account_exactly_as_it_came() -> None:
    state = waiting().reported(CONFIRMED, now=1.0, base_url=BASE)
    account = Account(
        account_id=AccountId("a@im.bot"),
        token=Secret("a@im.bot:t"),
        base_url="https://x.example",
        owner_id=UserId("oW@im.wechat"),
    )
    assert state.step == SignedIn(account)


def test_account_without_an_address_is_served_where_the_question_was_asked() -> None:
    report = LoginReport(status="confirmed", token="t", account_id="a@im.bot")
    step = waiting().reported(report, now=1.0, base_url="https://elsewhere.weixin.qq.com").step
    assert isinstance(step, SignedIn)
    assert (step.account.base_url, step.account.owner_id) == ("https://elsewhere.weixin.qq.com", None)


def test_confirmed_without_a_token_is_no_login() -> None:
    report = LoginReport(status="confirmed", account_id="a@im.bot")
    assert waiting().reported(report, now=1.0, base_url=BASE).step == GaveUp(GiveUpReason.INCOMPLETE, "bot_token")


def test_typed_code_is_sent_at_once_and_until_it_is_accepted() -> None:
    asked = told(waiting(), "need_verifycode")
    typed = asked.typed(" 123456\n", now=2.0)
    assert typed.step == PollStatus(pause=0.0, verify_code=Secret("123456"))
    assert told(typed, "wait").step == PollStatus(pause=1.0, verify_code=Secret("123456"))
    assert told(typed, "scaned").step == PollStatus(pause=1.0, verify_code=None)


def test_wrong_code_is_asked_for_again_and_again() -> None:
    state = told(waiting(), "need_verifycode")
    for _ in range(5):
        state = told(state.typed("000000", now=2.0), "need_verifycode")
        assert state.step == AskVerifyCode(was_wrong=True)


def test_nothing_typed_is_not_sent_and_not_called_wrong() -> None:
    state = told(waiting(), "need_verifycode").typed("  ", now=2.0)
    assert state.step == PollStatus(pause=1.0, verify_code=None)
    assert told(state, "need_verifycode").step == AskVerifyCode(was_wrong=False)


def test_redirect_is_followed_for_the_same_code() -> None:
    state = told(waiting(), "scaned_but_redirect", host="idc7.weixin.qq.com")
    assert state.code == LoginCode(qrcode="code-1", link="https://link/1", number=1, host="idc7.weixin.qq.com")
    assert told(state, "scaned").code == state.code


def test_redirect_without_a_host_changes_nothing() -> None:
    assert told(waiting(), "scaned_but_redirect").code == waiting().code


def test_new_code_forgets_redirect_and_verify_code() -> None:
    state = told(waiting(), "scaned_but_redirect", host="idc7.weixin.qq.com")
    state = told(state, "need_verifycode").typed("123456", now=2.0)
    state = told(state, "expired").fetched("code-2", "https://link/2", now=3.0)
    assert state.code == LoginCode(qrcode="code-2", link="https://link/2", number=2, host=None)
    assert state.step == PollStatus(pause=1.0, verify_code=None)
    assert told(state, "need_verifycode").step == AskVerifyCode(was_wrong=False)


@pytest.mark.parametrize("status", ["expired", "verify_code_blocked"])
def test_third_code_is_the_last(status: str) -> None:
    state = waiting()
    for number in (2, 3):
        state = told(state, status)
        assert state.step == FetchCode()
        state = state.fetched(f"code-{number}", "https://link", now=1.0)
    assert told(state, status).step == GaveUp(GiveUpReason.CODES)


def test_time_over_ends_the_login_in_every_state() -> None:
    over = LOGIN_SECONDS
    end = GaveUp(GiveUpReason.TIME)
    asked = told(waiting(), "need_verifycode")
    assert asked.typed("1", now=over).step == end
    assert LoginState.start(0.0).fetched("c", "l", now=over).step == end
    for status in ("wait", "scaned", "expired", "need_verifycode", "scaned_but_redirect", "unknown"):
        assert told(waiting(), status, now=over).step == end
        assert told(waiting(), status, now=over - 0.001).step != end


def test_confirmation_in_the_last_moment_counts() -> None:
    assert isinstance(waiting().reported(CONFIRMED, now=LOGIN_SECONDS + 9, base_url=BASE).step, SignedIn)


def test_resumed_login_asks_at_once_and_counts_its_code() -> None:
    code = LoginCode(qrcode="kept", link="https://link", number=3, host="idc7.weixin.qq.com")
    state = LoginState.start(50.0, resume=code)
    assert (state.step, state.code) == (PollStatus(pause=0.0), code)
    assert told(state, "expired").step == GaveUp(GiveUpReason.CODES)


def test_secrets_are_not_shown() -> None:
    state = told(waiting(), "need_verifycode").typed("424242", now=1.0)
    shown = repr((state, CONFIRMED, waiting()))
    assert not any(secret in shown for secret in ("424242", "a@im.bot:t", "code-1", "https://link/1"))


@given(st.lists(st.sampled_from([*LoginStatus, "unknown"]), max_size=60), st.integers(1, 3))
def test_no_sequence_of_answers_takes_more_than_three_codes(statuses: list[str], first: int) -> None:
    state = LoginState.start(0.0, resume=LoginCode(qrcode="c", link="l", number=first))
    fetched = first
    for status in statuses:
        if isinstance(state.step, AskVerifyCode):
            state = state.typed("1", now=1.0)
        if isinstance(state.step, SignedIn | AlreadyBound | GaveUp):
            break
        state = told(state, status, host="h.weixin.qq.com")
        if isinstance(state.step, FetchCode):
            fetched += 1
            state = state.fetched(f"code-{fetched}", "l", now=1.0)
    assert fetched <= 3
    assert isinstance(state.step, SignedIn | AlreadyBound | GaveUp) or state.code is not None
