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


def test_a_better_border_is_taken_though_it_is_a_little_off_the_middle() -> None:
    paragraphs = f"{'a' * 67}\n\n{'b' * 7}\n{'c' * 73}"
    assert split_text(paragraphs, limit=100) == ["a" * 67, f"{'b' * 7}\n{'c' * 73}"]
    clauses = f"{'a' * 65}, {'b' * 9} {'c' * 73}"
    assert split_text(clauses, limit=100) == [f"{'a' * 65},", f"{'b' * 9} {'c' * 73}"]


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


def test_a_code_block_is_closed_as_it_was_opened() -> None:
    body = "".join(f"line {number}\n" for number in range(20))
    for opener, closer in (("~~~", "~~~"), ("````md", "````")):
        parts = split_text(f"{opener}\n{body}{closer}", limit=100)
        assert len(parts) > 1
        for part in parts:
            assert part.startswith(f"{opener}\n")
            assert part.endswith(f"\n{closer}")


def test_what_only_looks_like_the_end_of_a_code_block_is_in_it() -> None:
    body = "```python\n" + "".join(f"line {number}\n" for number in range(20))
    parts = split_text(f"```\n{body}```\nthe end", limit=100)
    assert parts[1].startswith("```\nline ")
    assert parts[-1].endswith("```\nthe end")


@pytest.mark.parametrize("before", range(60))
def test_a_line_that_opens_a_code_block_is_not_cut(before: int) -> None:
    opener = "```text One. Two. Three. Four. Five."
    parts = split_text(f"{'a' * before}\n{opener}\n{'b' * 30}\n```\n{'c' * 20}", limit=90)
    lines = [line for part in parts for line in part.splitlines()]
    assert {line.strip("abc") for line in lines} <= {"", "```", opener}


def test_a_code_block_whose_first_line_fills_a_message_is_cut_as_any_text() -> None:
    text = f"```{'x' * 50}\n{'code ' * 30}\n```"
    parts = split_text(text, limit=64)
    assert all(size(part) <= 64 for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_emoji_are_not_torn_apart() -> None:
    family = "👩‍👩‍👧‍👦"
    for before in ("", "x", "xyz"):
        parts = split_text(before + family * 20, limit=100)
        assert "".join(parts) == before + family * 20
        assert all(len(part.removeprefix(before)) % len(family) == 0 for part in parts)


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


@given(
    st.lists(st.sampled_from(["words and words\n", "\n", "Sentence. Another one.\n", "长一点的句子。\n"])),
    st.lists(st.sampled_from(["code()\n", "    indented\n", "x" * 30 + "\n", "\n"]), min_size=1),
    st.sampled_from(["```", "```python", "~~~~ text", "```a-rather-long-language"]),
    st.integers(80, 200),
)
def test_parts_with_code_are_below_the_limit_and_keep_every_line(
    words: list[str], code: list[str], opener: str, limit: int
) -> None:
    closer = opener.rstrip("abcdefghijklmnopqrstuvwxyz- ")
    text = "".join([*words, f"{opener}\n", *code, f"{closer}\n", *words])
    parts = split_text(text, limit=limit)
    assert all(size(part) <= limit for part in parts)
    for part in parts:
        assert sum(line in (opener, closer) for line in part.splitlines()) % 2 == 0

    def said(lines: list[str]) -> str:
        return "".join("".join(line.split()) for line in lines if line not in (opener, closer))

    lines = [line for part in parts for line in part.splitlines()]
    assert said(lines) == said(text.splitlines())
