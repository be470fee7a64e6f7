"""The protocol's own examples (§4.4), and every field of §2 and §4 by name."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec import Struct

from ilink.wire import models
from ilink.wire.codec import decode, encode
from ilink.wire.enums import (
    ItemType,
    LoginStatus,
    MediaType,
    MessageState,
    MessageType,
    ToolStatus,
    TypingStatus,
    VoiceEncoding,
)
from ilink.wire.ids import normalize_user_id
from ilink.wire.models import UNSET, MessageItem, UpdatesAnswer, WeixinMessage, given, read_id

KEY = "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY="

INBOUND = """{"ret":0,
 "msgs":[{"seq":41,"message_id":7512000000000000123,
   "from_user_id":"o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat","to_user_id":"0badc0ffee42@im.bot",
   "client_id":"c-77f1","create_time_ms":1790000000123,"update_time_ms":1790000000123,"session_id":"sess-1",
   "message_type":1,"message_state":2,"context_token":"AARzJWAFAAABAAAAAAAx",
   "item_list":[{"type":1,"create_time_ms":1790000000123,"is_completed":true,"text_item":{"text":"status please"}}]}],
 "get_updates_buf":"Y3Vyc29yOjQx","longpolling_timeout_ms":35000}"""

ITEMS = {
    "image": {
        "type": 2,
        "image_item": {
            "aeskey": "00112233445566778899aabbccddeeff",
            "mid_size": 20496,
            "thumb_size": 1840,
            "thumb_width": 120,
            "thumb_height": 90,
            "hd_size": 20496,
            "media": {
                "encrypt_query_param": "ZXFwLWltZw==",
                "aes_key": KEY,
                "full_url": "https://cdn.example/c2c/download?encrypted_query_param=ZXFwLWltZw%3D%3D&taskid=9",
            },
        },
    },
    "voice": {
        "type": 3,
        "voice_item": {
            "encode_type": 4,
            "bits_per_sample": 16,
            "sample_rate": 16000,
            "playtime": 2380,
            "text": "on my way",
            "size": 4711,
            "media": {"encrypt_query_param": "ZXFwLXY=", "aes_key": KEY},
        },
    },
    "file": {
        "type": 4,
        "file_item": {
            "file_name": "plan.pdf",
            "md5": "0a1790440a3dc81dcc60221ba5fcff9c",
            "len": "14",
            "media": {"encrypt_query_param": "ZXFwLWY=", "aes_key": KEY},
        },
    },
    "video": {
        "type": 5,
        "video_item": {
            "video_size": 1048592,
            "play_length": 7,
            "video_md5": "4032af8d61035123906e58e067140cc5",
            "media": {"encrypt_query_param": "ZXFwLXZpZA==", "aes_key": KEY},
            "thumb_media": {"encrypt_query_param": "ZXFwLXQ=", "aes_key": KEY},
            "thumb_size": 2064,
            "thumb_width": 160,
            "thumb_height": 90,
        },
    },
    "quote with its content": {
        "type": 1,
        "text_item": {"text": "this one?"},
        "ref_msg": {
            "title": "report",
            "message_item": {
                "type": 1,
                "msg_id": "7512000000000000100",
                "text_item": {"text": "the report is ready"},
            },
        },
    },
    "quote by id": {
        "type": 1,
        "text_item": {"text": "explain this part"},
        "ref_msg": {
            "svr_id": "7512000000000000101",
            "partial_text": {
                "start": "beta",
                "end": "beta",
                "startindex": 1,
                "endindex": 2,
                "quotemd5": "1b89e579ae27a44e70efe5043e247649",
            },
        },
    },
    "quote reduced to type 0": {
        "type": 1,
        "ref_msg": {
            "message_item": {
                "type": 0,
                "create_time_ms": 1,
                "update_time_ms": 2,
                "is_completed": True,
                "msg_id": "7",
                "button_item_list": [{"unknown": 1}],
            }
        },
    },
    "outgoing text": {"type": 1, "text_item": {"text": "All green."}},
    "outgoing image": {
        "type": 2,
        "image_item": {
            "media": {"encrypt_query_param": "x", "aes_key": KEY, "encrypt_type": 1},
            "mid_size": 20496,
        },
    },
    "tool call": {
        "type": 11,
        "create_time_ms": 1790000000900,
        "is_completed": False,
        "tool_call_start_item": {"tool_name": "search", "tool_call_id": "t1"},
    },
    "tool result": {
        "type": 12,
        "create_time_ms": 1790000000990,
        "is_completed": True,
        "tool_call_result_item": {"tool_name": "search", "tool_call_id": "t1", "status": "completed"},
    },
}

ENVELOPE = {
    "from_user_id": "",
    "to_user_id": "o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat",
    "client_id": "pysdk:1790000001000-9f2c11ab",
    "message_type": 2,
    "message_state": 2,
    "context_token": "AARzJWAFAAABAAAAAAAx",
    "run_id": "3f0c2b1e-2f55-4c58-9f9b-0d6a3a9be001",
}

FIELDS = {
    models.BaseInfo: "channel_version bot_agent",
    models.QrCodeRequest: "local_token_list",
    models.QrCodeAnswer: "ret errcode errmsg qrcode qrcode_img_content",
    models.LoginStatusAnswer: ("ret errcode errmsg status bot_token ilink_bot_id ilink_user_id baseurl redirect_host"),
    models.UpdatesRequest: "get_updates_buf sync_buf base_info",
    models.UpdatesAnswer: "ret errcode errmsg msgs get_updates_buf sync_buf longpolling_timeout_ms",
    models.SendMessageRequest: "msg base_info",
    models.SendMessageAnswer: "ret errcode errmsg message_id",
    models.ConfigRequest: "ilink_user_id context_token base_info",
    models.ConfigAnswer: "ret errcode errmsg typing_ticket context_token",
    models.TypingRequest: "ilink_user_id typing_ticket status base_info",
    models.UploadUrlRequest: (
        "filekey media_type to_user_id rawsize rawfilemd5 filesize thumb_rawsize thumb_rawfilemd5 thumb_filesize"
        " no_need_thumb aeskey base_info"
    ),
    models.UploadUrlAnswer: "ret errcode errmsg upload_param thumb_upload_param upload_full_url",
    models.NotifyRequest: "base_info",
    models.WeixinMessage: (
        "seq message_id from_user_id to_user_id client_id create_time_ms update_time_ms delete_time_ms session_id"
        " group_id message_type message_state item_list context_token run_id"
    ),
    models.MessageItem: (
        "type create_time_ms update_time_ms is_completed msg_id ref_msg text_item image_item voice_item file_item"
        " video_item tool_call_start_item tool_call_result_item button_item_list"
    ),
    models.TextItem: "text",
    models.ImageItem: ("media thumb_media aeskey url mid_size thumb_size thumb_height thumb_width hd_size"),
    models.VoiceItem: "media encode_type bits_per_sample sample_rate playtime text size",
    models.FileItem: "media file_name md5 len",
    models.VideoItem: ("media video_size play_length video_md5 thumb_media thumb_size thumb_height thumb_width"),
    models.CdnMedia: "encrypt_query_param aes_key encrypt_type full_url",
    models.ToolCallStartItem: "tool_name tool_call_id",
    models.ToolCallResultItem: "tool_name tool_call_id status",
    models.QuotedMessage: "message_item title svr_id partial_text",
    models.PartialText: "start end startindex endindex quotemd5",
}


@pytest.mark.parametrize("model", FIELDS, ids=lambda model: model.__name__)
def test_every_field_of_the_protocol_has_its_wire_name(model: type[Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(model)} == set(FIELDS[model].split())


def test_the_answer_to_a_poll_reads_as_printed_in_the_protocol() -> None:
    answer = decode(INBOUND.encode(), UpdatesAnswer)
    assert answer.problems == ()
    assert (answer.value.ret, answer.value.get_updates_buf) == (0, "Y3Vyc29yOjQx")
    assert answer.value.longpolling_timeout_ms == 35000
    assert isinstance(answer.value.msgs, list)
    (raw,) = answer.value.msgs
    message = decode(bytes(raw), WeixinMessage)
    assert message.problems == ()
    assert message.value.message_id == 7512000000000000123
    assert json.loads(encode(message.value)) == json.loads(INBOUND)["msgs"][0]


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_of_the_protocol_round_trips(name: str) -> None:
    decoded = decode(json.dumps(ITEMS[name]).encode(), MessageItem)
    assert decoded.problems == ()
    assert json.loads(encode(decoded.value)) == ITEMS[name]


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_round_trips_in_an_outgoing_message(name: str) -> None:
    body = {**ENVELOPE, "item_list": [ITEMS[name]]}
    decoded = decode(json.dumps(body).encode(), WeixinMessage)
    assert decoded.problems == ()
    assert json.loads(encode(decoded.value)) == body


def test_sizes_that_came_as_texts_are_numbers() -> None:
    raw = b'{"type":2,"image_item":{"mid_size":"20496","hd_size":20496.0}}'
    item = decode(raw, MessageItem).value
    assert isinstance(item.image_item, models.ImageItem)
    assert (item.image_item.mid_size, item.image_item.hd_size) == (20496, 20496)


def test_a_file_size_that_came_as_number_is_a_text() -> None:
    item = decode(b'{"type":4,"file_item":{"len":14}}', MessageItem).value
    assert isinstance(item.file_item, models.FileItem)
    assert item.file_item.len == "14"


def test_the_numbers_and_words_are_the_protocols() -> None:
    assert {kind.name: kind.value for kind in ItemType} == {
        "NONE": 0,
        "TEXT": 1,
        "IMAGE": 2,
        "VOICE": 3,
        "FILE": 4,
        "VIDEO": 5,
        "TOOL_CALL_START": 11,
        "TOOL_CALL_RESULT": 12,
    }
    assert [*MessageType] == [0, 1, 2]
    assert [*MessageState] == [0, 1, 2]
    assert {kind.name: kind.value for kind in MediaType} == {"IMAGE": 1, "VIDEO": 2, "FILE": 3, "VOICE": 4}
    assert (TypingStatus.TYPING, TypingStatus.CANCEL) == (1, 2)
    encodings = ["PCM", "ADPCM", "FEATURE", "SPEEX", "AMR", "SILK", "MP3", "OGG_SPEEX"]
    assert {kind.name: kind.value for kind in VoiceEncoding} == {name: n for n, name in enumerate(encodings, 1)}
    statuses = ["wait", "scaned", "confirmed", "expired"]
    statuses += ["scaned_but_redirect", "need_verifycode", "verify_code_blocked", "binded_redirect"]
    assert [*LoginStatus] == statuses
    assert [*ToolStatus] == ["completed", "failed", "blocked", "unknown"]


@pytest.mark.parametrize(
    ("value", "message_id"),
    [(7, "7"), ("7", "7"), (" 7 ", "7"), (2**64 - 1, "18446744073709551615"), ("x-1", "x-1")]
    + [(unset, None) for unset in (UNSET, None, "", "  ", 0, "0")],
)
def test_an_id_is_a_text_or_nothing(value: models.WireId, message_id: str | None) -> None:
    assert read_id(value) == message_id


@pytest.mark.parametrize(("value", "result"), [(UNSET, 5), (None, 5), (0, 0), (7, 7)])
def test_given_falls_back_for_absent_and_null_only(value: models.WireId, result: int) -> None:
    assert given(value, 5) == result


@pytest.mark.parametrize(
    ("text", "user_id"),
    [
        ("o9cq80AbC@im.wechat", "o9cq80AbC@im.wechat"),
        (" user:o9cq80AbC@im.wechat ", "o9cq80AbC@im.wechat"),
        ("weixin:user", "user"),
    ],
)
def test_a_user_id_loses_its_wrapping_and_never_its_case(text: str, user_id: str) -> None:
    assert normalize_user_id(text) == user_id
