"""The truth about every send: what happens to it, what the receipt says, what is stored, and what comes next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bot_house import FAST
from outbox_house import house, quiet_bot

from ilink import (
    Accepted,
    AcceptedUnconfirmed,
    Deferred,
    DeferredWhy,
    OnUnknown,
    OutcomeUnknownError,
    Policies,
    Rejected,
    RequestRejectedError,
    Unknown,
)
from ilink.messages.receipts import Receipt
from ilink.storage.journal import OutboxState

HASTY = replace(FAST, send_attempts=3)
ASK = replace(HASTY, on_unknown=OnUnknown.ASK)
DROP = replace(HASTY, on_unknown=OnUnknown.DROP)

W, A, N, R, U, Q = (
    OutboxState.WAITING,
    OutboxState.ACCEPTED,
    OutboxState.UNCONFIRMED,
    OutboxState.REJECTED,
    OutboxState.UNKNOWN,
    OutboxState.ASKED,
)
WINDOW, RATE, ACCOUNT, DECISION = DeferredWhy.WINDOW, DeferredWhy.RATE, DeferredWhy.ACCOUNT, DeferredWhy.DECISION

FINAL = [
    # one answer that says yes
    ({"delay_ms": 1}, HASTY, Accepted, A, None),
    ({"omit": ["message_id"]}, HASTY, AcceptedUnconfirmed, N, None),
    ({"drop_silently": True}, HASTY, AcceptedUnconfirmed, N, None),
    # one failure, and then it works: sent again as the same message
    ({"ret": -1, "times": 1}, HASTY, Accepted, A, None),
    ({"http_status": 500, "times": 1}, HASTY, Accepted, A, None),
    ({"http_status": 524, "times": 1}, HASTY, Accepted, A, None),
    ({"reset": "before", "times": 1}, HASTY, Accepted, A, None),
    ({"reset": "after_effect", "times": 1}, HASTY, Accepted, A, None),
    ({"reset": "after_headers", "times": 1}, HASTY, Accepted, A, None),
    ({"reset": "mid_body", "times": 1}, HASTY, Accepted, A, None),
    ({"truncate_json": True, "times": 1}, HASTY, Accepted, A, None),
    # the server says no to this message
    ({"ret": -3, "errmsg": "invalid arguments"}, HASTY, Rejected, R, RequestRejectedError),
    ({"ret": -2, "errmsg": "ilink_user_id required"}, HASTY, Rejected, R, RequestRejectedError),
    ({"http_status": 400}, HASTY, Rejected, R, RequestRejectedError),
    ({"http_status": 404}, HASTY, Rejected, R, RequestRejectedError),
    # it fails for good
    ({"ret": -1}, HASTY, Rejected, R, RequestRejectedError),
    ({"ret": 77}, HASTY, Rejected, R, RequestRejectedError),
    ({"http_status": 500}, HASTY, Rejected, R, RequestRejectedError),
    # nobody knows, tried again as often as may be
    ({"http_status": 502}, HASTY, Unknown, U, OutcomeUnknownError),
    ({"http_status": 504}, HASTY, Unknown, U, OutcomeUnknownError),
    ({"http_status": 524}, HASTY, Unknown, U, OutcomeUnknownError),
    ({"reset": "before"}, HASTY, Unknown, U, OutcomeUnknownError),
    ({"reset": "after_headers"}, HASTY, Unknown, U, OutcomeUnknownError),
    ({"truncate_json": True}, HASTY, Unknown, U, OutcomeUnknownError),
    # nobody knows, and it is not to be tried again
    ({"http_status": 502, "times": 1}, DROP, Unknown, U, OutcomeUnknownError),
    ({"reset": "before", "times": 1}, DROP, Unknown, U, OutcomeUnknownError),
    ({"reset": "after_effect", "times": 1}, DROP, Unknown, U, OutcomeUnknownError),
    ({"truncate_json": True, "times": 1}, DROP, Unknown, U, OutcomeUnknownError),
    ({"http_status": 500, "times": 1}, DROP, Accepted, A, None),
]

WAITING = [
    ({"ret": -2, "errmsg": "prepare failed"}, HASTY, WINDOW, W),
    ({"ret": -2, "errmsg": "unknown error"}, HASTY, WINDOW, W),
    ({"ret": -2}, HASTY, WINDOW, W),
    ({"ret": -4, "errmsg": "GetTypingTicket rpc failed"}, HASTY, WINDOW, W),
    ({"ret": -2, "errmsg": "freq limit"}, HASTY, RATE, W),
    ({"ret": -2, "errmsg": "rate limited"}, HASTY, RATE, W),
    ({"ret": -12}, HASTY, RATE, W),
    ({"http_status": 429}, HASTY, RATE, W),
    ({"ret": -14, "errmsg": "session timeout"}, HASTY, ACCOUNT, W),
    ({"errcode": -14}, HASTY, ACCOUNT, W),
    ({"http_status": 401}, HASTY, ACCOUNT, W),
    ({"reset": "before"}, ASK, DECISION, Q),
    ({"reset": "after_effect"}, ASK, DECISION, Q),
    ({"http_status": 524}, ASK, DECISION, Q),
    ({"truncate_json": True}, ASK, DECISION, Q),
]


def named(value: object) -> str:
    match value:
        case dict():
            return ",".join(f"{name}={one}" for name, one in value.items())
        case Policies():
            return value.on_unknown
        case type():
            return value.__name__
        case _:
            return str(value)


@pytest.mark.parametrize(("fault", "policies", "kind", "state", "error"), FINAL, ids=named)
async def test_a_last_word_is_true(
    tmp_path: Path,
    fault: dict[str, object],
    policies: Policies,
    kind: type[Receipt],
    state: OutboxState,
    error: type[Exception] | None,
) -> None:
    async with house(tmp_path) as home, quiet_bot(home, policies) as bot:
        home.gateway.fault("sendmessage", **fault)  # type: ignore[arg-type]
        receipt = await bot.send(home.alice.user_id, "hello", wait=20)
        assert isinstance(receipt, kind), receipt
        assert receipt.is_final
        await home.until_state(receipt.client_id, state)
        if error is None:
            assert receipt.raise_for_status() is receipt
        else:
            with pytest.raises(error):
                receipt.raise_for_status()
        shown = await home.shown()
        if isinstance(receipt, Accepted):
            assert shown == ["hello"]
        # Whatever became of it, the conversation goes on.
        for view in home.gateway.rules.faults.views():
            home.gateway.rules.faults.remove(view.id)
        assert isinstance(await bot.send(home.alice.user_id, "next", wait=20), Accepted)


@pytest.mark.parametrize(("fault", "policies", "why", "state"), WAITING, ids=named)
async def test_what_waits_says_for_what_and_is_sent_when_that_comes(
    tmp_path: Path, fault: dict[str, object], policies: Policies, why: DeferredWhy, state: OutboxState
) -> None:
    async with house(tmp_path) as home, quiet_bot(home, policies) as bot:
        struck = home.gateway.fault("sendmessage", **fault)  # type: ignore[arg-type]
        sent = await bot.send(home.alice.user_id, "hello")

        async def waits() -> bool:
            known = await bot.outbox.receipt(sent.client_id)
            return isinstance(known, Deferred) and known.why is why

        await home.until(waits)
        receipt = await bot.outbox.receipt(sent.client_id)
        assert isinstance(receipt, Deferred)
        assert receipt.raise_for_status() is receipt
        assert (receipt.until is not None) == (why is RATE)
        await home.until_state(sent.client_id, state)
        assert struck.hits == 1, "a refusal is not repeated"
        struck.remove()
        if why is RATE:
            home.clock.ahead_ms += 31_000
        elif why is DECISION:
            await bot.outbox.retry(sent.client_id)
        else:
            await home.alice.says("are you there?")
        assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)
        assert await home.shown() == ["hello"]


async def test_what_may_have_arrived_is_never_called_rejected(tmp_path: Path) -> None:
    async with house(tmp_path) as home, quiet_bot(home, HASTY) as bot:
        home.gateway.fault("sendmessage", reset="after_effect", times=1)
        home.gateway.fault("sendmessage", ret=-3, errmsg="invalid arguments", nth=2, times=1)
        receipt = await bot.send(home.alice.user_id, "hello", wait=20)
        assert isinstance(receipt, Unknown), receipt
        assert "-3" in receipt.reason
        assert await home.shown() == ["hello"]


async def test_what_may_have_arrived_is_never_called_expired(tmp_path: Path) -> None:
    async with house(tmp_path) as home, quiet_bot(home, HASTY) as bot:
        home.gateway.fault("sendmessage", reset="after_effect", times=1)
        home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", nth=2)
        sent = await bot.send(home.alice.user_id, "hello")

        async def is_doubtful() -> bool:
            row = await home.row(sent.client_id)
            return row.is_doubtful and row.code == -2

        await home.until(is_doubtful)
        home.clock.ahead_ms += 25 * 3_600_000
        receipt = await bot.outbox.receipt(sent.client_id, wait=20)
        assert isinstance(receipt, Unknown), receipt


async def test_a_message_nobody_knows_of_has_no_receipt(tmp_path: Path) -> None:
    async with house(tmp_path) as home, quiet_bot(home) as bot:
        assert await bot.outbox.receipt("ilink-nothing", wait=0.1) is None
