"""Voice goes from WAV to SILK and back, and a hostile recording is an error, never a crash."""

from __future__ import annotations

import io
import math
import random
import subprocess
import sys
import wave
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilink.errors import ConfigError, MediaError, TooLargeError
from ilink.wire import silk
from ilink.wire.silk import SAMPLE_RATES, is_silk, silk_seconds, silk_to_wav, wav_to_silk

pytest.importorskip("pysilk", reason="the extra `media` is not installed")


def tone(seconds: float, *, rate: int = 24_000, channels: int = 1) -> bytes:
    frames = round(seconds * rate)
    values = (round(9_000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(frames))
    return wav(array("h", (value for value in values for _ in range(channels))).tobytes(), rate, channels)


def wav(samples: bytes, rate: int, channels: int = 1, width: int = 2) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return target.getvalue()


def loudness(data: bytes) -> float:
    with wave.open(io.BytesIO(data)) as file:
        values = memoryview(file.readframes(file.getnframes())).cast("h")
    return math.sqrt(sum(value * value for value in values) / max(len(values), 1))


def length(data: bytes) -> float:
    with wave.open(io.BytesIO(data)) as file:
        return file.getnframes() / file.getframerate()


RECORDING = wav_to_silk(tone(1.0))


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_sound_survives_at_every_rate(rate: int) -> None:
    recording = wav_to_silk(tone(0.5, rate=rate))
    assert recording.startswith(b"\x02#!SILK_V3")
    assert silk_seconds(recording) == 0.5
    back = silk_to_wav(recording, sample_rate=rate)
    assert length(back) == 0.5
    assert loudness(back) == pytest.approx(loudness(tone(0.5, rate=rate)), rel=0.2)


def test_channels_become_one() -> None:
    assert wav_to_silk(tone(0.2, channels=2)) == wav_to_silk(tone(0.2))


def test_last_part_of_a_packet_is_filled_up() -> None:
    assert silk_seconds(wav_to_silk(tone(0.021))) == 0.04


def test_recording_without_the_leading_byte_reads_alike() -> None:
    assert silk_to_wav(RECORDING[1:]) == silk_to_wav(RECORDING)
    assert silk_seconds(RECORDING[1:]) == 1.0
    assert is_silk(RECORDING)
    assert is_silk(RECORDING[1:])


def test_seconds_need_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilk", None)
    assert silk_seconds(RECORDING) == 1.0
    with pytest.raises(ConfigError, match=r"ilink\[media\]"):
        silk_to_wav(RECORDING)


@pytest.mark.parametrize("cut", [1, 2, 3, 40])
def test_cut_recording_gives_its_whole_packets(cut: int) -> None:
    assert silk_seconds(RECORDING[:-cut]) < 1.0
    assert length(silk_to_wav(RECORDING[:-cut])) == pytest.approx(silk_seconds(RECORDING[:-cut]))


@pytest.mark.parametrize("end", [b"\xff\xff", b"\x00\x00", b"\xff\x7f" + bytes(10), b"\x01"])
def test_what_follows_the_last_packet_is_left_out(end: bytes) -> None:
    assert silk_to_wav(RECORDING + end) == silk_to_wav(RECORDING)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x02#!SILK_V2", b"#!AMR\n"])
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError, match="no SILK"):
        silk_to_wav(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", tone(0.1)[:20], wav(bytes(100), 44_100), wav(bytes(100), 24_000, width=1), b"\x00" * 100],
)
def test_wav_that_the_codec_cannot_take_is_refused(data: bytes) -> None:
    with pytest.raises(MediaError):
        wav_to_silk(data)


def test_unknown_rate_is_refused_before_anything_else() -> None:
    with pytest.raises(ConfigError, match="44100"):
        silk_to_wav(b"", sample_rate=44_100)


def test_small_file_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silk, "MAX_SECONDS", 0.5)
    with pytest.raises(TooLargeError):
        silk_to_wav(RECORDING)
    with pytest.raises(TooLargeError):
        wav_to_silk(tone(0.6))


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_after_the_magic_are_sound_or_an_error(body: bytes) -> None:
    try:
        back = silk_to_wav(b"\x02#!SILK_V3" + body)
    except MediaError:
        return
    assert length(back) == pytest.approx(silk_seconds(b"\x02#!SILK_V3" + body))


MUTATE = """
import random, sys
from ilink.errors import MediaError
from ilink.wire.silk import silk_seconds, silk_to_wav
recording, chance = bytes.fromhex(sys.stdin.readline()), random.Random(int(sys.argv[2]))
decoded = refused = 0
for _ in range(int(sys.argv[1])):
    data = bytearray(recording)
    for _ in range(chance.randint(1, 12)):
        match chance.randint(0, 3):
            case 0: data[chance.randrange(len(data))] = chance.randrange(256)
            case 1: del data[chance.randrange(12, len(data)):]
            case 2: data[chance.randrange(10, len(data)):][:2] = chance.randbytes(2)
            case 3: data[chance.randrange(10, len(data)):0] = chance.randbytes(chance.randint(1, 9))
        if len(data) < 13: break
    silk_seconds(bytes(data)) if data[:10] == recording[:10] else None
    try:
        silk_to_wav(bytes(data))
        decoded += 1
    except MediaError:
        refused += 1
print(decoded, refused)
"""


def test_mutated_recordings_are_contained() -> None:
    # In a process of its own, so that a crash of the codec is seen as one.
    count = 20_000
    short = wav_to_silk(tone(0.06))
    run = subprocess.run(
        [sys.executable, "-c", MUTATE, str(count), str(random.randrange(1 << 30))],
        input=short.hex(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    decoded, refused = map(int, run.stdout.split())
    assert decoded + refused == count
    assert decoded > 0
    assert refused > 0
