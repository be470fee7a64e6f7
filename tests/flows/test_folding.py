"""A text that comes in pieces becomes few messages, and nothing of it is lost."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.errors import ConfigError
from ilink.flows.folding import Fold, FoldRules, begin_fold, end_fold, fold, next_due
from ilink.flows.markdown import tame_markdown

SOON = FoldRules(parts=4, seconds=1, least=10, limit=400)

PARAGRAPH = st.text("abc 。.é世", min_size=1, max_size=60).map(lambda text: f"{text.strip() or 'x'}\n\n")
LIST = st.integers(1, 4).map(lambda n: "".join(f"- item {i}\n" for i in range(n)) + "\n")
TABLE = st.integers(1, 4).map(lambda n: "| a | b |\n|---|---|\n" + "".join(f"| {i} | x |\n" for i in range(n)) + "\n")
CODE = st.integers(1, 5).map(lambda n: "```python\n" + "".join(f"print({i})\n\n" for i in range(n)) + "```\n\n")
TEXT = st.lists(st.one_of(PARAGRAPH, LIST, TABLE, CODE), min_size=1, max_size=14).map("".join)


def run(pieces: list[tuple[str, float]], rules: FoldRules) -> list[str]:
    at = 0.0
    state, parts = begin_fold(at), []
    for piece, pause in pieces:
        at += pause
        state, ready = fold(state, piece, at, rules)
        parts += ready
    return parts + end_fold(state, rules)


def cut(text: str, sizes: list[int]) -> list[str]:
    places = sorted({0, len(text), *(size % (len(text) + 1) for size in sizes)})
    return [text[first:last] for first, last in pairwise(places)]


def content(text: str) -> str:
    """A text without what a cut may add or take: blanks, and lines that open and close code."""
    return re.sub(r"\s", "", re.sub(r"^```.*$", "", text, flags=re.MULTILINE))


@given(TEXT, st.lists(st.integers(0, 5_000), max_size=60), st.lists(st.floats(0, 3), min_size=61, max_size=61))
def test_nothing_is_lost_and_order_is_kept(text: str, sizes: list[int], pauses: list[float]) -> None:
    pieces = cut(text, sizes)
    parts = run(list(zip(pieces, pauses, strict=False)), SOON)
    assert "".join(content(part) for part in parts) == content(text)


@given(TEXT, st.lists(st.integers(0, 5_000), max_size=60), st.lists(st.floats(0, 3), min_size=61, max_size=61))
def test_every_part_stands_alone(text: str, sizes: list[int], pauses: list[float]) -> None:
    for part in run(list(zip(cut(text, sizes), pauses, strict=False)), SOON):
        assert len(re.findall(r"^```", part, re.MULTILINE)) % 2 == 0
        assert len(part.encode()) <= SOON.limit
        assert part.strip()


@given(TEXT, st.lists(st.integers(0, 5_000), max_size=60), st.integers(1, 5))
def test_there_are_never_more_messages_than_allowed_unless_the_text_is_too_long(
    text: str, sizes: list[int], most: int
) -> None:
    rules = FoldRules(parts=most, seconds=0, least=1)
    parts = run([(piece, 1.0) for piece in cut(text, sizes)], rules)
    assert len(parts) <= most


@given(TEXT, st.lists(st.integers(0, 5_000), max_size=60))
def test_tables_and_code_stay_whole(text: str, sizes: list[int]) -> None:
    rules = FoldRules(parts=9, seconds=0, least=1)
    parts = run([(piece, 100.0) for piece in cut(text, sizes)], rules)
    for block in re.findall(r"(?:^\|.*\n)+|^```python\n[^`]*```", text, re.MULTILINE):
        assert any(block.strip() in part for part in parts), (block, parts)


@given(TEXT)
def test_one_piece_is_one_message(text: str) -> None:
    assert run([(text, 0.0)], FoldRules()) == ([text] if len(text.encode()) else [])


def test_the_first_part_comes_soon_and_later_ones_more_seldom() -> None:
    rules = FoldRules(parts=9, seconds=5, least=5)
    state, at, times = begin_fold(0.0), 0.0, []
    for number in range(200):
        at += 0.5
        state, ready = fold(state, f"Sentence {number}. ", at, rules)
        times += [at] * len(ready)
    gaps = [later - earlier for earlier, later in pairwise([0.0, *times])]
    assert gaps[0] == 5.0
    assert gaps == sorted(gaps)


def test_a_part_ends_where_a_paragraph_ends() -> None:
    state = Fold(pending="One paragraph here.\n\nAnother begins. And goes", since=0)
    state, ready = fold(state, " on", 10, SOON)
    assert ready == ["One paragraph here."]
    assert state.pending == "Another begins. And goes on"


def test_nothing_goes_out_before_its_time_or_too_small() -> None:
    state = Fold(pending="One paragraph here.\n\nAnother", since=0)
    assert fold(state, "", next_due(state, SOON) - 0.01, SOON)[1] == []
    assert fold(Fold(pending="One.\n\nAnother", since=0), "", 99, SOON)[1] == []


def test_an_open_code_block_is_not_cut_before_it_must_be() -> None:
    code = "Look at this:\n\n```\n" + "line\n\n" * 20
    state, ready = fold(Fold(pending=code), "", 99, SOON)
    assert ready == ["Look at this:"]
    state, ready = fold(state, "line\n\n" * 60, 99, SOON)
    assert len(ready) == 1
    assert all(part.startswith("```\n") and part.endswith("\n```") for part in [*ready, *end_fold(state, SOON)][:1])


def test_the_last_message_is_kept_for_the_end() -> None:
    rules = FoldRules(parts=1, seconds=0, least=1)
    assert run([("One.\n\n", 9.0)] * 5, rules) == ["One.\n\n" * 5]


def test_rules_without_sense_are_refused() -> None:
    for settings in ({"parts": 0}, {"seconds": -1}, {"least": 0}):
        with pytest.raises(ConfigError):
            FoldRules(**settings)


@pytest.mark.parametrize(
    ("text", "tamed"),
    [
        ("# One\n#### Four", "# One\n#### Four"),
        ("##### Five\n###### Six", "Five\nSix"),
        ("![a cat](http://x/cat.png) sits", "a cat http://x/cat.png sits"),
        ("![](http://x/cat.png)", "http://x/cat.png"),
        ("*fine* and **bold**", "*fine* and **bold**"),
        ("*很好* and _不错_", "很好 and 不错"),
        ("***很好***", "**很好**"),
        ("**很好**", "**很好**"),
        ("a < b", "a ＜ b"),
        ("<div>", "＜div>"),
        ("<https://x.org>", "<https://x.org>"),
        ("> quoted", "> quoted"),
        ("`a < b` and *b*", "`a < b` and *b*"),
        ("```\n##### a < b *很*\n```\n##### x", "```\n##### a < b *很*\n```\nx"),
        ("| a | b |\n|---|---|", "| a | b |\n|---|---|"),
        ("snake_很_case 2*3*很4", "snake_很_case 2*3*很4"),
        ("[link](http://x)", "[link](http://x)"),
    ],
)
def test_markdown_is_tamed_where_phones_do_not_render_it(text: str, tamed: str) -> None:
    assert tame_markdown(text) == tamed


@given(st.text("a*_<>`#!很[]()\n ", max_size=60))
def test_taming_twice_changes_no_more_and_keeps_letters(text: str) -> None:
    once = tame_markdown(text)
    assert re.sub(r"[^a很]", "", once) == re.sub(r"[^a很]", "", text)
