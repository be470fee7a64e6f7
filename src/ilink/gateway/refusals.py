"""How the gateway says no to a bot: the protocol's numbers and words, in the slots the knobs choose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ilink.gateway.faults import Delivery
from ilink.gateway.knobs import Readings
from ilink.wire.models import Answer
from ilink.wire.results import PARAMETER_ERROR, STALE_TOKEN

__all__ = ["SESSION_TIMEOUT", "Reply", "refuse", "required", "stale", "window_words"]

SESSION_TIMEOUT: Final = "session timeout"
"""The words of -14 (observed: qwen-code#2908)."""


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer to a bot.

    Attributes:
        body: The JSON object.
        status: The HTTP status; anything but 200 only where a knob or HTTP itself asks for it.
        findings: What the protocol says should have been otherwise.
        why: Why it is a refusal, for people.
        on_sent: To be awaited once the answer was written to a caller who was still there.
        caller: The id of the bot that was refused, where a token that works no more told which.
        plain: A text that is answered in place of the body.
        delivery: The body's bytes as faults left them, and where the connection is reset.
    """

    body: Answer
    status: int = 200
    findings: tuple[str, ...] = ()
    why: str | None = None
    on_sent: Callable[[], Awaitable[None]] | None = None
    caller: str | None = None
    plain: str | None = None
    delivery: Delivery | None = None


def refuse(
    knobs: Readings, code: int, errmsg: str = "", *, findings: tuple[str, ...] = (), why: str | None = None
) -> Reply:
    """Refuse with a number and words; no words leave `errmsg` out."""
    slot = knobs.choice("errors.slot")
    answer = Answer(ret=0 if slot == "errcode" else code)
    if slot != "ret" or code == STALE_TOKEN:
        answer.errcode = code
    if errmsg:
        answer.errmsg = errmsg
    return Reply(body=answer, findings=findings, why=why)


def required(knobs: Readings, field: str) -> Reply:
    """Refuse because a field is missing, naming it (observed: cc-connect#1339)."""
    return refuse(knobs, PARAMETER_ERROR, f"{field} required")


def stale(knobs: Readings, *, why: str | None = None, findings: tuple[str, ...] = ()) -> Reply:
    """Refuse because the token does not work, or not any more."""
    return refuse(knobs, STALE_TOKEN, SESSION_TIMEOUT, findings=findings, why=why)


def window_words(knobs: Readings, words: str) -> str:
    """Return what stands in `errmsg` beside -2 for a closed window or a rate."""
    style = knobs.choice("errors.errmsg_style")
    return {"named": words, "empty": "", "unknown_error": "unknown error"}[style]
