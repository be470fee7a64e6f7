"""Attacks on the control listener, over a real socket."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from ilink.errors import ConfigError
from ilink.gateway.server import GatewayServer, ServerOptions

KEY = "the-key-of-these-tests"


async def test_dns_rebinding_reads_nothing(api) -> None:
    for path in ("/_sim/people", "/metrics", "/healthz", "/_sim/openapi.json", "/"):
        answer = await api.get(path, headers={"host": "evil.example"})
        assert (answer.status, answer.body["error"]["code"]) == (421, "misdirected")


async def test_a_cross_site_post_changes_nothing(api) -> None:
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = await api.post("/_sim/people", {"name": "mallory"}, headers=headers)
        assert (answer.status, answer.body["error"]["code"]) == (403, "forbidden")
    assert (await api.get("/_sim/people")).body == {"people": []}


async def test_no_other_origin_is_ever_invited(api) -> None:
    answer = await api("OPTIONS", "/_sim/people", headers={"origin": "https://evil.example"})
    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_page_itself_may_be_linked_to(api) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert (await api.get("/", headers=headers)).status == 200


async def test_every_call_needs_the_key(keyed_api) -> None:
    for method, path in [
        ("GET", "/_sim/people"),
        ("POST", "/_sim/reset"),
        ("GET", "/metrics"),
        ("GET", "/_sim/events"),
    ]:
        answer = await keyed_api(method, path)
        assert (answer.status, answer.body["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_key_opens(keyed_api) -> None:
    keyed_api.headers["authorization"] = f"Bearer {KEY}"
    assert (await keyed_api.get("/_sim/people")).status == 200
    assert (await keyed_api.get("/_sim/info")).body["control_key"] == KEY


async def test_a_probe_needs_no_key(keyed_api) -> None:
    assert [(await keyed_api.get(path)).status for path in ("/healthz", "/readyz")] == [200, 200]


async def test_a_login_link_signs_one_browser_in(keyed_api, keyed_server) -> None:
    link = urlsplit(keyed_server.login_url)
    first = await keyed_api.get(f"{link.path}?{link.query}")
    assert (first.status, first.headers["location"]) == (303, "/")
    keyed_api.headers["cookie"] = first.headers["set-cookie"].partition(";")[0]
    assert (await keyed_api.get("/_sim/people")).status == 200
    assert (await keyed_api.get(f"{link.path}?{link.query}")).status == 403


async def test_looking_at_a_login_link_does_not_use_it_up(keyed_api, keyed_server) -> None:
    link = urlsplit(keyed_server.login_url)
    path = f"{link.path}?{link.query}"
    assert (await keyed_api("HEAD", path)).status == 200
    assert (await keyed_api.get(path)).status == 303


async def test_a_signed_in_browser_never_learns_the_key(keyed_api, keyed_server) -> None:
    link = urlsplit(keyed_server.login_url)
    cookie = (await keyed_api.get(f"{link.path}?{link.query}")).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    answer = await keyed_api.get("/_sim/info", headers={"cookie": cookie.partition(";")[0]})
    assert answer.body["control_key"] is None
    assert KEY.encode() not in answer.raw


async def test_further_login_links_come_from_the_api(keyed_api) -> None:
    assert (await keyed_api.post("/_sim/login-links")).status == 401
    made = await keyed_api.post("/_sim/login-links", headers={"authorization": f"Bearer {KEY}"})
    link = urlsplit(made.body["url"])
    assert (made.status, (await keyed_api.get(f"{link.path}?{link.query}")).status) == (201, 303)


async def test_without_a_key_there_is_nothing_to_sign_in_to(api, server) -> None:
    assert server.login_url == server.info.phone_url
    assert (await api.post("/_sim/login-links")).status == 409
    assert (await api.get("/login?code=x")).status == 403


async def test_a_cookie_does_not_open_the_door_to_another_site(keyed_api, keyed_server) -> None:
    link = urlsplit(keyed_server.login_url)
    cookie = (await keyed_api.get(f"{link.path}?{link.query}")).headers["set-cookie"].partition(";")[0]
    answer = await keyed_api.post("/_sim/reset", headers={"cookie": cookie, "origin": "http://localhost:3000"})
    assert answer.status == 403


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"])
async def test_beyond_loopback_nothing_listens_without_a_key(address) -> None:
    with pytest.raises(ConfigError, match="without a key"):
        await GatewayServer(ServerOptions(control_listen=address)).__aenter__()


@pytest.mark.parametrize("key", ["", "with blank", "schlüssel", "line\nbreak"])
async def test_a_key_that_no_header_can_carry_is_refused(key) -> None:
    with pytest.raises(ConfigError, match="visible ASCII"):
        await GatewayServer(ServerOptions(control_key=key)).__aenter__()


async def test_with_a_key_the_control_api_may_listen_anywhere(session) -> None:
    options = ServerOptions(control_listen="0.0.0.0:0", control_key=KEY, synchronous="OFF")
    async with GatewayServer(options) as server:
        async with session.get(f"{server.info.control_url}/_sim/people") as answer:
            assert answer.status == 401
        headers = {"authorization": f"Bearer {KEY}"}
        async with session.get(f"{server.info.control_url}/_sim/people", headers=headers) as answer:
            assert answer.status == 200


async def test_the_protocol_listener_knows_no_control_api(server, session) -> None:
    async with session.get(f"{server.info.api_url}/_sim/health") as answer:
        assert b'"status":"ok"' not in await answer.read()
