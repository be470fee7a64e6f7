"""Whatever text a bot presents as a cursor: nothing raises, and only its own cursors count."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from ilink.gateway.cursors import read_cursor, write_cursor

KEY = b"k" * 32
numbers = st.integers(min_value=0, max_value=2**63 - 1)
generations = st.integers(min_value=0, max_value=2**32 - 1)


@given(numbers, generations, numbers)
def test_a_cursor_reads_as_it_was_written(bot: int, generation: int, seq: int) -> None:
    cursor = write_cursor(KEY, bot=bot, generation=generation, seq=seq)
    position = read_cursor(KEY, cursor, bot=bot, generation=generation)
    assert (position.verdict, position.seq) == ("valid", seq)


@given(st.text())
def test_no_text_raises_or_counts(text: str) -> None:
    position = read_cursor(KEY, text, bot=1, generation=1)
    assert position.verdict == ("unreadable" if text else "empty")
    assert position.seq == 0


@given(st.binary(min_size=30, max_size=30))
def test_no_bytes_in_a_cursors_shape_count(blob: bytes) -> None:
    assert read_cursor(KEY, base64.urlsafe_b64encode(blob).decode(), bot=1, generation=1).verdict == "unreadable"


@given(numbers, numbers, st.integers(min_value=0, max_value=39), st.characters(codec="utf-8"))
def test_a_changed_cursor_is_noticed(bot: int, seq: int, at: int, character: str) -> None:
    cursor = write_cursor(KEY, bot=bot, generation=1, seq=seq)
    changed = cursor[:at] + character + cursor[at + 1 :]
    position = read_cursor(KEY, changed, bot=bot, generation=1)
    assert (position.verdict == "valid") == (changed == cursor)


@given(numbers, numbers, numbers)
def test_a_cursor_of_another_bot_is_foreign(bot: int, other: int, seq: int) -> None:
    cursor = write_cursor(KEY, bot=other, generation=1, seq=seq)
    position = read_cursor(KEY, cursor, bot=bot, generation=1)
    assert (position.verdict == "foreign") == (bot != other)
    assert position.seq == (seq if bot == other else 0)
