"""Identities and secrets as types of their own, so that a checker tells a user from an account."""

from __future__ import annotations

from typing import Final, NewType

__all__ = ["AccountId", "ClientId", "Cursor", "MessageId", "Secret", "UserId", "normalize_user_id"]

UserId = NewType("UserId", str)
"""A person, `…@im.wechat`. Case matters: a lower-cased one is refused with -3 (observed: ocw#243, ocw#306)."""

AccountId = NewType("AccountId", str)
"""A bot identity, `…@im.bot`."""

MessageId = NewType("MessageId", str)
"""The server's id of a message: an unsigned 64-bit number as text, so that it survives JSON readers that round."""

ClientId = NewType("ClientId", str)
"""The sender's own id of one outgoing message, kept when the message is sent again."""

Cursor = NewType("Cursor", str)
"""An opaque position in the stream of updates; the empty text is the beginning."""

_PREFIXES: Final = ("user:", "openclaw-weixin:", "wechat:", "weixin:")


def normalize_user_id(text: str) -> UserId:
    """Strip blanks and the prefixes other programs wrap a user id in (observed: ocw#306); never change its case."""
    stripped = text.strip()
    for prefix in _PREFIXES:
        stripped = stripped.removeprefix(prefix)
    return UserId(stripped)


class Secret:
    """A text that must not be seen: it prints as `***` everywhere and is read with `reveal()` only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends or stores it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        message = "a Secret is not pickled: it would be written in the clear"
        raise TypeError(message)
