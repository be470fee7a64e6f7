"""What finding and calling a handler costs: 200 handlers with filters beside a single one, in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from ilink import Message, Router, TextMessage, filters
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.turn import Turn
from ilink.messages.incoming import read_message, read_update
from ilink.wire.codec import encode
from ilink.wire.ids import AccountId

__all__ = ["ALLOWED_US", "DispatchFigures", "measure_dispatch"]

ALLOWED_US: Final = 30.0
"""Microseconds that 200 handlers may cost a message beyond a single one."""

_HANDLERS: Final = 200
_MESSAGES: Final = 5_000
_ROUNDS: Final = 7


@dataclass(frozen=True, slots=True)
class DispatchFigures:
    """Microseconds of processor time a message: median of the rounds."""

    name: str
    microseconds: float
    beyond_one: float


def measure_dispatch() -> list[DispatchFigures]:
    """Measure every arrangement in turn, round by round; the first is a single handler."""
    rounds: dict[str, list[float]] = {name: [] for name in _CASES}
    for _ in range(_ROUNDS):
        for name, (arrange, text) in _CASES.items():
            rounds[name].append(_measure(arrange, text))
    single = median(rounds[next(iter(_CASES))])
    return [DispatchFigures(name, median(own), median(own) - single) for name, own in rounds.items()]


def _measure(arrange: Callable[[Router], None], text: str) -> float:
    router = Router()
    arrange(router)
    dispatch = Dispatch(router.registered)
    message = _message(text)

    async def work() -> float:
        began = time.thread_time()
        for _ in range(_MESSAGES):
            match = await dispatch.find(message)
            assert match is not None
            await dispatch.run(match, message, _NO_TURN)
        return (time.thread_time() - began) / _MESSAGES * 1e6

    return asyncio.run(work())


async def _handle(_message: Message) -> None:
    return


async def _handle_number(_message: TextMessage, number: int) -> None:  # noqa: ARG001
    return


def _single(router: Router) -> None:
    router.on_text()(_handle)


def _same_beginning(router: Router) -> None:
    """Every filter is asked, and the last holds."""
    for number in range(_HANDLERS):
        router.on_text(filters.startswith(f"say {number:03}"))(_handle)


def _contained(router: Router) -> None:
    """Every filter looks through the whole text."""
    for number in range(_HANDLERS):
        router.on_text(filters.contains(f"word{number:03}") & ~filters.from_user("nobody"))(_handle)


def _patterns(router: Router) -> None:
    """Every regular expression is tried, and the last holds and captures."""
    for number in range(_HANDLERS):
        router.on_text(filters.matches(rf"order{number:03} (?P<number>\d+)"))(_handle_number)


def _functions(router: Router) -> None:
    """Every function is asked."""
    for number in range(_HANDLERS):
        router.on_text(lambda message, wanted=str(number): message.text == wanted)(_handle)


def _mixed(router: Router) -> None:
    """As programs are: many beginnings, some kinds, commands, patterns, and a handler for the rest."""
    for number in range(_HANDLERS // 4):
        router.on_text(filters.startswith(f"{chr(ord('a') + number % 26)}{number}"))(_handle)
        router.on_image(filters.contains(str(number)))(_handle)
        router.on_command(f"c{number}")(_handle)
        router.on_text(filters.matches(rf"{chr(ord('a') + number % 26)}-(?P<number>\d+)"))(_handle_number)
    router.on_text()(_handle)


def _commands(router: Router) -> None:
    for number in range(_HANDLERS):
        router.on_command(f"c{number}")(_handle)


_CASES: Final[dict[str, tuple[Callable[[Router], None], str]]] = {
    "one handler": (_single, "hello there"),
    "200 commands": (_commands, "/c199"),
    "200 of many sorts": (_mixed, "hello there"),
    "200 beginnings, the last holds": (_same_beginning, "say 199"),
    "200 contained words, the last holds": (_contained, "a word199 among others"),
    "200 functions, the last holds": (_functions, "199"),
    "200 patterns, the last captures": (_patterns, "order199 7"),
}


def _message(text: str) -> TextMessage:
    item = {"type": 1, "text_item": {"text": text}}
    raw = encode({"message_id": 1, "from_user_id": "alice@im.wechat", "item_list": [item]})
    wire = read_update(raw)
    assert wire is not None
    message = read_message(raw, wire, account=AccountId("bot@im.bot"))
    assert isinstance(message, TextMessage)
    return message


class _SilentTurn(Turn):
    def __init__(self) -> None:
        """Nothing is said here."""


_NO_TURN: Final = _SilentTurn()
