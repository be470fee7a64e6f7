"""The vendor's own plugin through the states of a login that its peers do not know."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from clients import Running
from keyboard import Control, wait_until

WRONG_CODE = "不匹配"
ASKS_FOR_CODE = "输入手机微信显示的数字"
BLOCKED = "多次输入错误"
ALREADY_CONNECTED = "已连接过此 OpenClaw"


@pytest.fixture
def plugin(newcomer: Callable[[str], Running]) -> Running:
    return newcomer("openclaw-weixin")


def begin(plugin: Running, gateway: Control, **environ: str) -> str:
    known = gateway.codes()
    plugin.start(**environ)
    plugin.hear("QRCODE")
    return gateway.wait_for_code(known)


def answers(plugin: Running, gateway: Control) -> bool:
    before = gateway.say(plugin.person, plugin.bot_id, "hello")
    return gateway.hear(plugin.person, plugin.bot_id, before)["items"][0]["text"] == "echo: hello"


def test_it_types_the_digits_of_the_phone(plugin: Running, gateway: Control) -> None:
    code = begin(plugin, gateway)
    person = gateway.add_person("careful")
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": person})
    gateway.post(f"/_sim/qr/{code}/require-code", {"code": "123456"})
    plugin.hear(ASKS_FOR_CODE)
    plugin.type("654321")
    plugin.hear(WRONG_CODE)
    plugin.type("123456")
    wait_until(lambda: gateway.status(code) == "scaned", "the right digits arrive")
    plugin.person, plugin.bot_id = person, gateway.post(f"/_sim/qr/{code}/confirm", {})["bot_id"]
    plugin.hear("SIGNED_IN")
    assert answers(plugin, gateway)


def test_it_shows_a_new_code_after_three_wrong_digits(plugin: Running, gateway: Control) -> None:
    known = gateway.codes()
    code = begin(plugin, gateway)
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": gateway.add_person("careless")})
    gateway.post(f"/_sim/qr/{code}/require-code", {"code": "123456"})
    plugin.hear(ASKS_FOR_CODE)
    plugin.type("1")
    plugin.hear(WRONG_CODE)
    plugin.type("2")
    plugin.hear(WRONG_CODE)
    plugin.type("3")
    plugin.hear(BLOCKED)
    plugin.confirm(gateway.wait_for_code(known | {code}))
    assert answers(plugin, gateway)


def test_it_follows_a_redirect(plugin: Running, gateway: Control) -> None:
    code = begin(plugin, gateway)
    person = gateway.add_person("far away")
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": person})
    gateway.post(f"/_sim/qr/{code}/redirect", {"host": urlsplit(gateway.info["api_url"]).netloc})
    plugin.person, plugin.bot_id = person, gateway.post(f"/_sim/qr/{code}/confirm", {})["bot_id"]
    plugin.hear("SIGNED_IN")
    assert answers(plugin, gateway)


def test_it_keeps_its_account_when_it_is_bound_already(plugin: Running, gateway: Control) -> None:
    plugin.sign_in()
    assert answers(plugin, gateway)
    plugin.stop()
    code = begin(plugin, gateway, SIGN_IN_AGAIN="1")
    gateway.post(f"/_sim/qr/{code}/scan", {"user_id": plugin.person})
    plugin.hear(ALREADY_CONNECTED)
    plugin.hear("SIGNED_IN")
    assert answers(plugin, gateway)
