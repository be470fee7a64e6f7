from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import json_values

from ilink.wire.ids import Secret
from ilink.wire.redact import MASK, excerpt, redact, redact_headers, redact_url

CANARY = "CANARY-7f3a"
OPAQUE = "AARzJWAFAAABAAAAAAAx" * 3

SECRETS = [
    "aes_key",
    "aeskey",
    "bot_token",
    "context_token",
    "encrypt_query_param",
    "filekey",
    "full_url",
    "get_updates_buf",
    "local_token_list",
    "qrcode",
    "qrcode_img_content",
    "sync_buf",
    "thumb_upload_param",
    "token",
    "typing_ticket",
    "upload_full_url",
    "upload_param",
    "verify_code",
    "x-encrypted-param",
    "Authorization",
    # Fields nobody has documented.
    "refresh_token",
    "sessionToken",
    "new_ticket",
    "client_secret",
    "password",
    "Set-Cookie",
]


@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize("canary", [CANARY, [CANARY], {"inner": CANARY}, [{"x": [CANARY]}]])
def test_no_secret_field_shows_its_value(field: str, canary: object) -> None:
    body = {"ret": 0, "msgs": [{"item_list": [{"image_item": {"media": {field: canary}}}]}], field: canary}
    assert CANARY not in json.dumps(redact(body))


@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize("empty", ["", None, []])
def test_an_empty_secret_stays_empty(field: str, empty: object) -> None:
    assert redact({field: empty}) == {field: empty}


def test_what_is_no_secret_is_shown() -> None:
    body = {
        "ret": 0,
        "message_id": 7497484083968569736,
        "from_user_id": "o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat",
        "client_id": "c-77f1",
        "item_list": [{"type": 1, "text_item": {"text": f"{OPAQUE} is text"}}, {"file_item": {"file_name": OPAQUE}}],
        "partial_text": {"start": "beta", "end": "beta", "quotemd5": "1b89e579ae27a44e70efe5043e247649"},
        "base_info": {"channel_version": "0.1.0"},
    }
    assert redact(body) == body


@pytest.mark.parametrize("words", [f"bad token {OPAQUE}", f"Authorization: Bearer {CANARY}"])
def test_a_secret_inside_words_is_masked(words: str) -> None:
    shown = json.dumps(redact({"errmsg": words, "list": [words]}))
    assert OPAQUE not in shown
    assert CANARY not in shown


def test_an_address_inside_a_body_is_masked_as_an_address() -> None:
    assert redact({"url": f"https://u:{CANARY}@h/x?token={CANARY}"}) == {"url": "https://h/x?token=***"}


@settings(max_examples=100, deadline=None)
@given(value=json_values)
def test_any_json_is_redacted_and_again_to_the_same(value: object) -> None:
    once = redact(value)
    assert repr(redact(once)) == repr(once)


def test_headers_are_shown_only_when_known_to_be_harmless() -> None:
    headers = {
        "Authorization": f"Bearer {CANARY}",
        "Cookie": CANARY,
        "X-Unknown": CANARY,
        "x-encrypted-param": CANARY,
        "Content-Type": "application/json",
        "iLink-App-Id": "bot",
        "x-error-message": "no",
    }
    assert redact_headers(headers) == {
        "Authorization": MASK,
        "Cookie": MASK,
        "X-Unknown": MASK,
        "x-encrypted-param": MASK,
        "Content-Type": "application/json",
        "iLink-App-Id": "bot",
        "x-error-message": "no",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://h/ilink/bot/get_qrcode_status?qrcode=CANARY&n=1",
            "https://h/ilink/bot/get_qrcode_status?qrcode=***&n=1",
        ),
        (
            "https://h/c2c/download?encrypted_query_param=CANARY&taskid=9",
            "https://h/c2c/download?encrypted_query_param=***&taskid=***",
        ),
        (
            "https://h/c2c/upload?encrypted_query_param=CANARY&filekey=CANARY",
            "https://h/c2c/upload?encrypted_query_param=***&filekey=***",
        ),
        ("https://u:CANARY@h/x", "https://h/x"),
        ("https://h/x#CANARY", "https://h/x"),
        (f"https://h/q/{OPAQUE}/x", "https://h/q/***/x"),
        (f"https://h/x?unknown={OPAQUE}", "https://h/x?unknown=***"),
        ("https://h/x?my_token=CANARY&empty=", "https://h/x?my_token=***&empty="),
        ("https://[CANARY", MASK),
    ],
)
def test_a_url_shows_no_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize("path", ["get_bot_qrcode", "get_qrcode_status", "msg/notifystart", "getuploadurl"])
def test_the_path_of_a_call_is_shown(path: str) -> None:
    assert redact_url(f"https://bots.example.com/a/prefix/of/some/size/ilink/bot/{path}").endswith(path)


@settings(max_examples=100, deadline=None)
@given(url=st.text() | st.text(alphabet="htps:/?&=[]@%#a", max_size=30))
def test_no_url_raises(url: str) -> None:
    redact_url(url)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"<html>\r\n502 Bad Gateway", "<html>  502 Bad Gateway"),
        (b'{"bot_token":"CANARY","x":"y"', '{"bot_token":"***","x":"y"'),
        (b'{"bot_token" : "CAN\\"ARY', '{"bot_token" : "***"'),
        (b'{"local_token_list":["CANARY', '{"local_token_list":["***"'),
        (b"Bearer CANARY", "Bearer ***"),
        (OPAQUE.encode(), MASK),
        (b"\xff\x00\x1b[31m", "\ufffd  [31m"),
        (b"", ""),
    ],
)
def test_an_excerpt_shows_no_secret(raw: bytes, shown: str) -> None:
    assert excerpt(raw) == shown


def test_an_excerpt_is_short() -> None:
    assert len(excerpt(b"word " * 1000)) == 200


@settings(max_examples=100, deadline=None)
@given(raw=st.binary())
def test_no_bytes_break_an_excerpt(raw: bytes) -> None:
    assert all(letter.isprintable() for letter in excerpt(raw))


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format, lambda secret: f"{[secret]} {(secret,)}"])
def test_a_secret_prints_as_stars(show: object) -> None:
    assert CANARY not in show(Secret(CANARY))
    assert MASK in show(Secret(CANARY))


def test_a_secret_is_read_with_reveal_and_compared_by_value() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert Secret(CANARY) == Secret(CANARY) != Secret("other")
    assert len({Secret(CANARY), Secret(CANARY)}) == 1
    assert Secret(CANARY) != CANARY
    assert (bool(Secret("")), bool(Secret("x"))) == (False, True)


@pytest.mark.parametrize("leak", [pickle.dumps, copy.deepcopy, json.dumps])
def test_a_secret_is_not_written_out(leak: object) -> None:
    with pytest.raises(TypeError):
        leak(Secret(CANARY))


def test_the_name_of_a_field_may_be_a_secret_too() -> None:
    assert redact({"A" * 64: {"B" * 64: 1}, "msg": 2}) == {"***": {"***": 1}, "msg": 2}


def test_a_secret_in_a_path_is_masked_even_where_slashes_cut_it() -> None:
    secret = "aB3/" * 20
    shown = redact_url(f"https://host/ilink/bot/{secret}x")
    assert "aB3" not in shown
    assert redact_url("https://host/ilink/bot/getUpdates") == "https://host/ilink/bot/getUpdates"
