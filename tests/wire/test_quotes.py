from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import instances

from ilink.wire.codec import decode
from ilink.wire.models import MessageItem, PartialText, QuotedMessage
from ilink.wire.quotes import find_quote, quoted_message_id, select_quoted_text

TEXT = "alpha beta gamma beta delta beta end"
MD5 = "1b89e579ae27a44e70efe5043e247649"


def partial(start: str, end: str, startindex: int, endindex: int, quotemd5: str | None = None) -> PartialText:
    return PartialText(start=start, end=end, startindex=startindex, endindex=endindex, quotemd5=quotemd5)


@pytest.mark.parametrize("endindex", [2, 0], ids=["counted over the whole text", "counted after the start"])
@pytest.mark.parametrize("md5", [MD5, MD5.upper(), f" {MD5} "])
def test_the_worked_example_selects_the_same_by_both_readings(endindex: int, md5: str) -> None:
    assert hashlib.md5(b"beta delta beta").hexdigest() == MD5
    assert select_quoted_text(TEXT, partial("beta", "beta", 1, endindex, md5)) == "beta delta beta"


@pytest.mark.parametrize(
    ("selected", "quote"),
    [
        ("beta delta beta", partial("beta", "beta", 1, 2)),
        ("beta", partial("beta", "beta", 1, 1)),
        ("beta gamma beta delta beta", partial("beta", "beta", 0, 2)),
        ("alpha beta", partial("alpha", "beta", 0, 0)),
        ("gamma beta delta beta", partial("gamma", "beta", 0, 2)),
        # The first "beta" is before "gamma": only counting from the start fits.
        ("gamma beta", partial("gamma", "beta", 0, 0)),
        (TEXT, partial("alpha", "end", 0, 0)),
    ],
)
def test_without_a_hash_the_count_over_the_whole_text_comes_first(selected: str, quote: PartialText) -> None:
    assert select_quoted_text(TEXT, quote) == selected


def test_the_hash_decides_between_two_that_fit() -> None:
    after_start = "beta gamma beta"
    quote = partial("beta", "beta", 0, 0, hashlib.md5(after_start.encode()).hexdigest())
    assert select_quoted_text(TEXT, quote) == after_start
    quote = partial("beta", "beta", 0, 0, hashlib.md5(b"beta").hexdigest())
    assert select_quoted_text(TEXT, quote) == "beta"


@pytest.mark.parametrize(
    "quote",
    [
        PartialText(),
        partial("", "beta", 0, 0),
        partial("beta", "", 0, 0),
        partial("omega", "beta", 0, 0),
        partial("beta", "omega", 0, 0),
        partial("beta", "beta", 3, 3),
        partial("beta", "beta", -1, 0),
        partial("beta", "beta", 0, -1),
        partial("beta", "beta", 10**30, 0),
        partial("end", "alpha", 0, 0),
        partial("beta", "beta", 1, 2, "0" * 32),
    ],
)
def test_the_whole_text_stands_where_nothing_fits(quote: PartialText) -> None:
    assert select_quoted_text(TEXT, quote) == TEXT


def test_an_absent_index_is_the_first() -> None:
    assert select_quoted_text(TEXT, PartialText(start="beta", end="gamma")) == "beta gamma"


def test_occurrences_do_not_overlap() -> None:
    assert select_quoted_text("aaaa", partial("aa", "aa", 1, 1)) == "aa"
    assert select_quoted_text("aaa", partial("aa", "aa", 1, 1)) == "aaa"


def test_words_outside_ascii_are_hashed_as_utf8() -> None:
    md5 = hashlib.md5("世界🎉".encode()).hexdigest()
    assert select_quoted_text("你好世界🎉吧", partial("世", "🎉", 0, 0, md5)) == "世界🎉"


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet="ab ", max_size=30), data=st.data())
def test_a_selection_described_with_its_hash_is_found(text: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(text)))
    selected = text[begin : data.draw(st.integers(begin, len(text)))]
    number = data.draw(st.integers(0, 3))
    quote = partial(selected[:2], selected[-2:], number, number, hashlib.md5(selected.encode()).hexdigest())
    assert select_quoted_text(text, quote) in (selected, text)


@settings(max_examples=100, deadline=None)
@given(text=st.text(), quote=instances(PartialText))
def test_no_description_raises(text: str, quote: PartialText) -> None:
    assert select_quoted_text(text, quote) in text


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        ('{"svr_id":"7512000000000000101"}', "7512000000000000101"),
        ('{"svr_id":7512000000000000101}', "7512000000000000101"),
        ('{"svr_id":" 7 ","message_item":{"msg_id":"8"}}', "7"),
        ('{"svr_id":"","message_item":{"msg_id":"8"}}', "8"),
        ('{"svr_id":0,"message_item":{"msg_id":8}}', "8"),
        ('{"svr_id":null,"message_item":{"msg_id":" 8"}}', "8"),
        ('{"message_item":{"type":0}}', None),
        ('{"message_item":null}', None),
        ('{"title":"report"}', None),
    ],
)
def test_a_quote_names_its_message(body: str, message_id: str | None) -> None:
    assert quoted_message_id(decode(body.encode(), QuotedMessage).value) == message_id


def test_the_first_item_of_any_type_that_quotes_counts() -> None:
    quote = QuotedMessage(svr_id="7")
    items = [MessageItem(type=1), MessageItem(type=3, ref_msg=quote), MessageItem(type=1, ref_msg=QuotedMessage())]
    assert find_quote(items) == quote
    assert find_quote([MessageItem(type=1, ref_msg=None)]) is None
    assert find_quote([]) is None
