"""What a cassette keeps of media, and that a client which sends and receives files can be given it as a server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cassette_house import QUICK

from ilink.cassettes import Cassette, Recorder, Replayer, compare, read_cassette
from ilink.client.client import Client
from ilink.client.media import MediaClient
from ilink.messages.media import MediaKind, media_references
from ilink.messages.outgoing import OutgoingMessage
from ilink.testing import LocalGateway
from ilink.transport.http import HttpTransport
from ilink.wire.accounts import Account
from ilink.wire.codec import decode
from ilink.wire.ids import AccountId, ClientId, Cursor, Secret, UserId
from ilink.wire.models import WeixinMessage

PICTURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + os.urandom(3000)
PLAN = b"a plan that nobody may read " * 100
FILM = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + os.urandom(5000)
SENT = {"image": PICTURE, "file": PLAN, "video": FILM}
Tell = Callable[[str, str], Awaitable[None]]


async def converse(transport: HttpTransport, base_url: str, tell: Tell) -> list[tuple[str, int]]:
    """Sign in, receive a picture, a file and a video, send a picture and a file back; return what was received."""
    urls = {"transport": transport, "base_url": base_url, "cdn_url": f"{base_url}/c2c"}
    async with Client(**urls) as nobody:  # type: ignore[arg-type]
        code = await nobody.get_qr_code()
        await tell("scan", code.qrcode)
        report = await nobody.get_login_status(code.qrcode)
    account = Account(account_id=AccountId(str(report.account_id)), token=Secret(str(report.token)), base_url=base_url)
    received: list[tuple[str, int]] = []
    cursor, sender = Cursor(""), UserId("")
    async with Client(account, **urls) as client:  # type: ignore[arg-type]
        media = MediaClient(client)
        for kind in SENT:
            await tell("send", kind)
            batch = await client.get_updates(cursor)
            cursor = batch.cursor
            message = decode(batch.updates[-1], WeixinMessage).value
            sender = UserId(str(message.from_user_id))
            (reference,) = media_references(message)
            received.append((reference.kind, len(await media.read(reference))))
        for number, (data, kind) in enumerate([(PICTURE, MediaKind.IMAGE), (PLAN, MediaKind.FILE)]):
            uploaded = await media.upload(data, kind, to=sender, name="plan.txt")
            client_id = ClientId(f"answer-{number}")
            await client.send_message(OutgoingMessage(to=sender, item=uploaded.to_item(), client_id=client_id))
            assert await media.read(uploaded.reference)
    return received


@pytest.fixture
async def recorded(gateway: LocalGateway, transport: HttpTransport, tmp_path: Path) -> Cassette:
    """A recording of such a conversation."""
    alice = await gateway.person("alice")
    bot_id = AccountId("")

    async def tell(what: str, of: str) -> None:
        nonlocal bot_id
        if what == "scan":
            bot_id = AccountId(str((await gateway.rules.confirm(of, user_id=alice.user_id)).bot_id))
        else:
            await gateway.rules.post_media(alice.user_id, bot_id, of, pieces(SENT[of]), name="plan.txt")  # type: ignore[arg-type]

    path = tmp_path / "media.cassette"
    async with Recorder(path, transport=transport, base_url=gateway.api_url, cdn_url=gateway.cdn_url) as recorder:
        received = await converse(transport, recorder.url, tell)
    assert received == [(kind, len(data)) for kind, data in SENT.items()]
    return read_cassette(path)


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport(environ={}) as opened:
        yield opened


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def nothing(_what: str, _of: str) -> None:
    """Whoever scanned and sent did so in the recording."""


async def test_of_media_a_cassette_keeps_size_and_hash_of_what_travelled(recorded: Cassette, tmp_path: Path) -> None:
    kept = (tmp_path / "media.cassette").read_bytes()
    for data in SENT.values():
        assert data[:40] not in kept
        assert hashlib.md5(data).hexdigest().encode() not in kept
        assert hashlib.sha256(data).hexdigest().encode() not in kept
    moved = [take for take in recorded.takes if take.endpoint.startswith("cdn_")]
    assert [take.endpoint for take in moved] == [*["cdn_download"] * 3, *["cdn_upload", "cdn_download"] * 2]
    for take in moved:
        part = take.request if take.endpoint == "cdn_upload" else take.response
        assert part.bytes
        assert len(str(part.sha256)) == 64


async def test_a_client_sends_and_receives_files_on_a_replayed_cassette(
    recorded: Cassette, transport: HttpTransport
) -> None:
    async with Replayer(recorded, quiet=0.1) as replayer:
        received = await converse(transport, replayer.url, nothing)
        assert replayer.is_finished
        assert replayer.misses == []
    assert [kind for kind, _ in received] == list(SENT)
    assert dict(received)["file"] == len(PLAN)


async def test_the_gateway_handles_recorded_media_as_they_were_handled(recorded: Cassette) -> None:
    comparison = await compare(recorded, knobs=QUICK)
    assert comparison.differences == []
    assert comparison.skipped == []
    assert comparison.played == len(recorded.takes)


async def test_where_the_gateway_gives_media_otherwise_is_told(recorded: Cassette) -> None:
    comparison = await compare(recorded, knobs=QUICK | {"cdn.require_taskid": True})
    assert ("cdn_download", "status") in {(one.endpoint, one.kind) for one in comparison.differences}
