"""What a bot author sees of an update, whatever is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilink.errors import OutcomeUnknownError, RequestRejectedError, WindowClosedError
from ilink.messages import (
    Accepted,
    AcceptedUnconfirmed,
    AnyMessage,
    Deferred,
    DeferredWhy,
    Expired,
    FileMessage,
    ImageMessage,
    OtherMessage,
    Rejected,
    TextMessage,
    Unknown,
    UnknownItem,
    VideoMessage,
    VoiceMessage,
)
from ilink.messages.identity import content_of, identify, in_order
from ilink.messages.incoming import read_message, read_update
from ilink.messages.receipts import weakest
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId

BOT = AccountId("bot@im.bot")
TEXT = {"type": 1, "text_item": {"text": "hello"}}
ID = ClientId("c")


def read(**fields: object) -> AnyMessage:
    raw = json.dumps(fields).encode()
    wire = read_update(raw)
    assert wire is not None
    return read_message(raw, wire, account=BOT, sequence=7)


@pytest.mark.parametrize(
    ("items", "kind", "text"),
    [
        ([TEXT], TextMessage, "hello"),
        ([TEXT, {"type": 1, "text_item": {"text": "world"}}], TextMessage, "hello\nworld"),
        ([{"type": 2, "image_item": {"aeskey": "00"}}], ImageMessage, ""),
        ([TEXT, {"type": 2, "image_item": {}}], ImageMessage, "hello"),
        ([{"type": 3, "voice_item": {"text": "on my way", "playtime": 2380}}], VoiceMessage, "on my way"),
        ([{"type": 4, "file_item": {"file_name": "plan.pdf", "len": "14"}}], FileMessage, ""),
        ([{"type": 5, "video_item": {}}], VideoMessage, ""),
        ([{"type": 11, "tool_call_start_item": {}}], OtherMessage, ""),
        ([{"type": 2}], OtherMessage, ""),
        ([], OtherMessage, ""),
        (None, OtherMessage, ""),
    ],
)
def test_the_kind_is_that_of_the_first_media_else_text(items: object, kind: type[AnyMessage], text: str) -> None:
    message = read(item_list=items)
    assert (type(message), message.text) == (kind, text)


def test_media_parts_say_what_is_known() -> None:
    voice = read(item_list=[{"type": 3, "voice_item": {"text": "on my way", "playtime": 2380}}])
    file = read(item_list=[{"type": 4, "file_item": {"file_name": "../plan.pdf", "len": "14"}}])
    odd = read(item_list=[{"type": 4, "file_item": {"len": "many"}}])
    assert isinstance(voice, VoiceMessage)
    assert isinstance(file, FileMessage)
    assert isinstance(odd, FileMessage)
    assert (voice.voice.transcript, voice.voice.seconds, voice.voice.encoding) == ("on my way", 2.38, None)
    assert (file.file.name, file.file.original_name, file.file.size) == ("plan.pdf", "../plan.pdf", 14)
    assert (odd.file.name, odd.file.original_name, odd.file.size) == ("file", "", None)


def test_an_unknown_item_keeps_all_its_fields() -> None:
    card = {"type": 99, "card_item": {"title": "x"}, "odd": [1]}
    message = read(item_list=[TEXT, card])
    assert message.items[1] == UnknownItem(99, card)
    assert message.text == "hello"


def test_ids_above_2_to_the_53_survive_as_text() -> None:
    assert read(message_id=7512000000000000123).id == "7512000000000000123"
    assert read(message_id="7512000000000000123").id == "7512000000000000123"
    assert read(message_id=0).id is None
    assert read().id is None


def test_times_are_aware_and_in_utc() -> None:
    assert read(create_time_ms=1_790_000_000_123).sent_at == datetime(2026, 9, 21, 14, 13, 20, 123_000, UTC)
    assert read(create_time_ms=0).sent_at is None
    assert read(create_time_ms=10**30).sent_at is None
    assert read().sent_at is None


def test_a_quote_carries_the_content_or_only_the_id() -> None:
    old = read(item_list=[{**TEXT, "ref_msg": {"title": "t", "message_item": {**TEXT, "msg_id": "5"}}}]).quote
    new = read(item_list=[{**TEXT, "ref_msg": {"svr_id": 75, "partial_text": {"start": "a"}}}]).quote
    assert old is not None
    assert new is not None
    assert (old.message_id, old.text) == ("5", "hello")
    assert (new.message_id, new.text, new.item) == ("75", "", None)
    assert new.partial is not None
    assert read(item_list=[TEXT]).quote is None


def test_the_key_names_a_message_for_good_and_nothing_secret_is_shown() -> None:
    message = read(context_token="s3cret", item_list=[TEXT])
    assert message.key == "bot@im.bot:7"
    assert "s3cret" not in repr(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["item_list", "message_id", "from_user_id", "create_time_ms", "ref_msg", "type", "text_item", "group_id", "seq"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(FIELDS, JSON | st.lists(st.dictionaries(FIELDS, JSON, max_size=4), max_size=3), max_size=6))
def test_reading_never_raises(fields: dict[str, object]) -> None:
    raw = json.dumps(fields).encode()
    wire = read_update(raw)
    assert wire is not None
    message = read_message(raw, wire, account=BOT)
    assert isinstance(message.text, str)
    assert (message.quote is None) in (True, False)
    assert identify([(raw, wire)], cursor=Cursor("c"))
    assert content_of(raw, wire)
    assert in_order([(raw, wire), (raw, wire)]) == [(raw, wire)] * 2


@given(st.binary(max_size=40))
def test_bytes_that_are_no_object_are_nothing_and_still_have_an_identity(raw: bytes) -> None:
    wire = read_update(raw)
    (identity,) = identify([(raw, wire)], cursor=Cursor("c"))
    assert identity


class TestIdentity:
    def identities(self, *updates: dict[str, object], cursor: str = "c") -> list[str]:
        batch = [(raw := json.dumps(update).encode(), read_update(raw)) for update in updates]
        return identify(batch, cursor=Cursor(cursor))

    def test_the_first_name_that_is_there_counts(self) -> None:
        assert self.identities(
            {"message_id": 5, "client_id": "x", "seq": 3},
            {"message_id": "5"},
            {"message_id": 0, "client_id": "x", "from_user_id": "a", "seq": 3},
            {"seq": 3},
        ) == ["m:5", "m:5", "c:a:x", "s:3"]

    def test_content_counts_without_tokens_and_links(self) -> None:
        one, again = {"create_time_ms": 5, "context_token": "a"}, {"create_time_ms": 5, "context_token": "b"}
        assert self.identities(one, cursor="1") == self.identities(again, cursor="2")
        assert self.identities(one) != self.identities({"create_time_ms": 6})

    def test_the_same_content_twice_in_a_batch_is_two_messages(self) -> None:
        first, second = self.identities({"create_time_ms": 5}, {"create_time_ms": 5})
        assert first != second

    def test_the_place_among_the_same_content_is_the_same_when_the_batch_comes_again(self) -> None:
        said = {"create_time_ms": 5, "item_list": [TEXT]}
        assert self.identities(said, {"message_id": 1}, said)[2] == self.identities(said, said)[1]

    def test_names_of_the_sender_count_for_that_sender_only(self) -> None:
        one, other = self.identities({"client_id": "x", "from_user_id": "a"}, {"client_id": "x", "from_user_id": "b"})
        assert one != other

    def test_content_without_a_time_is_the_same_only_with_the_same_cursor(self) -> None:
        said = {"from_user_id": "a", "item_list": [TEXT]}
        assert self.identities(said, cursor="1") == self.identities(said, cursor="1")
        assert self.identities(said, cursor="1") != self.identities(said, cursor="2")


class TestContent:
    def content(self, **fields: object) -> str:
        raw = json.dumps({"from_user_id": "a", "item_list": [TEXT]} | fields).encode()
        wire = read_update(raw)
        assert wire is not None
        return content_of(raw, wire)

    @pytest.mark.parametrize(
        "fields",
        [{"message_id": 5}, {"seq": 7}, {"client_id": "c"}, {"create_time_ms": 9}, {"context_token": "t"}],
    )
    def test_names_times_and_tokens_are_no_content(self, fields: dict[str, object]) -> None:
        assert self.content(**fields) == self.content()
        image = {"item_list": [{"type": 2, "msg_id": "9", "image_item": {"aeskey": "00", "url": "u"}}]}
        again = {"item_list": [{"type": 2, "msg_id": "8", "image_item": {"aeskey": "00", "url": "v"}}]}
        assert self.content(**image, **fields) == self.content(**again)

    @pytest.mark.parametrize(
        "fields",
        [
            {"from_user_id": "b"},
            {"group_id": "g"},
            {"item_list": [{"type": 1, "text_item": {"text": "hello!"}}]},
            {"item_list": [TEXT, TEXT]},
            {"item_list": [{**TEXT, "ref_msg": {"title": "what you said"}}]},
            {"item_list": [{"type": 2, "image_item": {"aeskey": "01"}}]},
            {"item_list": []},
        ],
    )
    def test_who_where_and_what_is(self, fields: dict[str, object]) -> None:
        assert self.content(**fields) != self.content()


class TestOrder:
    def order(self, *updates: dict[str, object] | None) -> list[object]:
        batch = [(raw := json.dumps(update).encode(), read_update(raw)) for update in updates]
        return [json.loads(raw) for raw, _ in in_order(batch)]

    def said(self, user: str, at: int, **more: object) -> dict[str, object]:
        return {"from_user_id": user, "create_time_ms": at, **more}

    def test_messages_of_a_conversation_come_in_the_order_they_were_said(self) -> None:
        a1, a2, a3, b9 = self.said("a", 1), self.said("a", 2), self.said("a", 3), self.said("b", 9)
        assert self.order(a3, b9, a1, None, a2) == [a1, b9, a2, None, a3]

    def test_the_number_in_the_stream_decides_within_a_moment(self) -> None:
        one, two = self.said("a", 1, seq=1), self.said("a", 1, seq=2)
        assert self.order(two, one) == [one, two]

    def test_what_says_no_time_or_number_stays_as_it_came(self) -> None:
        late, unknown = self.said("a", 2), {"from_user_id": "a", "message_id": 1}
        assert self.order(late, unknown, self.said("a", 1)) == [late, unknown, self.said("a", 1)]
        numbered, plain = self.said("a", 1, seq=9), self.said("a", 1)
        assert self.order(numbered, plain) == [numbered, plain]

    def test_conversations_of_a_group_and_of_a_user_are_two(self) -> None:
        group, user = self.said("a", 2, group_id="g"), self.said("a", 1)
        assert self.order(group, user) == [group, user]


def test_receipts_raise_what_they_stand_for() -> None:
    for fine in (
        Accepted(client_id=ID, message_id=MessageId("1")),
        AcceptedUnconfirmed(client_id=ID),
        Deferred(client_id=ID, why=DeferredWhy.WINDOW),
    ):
        assert fine.raise_for_status() is fine
    for bad, error in (
        (Rejected(client_id=ID, code=-3, reason="no"), RequestRejectedError),
        (Unknown(client_id=ID, reason="no answer"), OutcomeUnknownError),
        (Expired(client_id=ID, reason="too late"), WindowClosedError),
    ):
        assert bad.is_final
        with pytest.raises(error):
            bad.raise_for_status()


def test_a_text_in_parts_is_as_good_as_its_worst_part() -> None:
    good = Accepted(client_id=ID, message_id=MessageId("1"))
    last = Accepted(client_id=ID, message_id=MessageId("2"))
    held = Deferred(client_id=ID, why=DeferredWhy.WINDOW)
    assert weakest([good, last]) is last
    assert weakest([good, held, last]) is held
    assert weakest([held, Rejected(client_id=ID, code=None, reason="")]).is_final
