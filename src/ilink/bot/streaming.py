"""Answers that come in pieces: what a model writes goes out in few messages while it is written."""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from ilink.bot.clock import Clock
from ilink.flows.folding import Fold, FoldRules, begin_fold, end_fold, fold, next_due
from ilink.flows.markdown import tame_markdown
from ilink.messages.receipts import Receipt
from ilink.wire.enums import ItemType
from ilink.wire.models import MessageItem, ToolCallResultItem, ToolCallStartItem

__all__ = ["ProgressNote", "SaysItems", "fold_stream", "tool_item"]


class _Says(Protocol):
    """How a part goes out."""

    async def __call__(self, text: str, *, is_last: bool) -> Receipt:
        """Say a part."""
        ...


async def fold_stream(
    source: AsyncIterable[str], say: _Says, *, rules: FoldRules, is_markdown: bool, clock: Clock
) -> Receipt | None:
    """Say a text while it comes; return the receipt of its last part, None when there was nothing to say.

    A source that fails fails this call; what was said by then stays said.
    """
    state = begin_fold(clock.monotonic())
    iterator = aiter(source)
    coming: Task[str | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(iterator))
            piece = await _within(coming, state, rules, clock)
            if coming.done():
                coming = None
                if piece is None:
                    break
            state, ready = fold(state, piece or "", clock.monotonic(), rules)
            for part in ready:
                await say(_tamed(part, is_markdown=is_markdown), is_last=False)
    finally:
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming
    receipt = None
    parts = end_fold(state, rules)
    for number, part in enumerate(parts, start=1):
        receipt = await say(_tamed(part, is_markdown=is_markdown), is_last=number == len(parts))
    return receipt


async def _next(iterator: AsyncIterator[str]) -> str | None:
    """Return the next piece; None at the end."""
    return await anext(iterator, None)


async def _within(coming: Task[str | None], state: Fold, rules: FoldRules, clock: Clock) -> str | None:
    """Wait for the next piece until something may be due; then it is still to come."""
    if state.pending:
        pause = max(0.05, next_due(state, rules) - clock.monotonic())
        sleeping = asyncio.ensure_future(clock.sleep(pause))
        try:
            await asyncio.wait({coming, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
    else:
        await asyncio.wait({coming})
    return coming.result() if coming.done() else None


def _tamed(text: str, *, is_markdown: bool) -> str:
    return tame_markdown(text) if is_markdown else text


class SaysItems(Protocol):
    """How an item goes out that is no answer."""

    def __call__(self, item: MessageItem) -> Awaitable[None]:
        """Send it at once, or leave it out."""
        ...


class ProgressNote:
    """A block during which a phone that shows such things shows what is done: `async with message.progress("search")`.

    Args:
        name: What is done.
        call_id: Names this time.
        say: How its items go out.
        now_ms: The time of day.
    """

    def __init__(self, name: str, call_id: str, say: SaysItems, now_ms: Callable[[], int]) -> None:
        self._name = name
        self._call_id = call_id
        self._say = say
        self._now_ms = now_ms

    async def __aenter__(self) -> None:
        await self._say(tool_item(self._name, self._call_id, self._now_ms(), status=None))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            status = "completed" if kind is None else "failed"
            await self._say(tool_item(self._name, self._call_id, self._now_ms(), status=status))


def tool_item(name: str, call_id: str, at_ms: int, *, status: str | None) -> MessageItem:
    """Return the item that says that a tool call begins, or how it ended (official 2.4.4)."""
    if status is None:
        return MessageItem(
            type=ItemType.TOOL_CALL_START,
            create_time_ms=at_ms,
            is_completed=False,
            tool_call_start_item=ToolCallStartItem(tool_name=name, tool_call_id=call_id),
        )
    return MessageItem(
        type=ItemType.TOOL_CALL_RESULT,
        create_time_ms=at_ms,
        is_completed=True,
        tool_call_result_item=ToolCallResultItem(tool_name=name, tool_call_id=call_id, status=status),
    )
