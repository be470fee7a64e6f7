"""Long texts in few, balanced, whole parts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ilink.errors import ConfigError
from ilink.flows.split import split_text


def size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def test_what_fits_stays_as_it_is() -> None:
    assert split_text("  two\n\nlines  ", limit=64) == ["  two\n\nlines  "]
    assert split_text("", limit=64) == []
    assert split_text(" \n ", limit=64) == []


def test_paragraphs_are_the_first_choice() -> None:
    first, second = "First. " * 8, "Second. " * 8
    assert split_text(f"{first.strip()}\n\n{second.strip()}", limit=80) == [first.strip(), second.strip()]


def test_sentences_stay_whole_where_they_can() -> None:
    parts = split_text("这是一个完整的句子。" * 20, limit=200)
    assert all(part.endswith("。") for part in parts)


def test_words_stay_whole_where_they_can() -> None:
    assert {word for part in split_text("word " * 100, limit=64) for word in part.split()} == {"word"}


def test_parts_are_about_equal() -> None:
    sizes = [size(part) for part in split_text("Some sentence here. " * 60, limit=1000)]
    assert len(sizes) == 2
    assert abs(sizes[0] - sizes[1]) < 100


def test_a_code_block_is_closed_and_opened_again_with_its_language() -> None:
    text = "Look:\n\n```python\n" + "".join(f"line_{number} = {number}\n" for number in range(40)) + "```\nDone."
    parts = split_text(text, limit=300)
    assert len(parts) > 1
    for part in parts:
        assert part.count("```") % 2 == 0
    assert all(part.startswith("```python\n") for part in parts[1:-1])
    lines = [line for part in parts for line in part.splitlines() if line.startswith("line_")]
    assert lines == [f"line_{number} = {number}" for number in range(40)]


def test_emoji_are_not_torn_apart() -> None:
    family = "👩‍👩‍👧‍👦"
    parts = split_text(family * 20, limit=100)
    assert "".join(parts) == family * 20
    assert all(len(part) % len(family) == 0 for part in parts)


def test_a_limit_that_fits_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="too small"):
        split_text("x", limit=10)


@given(st.text(max_size=600), st.integers(64, 200))
@example("a" * 65, 64)
@example("😀" * 33, 64)
@example("```\n" + "x" * 200, 64)
def test_every_part_is_below_the_limit_and_nothing_is_lost(text: str, limit: int) -> None:
    parts = split_text(text, limit=limit)
    assert all(0 < size(part) <= limit for part in parts)
    if "```" not in text and "~~~" not in text:
        assert "".join("".join(parts).split()) == "".join(text.split())
        assert len(parts) <= -(-size(text) // (limit - 3)) + 1
