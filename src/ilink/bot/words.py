"""What a bot says by itself, in the language of the person it talks to."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, Literal

from ilink.client.words import Words, language
from ilink.flows.answers import is_chinese

__all__ = ["Language", "language_of", "say"]

Language = Literal["en", "zh-CN"]
"""What a bot speaks by itself."""

_LATIN: Final = re.compile(r"[A-Za-z]{2}")


def language_of(text: str, *, setting: Language | None = None) -> Language:
    """Return the language to answer a text in: the one that is set, else the text's own, else that of this machine."""
    if setting is not None:
        return setting
    if is_chinese(text):
        return "zh-CN"
    return "en" if _LATIN.search(text) else _machines_own()


def say(language: Language, key: str, **values: object) -> str:
    """Return a text by its key, its `{places}` filled in."""
    return _texts(language)[key].format(**values)


@cache
def _texts(language: Language) -> dict[str, str]:
    return Words("ilink.bot").texts(language)


def _machines_own() -> Language:
    return "zh-CN" if language() == "zh-CN" else "en"
