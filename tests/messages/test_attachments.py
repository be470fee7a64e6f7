"""The files of a message, by kind."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import cast

import pytest

from ilink import (
    AccountId,
    ConfigError,
    ImageMessage,
    IncomingFile,
    IncomingImage,
    IncomingVideo,
    IncomingVoice,
    MediaReference,
    SavedMedia,
    UploadedMedia,
    VideoMessage,
    VoiceMessage,
)
from ilink.messages.incoming import AnyMessage, Turn, read_message, read_update

POINTER = {"encrypt_query_param": "here", "aes_key": "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY="}
IMAGE = {"type": 2, "image_item": {"media": POINTER, "thumb_width": 120, "thumb_height": 90}}
VOICE = {"type": 3, "voice_item": {"media": POINTER, "playtime": 1500, "text": "hi", "encode_type": 6}}
FILE = {"type": 4, "file_item": {"media": POINTER, "file_name": "../a.pdf", "len": "9", "md5": "0F" * 16}}
VIDEO = {"type": 5, "video_item": {"media": POINTER, "play_length": 7, "thumb_width": 160, "thumb_height": 90}}


class Desk:
    """Answers every call with what it was called for."""

    async def upload(self, *_: object, **__: object) -> UploadedMedia:
        raise AssertionError

    async def download(self, reference: MediaReference, to: Path | str, *, max_bytes: int = 0) -> SavedMedia:
        return SavedMedia(path=Path(to), size=max_bytes, mime=reference.kind)

    async def read(self, reference: MediaReference, *, max_bytes: int = 0) -> bytes:
        return f"{reference.kind} {max_bytes}".encode()

    def open(self, reference: MediaReference, *, max_bytes: int = 0) -> AbstractAsyncContextManager[object]:
        return nullcontext(f"{reference.kind} {max_bytes}")


class FakeTurn:
    media = Desk()


def read(*items: object, turn: object = None) -> AnyMessage:
    raw = json.dumps({"item_list": items}).encode()
    wire = read_update(raw)
    assert wire is not None
    return read_message(raw, wire, account=AccountId("a@im.bot"), turn=cast("Turn | None", turn))


async def test_every_kind_is_fetched_in_three_ways() -> None:
    message = read(IMAGE, VOICE, FILE, VIDEO, turn=FakeTurn())
    for media, kind in zip(message.all_media, ("image", "voice", "file", "video"), strict=True):
        assert (await media.save("x", max_bytes=5)) == SavedMedia(path=Path("x"), size=5, mime=kind)
        assert await media.read(max_bytes=5) == f"{kind} 5".encode()
        async with media.stream(max_bytes=5) as pieces:
            assert str(pieces) == f"{kind} 5"


def test_every_kind_says_what_is_known_before_it_is_fetched() -> None:
    image, voice, file, video = read(IMAGE, VOICE, FILE, VIDEO).all_media
    assert isinstance(image, IncomingImage)
    assert (image.thumbnail_width, image.thumbnail_height, image.size) == (120, 90, None)
    assert isinstance(voice, IncomingVoice)
    assert (voice.seconds, voice.transcript, voice.encoding) == (1.5, "hi", 6)
    assert isinstance(file, IncomingFile)
    assert (file.name, file.original_name, file.size, file.md5) == ("a.pdf", "../a.pdf", 9, "0f" * 16)
    assert isinstance(video, IncomingVideo)
    assert (video.play_length, video.thumbnail_width, video.thumbnail_height) == (7, 160, 90)


def test_messages_have_their_own_kind_by_name() -> None:
    image, voice, video = read(IMAGE), read(VOICE), read(VIDEO)
    assert isinstance(image, ImageMessage)
    assert image.image == image.media
    assert isinstance(voice, VoiceMessage)
    assert voice.voice == voice.media
    assert isinstance(video, VideoMessage)
    assert video.video == video.media


def test_quoted_files_come_last_and_are_never_the_messages_own() -> None:
    quoting = {**FILE, "ref_msg": {"message_item": IMAGE}}
    message = read(quoting, VOICE)
    assert [(media.kind, media.is_quoted) for media in message.all_media] == [
        ("file", False),
        ("voice", False),
        ("image", True),
    ]


async def test_without_a_bot_files_are_described_and_not_fetched() -> None:
    (media,) = read(FILE).all_media
    with pytest.raises(ConfigError, match="running bot"):
        await media.read()
    with pytest.raises(ConfigError, match="running bot"):
        await media.save("x")
    with pytest.raises(ConfigError, match="running bot"):
        media.stream()


def test_part_that_points_to_nothing_is_described_but_is_no_file() -> None:
    message = read({"type": 2, "image_item": {"thumb_width": 1}})
    assert isinstance(message, ImageMessage)
    assert message.image.thumbnail_width == 1
    assert message.all_media == ()
    with pytest.raises(ConfigError, match="no file"):
        _ = message.media


def test_no_representation_shows_a_key_or_an_address() -> None:
    shown = repr(read(IMAGE, VOICE, FILE, VIDEO).all_media)
    assert "here" not in shown
    assert POINTER["aes_key"] not in shown
