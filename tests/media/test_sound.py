"""Any recording becomes WAV or SILK, and nothing a file says makes us read another."""

from __future__ import annotations

import io
import random
import sys
import wave
from pathlib import Path

import pytest
from tests.media.recordings import recording, video

from ilink.errors import ConfigError, MediaError, TooLargeError
from ilink.wire.containers import open_container
from ilink.wire.silk import is_silk, silk_seconds, wav_to_silk
from ilink.wire.sound import to_silk, to_wav

pytest.importorskip("av", reason="the extra `media` is not installed")

FORMATS = [
    ("mp3", "libmp3lame", 44_100),
    ("ogg", "libopus", 48_000),
    ("mp4", "aac", 44_100),
    ("flac", "flac", 96_000),
    ("wav", "pcm_s16le", 44_100),
    ("wav", "pcm_f32le", 24_000),
]


def shape(wav: bytes) -> tuple[int, int, int, float]:
    with wave.open(io.BytesIO(wav)) as file:
        rate = file.getframerate()
        return file.getnchannels(), file.getsampwidth(), rate, file.getnframes() / rate


@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_formats_become_wav_of_one_channel(container: str, codec: str, rate: int) -> None:
    data = recording(container, codec, rate=rate)
    for wanted in (16_000, 24_000):
        channels, width, got, seconds = shape(to_wav(data, sample_rate=wanted))
        assert (channels, width, got) == (1, 2, wanted)
        assert seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_formats_become_silk_as_phones_record(container: str, codec: str, rate: int) -> None:
    pytest.importorskip("pysilk", reason="the extra `media` is not installed")
    recorded = to_silk(recording(container, codec, rate=rate))
    assert recorded.startswith(b"\x02#!SILK_V3")
    assert silk_seconds(recorded) == pytest.approx(1.0, abs=0.1)


def test_silk_stays_as_it_is_and_becomes_wav() -> None:
    pytest.importorskip("pysilk", reason="the extra `media` is not installed")
    silk = wav_to_silk(recording("wav", "pcm_s16le", rate=24_000, layout="mono"))
    assert is_silk(silk)
    assert to_silk(silk) is silk
    assert shape(to_wav(silk)) == (1, 2, 24_000, 1.0)


@pytest.mark.parametrize("data", [b"", b"words", bytes(5000), b"RIFF\x00\x00\x00\x00WAVE", b"\xff\xfb" + bytes(100)])
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    for convert in (to_wav, to_silk):
        with pytest.raises(MediaError, match="no sound"):
            convert(data)


def test_video_without_sound_is_refused() -> None:
    with pytest.raises(MediaError, match="no sound"):
        to_wav(video())


def test_unusual_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="44100"):
        to_wav(recording("mp3", "libmp3lame"), sample_rate=44_100)


def test_long_recording_is_refused_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilink.wire.sound.MAX_SECONDS", 0.5)
    with pytest.raises(TooLargeError, match="longer"):
        to_wav(recording("mp3", "libmp3lame"))


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = recording("mp3", "libmp3lame")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"ilink\[media\]"):
        to_wav(data)


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile {path}\n",
        "ffconcat version 1.0\nfile file:{path}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_files_that_name_other_files_open_none(playlist: str, tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(recording("wav", "pcm_s16le"))
    with pytest.raises(MediaError, match="no sound"):
        to_wav(playlist.format(path=path).encode())


@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_damage_is_contained(container: str, codec: str, rate: int) -> None:
    whole = recording(container, codec, rate=rate, seconds=0.1)
    for seed in range(40):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            to_wav(bytes(data[: chance.randrange(1, len(data) + 1)]))
        except MediaError:
            continue


def test_error_inside_of_the_block_keeps_its_kind() -> None:
    with pytest.raises(KeyError), open_container(io.BytesIO(recording("flac", "flac"))):
        raise KeyError("mine")
