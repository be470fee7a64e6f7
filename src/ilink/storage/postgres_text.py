"""Text in PostgreSQL, which has no place for the character NUL; what people and servers send may have one."""

from __future__ import annotations

from typing import Final

__all__ = ["ESCAPE", "escaped", "unescaped"]

ESCAPE: Final = "\x1a"


def escaped(text: str) -> str:
    """Return text as PostgreSQL can keep it; most is kept as it is."""
    if "\x00" not in text and ESCAPE not in text:
        return text
    return text.replace(ESCAPE, ESCAPE + "1").replace("\x00", ESCAPE + "0")


def unescaped(text: str) -> str:
    """Return text as it was before `escaped`."""
    if ESCAPE not in text:
        return text
    return text.replace(ESCAPE + "0", "\x00").replace(ESCAPE + "1", ESCAPE)
