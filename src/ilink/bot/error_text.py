"""What an error says, as text that any store takes and any terminal shows."""

from __future__ import annotations

import traceback

__all__ = ["error_text", "storable"]


def error_text(error: BaseException) -> str:
    """Return the kind of an error and its words, without where it was raised."""
    return storable("".join(traceback.format_exception_only(error)).strip())


def storable(text: str) -> str:
    """Return a text with each half character, which is no text to anybody else, written as its number.

    They come from names of files that are no UTF-8, and from streams of text that were cut within an emoji.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
