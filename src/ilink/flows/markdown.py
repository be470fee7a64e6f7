"""Markdown as phones render it: the rest is tamed, so that no marks stand around that mean nothing (protocol §4.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ilink.flows.split import find_fences

__all__ = ["tame_markdown"]

_CJK: Final = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_INLINE_CODE: Final = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_TAMED: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    # Headings of the fifth and sixth level are not rendered (peer: dsh-bridge; official 2.4.9).
    (re.compile(r"^( {0,3})#{5,6}[ \t]+", re.MULTILINE), r"\1"),
    # Pictures are not shown; what they are called and where they are is kept.
    (re.compile(r"!\[([^\]\n]*)\]\(([^)\s]*)[^)\n]*\)"), lambda match: f"{match[1]} {match[2]}".strip()),
    # Marks of bold italics and italics break around Chinese (peer: dsh-bridge; official 2.4.9 strips them).
    (re.compile(rf"\*{{3}}(?=\S)([^*\n]*[{_CJK}][^*\n]*)(?<=\S)\*{{3}}"), r"**\1**"),
    (re.compile(rf"(?<![\*\\\w])\*(?![\s*])([^*\n]*[{_CJK}][^*\n]*)(?<![\s*])\*(?!\*)"), r"\1"),
    (re.compile(rf"(?<![_\\\w])_(?![\s_])([^_\n]*[{_CJK}][^_\n]*)(?<![\s_])_(?![\w_])"), r"\1"),
    # Text behind a bare < may be hidden (peer: nanobot, which writes the full-width sign too).
    (re.compile(r"<(?!https?://)"), "＜"),
)


def tame_markdown(text: str) -> str:
    """Return a Markdown text with what phones do not render made plain; code stays as it is.

    Kept: headings to the fourth level, bold, italics outside of Chinese, code, lists, quotes, tables, rules, links.
    Tamed: deeper headings, pictures, italics in Chinese, and `<` outside of code, behind which text may be hidden.
    """
    tamed: list[str] = []
    start = 0
    for first, last, _ in find_fences(text):
        tamed += [_tame(text[start:first]), text[first:last]]
        start = last
    return "".join([*tamed, _tame(text[start:])])


def _tame(text: str) -> str:
    """Tame a text without code blocks; what stands between backticks stays."""
    tamed: list[str] = []
    start = 0
    for code in _INLINE_CODE.finditer(text):
        tamed += [_replace(text[start : code.start()]), code[0]]
        start = code.end()
    return "".join([*tamed, _replace(text[start:])])


def _replace(text: str) -> str:
    for pattern, replacement in _TAMED:
        text = pattern.sub(replacement, text)
    return text
