"""The states of a login beyond scanning and confirming, with every client that knows them.

Tencent's own plugin is in `test_vendors_login.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from clients import Running
from keyboard import Control, wait_until

Newcomer = Callable[[str], Running]

ASKS = {
    "wechatbot-sdk": ("Enter the pairing code", "Code mismatch"),
    "nonebot-adapter-wxclaw": ("DIGITS", "DIGITS"),
    "nonebot-adapter-claweixin": ("DIGITS", "DIGITS"),
}
"""What clients say that ask for the digits of the phone: at first, and when they were wrong."""

REDIRECTED = (
    "wechatbot-sdk",
    "wechat-clawbot",
    "wechat-clawbot-sdk",
    "weixin-channel-sdk",
    "nonebot-adapter-wxclaw",
    "nonebot-adapter-claweixin",
    "weixin-ilink",
)
BOUND = {
    "wechatbot-sdk": "SIGNED_IN",
    "nonebot-adapter-wxclaw": "ALREADY_BOUND",
    "nonebot-adapter-claweixin": "ALREADY_BOUND",
}
"""What clients say that send the tokens they have and are told that one of them is bound already."""


def begin(client: Running, gateway: Control, **environ: str) -> str:
    known = gateway.codes()
    client.start(**environ)
    client.hear("QRCODE")
    return gateway.wait_for_code(known)


def answers(client: Running, gateway: Control) -> bool:
    before = gateway.say(client.person, client.bot_id, "hello")
    return gateway.hear(client.person, client.bot_id, before)["items"][0]["text"] == "echo: hello"


@pytest.mark.parametrize("name", ASKS)
def test_the_digits_of_the_phone_are_asked_for_until_they_are_right(
    name: str, newcomer: Newcomer, gateway: Control
) -> None:
    client, (asks, asks_again) = newcomer(name), ASKS[name]
    code = begin(client, gateway)
    client.person = gateway.add_person("careful")
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": client.person})
    gateway.post(f"/_sim/qr/{code}/require-code", {"code": "123456"})
    client.hear(asks)
    client.type("654321")
    client.hear(asks_again)
    client.type("123456")
    wait_until(lambda: gateway.status(code) == "scaned", "the right digits arrive")
    client.bot_id = gateway.post(f"/_sim/qr/{code}/confirm", {})["bot_id"]
    client.hear("SIGNED_IN")
    assert answers(client, gateway)


@pytest.mark.parametrize("name", ASKS)
def test_a_new_code_is_shown_after_three_wrong_digits(name: str, newcomer: Newcomer, gateway: Control) -> None:
    client, (asks, asks_again) = newcomer(name), ASKS[name]
    known = gateway.codes()
    code = begin(client, gateway)
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": gateway.add_person("careless")})
    gateway.post(f"/_sim/qr/{code}/require-code", {"code": "123456"})
    client.hear(asks)
    client.type("1")
    for digits in ("2", "3"):
        client.hear(asks_again)
        client.type(digits)
    client.confirm(gateway.wait_for_code(known | {code}))
    assert answers(client, gateway)


@pytest.mark.parametrize("name", REDIRECTED)
def test_a_redirect_is_followed(name: str, trusting: Newcomer, secure: Control) -> None:
    client = trusting(name)
    code = begin(client, secure)
    client.person = secure.add_person("far away")
    secure.post(f"/_sim/qr/{code}/scan", {"user_id": client.person})
    elsewhere = f"localhost:{urlsplit(secure.info['api_url']).port}"
    newest = max((entry["id"] for entry in secure.get("/_sim/wire")["entries"]), default=0)
    secure.post(f"/_sim/qr/{code}/redirect", {"host": elsewhere})

    def asks_there() -> bool:
        asked = secure.get("/_sim/wire", endpoint="get_qrcode_status", since=newest)["entries"]
        return any(entry["headers"]["host"] == elsewhere for entry in asked)

    wait_until(asks_there, f"{name} asks at the host it was sent to")
    client.bot_id = secure.post(f"/_sim/qr/{code}/confirm", {})["bot_id"]
    client.hear("SIGNED_IN")
    assert answers(client, secure)


@pytest.mark.parametrize("name", BOUND)
def test_a_client_that_is_bound_already_keeps_its_account(name: str, newcomer: Newcomer, gateway: Control) -> None:
    client = newcomer(name)
    client.sign_in()
    assert answers(client, gateway)
    client.stop()
    code = begin(client, gateway, SIGN_IN_AGAIN="1")
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": client.person})
    assert gateway.status(code) == "binded_redirect"
    client.hear(BOUND[name])
    if BOUND[name] != "SIGNED_IN":
        client.hear("SIGNED_IN")
    assert answers(client, gateway)
