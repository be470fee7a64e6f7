"""The OpenAPI document is true: requests made from it, right ones and wrong ones, are answered as it says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Self

import aiohttp
import pytest
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ilink.gateway.control.app import CALLS
from ilink.gateway.control.openapi import draw_openapi
from ilink.gateway.fault_actions import FaultAction, FaultSpec
from ilink.gateway.server import GatewayServer, ServerOptions

pytestmark = pytest.mark.timeout(300)
"""A dozen requests for each call, each of them a round trip: on a busy machine they add up."""

DOCUMENT = json.loads(draw_openapi(CALLS, has_key=False))

CONFIG = schemathesis.Config.from_dict(
    {"seed": 20260322, "generation": {"max-examples": 12, "deterministic": True, "database": "none"}}
)

# A stream of events never ends, so it is tested elsewhere.
schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG).exclude(path="/_sim/events")


class ThreadedGateway:
    """A gateway on a loop of its own, because the requests made here block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="gateway")
        self.server = GatewayServer(ServerOptions(synchronous="OFF"))

    def __enter__(self) -> Self:
        self.thread.start()
        self.run(self.server.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.run(self.server.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def populate(self) -> dict[str, str]:
        """Make a person, a bot of theirs and a code that waits, and return their ids by parameter name."""
        gateway = self.server.gateway
        gateway.faults.remove_all()
        person = await gateway.add_person("alice")
        url = f"{self.server.info.api_url}/ilink/bot/get_bot_qrcode?bot_type=3"
        async with aiohttp.ClientSession() as session:
            codes = []
            for _ in range(2):
                async with session.get(url) as answer:
                    codes.append((await answer.json(content_type=None))["qrcode"])
        bound = await gateway.confirm(codes[0], user_id=person.user_id)
        await gateway.post_media(person.user_id, bound.bot_id, "file", _chunks(), name="notes.txt")
        (entry,) = await gateway.transcript(bound.bot_id, person.user_id)
        media_id = entry.items[0].media.media_id
        fault = gateway.faults.add(FaultSpec(action=FaultAction(ret=-1), bot_id="another@im.bot"))
        return {
            "user_id": person.user_id,
            "bot_id": bound.bot_id,
            "qrcode": codes[1],
            "media_id": media_id,
            "fault_id": fault.id,
        }


async def _chunks():
    yield b"some words"


@pytest.fixture(scope="module")
def gateway() -> Iterator[ThreadedGateway]:
    with ThreadedGateway() as gateway:
        yield gateway


STRICTER_THAN_THE_DOCUMENT = {
    "/_sim/chats/{bot_id}/{user_id}/read",  # 1.0 is a whole number to JSON Schema
    "/_sim/clock",  # one of two fields must be there
    "/_sim/faults",  # one thing that fails, at an endpoint where it can
    "/_sim/config",  # knobs and profiles have names
    "/_sim/people",  # a name of blanks is none
    "/_sim/people/{user_id}/messages",  # text or items, not both
    "/_sim/qr/{qrcode}/redirect",  # a host that is one
    "/_sim/qr/{qrcode}/require-code",  # as many digits as a knob says
    "/_sim/reset",  # 1.0 is a whole number to JSON Schema
    "/_sim/scene",  # what it names is in it
    "/_sim/wait",  # a bot, or a code
}
"""Calls that refuse, with 422, some of what fits the document."""


@schema.parametrize()
def test_every_answer_is_as_the_document_says(case, gateway: ThreadedGateway) -> None:
    if case.path == "/_sim/wait":
        case.query = {**(case.query or {}), "timeout": _short((case.query or {}).get("timeout", 10))}
    excluded = [positive_data_acceptance] if case.path in STRICTER_THAN_THE_DOCUMENT else []
    case.call_and_validate(base_url=gateway.server.info.control_url, excluded_checks=excluded)


@schema.parametrize()
def test_every_answer_about_what_exists_is_as_the_document_says(case, gateway: ThreadedGateway) -> None:
    ids = gateway.run(gateway.populate())
    case.path_parameters = {name: ids[name] for name in case.path_parameters or {}}
    if isinstance(case.body, dict):
        case.body = {
            name: ids.get(name, value) if isinstance(value, str) else value for name, value in case.body.items()
        }
    if case.path == "/_sim/wait":
        case.query = {**(case.query or {}), "bot_id": ids["bot_id"], "user_id": ids["user_id"], "timeout": "0.01"}
    # The ids were exchanged for real ones, so whether schemathesis meant the request to be wrong says nothing.
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]
    case.call_and_validate(base_url=gateway.server.info.control_url, checks=checks)


def test_the_document_is_served(gateway: ThreadedGateway) -> None:
    answer = requests.get(f"{gateway.server.info.control_url}/_sim/openapi.json", timeout=10)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_every_call_of_the_contract_is_in_the_document() -> None:
    drawn = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    promised = {
        "GET /_sim/health",
        "GET /_sim/info",
        "POST /_sim/reset",
        "GET /_sim/config",
        "PUT /_sim/config",
        "POST /_sim/people",
        "GET /_sim/people",
        "GET /_sim/qr",
        "POST /_sim/qr/{qrcode}/scan",
        "POST /_sim/qr/{qrcode}/confirm",
        "POST /_sim/qr/{qrcode}/require-code",
        "POST /_sim/qr/{qrcode}/redirect",
        "POST /_sim/qr/{qrcode}/expire",
        "POST /_sim/qr/{qrcode}/cancel",
        "GET /_sim/bots",
        "GET /_sim/bots/{bot_id}/mailbox",
        "POST /_sim/bots/{bot_id}/expire",
        "POST /_sim/people/{user_id}/messages",
        "GET /_sim/chats/{bot_id}/{user_id}/transcript",
        "GET /_sim/chats/{bot_id}/{user_id}/typing",
        "GET /_sim/media/{media_id}",
        "GET /_sim/wait",
        "POST /_sim/clock",
        "POST /_sim/faults",
        "GET /_sim/faults",
        "DELETE /_sim/faults/{fault_id}",
        "DELETE /_sim/faults",
        "GET /_sim/wire",
        "GET /_sim/events",
        "GET /metrics",
        "GET /healthz",
        "GET /readyz",
    }
    assert promised - drawn == set()


def test_with_a_key_every_call_but_the_probes_asks_for_it() -> None:
    document = json.loads(draw_openapi(CALLS, has_key=True))
    unguarded = {
        path for path, methods in document["paths"].items() for call in methods.values() if "security" not in call
    }
    assert unguarded == {"/healthz", "/readyz"}


def _short(timeout: object) -> object:
    """Shorten a time that would be waited for; what is wrong on purpose stays wrong."""
    try:
        seconds = float(str(timeout))
    except ValueError:
        return timeout
    return "0.01" if 0.01 < seconds <= 600 else timeout
