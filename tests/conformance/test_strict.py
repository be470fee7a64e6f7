"""Every client on the profile `strict`: what each gets wrong by itself, as a report that is held against what is known.

A change in a client, or in what the gateway asks for, is noticed here; the table in the reference page is made of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clients import CLIENTS, Running
from keyboard import Control
from peer_house import installed, numbers, serving

SECONDS = 12.0


@dataclass(frozen=True)
class Report:
    """What a client achieves where the gateway is as strict as the strictest report.

    Attributes:
        answers: Whether its first answer to a person is shown; else how it was refused.
        document: Likewise for a file; None for clients that send none, or after an answer that was refused.
        findings: What the wire log says of all it did.
    """

    answers: str = "shown"
    document: str | None = "shown"
    findings: frozenset[str] = field(default_factory=frozenset)


NO_APP_HEADERS = Report(
    answers="a header is missing (auth.require_headers)",
    document=None,
    findings=frozenset({"header_missing:ilink-app-id", "header_missing:ilink-app-clientversion"}),
)
EXPECTED = {
    **{name: Report(document="shown" if client.media == "both" else None) for name, client in CLIENTS.items()},
    "openilink-sdk-python": NO_APP_HEADERS,
    "wechat-link": NO_APP_HEADERS,
    "weixin-bot-sdk": NO_APP_HEADERS,
    "easywechatpy": NO_APP_HEADERS,
    "ilink-bot-server": NO_APP_HEADERS,
    "ides-adapter-weixin": Report(
        answers="no context token (context.missing)",
        document=None,
        findings=frozenset({"context_token_missing"}),
    ),
}
"""Who fails on `strict`, and at what; everybody else gets by, and nothing is found."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with serving(tmp_path_factory.mktemp("strict"), "--profile", "strict") as control:
        yield control


@pytest.fixture
def client(strict: Control, home: Path) -> Iterator[Callable[[str], Running]]:
    started: list[Running] = []

    def get(name: str) -> Running:
        started.append(Running(installed(name), strict, home / f"{name}-strict-{next(numbers)}"))
        return started[-1]

    yield get
    for one in started:
        one.stop()


def outcome(strict: Control, client: Running, text: str) -> str:
    """Let the person write, and return what became of the answer."""
    known = len(strict.sent(client.person, client.bot_id))
    strict.say(client.person, client.bot_id, text)
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        sent = strict.sent(client.person, client.bot_id)
        if len(sent) > known:
            return sent[known]["state"] if sent[known]["state"] != "refused" else str(sent[known]["why"])
        stale = [poll for poll in strict.polls(client.bot_id) if poll["ret"] == -14]
        if stale:
            return str(stale[-1]["why"])
        time.sleep(0.1)
    return "nothing came"


def report(strict: Control, client: Running) -> Report:
    client.sign_in()
    answers = outcome(strict, client, "hello")
    moves = CLIENTS[client.name].media == "both" and answers == "shown"
    document = outcome(strict, client, "!document") if moves else None
    entries = strict.get("/_sim/wire", bot_id=client.bot_id)["entries"]
    findings = frozenset(code for entry in entries for code in entry["findings"])
    return Report(answers=answers, document=document, findings=findings)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_does_on_strict_as_it_is_known_to(
    name: str, client: Callable[[str], Running], strict: Control
) -> None:
    assert report(strict, client(name)) == EXPECTED[name]
