"""Clients that have Tencent's addresses in their code meet the gateway at those addresses, with nothing replaced.

What they are given is what an operator can give to any program: a proxy, and a certificate to trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from clients import DOCUMENT, PICTURE, Running
from keyboard import Control, wait_until

FIXED = pytest.mark.parametrize("name", ["openclaw-weixin", "weilink", "wechat-clawbot"])


def hosts(vendor: Control, bot_id: str) -> set[str]:
    return {entry["headers"]["host"] for entry in vendor.get("/_sim/wire", bot_id=bot_id)["entries"]}


@FIXED
def test_it_signs_in_answers_and_moves_files_at_tencents_addresses(
    name: str, led: Callable[[str], Running], vendor: Control
) -> None:
    client = led(name)
    client.sign_in()
    before = vendor.say(client.person, client.bot_id, "hello")
    assert vendor.hear(client.person, client.bot_id, before)["items"][0]["text"] == "echo: hello"

    vendor.upload(client.person, client.bot_id, "image", "picture.png", PICTURE)
    client.hear("RECEIVED")
    assert client.received.read_bytes() == PICTURE

    before = vendor.say(client.person, client.bot_id, "!document")
    (item,) = vendor.hear(client.person, client.bot_id, before)["items"]
    assert item["media"]["sha256"] == hashlib.sha256(DOCUMENT).hexdigest()
    assert hosts(vendor, client.bot_id) == {"ilinkai.weixin.qq.com"}


def test_tencents_plugin_follows_a_redirect_to_the_international_host(
    led: Callable[[str], Running], vendor: Control
) -> None:
    plugin = led("openclaw-weixin")
    known = vendor.codes()
    plugin.start()
    plugin.hear("QRCODE")
    code = vendor.wait_for_code(known)
    person = vendor.add_person("abroad")
    vendor.post(f"/_sim/qr/{code}/scan", {"user_id": person})
    vendor.post(f"/_sim/qr/{code}/redirect", {"host": "ilinkai.wechat.com"})

    def asks_abroad() -> bool:
        asked = vendor.get("/_sim/wire", endpoint="get_qrcode_status")["entries"]
        return any(entry["headers"]["host"] == "ilinkai.wechat.com" for entry in asked)

    wait_until(asks_abroad, "it asks at the host it was sent to")
    bot_id = vendor.post(f"/_sim/qr/{code}/confirm", {})["bot_id"]
    plugin.hear("SIGNED_IN")
    before = vendor.say(person, bot_id, "hello")
    assert vendor.hear(person, bot_id, before)["items"][0]["text"] == "echo: hello"
