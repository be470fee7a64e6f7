"""What people type and what they mean by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilink.flows.answers import is_chinese, normalise, read_approval, read_choice, read_integer, read_number

COLOURS = ["Red", "Blue", "Blue-green", "Yellow"]
SIZES = ["大杯", "中杯", "小杯"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("1", "Red"),
        ("２", "Blue"),
        ("②", "Blue"),
        ("第三个", "Blue-green"),
        ("选2", "Blue"),
        ("option 2", "Blue"),
        ("b", "Blue"),
        ("3.", "Blue-green"),
        ("三", "Blue-green"),
        ("RED。", "Red"),
        ("  blue ", "Blue"),
        ("y", "Yellow"),
        ("yel", "Yellow"),
        ("1. Red", "Red"),
        ("red please", "Red"),
        ("我要 blue-green please", "Blue-green"),
        ("bl", None),
        ("1 blue", None),
        ("red or yellow", None),
        ("not red", None),
        ("5", None),
        ("0", None),
        ("", None),
        ("。", None),
        ("green", None),
    ],
)
def test_a_choice_is_read_as_people_write_it(text: str, label: str | None) -> None:
    found = read_choice(text, COLOURS)
    assert (None if found is None else COLOURS[found]) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("大", "大杯"),
        ("中杯", "中杯"),
        ("来个小杯吧", "小杯"),
        ("不要大杯", None),
        ("杯", None),
        ("２", "中杯"),
        ("第1个", "大杯"),
    ],
)
def test_a_chinese_choice_is_read(text: str, label: str | None) -> None:
    found = read_choice(text, SIZES)
    assert (None if found is None else SIZES[found]) == label


@pytest.mark.parametrize(
    ("text", "label"), [("10", "10"), ("２０", "20"), ("五", "5"), ("5个", "5"), ("2", None), ("1", None)]
)
def test_numbers_as_labels_are_values_and_not_places(text: str, label: str | None) -> None:
    labels = ["5", "10", "20"]
    found = read_choice(text, labels)
    assert (None if found is None else labels[found]) == label


@given(
    st.lists(
        st.sampled_from(["red", "blue", "green", "大杯", "中杯", "tea", "coffee", "juice"]), min_size=1, unique=True
    ),
    st.data(),
)
def test_every_label_and_every_place_means_itself(labels: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(0, len(labels) - 1))
    said = data.draw(st.sampled_from([labels[wanted], labels[wanted].upper(), f" {labels[wanted]}。", str(wanted + 1)]))
    wide = "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() and digit.isascii() else digit for digit in said)
    assert read_choice(said, labels) == wanted
    assert read_choice(wide, labels) == wanted


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5))
def test_any_text_means_one_of_the_labels_or_nothing(text: str, labels: list[str]) -> None:
    found = read_choice(text, labels)
    assert found is None or 0 <= found < len(labels)


YES = (
    "yes|Y|ok|OK!|okay|好|好的|好吧|好哒|可以|可以啊|同意|我同意|是|是的|对|对对对|行|嗯嗯|"
    "没问题|不错|👍|👍🏻|👌|✅|1|１|sure, go|yes please|ok 谢谢|好,谢谢|"
    "no problem"
)
NO = (
    "no|N|nope|不|不是|不是的|否|取消|不行|不可以|不好|不同意|我不同意|算了|算了吧|拒绝|别|👎|❌|2|"
    "２|no thanks|don’t|not now|cancel|不要啊"
)
NEITHER = "maybe|好不好|yes no|可以吗|同意吗|可能|what?|再说|3|hello|好 不行|||。|ok?no|that is the"


@pytest.mark.parametrize("text", YES.split("|"))
def test_agreement_is_understood(text: str) -> None:
    assert read_approval(text) is True


@pytest.mark.parametrize("text", NO.split("|"))
def test_refusal_is_understood(text: str) -> None:
    assert read_approval(text) is False


@pytest.mark.parametrize("text", NEITHER.split("|"))
def test_what_could_mean_both_means_neither(text: str) -> None:
    assert read_approval(text) is None


@given(st.sampled_from(YES.split("|")), st.sampled_from(NO.split("|")))
def test_a_contradiction_is_never_agreement(yes: str, no: str) -> None:
    assert read_approval(f"{yes} {no}") is not True
    assert read_approval(f"{no}，{yes}") is not True


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3), ("３", 3), ("3个", 3), ("三", 3), ("十二", 12), ("十", 10), ("两个", 2), ("-4", -4), ("1,200", 1200),
        ("about 3", 3), ("二十一", 21), ("一百零五", 105), ("三千万", 30_000_000), ("二〇二六", 2026),
        ("3.0", 3), ("我要3个苹果", 3),
        ("3 or 4", None), ("3.5", None), ("三4", None), ("abc", None), ("", None), ("1.2.3", None),
        ("2024-01-02", None), ("9" * 400, None),
    ],
)  # fmt: skip
def test_a_whole_number_is_read(text: str, number: int | None) -> None:
    assert read_integer(text) == number


@given(st.integers(-(10**9), 10**9))
def test_every_number_means_itself(number: int) -> None:
    assert read_integer(str(number)) == number
    assert read_number(f"{number}.5") == float(f"{number}.5")


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading(text: str) -> None:
    read_approval(text)
    read_integer(text)
    assert normalise(normalise(text)) == normalise(text)


def test_the_language_of_a_text_is_seen() -> None:
    assert is_chinese("要几杯？")
    assert not is_chinese("How many?")
