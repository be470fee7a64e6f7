"""No secret reaches a cassette, and what stands in its place keeps shape and equality."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path

import pytest
from cassette_house import GatewayHand, record
from hypothesis import given
from hypothesis import strategies as st

from ilink.cassettes import Recorder
from ilink.cassettes.masks import Pseudonyms
from ilink.testing import LocalGateway
from ilink.transport.http import HttpTransport
from ilink.transport.seam import Request
from ilink.wire.keys import KeyForm, MediaKey, read_key


def masks() -> Pseudonyms:
    return Pseudonyms(api=["https://ilinkai.weixin.qq.com"], cdn="https://novac2c.cdn.weixin.qq.com/c2c")


async def secrets_of(gateway: LocalGateway, hand: GatewayHand) -> set[str]:
    """Return what the gateway and its people would not want to be told."""
    rules = gateway.rules
    entries = await rules.transcript(hand.bot_id, hand.user_id)
    mailbox = await rules.state.store.context_tokens((await rules._bots.get(hand.bot_id)).number, limit=100)
    tickets = await rules.state.store.tickets((await rules._bots.get(hand.bot_id)).number, limit=100)
    return {
        hand.bot_id,
        hand.user_id,
        *(entry.message_id for entry in entries if entry.message_id),
        *(entry.client_id for entry in entries if entry.client_id),
        *(token.token for token in mailbox),
        *(ticket.ticket for ticket in tickets),
        *(code.qrcode for code in await rules.codes()),
        "canary-random-id",
    }


async def test_a_whole_recording_has_none_of_the_gateways_secrets(gateway: LocalGateway, tmp_path: Path) -> None:
    hand = GatewayHand(gateway)
    await record(gateway, tmp_path / "run.cassette", hand)
    text = (tmp_path / "run.cassette").read_text()
    secrets = await secrets_of(gateway, hand)
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in text] == []


async def test_canaries_planted_anywhere_do_not_reach_a_cassette(gateway: LocalGateway, tmp_path: Path) -> None:
    canaries = (f"CANARY-{n:03d}-Zq7" for n in itertools.count())
    gateway.fault("getconfig", ret=-2, errmsg=f"{next(canaries)} failed")
    gateway.fault("notifystop", http_status=500)
    body = {
        "ilink_user_id": f"{next(canaries)}@im.wechat",
        next(canaries): next(canaries),
        "nested": [{"unknown": next(canaries), f"x{next(canaries)}": {"deep": [next(canaries), 1234567890123]}}],
        "base_info": {"channel_version": next(canaries), "bot_agent": f"Bot/1.0 ({next(canaries)})"},
        "local_token_list": [f"{next(canaries)}@im.bot:{next(canaries)}"],
        "baseurl": f"https://{next(canaries)}.example/{next(canaries)}?{next(canaries)}={next(canaries)}",
        "status": next(canaries),
        "errmsg": next(canaries),
    }
    headers = {
        "Authorization": f"Bearer {next(canaries)}@im.bot:{next(canaries)}",
        f"X-{next(canaries)}": next(canaries),
        "Cookie": next(canaries),
    }
    async with (
        HttpTransport(environ={}) as transport,
        Recorder(tmp_path / "a", transport=transport, base_url=gateway.api_url, cdn_url=gateway.cdn_url) as recorder,
    ):
        for path in (
            "getconfig",
            "getupdates",
            "get_bot_qrcode",
            f"{next(canaries)}",
            f"{next(canaries)}/x?{next(canaries)}={next(canaries)}",
        ):
            url = f"{recorder.url}/ilink/bot/{path}"
            await transport.send(
                Request(method="POST", url=url, headers=headers, body=json.dumps(body).encode()), timeout=5
            )
        plain = Request(method="POST", url=f"{recorder.url}/ilink/bot/msg/notifystop", body=next(canaries).encode())
        await transport.send(plain, timeout=5)
        query = f"encrypted_query_param={next(canaries)}&filekey={next(canaries)}&{next(canaries)}=1"
        media = f"{recorder.url}/c2c/upload?{query}"
        await transport.send(Request(method="POST", url=media, body=next(canaries).encode()), timeout=5)
    text = (tmp_path / "a").read_text().lower()
    assert len(text.splitlines()) == 8
    assert "canary" not in text
    assert base64.b64encode(b"CANARY").decode().lower() not in text
    assert "1234567890123" not in text


def test_equal_values_stay_equal_and_others_stay_different_in_whatever_field_they_are() -> None:
    one = masks()
    first = one.body({"message_id": 7512000000000000123, "msg_id": "7512000000000000123", "context_token": "AAAAAAAA"})
    second = one.body({"svr_id": "7512000000000000123", "message_id": 7512000000000000124, "context_token": "AAAAAAAB"})
    assert str(first["message_id"]) == first["msg_id"] == second["svr_id"]
    assert isinstance(first["message_id"], int)
    assert first["message_id"] != second["message_id"]
    assert first["context_token"] != second["context_token"]
    assert one.body({"context_token": "AAAAAAAA"}) == {"context_token": first["context_token"]}


def test_a_key_keeps_its_form_and_is_the_same_in_each() -> None:
    key, one = MediaKey(bytes(range(16))), masks()
    spelled = {form: one.body({"aes_key": key.spell(form)})["aes_key"] for form in KeyForm}
    assert [read_key(str(text))[1] for text in spelled.values()] == list(spelled)
    assert len({read_key(str(text))[0] for text in spelled.values()}) == 1
    assert key not in {read_key(str(text))[0] for text in spelled.values()}


def test_sorts_of_ids_texts_times_and_addresses_keep_their_shape() -> None:
    found = masks().body(
        {
            "to_user_id": "o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat",
            "ilink_bot_id": "0badc0ffee42@im.bot",
            "bot_token": "0badc0ffee42@im.bot:secret",
            "text": "你好 and more words than a label has",
            "create_time_ms": 1790000000123,
            "update_time_ms": 1790000000456,
            "upload_full_url": "https://novac2c.cdn.weixin.qq.com/c2c/upload?encrypted_query_param=abcdefgh&filekey=f",
            "baseurl": "https://ilinkai.weixin.qq.com",
            "ret": -14,
            "status": "scaned",
            "errmsg": "prepare failed",
        }
    )
    assert len(str(found["to_user_id"])) == len("o9cq80AbCdEfGhIjKlMnOpQrStUv@im.wechat")
    assert str(found["bot_token"]).startswith(f"{found['ilink_bot_id']}:")
    assert len(str(found["text"])) == len("你好 and more words than a label has".encode())
    assert found["update_time_ms"] == 1_700_000_000_333
    assert str(found["upload_full_url"]).startswith("{cdn}/upload?encrypted_query_param=")
    assert (found["baseurl"], found["ret"], found["status"], found["errmsg"]) == (
        "{api}", -14, "scaned", "prepare failed",
    )  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text() | st.sampled_from(["aes_key", "message_id", "url", "create_time_ms", "text"]), JSON))
def test_no_body_makes_it_raise(body: dict[str, object]) -> None:
    cleaned = masks().body(body)
    assert len(cleaned) <= len(body)


@pytest.mark.parametrize("value", ["", None, True, 0, []])
def test_what_hides_nothing_stays(value: object) -> None:
    assert masks().body({"context_token": value, "anything": value}) == {"context_token": value, "anything": value}
