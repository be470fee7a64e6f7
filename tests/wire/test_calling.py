"""Endpoints, headers, versions and the user agent: how every request looks."""

from __future__ import annotations

import base64
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilink.wire.endpoints import CDN_BASE_URL, DEFAULT_BASE_URL, ENDPOINTS, INTERNATIONAL_BASE_URL
from ilink.wire.headers import app_headers, post_headers
from ilink.wire.ids import Secret
from ilink.wire.versions import (
    DEFAULT_BOT_AGENT,
    MAX_BOT_AGENT_BYTES,
    decode_version,
    encode_uin,
    encode_version,
    format_bot_agent,
)

some = settings(max_examples=100, deadline=None)

PRODUCT = r"[\w.-]{1,32}/[\w.+-]{1,32}( \([\x20-\x27\x2a-\x7e]{1,64}\))?"
CONFORMING = re.compile(rf"{PRODUCT}( {PRODUCT})*", re.ASCII)


@pytest.mark.parametrize(
    ("name", "path", "method", "has_token", "timeout"),
    [
        ("get_bot_qrcode", "ilink/bot/get_bot_qrcode", "POST", False, 15),
        ("get_qrcode_status", "ilink/bot/get_qrcode_status", "GET", False, 35),
        ("getupdates", "ilink/bot/getupdates", "POST", True, 35),
        ("sendmessage", "ilink/bot/sendmessage", "POST", True, 15),
        ("getconfig", "ilink/bot/getconfig", "POST", True, 10),
        ("sendtyping", "ilink/bot/sendtyping", "POST", True, 10),
        ("getuploadurl", "ilink/bot/getuploadurl", "POST", True, 15),
        ("notifystart", "ilink/bot/msg/notifystart", "POST", True, 10),
        ("notifystop", "ilink/bot/msg/notifystop", "POST", True, 10),
    ],
)
def test_endpoint_is_called_as_the_official_client_calls_it(
    name: str, path: str, method: str, has_token: bool, timeout: float
) -> None:
    endpoint = ENDPOINTS[name]
    assert (endpoint.name, endpoint.path, endpoint.method) == (name, path, method)
    assert (endpoint.has_token, endpoint.timeout) == (has_token, timeout)


def test_there_are_nine_endpoints() -> None:
    assert len(ENDPOINTS) == 9


def test_default_hosts_are_the_vendors() -> None:
    assert DEFAULT_BASE_URL == "https://ilinkai.weixin.qq.com"
    assert CDN_BASE_URL == "https://novac2c.cdn.weixin.qq.com/c2c"
    assert INTERNATIONAL_BASE_URL == "https://ilinkai.wechat.com"


@pytest.mark.parametrize(
    ("version", "number"),
    [("2.1.1", 131329), ("2.4.6", 132102), ("2.4.9", 132105), ("1.0.11", 65547), ("1.0", 65536), ("0.0.1", 1)],
)
def test_version_is_encoded_as_major_minor_patch(version: str, number: int) -> None:
    assert encode_version(version) == number


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("", 0),
        ("unknown", 0),
        ("0.1.0.dev3", 256),
        ("1.2rc1.9", 66048),
        ("2.4.300", 2 << 16 | 4 << 8 | 44),
        ("1.٢", 1 << 16),
    ],
)
def test_an_odd_version_is_encoded_as_far_as_it_is_one(version: str, number: int) -> None:
    assert encode_version(version) == number


@some
@given(parts=st.tuples(*[st.integers(0, 255)] * 3))
def test_version_reads_back(parts: tuple[int, int, int]) -> None:
    version = ".".join(map(str, parts))
    assert decode_version(encode_version(version)) == version


def test_uin_is_the_base64_of_the_decimal_text() -> None:
    assert encode_uin(3735928559) == "MzczNTkyODU1OQ=="


@some
@given(number=st.integers(0, 2**32 - 1))
def test_uin_reads_back(number: int) -> None:
    assert int(base64.b64decode(encode_uin(number))) == number


def test_get_carries_the_application_only() -> None:
    assert app_headers("2.4.9") == {"iLink-App-Id": "bot", "iLink-App-ClientVersion": "132105"}


def test_post_carries_the_whole_set() -> None:
    assert post_headers("2.4.9", uin=3735928559, token=Secret("0badc0ffee42@im.bot:s"), route_tag="7") == {
        "Content-Type": "application/json",
        "AuthorizationType": "ilink_bot_token",
        "Authorization": "Bearer 0badc0ffee42@im.bot:s",
        "X-WECHAT-UIN": "MzczNTkyODU1OQ==",
        "iLink-App-Id": "bot",
        "iLink-App-ClientVersion": "132105",
        "SKRouteTag": "7",
    }


@pytest.mark.parametrize("token", [None, Secret(""), Secret("  ")])
def test_without_a_token_the_kind_of_token_is_still_named(token: Secret | None) -> None:
    headers = post_headers("2.4.9", uin=1, token=token)
    assert "Authorization" not in headers
    assert headers["AuthorizationType"] == "ilink_bot_token"
    assert "SKRouteTag" not in headers


def test_the_token_is_sent_without_blanks_around_it() -> None:
    assert post_headers("2.4.9", uin=1, token=Secret(" t \n"))["Authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("given_text", "sent"),
    [
        ("ilink/0.1.0", "ilink/0.1.0"),
        ("MyBot/1.2 ilink/0.1.0", "MyBot/1.2 ilink/0.1.0"),
        ("nanobot/0.x (python)", "nanobot/0.x (python)"),
        ("a/1 (two words, and more) b/2", "a/1 (two words, and more) b/2"),
        ("  a/1 \t\n  b/2  ", "a/1 b/2"),
        ("a/1 (x   y)", "a/1 (x y)"),
        ("a/1+build.7", "a/1+build.7"),
        ("a+b/1 c/2", "c/2"),
        ("nameless c/2", "c/2"),
        ("c/2 trailing", "c/2"),
        ("a/1/2 c/2", "c/2"),
        ("/1 c/2", "c/2"),
        ("a/ c/2", "c/2"),
        ("a/1 (über) c/2", "a/1 c/2"),
        ("a/1 () c/2", "a/1 c/2"),
        ("a/1 ((x)) c/2", "a/1 c/2"),
        ("a/1 (x) (y) c/2", "a/1 (x) c/2"),
        ("(orphan) c/2", "c/2"),
        ("bad (comment) c/2", "c/2"),
        ("a/1(x) c/2", "c/2"),
        ("a/1 (never closed c/2", "a/1"),
        ("a/1 (" + "x" * 64 + ")", "a/1 (" + "x" * 64 + ")"),
        ("a/1 (" + "x" * 65 + ")", "a/1"),
        ("n" * 32 + "/" + "v" * 32, "n" * 32 + "/" + "v" * 32),
        ("n" * 33 + "/1 c/2", "c/2"),
        ("c/2 a/" + "v" * 33, "c/2"),
        ("机器人/1 c/2", "c/2"),
        ("", DEFAULT_BOT_AGENT),
        (" ", DEFAULT_BOT_AGENT),
        ("OpenClaw", DEFAULT_BOT_AGENT),
        ("(x)", DEFAULT_BOT_AGENT),
    ],
)
def test_user_agent_is_brought_into_the_grammar(given_text: str, sent: str) -> None:
    assert format_bot_agent(given_text) == sent


def test_a_user_agent_over_256_bytes_loses_whole_products_from_its_end() -> None:
    products = [f"product-{number:02}/1.0 (a comment of some length)" for number in range(10)]
    sent = format_bot_agent(" ".join(products))
    assert sent == " ".join(products[:6])
    assert len(sent) <= MAX_BOT_AGENT_BYTES < len(" ".join(products[:7]))


def test_a_user_agent_of_exactly_256_bytes_is_whole() -> None:
    text = " ".join(["n" * 31 + "/" + "v" * 32] * 3 + ["n" * 32 + "/" + "v" * 28])
    assert len(text) == 256
    assert format_bot_agent(text) == text
    assert format_bot_agent(text + "v") == " ".join(["n" * 31 + "/" + "v" * 32] * 3)


@some
@given(text=st.text(alphabet="ab1/().+ é\t", max_size=400) | st.text(max_size=50))
def test_every_user_agent_ends_up_conforming_and_stays_so(text: str) -> None:
    sent = format_bot_agent(text)
    assert CONFORMING.fullmatch(sent)
    assert len(sent.encode()) <= MAX_BOT_AGENT_BYTES
    assert format_bot_agent(sent) == sent


def test_the_default_user_agent_names_this_version() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text("utf-8"))["project"]
    assert f"{project['name']}/{project['version']}" == DEFAULT_BOT_AGENT
