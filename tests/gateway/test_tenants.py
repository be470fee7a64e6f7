"""A bot never reaches another's mail, media or tickets: tried on each endpoint, with secrets and without."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tenants import PLAIN, Tenant, picture, two

from ilink.gateway.fault_actions import CDN_DOWNLOAD, CDN_UPLOAD
from ilink.gateway.http.calls import CALLS
from ilink.gateway.http.cdn import _ENDPOINTS as CDN_ROUTES
from ilink.testing import LocalGateway
from ilink.wire.endpoints import ENDPOINTS

TRIED = {
    "get_bot_qrcode": "test_a_token_of_another_binds_nothing_of_his",
    "get_qrcode_status": "test_a_code_that_is_nearly_right_is_none",
    "getupdates": "test_anothers_cursor_brings_and_acknowledges_nothing_of_his",
    "sendmessage": "test_anothers_context_token_opens_no_chat_and_uses_up_no_window",
    "getconfig": "test_a_ticket_is_made_for_the_caller",
    "sendtyping": "test_anothers_ticket_shows_nobody_typing",
    "getuploadurl": "test_a_permission_does_not_follow_from_anothers_file_key",
    "notifystart": "test_a_notice_is_about_the_caller",
    "notifystop": "test_a_notice_is_about_the_caller",
    "cdn_upload": "test_a_permission_that_is_nearly_right_takes_nothing",
    "cdn_download": "test_a_reference_that_is_nearly_right_gives_nothing",
}


def test_every_endpoint_that_is_served_is_tried() -> None:
    """A new route without a test of its own fails here, whichever table it was added to."""
    assert set(TRIED) == {one.name for one in CALLS.values()} | set(CDN_ROUTES.values())
    assert set(TRIED) == {*ENDPOINTS, CDN_UPLOAD, CDN_DOWNLOAD}
    assert all(name in globals() for name in TRIED.values())


@asynccontextmanager
async def house(**options: object) -> AsyncIterator[tuple[Tenant, Tenant]]:
    async with LocalGateway(knobs={"poll.hold_ms": 0, "poll.error_delay_ms": 0, **options}) as gateway:
        async for pair in two(gateway):
            yield pair


@pytest.fixture
async def tenants() -> AsyncIterator[tuple[Tenant, Tenant]]:
    async with house() as pair:
        yield pair


async def view(tenant: Tenant) -> tuple[object, ...]:
    """Everything of a bot that another could have changed."""
    rules = tenant.gateway.rules
    box = await rules.mailbox(tenant.bot_id)
    return (
        [(entry.n, entry.state) for entry in await rules.transcript(tenant.bot_id, tenant.owner.user_id)],
        box.acked_seq,
        box.handed_seq,
        [(window.user_id, window.sends) for window in box.windows],
        len(box.typing_tickets),
        tenant.owner.sees_typing(bot_id=tenant.bot_id),
        (await rules.bot(tenant.bot_id)).state,
    )


def damaged(text: str) -> str:
    """Change one character in the middle of an opaque text."""
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]


async def test_anothers_cursor_brings_and_acknowledges_nothing_of_his(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    await alice.owner.says("secret")
    before = await view(alice)
    answer = await mallory.poll(alice.secrets["cursor"])
    assert {message["from_user_id"] for message in answer["msgs"]} <= {mallory.owner.user_id}
    assert await view(alice) == before


@pytest.mark.parametrize("mode", ["lenient", "require", "strict_latest", "one_time"])
async def test_anothers_context_token_opens_no_chat_and_uses_up_no_window(mode: str) -> None:
    async with house(**{"context.mode": mode}) as (alice, mallory):
        before = await view(alice)
        text = {"type": 1, "text_item": {"text": "hello"}}
        answer = await mallory.send(text, alice.owner.user_id, alice.secrets["context token"])
        assert answer["ret"] != 0  # this person never wrote to this bot
        assert await view(alice) == before


async def test_anothers_picture_cannot_be_looked_into_by_showing_it(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    await mallory.send(picture(alice.secrets["media reference"], mallory.key))
    entries = await mallory.gateway.rules.transcript(mallory.bot_id, mallory.owner.user_id)
    media = entries[-1].items[0].media
    assert not getattr(media, "media_id", None)
    assert not getattr(media, "sha256", None)
    sent = mallory.gateway.rules.wire_log(bot_id=mallory.bot_id, endpoint="sendmessage")[-1]
    assert "media_reference_unknown" in sent.findings


async def test_anothers_picture_is_not_taken_along_in_a_scene_by_showing_it(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    rules = alice.gateway.rules
    picture_of_alice = base64.b64encode(PLAIN)
    before = msgspec.json.encode(await rules.scene()).count(picture_of_alice)
    assert before > 0
    await mallory.send(picture(alice.secrets["media reference"], alice.key))
    assert msgspec.json.encode(await rules.scene()).count(picture_of_alice) == before


async def test_a_ticket_is_made_for_the_caller(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    before = await view(alice)
    answer = await mallory.call("getconfig", {"ilink_user_id": alice.owner.user_id})
    assert answer.get("typing_ticket") != alice.secrets["typing ticket"]
    assert await view(alice) == before


async def test_anothers_ticket_shows_nobody_typing(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    body = {"ilink_user_id": alice.owner.user_id, "typing_ticket": alice.secrets["typing ticket"], "status": 1}
    assert (await mallory.call("sendtyping", body))["ret"] != 0
    assert not alice.owner.sees_typing(bot_id=alice.bot_id)
    assert not alice.owner.sees_typing(bot_id=mallory.bot_id)


async def test_a_permission_does_not_follow_from_anothers_file_key(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    filekey = os.urandom(16).hex()
    his = await alice.permission(filekey)
    own = await mallory.permission(filekey)
    assert his["upload_param"] != own["upload_param"]
    _, reference = await mallory.upload(own["upload_param"], filekey)
    assert reference != alice.secrets["media reference"]
    assert await alice.download(alice.secrets["media reference"]) == 200


@pytest.mark.parametrize("endpoint", ["msg/notifystart", "msg/notifystop"])
async def test_a_notice_is_about_the_caller(tenants: tuple[Tenant, Tenant], endpoint: str) -> None:
    alice, mallory = tenants
    before = await view(alice)
    await mallory.call(endpoint, {"bot_id": alice.bot_id, "ilink_bot_id": alice.bot_id})
    assert await view(alice) == before
    assert (await alice.poll())["ret"] == 0


async def test_a_token_of_another_binds_nothing_of_his(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    before = await view(alice)
    url = f"{mallory.gateway.api_url}/ilink/bot/get_bot_qrcode?bot_type=3"
    async with mallory.http.post(url, json={"local_token_list": [alice.token]}) as answer:
        code = await answer.json(content_type=None)
    assert alice.bot_id not in str(code)
    bound = await mallory.owner.befriend(code["qrcode"])
    assert bound != alice.bot_id
    assert await view(alice) == before


async def test_a_code_that_is_nearly_right_is_none(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    url = f"{mallory.gateway.api_url}/ilink/bot/get_qrcode_status"
    for guess in (damaged(alice.qrcode), alice.qrcode[:-1], alice.qrcode.upper(), "%", "' OR 1=1 --"):
        if guess == alice.qrcode:
            continue
        async with mallory.http.get(url, params={"qrcode": guess}) as answer:
            assert await answer.json(content_type=None) == {"ret": 0, "status": "expired"}


@pytest.mark.parametrize("what", ["upload permission", "used upload permission"])
async def test_a_permission_that_is_nearly_right_takes_nothing(tenants: tuple[Tenant, Tenant], what: str) -> None:
    alice, mallory = tenants
    for guess in (damaged(alice.secrets[what]), alice.secrets[what][:-4], "", "%"):
        status, reference = await mallory.upload(guess, os.urandom(16).hex())
        assert (400 <= status < 500, reference) == (True, "")


async def test_a_permission_is_good_for_its_own_file_only(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    status, _ = await mallory.upload(alice.secrets["upload permission"], os.urandom(16).hex())
    assert 400 <= status < 500


async def test_a_reference_that_is_nearly_right_gives_nothing(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    reference = alice.secrets["media reference"]
    for guess in (damaged(reference), reference[:-4], alice.secrets["upload permission"], "", "%"):
        assert 400 <= await mallory.download(guess) < 500, guess


@pytest.mark.parametrize(
    "endpoint", [one.path.removeprefix("ilink/bot/") for one in ENDPOINTS.values() if one.has_token]
)
@pytest.mark.parametrize("spoil", ["other secret", "other id", "one letter", "upper case", "no secret", "none"])
async def test_a_token_that_is_nearly_right_opens_no_endpoint(
    tenants: tuple[Tenant, Tenant], endpoint: str, spoil: str
) -> None:
    alice, mallory = tenants
    (his_id, his_secret), (own_id, own_secret) = alice.token.split(":"), mallory.token.split(":")
    token = {
        "other secret": f"{his_id}:{own_secret}",
        "other id": f"{own_id}:{his_secret}",
        "one letter": damaged(alice.token),
        "upper case": f"{his_id}:{his_secret.swapcase()}",
        "no secret": f"{his_id}:",
        "none": "",
    }[spoil]
    before = await view(alice)
    assert (await mallory.call(endpoint, {}, token=token))["ret"] == -14
    assert await view(alice) == before


@pytest.mark.parametrize("what", ["rebind", "rotate", "expire", "read", "knobs"])
async def test_what_is_done_to_one_bot_leaves_the_other_as_it_was(tenants: tuple[Tenant, Tenant], what: str) -> None:
    alice, mallory = tenants
    rules = alice.gateway.rules
    before, knobs = await view(alice), (await rules.config_of(bot_id=alice.bot_id)).knobs
    lines = {line.bot_id: line for line in await rules.chats()}
    match what:
        case "rebind":
            await rules.rebind_bot(mallory.bot_id)
        case "rotate":
            await rules.rotate_bot(mallory.bot_id)
        case "expire":
            await rules.expire_bot(mallory.bot_id)
        case "read":
            await rules.mark_read(mallory.bot_id, alice.owner.user_id, 10**6)
            await rules.mark_read(mallory.bot_id, mallory.owner.user_id, 10**6)
        case _:
            await rules.configure(bot_id=mallory.bot_id, knobs={"context.mode": "require"})
    assert await view(alice) == before
    assert {line.bot_id: line for line in await rules.chats()}[alice.bot_id] == lines[alice.bot_id]
    assert (await rules.config_of(bot_id=alice.bot_id)).knobs == knobs
    assert (await alice.poll(alice.secrets["cursor"]))["ret"] == 0


async def test_after_a_scene_each_token_opens_its_own_mail_only(tenants: tuple[Tenant, Tenant]) -> None:
    alice, mallory = tenants
    rules = alice.gateway.rules
    await rules.load_scene(await rules.scene())
    await rules.post_message(alice.owner.user_id, alice.bot_id, text="for alice's bot")
    await rules.post_message(mallory.owner.user_id, mallory.bot_id, text="for mallory's bot")
    for tenant in tenants:
        senders = {message["from_user_id"] for message in (await tenant.poll())["msgs"]}
        assert senders == {tenant.owner.user_id}
    for secret in ("media reference", "upload permission", "used upload permission"):
        assert 400 <= await mallory.download(alice.secrets[secret]) < 500, secret
