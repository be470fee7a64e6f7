"""Programs that other people wrote for WeChat, unmodified, on our gateway."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from clients import CLIENTS, DOCUMENT, PICTURE, Running
from keyboard import Control, wait_until

EVERY = pytest.mark.parametrize("name", CLIENTS)
KEEPING = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.keeps_account])
TYPING = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.types])
RECEIVING = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.media != "none"])
SENDING = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.media == "both"])

LEAVES_IT_TO_THE_CALLER = {"wechat-link", "ides-adapter-weixin"}
REFRESHING = pytest.mark.parametrize("name", [name for name in CLIENTS if name not in LEAVES_IT_TO_THE_CALLER])

Fleet = Callable[[str], Running]


@EVERY
def test_signs_in_and_answers_a_person(name: str, fleet: Fleet, gateway: Control) -> None:
    client = fleet(name)
    for text in ("hello", "你好 🎉 <b>&amp;</b>", "line one\nline two"):
        before = gateway.say(client.person, client.bot_id, text)
        answer = gateway.hear(client.person, client.bot_id, before)
        assert answer["items"][0] == {"type": 1, "text": f"echo: {text}"}
        assert answer["state"] == "shown"


@TYPING
def test_shows_that_it_types(name: str, fleet: Fleet, gateway: Control) -> None:
    client = fleet(name)
    gateway.say(client.person, client.bot_id, "!typing")
    wait_until(lambda: gateway.is_typing(client.person, client.bot_id), f"{name} types")


@KEEPING
def test_goes_on_after_a_restart(name: str, fleet: Fleet, gateway: Control) -> None:
    client = fleet(name)
    before = gateway.say(client.person, client.bot_id, "one")
    gateway.hear(client.person, client.bot_id, before)
    client.stop()
    gateway.say(client.person, client.bot_id, "written while it was away")
    client.start()
    client.hear("SIGNED_IN")
    wait_until(
        lambda: any(
            entry["items"][0].get("text") == "echo: written while it was away"
            for entry in gateway.sent(client.person, client.bot_id)
        ),
        f"{name} answers what was written while it was away",
    )


@EVERY
def test_a_stale_token_is_told_in_both_slots_and_the_client_does_as_it_is_known_to(
    name: str, newcomer: Fleet, gateway: Control
) -> None:
    client = newcomer(name)
    client.sign_in()
    before = gateway.say(client.person, client.bot_id, "hello")
    gateway.hear(client.person, client.bot_id, before)
    known = gateway.codes()
    gateway.post(f"/_sim/bots/{client.bot_id}/expire", {})
    wait_until(lambda: any(poll["ret"] == -14 for poll in gateway.polls(client.bot_id)), f"{name} is told")
    stale = next(poll for poll in gateway.polls(client.bot_id) if poll["ret"] == -14)
    assert (stale["status"], stale["response"]["errcode"]) == (200, -14)
    match CLIENTS[name].when_stale:
        case "signs in again":
            client.hear("QRCODE")
            assert gateway.wait_for_code(known)
        case "waits":
            assert client.is_alive()
        case "ends":
            assert client.wait_ended()


@REFRESHING
def test_a_code_that_ran_out_is_replaced(name: str, newcomer: Fleet, gateway: Control) -> None:
    client = newcomer(name)
    known = gateway.codes()
    client.start()
    client.hear("QRCODE")
    first = gateway.wait_for_code(known)
    gateway.post(f"/_sim/qr/{first}/expire", {})
    client.confirm(gateway.wait_for_code(known | {first}))
    before = gateway.say(client.person, client.bot_id, "hello")
    assert gateway.hear(client.person, client.bot_id, before)["items"][0]["text"] == "echo: hello"


@EVERY
def test_polls_follow_one_another_without_a_hot_loop(name: str, fleet: Fleet, gateway: Control) -> None:
    client = fleet(name)
    before = gateway.say(client.person, client.bot_id, "hello")
    gateway.hear(client.person, client.bot_id, before)
    polls = gateway.polls(client.bot_id)
    empty = [poll for poll in polls if not poll["response"].get("msgs")]
    assert all(first["id"] < second["id"] for first, second in pairwise(polls))
    assert len(empty) < 20


@RECEIVING
def test_a_persons_picture_arrives_as_it_was(name: str, fleet: Fleet, gateway: Control) -> None:
    client = fleet(name)
    client.received.unlink(missing_ok=True)
    gateway.upload(client.person, client.bot_id, "image", "picture.png", PICTURE)
    client.hear("RECEIVED")
    assert client.received.read_bytes() == PICTURE


@SENDING
@pytest.mark.parametrize(("word", "kind", "sent"), [("!picture", 2, PICTURE), ("!document", 4, DOCUMENT)])
def test_its_pictures_and_files_arrive_as_they_were(
    name: str, word: str, kind: int, sent: bytes, fleet: Fleet, gateway: Control
) -> None:
    client = fleet(name)
    before = gateway.say(client.person, client.bot_id, word)
    answer = gateway.hear(client.person, client.bot_id, before)
    (item,) = answer["items"]
    assert item["type"] == kind
    assert item["media"]["size"] == len(sent)
    assert item["media"]["sha256"] == hashlib.sha256(sent).hexdigest()
    assert gateway.download(item["media"]["media_id"]) == sent
    if kind == 4:
        assert item["media"]["name"] == "document.txt"
