"""Texts for people, in the reader's language, from a flat JSON file for each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Final

import msgspec

__all__ = ["LANGUAGES", "LANGUAGE_VARIABLE", "Words", "language"]

LANGUAGES: Final = ("en", "zh-CN")
LANGUAGE_VARIABLE: Final = "ILINK_LANG"


def language(environ: Mapping[str, str] = os.environ) -> str:
    """Return the language to speak: `ILINK_LANG`, else what the locale's variables say, else English."""
    for name in (LANGUAGE_VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name, ""):
            return "zh-CN" if value.lower().startswith("zh") else "en"
    return "en"


class Words:
    """The texts of a package, from its folder `locales`. Called with a key and values, it returns the text."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __call__(self, key: str, **values: object) -> str:
        """Return a text, its `{places}` filled in."""
        return self._texts[key].format(**values)

    def texts(self, name: str) -> dict[str, str]:
        """Return all texts of a language."""
        content = (resources.files(self._package) / "locales" / f"{name}.json").read_bytes()
        return msgspec.json.decode(content, type=dict[str, str])

    @cached_property
    def _texts(self) -> dict[str, str]:
        return self.texts(language())
