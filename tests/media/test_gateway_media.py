"""Files go both ways between a bot and a person, through real sockets, byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.media.recordings import recording, video
from tests.objects import S3

from ilink.client.client import Client
from ilink.client.media import MediaClient
from ilink.client.thumbnails import make_thumbnail
from ilink.errors import MediaError, RequestRejectedError
from ilink.messages.media import MediaKind, MediaReference, UploadedMedia, media_references
from ilink.messages.outgoing import OutgoingMessage
from ilink.testing import LocalGateway
from ilink.testing.person import Person
from ilink.transport.http import HttpTransport
from ilink.wire.accounts import Account
from ilink.wire.cipher import ciphertext_size
from ilink.wire.codec import decode
from ilink.wire.ids import ClientId, Cursor, Secret
from ilink.wire.keys import KeyForm
from ilink.wire.models import UNSET, WeixinMessage
from ilink.wire.silk import is_silk, silk_seconds

SIZES = [0, 1, 15, 16, 17, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100)
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(100)


class Talk:
    """A bot and a person on one gateway."""

    def __init__(self, gateway: LocalGateway, alice: Person, client: Client) -> None:
        self.gateway = gateway
        self.alice = alice
        self.client = client
        self.media = MediaClient(client)
        self.cursor = Cursor("")
        self.sends = 0

    async def sends_file(self, data: bytes, kind: str, name: str = "", text: str | None = None) -> WeixinMessage:
        """Let the person send a file, and return what the bot gets."""
        await self.gateway.rules.post_media(self.alice.user_id, self.bot_id, kind, pieces(data), name=name, text=text)
        batch = await self.client.get_updates(self.cursor)
        self.cursor = batch.cursor
        return decode(batch.updates[-1], WeixinMessage).value

    async def shows(self, uploaded: UploadedMedia):  # type: ignore[no-untyped-def]
        """Send an uploaded file, and return its item in the transcript."""
        self.sends += 1
        message = OutgoingMessage(to=self.alice.user_id, item=uploaded.to_item(), client_id=ClientId(f"c{self.sends}"))
        await self.client.send_message(message)
        entries = await self.gateway.rules.transcript(self.bot_id, self.alice.user_id)
        assert entries[-1].state == "shown"
        (item,) = entries[-1].items
        return item

    @property
    def bot_id(self):  # type: ignore[no-untyped-def]
        assert self.client.account is not None
        return self.client.account.account_id

    async def plain(self, media_id: str) -> bytes:
        room = self.gateway.rules.media
        return b"".join([bytes(chunk) async for chunk in room.plain(await room.record(media_id))])


async def pieces(data: bytes, step: int = 70_001) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]


@asynccontextmanager
async def open_talk(transport: HttpTransport, *, media_url: str | None = None, **knobs: object) -> AsyncIterator[Talk]:
    named = {name.replace("__", "."): value for name, value in knobs.items()}
    async with LocalGateway(knobs=named, media_url=media_url) as gateway:
        alice = await gateway.person("alice")
        urls = {"base_url": gateway.api_url, "cdn_url": gateway.cdn_url, "transport": transport}
        async with Client(**urls) as nobody:
            code = await nobody.get_qr_code()
            await alice.befriend(code.qrcode)
            report = await nobody.get_login_status(code.qrcode)
        account = Account(account_id=report.account_id, token=Secret(report.token), base_url=gateway.api_url)  # type: ignore[arg-type]
        async with Client(account, **urls) as client:
            await alice.says("hello")
            talk = Talk(gateway, alice, client)
            talk.cursor = (await client.get_updates(talk.cursor)).cursor
            yield talk


@pytest.fixture
async def talk(transport: HttpTransport) -> AsyncIterator[Talk]:
    async with open_talk(transport) as opened:
        yield opened


KINDS = list(MediaKind)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_size_goes_to_a_person_byte_for_byte(talk: Talk, kind: MediaKind) -> None:
    numbers = {MediaKind.IMAGE: 2, MediaKind.VIDEO: 5, MediaKind.FILE: 4, MediaKind.VOICE: 4}
    for size in SIZES:
        data = os.urandom(size)
        uploaded = await talk.media.upload(data, kind, to=talk.alice.user_id, name="a.bin")
        item = await talk.shows(uploaded)
        assert item.type == numbers[kind]
        assert (item.media.size, item.media.md5) == (size, hashlib.md5(data).hexdigest())
        assert item.media.sha256 == hashlib.sha256(data).hexdigest()
        assert item.media.aes_key_form == "base64_hex"
        assert await talk.plain(item.media.media_id) == data
        assert await talk.media.read(uploaded.reference) == data


@pytest.mark.parametrize("kind", KINDS)
async def test_every_size_goes_to_a_bot_byte_for_byte(talk: Talk, tmp_path: Path, kind: MediaKind) -> None:
    for size in SIZES:
        # Sound is turned into SILK, so only what begins like SILK is sure to stay as it is.
        data = (b"\x02#!SILK_V3" + os.urandom(size))[:size] if kind is MediaKind.VOICE else os.urandom(size)
        (reference,) = media_references(await talk.sends_file(data, kind))
        assert reference.kind == kind
        saved = await talk.media.download(reference, tmp_path / reference.safe_name)
        assert saved.path.read_bytes() == data
        async with talk.media.open(reference) as stream:
            assert b"".join([piece async for piece in stream]) == data


async def test_files_live_in_an_object_store_when_the_gateway_is_given_one(transport: HttpTransport, s3: S3) -> None:
    data = os.urandom(6_000_001)
    async with open_talk(transport, media_url=s3.url) as talk:
        uploaded = await talk.media.upload(data, MediaKind.FILE, to=talk.alice.user_id, name="a.bin")
        item = await talk.shows(uploaded)
        assert [key.startswith("media/") for key in s3.names()] == [True]
        assert await talk.plain(item.media.media_id) == data
        assert await talk.media.read(uploaded.reference) == data
        (reference,) = media_references(await talk.sends_file(data, "file", "b.bin"))
        assert await talk.media.read(reference) == data
        assert len(s3.names()) == 2
        await talk.gateway.rules.media.clear()
        assert s3.names() == []


async def test_file_tells_its_name_size_and_md5_both_ways(talk: Talk, tmp_path: Path) -> None:
    uploaded = await talk.media.upload(b"hello", MediaKind.FILE, to=talk.alice.user_id, name="a.bin")
    item = await talk.shows(uploaded)
    assert (item.file_name, item.media.name) == ("a.bin", "a.bin")
    (reference,) = media_references(await talk.sends_file(b"hello", "file", "../evil\u202e.bin"))
    assert (reference.size, reference.md5) == (5, hashlib.md5(b"hello").hexdigest())
    assert (await talk.media.download(reference, tmp_path / reference.safe_name)).path.parent == tmp_path


@pytest.mark.parametrize(("kind", "data", "number"), [("image", PNG, 2), ("video", MP4, 5)])
async def test_pictures_and_videos_go_both_ways(talk: Talk, kind: str, data: bytes, number: int) -> None:
    uploaded = await talk.media.upload(data, to=talk.alice.user_id)
    item = await talk.shows(uploaded)
    assert (uploaded.kind, item.type, item.media.size) == (kind, number, len(data))
    (reference,) = media_references(await talk.sends_file(data, kind))
    assert reference.kind == kind
    assert await talk.media.read(reference) == data


async def test_inbound_items_are_spelled_as_on_the_real_server(talk: Talk) -> None:
    picture = (await talk.sends_file(PNG, "image")).item_list[0].image_item  # type: ignore[index,union-attr]
    file = (await talk.sends_file(b"hello", "file", "a.txt")).item_list[0].file_item  # type: ignore[index,union-attr]
    video = (await talk.sends_file(MP4, "video")).item_list[0].video_item  # type: ignore[index,union-attr]
    assert len(picture.aeskey) == 32
    assert {len(item.media.aes_key) for item in (picture, file, video)} == {44}
    assert picture.mid_size == picture.hd_size == video.video_size == 128 + 16 * (len(MP4) > 127)
    assert (file.len, file.md5, file.file_name) == ("5", hashlib.md5(b"hello").hexdigest(), "a.txt")
    assert "&taskid=" in file.media.full_url


async def test_pictures_and_videos_tell_what_a_phone_would_show(transport: HttpTransport) -> None:
    moving = video(width=320, height=160, frames=20)
    for unit, length in (("seconds", 2), ("milliseconds", 2000)):
        async with open_talk(transport, video__play_length_unit=unit) as talk:
            picture = (await talk.sends_file(drawn_picture(), "image")).item_list[0].image_item  # type: ignore[index,union-attr]
            message = await talk.sends_file(moving, "video")
            film = message.item_list[0].video_item  # type: ignore[index,union-attr]
            assert (picture.thumb_width, picture.thumb_height, picture.thumb_media) == (160, 80, UNSET)
            assert (film.thumb_width, film.thumb_height, film.play_length) == (160, 80, length)
            keys = (film.thumb_media.aes_key,)
            small = MediaReference(kind=MediaKind.IMAGE, param=film.thumb_media.encrypt_query_param, key_texts=keys)
            data = await talk.media.read(small)
            assert data.startswith(b"\xff\xd8")
            assert film.thumb_size == ciphertext_size(len(data))
            (reference,) = media_references(message)
            assert await talk.media.read(reference) == moving


async def test_without_the_extra_pictures_and_videos_come_all_the_same(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, film = drawn_picture(), video()
    for missing in ("av", "PIL"):
        monkeypatch.setitem(sys.modules, missing, None)
    image = (await talk.sends_file(picture, "image")).item_list[0].image_item  # type: ignore[index,union-attr]
    item = (await talk.sends_file(film, "video")).item_list[0].video_item  # type: ignore[index,union-attr]
    assert image.thumb_width is item.thumb_width is item.play_length is item.thumb_media is UNSET


async def test_any_sound_comes_as_silk(talk: Talk) -> None:
    pytest.importorskip("pysilk", reason="the extra `media` is not installed")
    message = await talk.sends_file(recording("mp3", "libmp3lame"), "voice")
    item = message.item_list[0].voice_item  # type: ignore[index,union-attr]
    assert item.playtime == pytest.approx(1000, abs=100)
    assert is_silk(await talk.media.read(media_references(message)[0]))


async def test_text_comes_before_the_file_in_the_same_message(talk: Talk) -> None:
    message = await talk.sends_file(PNG, "image", text="look")
    assert [item.type for item in message.item_list] == [1, 2]  # type: ignore[union-attr]


async def test_voice_comes_as_silk_with_its_length_and_transcript(talk: Talk) -> None:
    pytest.importorskip("pysilk", reason="the extra `media` is not installed")
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(bytes(48_000))
    message = await talk.sends_file(target.getvalue(), "voice", text="on my way")
    (item,) = message.item_list  # type: ignore[misc]
    assert (item.voice_item.playtime, item.voice_item.text, item.voice_item.encode_type) == (1000, "on my way", 4)
    (reference,) = media_references(message)
    recording = await talk.media.read(reference)
    assert is_silk(recording)
    assert silk_seconds(recording) == 1.0


async def test_upload_by_parameter_and_by_address_work(transport: HttpTransport) -> None:
    for forms in ("both", "full", "param"):
        async with open_talk(transport, upload__forms=forms) as talk:
            uploaded = await talk.media.upload(PNG, to=talk.alice.user_id)
            assert (await talk.shows(uploaded)).media.size == len(PNG)
            message = await talk.sends_file(PNG, "image")
            assert (message.item_list[0].image_item.media.full_url.__class__ is str) == (forms != "param")  # type: ignore[index,union-attr]
            assert await talk.media.read(media_references(message)[0]) == PNG


async def test_content_is_compared_where_the_knob_says_so(transport: HttpTransport) -> None:
    async with open_talk(transport, cdn__verify="full") as talk:
        item = await talk.shows(await talk.media.upload(PNG, to=talk.alice.user_id))
        assert item.media.mime == "image/png"


async def test_blob_of_another_bot_is_not_shown(talk: Talk, transport: HttpTransport) -> None:
    uploaded = await talk.media.upload(PNG, to=talk.alice.user_id)
    bob = await talk.gateway.person("bob")
    urls = {"base_url": talk.gateway.api_url, "cdn_url": talk.gateway.cdn_url, "transport": transport}
    async with Client(**urls) as nobody:
        code = await nobody.get_qr_code()
        await bob.befriend(code.qrcode)
        report = await nobody.get_login_status(code.qrcode)
    account = Account(account_id=report.account_id, token=Secret(report.token), base_url=talk.gateway.api_url)  # type: ignore[arg-type]
    async with Client(account, **urls) as other:
        await bob.says("hello")
        stranger = Talk(talk.gateway, bob, other)
        item = await stranger.shows(uploaded)
    assert item.media.aes_key_form == "base64_hex"
    assert not isinstance(item.media.media_id, str)


async def test_links_end_and_blobs_are_swept_by_the_gateways_clock(talk: Talk) -> None:
    message = await talk.sends_file(b"hello", "file", "a.txt")
    (reference,) = media_references(message)
    uploaded = await talk.media.upload(PNG, to=talk.alice.user_id)
    item = await talk.shows(uploaded)
    await talk.gateway.clock.advance(hours=25)
    with pytest.raises(RequestRejectedError, match="expired"):
        await talk.media.read(reference)
    assert await talk.plain(item.media.media_id) == PNG
    await talk.gateway.clock.advance(hours=24 * 7)
    assert await talk.gateway.rules.media.sweep() == 2
    entries = await talk.gateway.rules.transcript(talk.bot_id, talk.alice.user_id)
    assert [entry.items[0].type for entry in entries] == [1, 4, 2]


async def test_reset_forgets_blobs(talk: Talk) -> None:
    (reference,) = media_references(await talk.sends_file(b"hello", "file", "a.txt"))
    await talk.gateway.rules.reset()
    with pytest.raises(RequestRejectedError, match="invalid encrypted_param"):
        await talk.media.read(reference)


async def test_key_is_never_in_a_representation(talk: Talk) -> None:
    message = await talk.sends_file(b"hello", "file", "a.txt")
    (reference,) = media_references(message)
    assert reference.key is not None
    assert reference.key.spell(KeyForm.BASE64_HEX) not in repr(reference)
    assert str(reference.param) not in repr(reference)


def drawn_picture() -> bytes:
    image = pytest.importorskip("PIL.Image", reason="the extra `media` is not installed")
    target = io.BytesIO()
    image.new("RGB", (1200, 600), "red").save(target, "PNG")
    return target.getvalue()


async def test_thumbnail_goes_beside_its_picture(talk: Talk) -> None:
    picture = drawn_picture()
    thumbnail = await make_thumbnail(picture)
    assert (thumbnail.width, thumbnail.height) == (240, 120)
    plain = await talk.media.upload(picture, to=talk.alice.user_id)
    uploaded = await talk.media.upload(picture, to=talk.alice.user_id, thumbnail=thumbnail)
    assert plain.thumbnail is None
    assert uploaded.thumbnail is not None
    await talk.shows(uploaded)
    small = MediaReference(kind=MediaKind.IMAGE, param=uploaded.thumbnail.param, key_texts=uploaded.reference.key_texts)
    assert await talk.media.read(small) == thumbnail.data


async def test_thumbnail_of_a_video_is_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(video(width=320, height=160, frames=3))
    thumbnail = await make_thumbnail(path)
    assert (thumbnail.width, thumbnail.height) == (240, 120)


@pytest.mark.parametrize("data", [b"", b"text", PNG, MP4])
async def test_what_cannot_be_seen_has_no_thumbnail(data: bytes) -> None:
    pytest.importorskip("av", reason="the extra `media` is not installed")
    with pytest.raises(MediaError, match="no thumbnail"):
        await make_thumbnail(data)
