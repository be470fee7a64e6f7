from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Struct
from strategies import MODELS, bodies, instances, json_values, numbers

from ilink.errors import RemoteProtocolError
from ilink.wire.codec import decode, decode_object, encode
from ilink.wire.models import (
    Answer,
    LoginStatusAnswer,
    MessageItem,
    QrCodeRequest,
    QuotedMessage,
    SendMessageAnswer,
    UpdatesAnswer,
    WeixinMessage,
)

few = settings(max_examples=25, deadline=None)
some = settings(max_examples=150, deadline=None)


def lenient(raw: bytes, model: type[Struct]) -> Struct:
    """Read field by field: an unknown field with a lone surrogate refuses the typed pass and nothing else."""
    spoilt = raw[:1] + b'"\\ud800":0' + (b"," if raw[1:2] != b"}" else b"") + raw[1:]
    return decode(spoilt, model).value


@some
@given(value=st.sampled_from(MODELS).flatmap(instances))
def test_what_was_encoded_decodes_to_the_same(value: Struct) -> None:
    assert decode(encode(value), type(value)).value == value


@some
@given(value=st.sampled_from([model for model in MODELS if model is not UpdatesAnswer]).flatmap(instances))
def test_reading_field_by_field_equals_the_typed_pass(value: Struct) -> None:
    assert lenient(encode(value), type(value)) == value


@few
@given(value=instances(UpdatesAnswer))
def test_messages_mean_the_same_when_read_field_by_field(value: UpdatesAnswer) -> None:
    read = lenient(encode(value), UpdatesAnswer)
    assert isinstance(read, UpdatesAnswer)
    assert (read.get_updates_buf, read.ret) == (value.get_updates_buf, value.ret)
    if isinstance(value.msgs, list):
        assert isinstance(read.msgs, list)
        assert [msgspec.json.decode(raw) for raw in read.msgs] == [msgspec.json.decode(raw) for raw in value.msgs]


@pytest.mark.parametrize("model", [WeixinMessage, UpdatesAnswer, QrCodeRequest])
@some
@given(raw=st.binary(max_size=60))
def test_no_bytes_raise_anything_but_the_protocol_error(model: type[Struct], raw: bytes) -> None:
    with suppress(RemoteProtocolError):
        decode(raw, model)


@some
@given(data=st.data(), model=st.sampled_from(MODELS))
def test_no_object_raises_whatever_is_in_its_fields(data: st.DataObject, model: type[Struct]) -> None:
    body = data.draw(bodies(model))
    assert isinstance(decode(json.dumps(body).encode(), model).value, model)


@some
@given(value=json_values)
def test_only_objects_are_answers(value: object) -> None:
    raw = json.dumps(value).encode()
    if isinstance(value, dict):
        assert set(decode_object(raw)) == set(value)
    else:
        with pytest.raises(RemoteProtocolError, match="expected a JSON object"):
            decode(raw, Answer)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"ret":0',
        b"{}{}",
        b"[]",
        b'"ok"',
        b"null",
        b"0",
        b"<html>502</html>",
        b"\x00",
        b"\xff\xfe",
        b'{"ref_msg":' * 100_000,
        b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_no_object_is_told_as_such(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(raw, MessageItem)


@pytest.mark.parametrize("field", ["client_id", "seq", "message_id", "item_list", "unknown"])
@pytest.mark.parametrize("digits", [25, 40, 600, 4301, 50_000])
def test_endless_numbers_are_read_or_refused(field: str, digits: int) -> None:
    try:
        decode(b'{"%s":%s}' % (field.encode(), b"9" * digits), WeixinMessage)
    except RemoteProtocolError:
        assert digits > 4300


@pytest.mark.parametrize("depth", [20, 60, 120, 200, 330, 500, 900, 2000])
@pytest.mark.parametrize("end", [b'{"type":1}', b'{"type":"1"}'])
def test_quotes_within_quotes_are_read_or_refused_but_never_overflow(depth: int, end: bytes) -> None:
    raw = b'{"ref_msg":{"message_item":' * depth + end + b"}}" * depth
    try:
        decode(raw, MessageItem)
    except RemoteProtocolError:
        assert depth > 100


@pytest.mark.parametrize("spelling", ["{}", '"{}"', '" {} "'])
@pytest.mark.parametrize("number", [0, 7, 2**53 + 1, 7497484083968569736, 2**63 - 1, 2**63, 2**64 - 1, -5])
def test_ids_are_exact_as_number_and_as_text(spelling: str, number: int) -> None:
    text = spelling.format(number)
    message = decode(f'{{"message_id":{text},"seq":{text}}}'.encode(), WeixinMessage).value
    item = decode(f'{{"msg_id":{text},"ref_msg":{{"svr_id":{text}}}}}'.encode(), MessageItem).value
    answer = decode(f'{{"ret":0,"message_id":{text}}}'.encode(), SendMessageAnswer).value
    assert isinstance(item.ref_msg, QuotedMessage)
    for read in (message.message_id, item.msg_id, item.ref_msg.svr_id, answer.message_id):
        assert str(read).strip() == str(number)
    assert message.seq == number


@some
@given(number=numbers)
def test_an_id_keeps_being_a_number_or_a_text(number: int) -> None:
    for value in (number, str(number)):
        raw = encode({"message_id": value})
        assert decode(raw, WeixinMessage).value.message_id == value
        assert encode(decode(raw, WeixinMessage).value) == raw


def test_unknown_fields_stay_in_the_raw_bytes() -> None:
    raw = b'{"ret":0,"status":"wait","mood":{"x":[1,2.50]}}'
    assert decode(raw, LoginStatusAnswer).raw == raw


def test_messages_stay_raw_to_the_byte() -> None:
    message = b'{"seq": 1, "mood":1.50,"message_id":7497484083968569736}'
    answer = decode(b'{"ret":0,"msgs":[' + message + b"]}", UpdatesAnswer).value
    assert isinstance(answer.msgs, list)
    assert [bytes(raw) for raw in answer.msgs] == [message]


def test_unknown_words_and_numbers_survive() -> None:
    assert decode(b'{"status":"on_the_moon"}', LoginStatusAnswer).value.status == "on_the_moon"
    message = decode(b'{"message_type":9,"message_state":77,"item_list":[{"type":8},{"type":4711}]}', WeixinMessage)
    assert (message.value.message_type, message.value.message_state) == (9, 77)
    assert message.value.item_list == [MessageItem(type=8), MessageItem(type=4711)]
    assert message.problems == ()


def test_absent_null_and_empty_are_told_apart() -> None:
    assert decode(b"{}", LoginStatusAnswer).value.baseurl is UNSET
    assert decode(b'{"baseurl":null}', LoginStatusAnswer).value.baseurl is None
    assert decode(b'{"baseurl":""}', LoginStatusAnswer).value.baseurl == ""
    assert encode(LoginStatusAnswer()) == b"{}"
    assert encode(LoginStatusAnswer(baseurl=None)) == b'{"baseurl":null}'


@pytest.mark.parametrize(
    ("body", "field", "value", "problems"),
    [
        ('{"seq":"41"}', "seq", 41, ()),
        ('{"seq":41.0}', "seq", 41, ()),
        ('{"seq":41.5}', "seq", UNSET, ("seq",)),
        ('{"seq":"forty"}', "seq", UNSET, ("seq",)),
        ('{"seq":"--4"}', "seq", UNSET, ("seq",)),
        ('{"seq":"٤"}', "seq", UNSET, ("seq",)),
        ('{"seq":true}', "seq", UNSET, ("seq",)),
        ('{"seq":[41]}', "seq", UNSET, ("seq",)),
        ('{"seq":1e400}', "seq", UNSET, ("seq",)),
        ('{"client_id":7}', "client_id", "7", ()),
        ('{"client_id":7.5}', "client_id", UNSET, ("client_id",)),
        ('{"client_id":{}}', "client_id", UNSET, ("client_id",)),
        ('{"client_id":"a\\ud800"}', "client_id", "a?", ()),
        ('{"item_list":{}}', "item_list", UNSET, ("item_list",)),
        ('{"item_list":[1,{"type":"1"}]}', "item_list", [MessageItem(type=1)], ("item_list[0]",)),
        ('{"item_list":[{"is_completed":1}]}', "item_list", [MessageItem(is_completed=True)], ()),
        ('{"item_list":[{"is_completed":"yes"}]}', "item_list", [MessageItem()], ("item_list[0].is_completed",)),
    ],
)
def test_a_field_of_a_wrong_type_is_read_if_it_can_be_and_named_if_not(
    body: str, field: str, value: object, problems: tuple[str, ...]
) -> None:
    decoded = decode(body.encode(), WeixinMessage)
    assert getattr(decoded.value, field) == value
    assert decoded.problems == problems


def test_a_wrong_field_takes_no_other_with_it() -> None:
    raw = b'{"ret":0,"longpolling_timeout_ms":"35000","msgs":[{"message_id":7497484083968569736,"x":1}],"errmsg":[]}'
    decoded = decode(raw, UpdatesAnswer)
    assert decoded.value.longpolling_timeout_ms == 35000
    assert isinstance(decoded.value.msgs, list)
    assert [bytes(message) for message in decoded.value.msgs] == [b'{"message_id":7497484083968569736,"x":1}']
    assert decoded.problems == ("errmsg",)


def test_bad_utf8_and_a_byte_order_mark_are_survived() -> None:
    assert decode(b'{"client_id":"a\xffb"}', WeixinMessage).value.client_id == "a\ufffdb"
    assert decode(b'\xef\xbb\xbf{"client_id":"a"}', WeixinMessage).value.client_id == "a"


def test_a_text_with_lone_surrogates_can_be_sent() -> None:
    assert encode(WeixinMessage(client_id="a\ud800b")) == b'{"client_id":"a?b"}'


def test_an_empty_token_list_is_written_out() -> None:
    assert encode(QrCodeRequest()) == b'{"local_token_list":[]}'


def test_an_unreadable_answer_shows_its_beginning_without_secrets() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(b'{"ret":0,"bot_token":"CANARY","status":"confirm', LoginStatusAnswer)
    assert caught.value.excerpt == '{"ret":0,"bot_token":"***","status":"confirm'
