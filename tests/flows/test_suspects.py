"""The same words again, a moment later, under another id."""

from __future__ import annotations

import pytest

from ilink.flows.suspects import Said, Suspects


def said(name: str, at_ms: int, *, content: str = "ok", sent_ms: int | None = None, place: int | None = None) -> Said:
    return Said(identity=name, content=content, received_ms=at_ms, sent_ms=sent_ms, place=place)


def like(first: Said, second: Said) -> tuple[str, int, bool] | None:
    suspects = Suspects(window_ms=10_000)
    suspects.remember(first)
    likeness = suspects.find(second)
    return None if likeness is None else (likeness.identity, likeness.after_ms, likeness.is_same_moment)


def test_the_same_words_within_the_window_are_suspect() -> None:
    assert like(said("m:1", 0), said("m:2", 9_999)) == ("m:1", 9_999, False)
    assert like(said("m:1", 0), said("m:2", 10_000)) is None
    assert like(said("m:1", 5), said("m:2", 0)) is None  # the clock was set back


def test_other_words_and_the_same_message_are_not() -> None:
    assert like(said("m:1", 0), said("m:2", 1, content="no")) is None
    assert like(said("m:1", 0), said("m:1", 1)) is None


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ((7, None), (7, None), True),
        ((7, 1), (7, 1), True),
        ((7, 1), (7, None), True),
        ((7, 1), (7, 2), False),
        ((7, None), (8, None), False),
        ((None, None), (None, None), False),
    ],
)
def test_one_moment_is_one_message_unless_the_stream_numbers_two(
    first: tuple[int | None, int | None], second: tuple[int | None, int | None], is_same: bool
) -> None:
    likeness = like(
        said("m:1", 0, sent_ms=first[0], place=first[1]), said("m:2", 1, sent_ms=second[0], place=second[1])
    )
    assert likeness == ("m:1", 1, is_same)


def test_what_is_too_old_is_forgotten() -> None:
    suspects = Suspects(window_ms=10_000)
    for number in range(30_000):
        suspects.remember(said(f"m:{number}", number, content=str(number)))
    assert len(suspects._said) == 10_000
    for number in range(30_000):
        suspects.remember(said(f"m:{number}", 50_000, content=str(number)))
    assert len(suspects._said) == 20_000
