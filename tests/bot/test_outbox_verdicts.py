"""What every failed attempt to send means, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ilink import (
    ApiError,
    ConfigError,
    ConnectError,
    IntegrityError,
    OnUnknown,
    OutcomeUnknownError,
    Policies,
    RateLimitedError,
    RequestRejectedError,
    ServerError,
    StaleTokenError,
    WindowClosedError,
)
from ilink.bot.outbox.verdicts import judge_send, judge_upload
from ilink.errors import IlinkError, RemoteProtocolError
from ilink.messages.receipts import DeferredWhy
from ilink.storage.journal import OutboxState, WindowEvent

ASK = Policies(on_unknown=OnUnknown.ASK)
DROP = Policies(on_unknown=OnUnknown.DROP)
RETRY = Policies(on_unknown=OnUnknown.RETRY, send_attempts=3)

CLOSED = WindowClosedError("-2", endpoint="sendmessage", ret=-2)
LIMITED = RateLimitedError("-2", endpoint="sendmessage", ret=-2)
STALE = StaleTokenError("-14", endpoint="sendmessage", ret=-14)
WRONG = RequestRejectedError("-3", endpoint="sendmessage", ret=-3)
LOST = OutcomeUnknownError("no answer")
ODD = RemoteProtocolError("no JSON")
AWAY = ConnectError("refused")
STRANGE = ApiError("77", endpoint="sendmessage", ret=77)

W, A, R, U = OutboxState.WAITING, OutboxState.ASKED, OutboxState.REJECTED, OutboxState.UNKNOWN


def http(status: int) -> ServerError:
    return ServerError(str(status), endpoint="sendmessage", http_status=status)


@pytest.mark.parametrize(
    ("error", "policies", "failures", "state", "waits_for", "is_doubtful"),
    [
        (CLOSED, RETRY, 0, W, DeferredWhy.WINDOW, False),
        (CLOSED, RETRY, 99, W, DeferredWhy.WINDOW, False),
        (LIMITED, RETRY, 99, W, None, False),
        (STALE, RETRY, 99, W, DeferredWhy.ACCOUNT, False),
        (WRONG, RETRY, 0, R, None, False),
        (AWAY, RETRY, 99, W, DeferredWhy.CONNECTION, False),
        (LOST, RETRY, 0, W, DeferredWhy.CONNECTION, True),
        (LOST, RETRY, 2, U, None, True),
        (LOST, DROP, 0, U, None, True),
        (LOST, ASK, 0, A, DeferredWhy.DECISION, True),
        (ODD, RETRY, 0, W, DeferredWhy.CONNECTION, True),
        (ODD, DROP, 0, U, None, True),
        (ODD, ASK, 0, A, DeferredWhy.DECISION, True),
        *((http(status), RETRY, 0, W, DeferredWhy.CONNECTION, True) for status in (502, 504, 524)),
        *((http(status), DROP, 0, U, None, True) for status in (502, 504, 524)),
        *((http(status), ASK, 0, A, DeferredWhy.DECISION, True) for status in (502, 504, 524)),
        *((http(status), DROP, 0, W, DeferredWhy.CONNECTION, False) for status in (500, 503, 200)),
        *((http(status), RETRY, 2, R, None, False) for status in (500, 200)),
        (http(503), RETRY, 99, W, DeferredWhy.CONNECTION, False),
        (STRANGE, RETRY, 0, W, DeferredWhy.CONNECTION, False),
        (STRANGE, RETRY, 2, R, None, False),
    ],
)
def test_an_attempt_that_fails_means(
    error: IlinkError,
    policies: Policies,
    failures: int,
    state: OutboxState,
    waits_for: DeferredWhy | None,
    is_doubtful: bool,
) -> None:
    verdict = judge_send(error, failures=failures, policies=policies)
    assert (verdict.state, verdict.waits_for, verdict.is_doubtful) == (state, waits_for, is_doubtful)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (CLOSED, WindowEvent.REFUSED),
        (LIMITED, WindowEvent.LIMITED),
        (STALE, WindowEvent.NOTHING),
        (WRONG, 0),
        (LOST, 0),
    ],
)
def test_only_refusals_that_are_about_the_window_teach_about_it(error: IlinkError, event: WindowEvent) -> None:
    assert judge_send(error, failures=0, policies=RETRY).event == event
    assert judge_upload(error, failures=0, policies=RETRY).event == event


@pytest.mark.parametrize("policies", [ASK, DROP, RETRY])
@pytest.mark.parametrize("error", [LOST, ODD, http(502), http(503), http(500), AWAY])
def test_an_upload_that_fails_is_repeated_whatever_the_policy_because_nothing_was_sent(
    error: IlinkError, policies: Policies
) -> None:
    verdict = judge_upload(error, failures=0, policies=policies)
    assert (verdict.state, verdict.is_doubtful) == (OutboxState.WAITING, False)
    last = judge_upload(error, failures=policies.send_attempts - 1, policies=policies)
    may_end = error is not AWAY and getattr(error, "http_status", None) != 503
    assert last.state is (OutboxState.REJECTED if may_end else OutboxState.WAITING)


@pytest.mark.parametrize("error", [WRONG, IntegrityError("damaged"), ConfigError("no host")])
def test_an_upload_that_can_never_work_ends_the_message(error: IlinkError) -> None:
    assert judge_upload(error, failures=0, policies=RETRY).state is OutboxState.REJECTED


def test_a_failure_makes_the_next_pause_longer_and_a_refusal_does_not() -> None:
    many = replace(RETRY, send_attempts=9)
    assert judge_send(AWAY, failures=0, policies=many).is_failure
    assert judge_send(LOST, failures=0, policies=many).is_failure
    assert not judge_send(CLOSED, failures=0, policies=many).is_failure
    assert not judge_send(LIMITED, failures=0, policies=many).is_failure
