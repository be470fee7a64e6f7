"""Traces from a person's message to the accepted answers, for OpenTelemetry."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    set_span_in_context,
)

from ilink.bot.turn import run_id_of
from ilink.storage.journal import Letter, OutboxState, Outcome, Outgoing
from ilink.wire.ids import AccountId

__all__ = ["Traces"]

_FAILED: Final = frozenset({OutboxState.REJECTED, OutboxState.UNKNOWN, OutboxState.EXPIRED})
_MILLION: Final = 1_000_000
"""Nanoseconds in a millisecond."""


class Traces:
    """Makes spans of what a bot does; give it to `Bot.observe`.

    One trace a message: how long it waited, each run of its handler, each attempt to send each of its answers. The id
    of the trace follows from the message, as the run id on the wire does. So a trace goes on after a crash, in another
    process, and nothing has to be stored for it. Spans that a handler makes itself are inside that of its run.

    The trace begins with the message, which no span of ours holds: its parent is known by its id only. Sample with
    `TraceIdRatioBased`, which needs nothing but that id.

    Args:
        provider: What makes tracers; the one that is set for the whole program by default.
        now_ns: The time of day in nanoseconds.
    """

    def __init__(self, provider: TracerProvider | None = None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._tracer: Tracer = trace.get_tracer("ilink", tracer_provider=provider)
        self._now_ns = now_ns

    def polled(self, account: AccountId, *, updates: int) -> None:
        """No span: most polls bring nothing."""

    def handling(self, account: AccountId, letter: Letter) -> AbstractContextManager[object]:
        """Make a span of a run, and on the first one a span of the time before it."""
        return self._run(account, letter)

    def sent(self, account: AccountId, message: Outgoing, outcome: Outcome) -> None:
        """Make a span of an attempt, from when the message was stored."""
        draft = message.draft
        span = self._tracer.start_span(
            "ilink.send",
            context=None if draft.run_id is None else _context_of(draft.run_id),
            kind=SpanKind.PRODUCER,
            start_time=message.created_ms * _MILLION,
            attributes={
                **_attributes(account, draft.conversation),
                "ilink.client_id": draft.client_id,
                "ilink.state": outcome.state.name.lower(),
                "ilink.attempt": message.attempts + 1,
            },
        )
        if outcome.code is not None:
            span.set_attribute("ilink.code", outcome.code)
        if outcome.message_id is not None:
            span.set_attribute("ilink.message_id", outcome.message_id)
        if outcome.state in _FAILED or outcome.code is not None:
            span.set_status(Status(StatusCode.ERROR, outcome.reason))
        span.end(self._now_ns())

    @contextmanager
    def _run(self, account: AccountId, letter: Letter) -> Generator[None]:
        context = _context_of(run_id_of(account, letter.identity))
        attributes = {**_attributes(account, letter.conversation), "ilink.sequence": letter.sequence}
        attempt = letter.attempts + letter.interrupted + 1
        if attempt == 1 and letter.received_ms:
            waiting = self._tracer.start_span(
                "ilink.wait", context=context, start_time=letter.received_ms * _MILLION, attributes=attributes
            )
            waiting.end(self._now_ns())
        with self._tracer.start_as_current_span(
            "ilink.handle",
            context=context,
            kind=SpanKind.CONSUMER,
            attributes={**attributes, "ilink.attempt": attempt},
        ):
            yield


def _attributes(account: AccountId, conversation: str) -> dict[str, str | int]:
    return {"messaging.system": "ilink", "ilink.account": account, "ilink.conversation": conversation}


def _context_of(run_id: str) -> Context:
    """Return where the spans of a message belong."""
    parent = SpanContext(
        trace_id=int(run_id.replace("-", ""), 16),
        span_id=int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big"),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
