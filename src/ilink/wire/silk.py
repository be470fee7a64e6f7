"""WeChat's voice format, SILK v3, to WAV and back (protocol §5.6).

A recording is a magic, then packets: two bytes of size, little endian, and so many bytes, 20 ms of sound each. Only
conversion needs the codec, which comes with the extra `media`; length and magic are read without it.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from typing import BinaryIO, Final, Protocol, cast

from ilink.errors import ConfigError, MediaError, TooLargeError

__all__ = [
    "MAX_SECONDS",
    "SAMPLE_RATE",
    "SAMPLE_RATES",
    "is_silk",
    "silk_seconds",
    "silk_to_wav",
    "wav_to_silk",
    "write_wav",
]

SAMPLE_RATE: Final = 24_000
"""What the official client decodes at, in Hz (official 2.4.9)."""

SAMPLE_RATES: Final = (8_000, 12_000, 16_000, 24_000, 32_000, 48_000)
"""What the codec takes and gives, in Hz."""

MAX_SECONDS: Final = 1_800.0
"""The longest recording that is converted: a few bytes become a thousand, so a small file could fill the memory."""

_MAGIC: Final = b"#!SILK_V3"
_TENCENT_MAGIC: Final = b"\x02" + _MAGIC
"""WeChat's own recordings begin with one more byte (observed: ocw#282)."""

_PACKET_SECONDS: Final = 0.02
_MAX_PACKET_BYTES: Final = 1_250
"""The encoder's own buffer; the decoder reports anything larger as damaged."""

_BIT_RATE: Final = 24_000


def is_silk(data: bytes) -> bool:
    """Tell whether these are the first bytes of a SILK recording; `encode_type` does not tell (observed: ocw#282)."""
    return data.startswith((_MAGIC, _TENCENT_MAGIC))


def silk_seconds(data: bytes) -> float:
    """Return how long a recording lasts, without decoding it; a damaged end does not count.

    Raises:
        MediaError: It is no SILK recording.
    """
    return round(sum(1 for _ in _packets(data)) * _PACKET_SECONDS, 3)


def silk_to_wav(data: bytes, *, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Decode a recording into a WAV file of 16 bits, one channel; what follows the last whole packet is left out.

    Takes about a millisecond for each second of sound: call it in a thread.

    Args:
        data: The recording.
        sample_rate: One of `SAMPLE_RATES`.

    Raises:
        MediaError: It is no SILK recording, or its sound is damaged.
        TooLargeError: It is longer than `MAX_SECONDS`.
        ConfigError: The rate is none of those, or the extra `media` is missing.
    """
    _check_rate(sample_rate)
    # The codec trusts sizes: it reads on after a negative one and past the end of a cut file. So it gets whole packets
    # with their sizes checked, and nothing else.
    whole = io.BytesIO(_MAGIC + b"".join(_within_limit(_packets(data))))
    samples = io.BytesIO()
    silk = _load_codec()
    try:
        silk.decode(whole, samples, sample_rate)
    except silk.SilkError as error:
        message = f"the SILK recording is damaged: {error}"
        raise MediaError(message) from error
    return write_wav(samples.getvalue(), sample_rate)


def wav_to_silk(data: bytes) -> bytes:
    """Encode a WAV file of 16 bits as WeChat's phones record; several channels become one, a last part is filled up.

    Raises:
        MediaError: It is no WAV file the codec can take; the message says what it is and what is expected.
        TooLargeError: It is longer than `MAX_SECONDS`.
        ConfigError: The extra `media` is missing.
    """
    samples, sample_rate = _read_wav(data)
    packet = sample_rate // 50 * 2
    samples += bytes(-len(samples) % packet)
    recording = io.BytesIO()
    silk = _load_codec()
    try:
        silk.encode(io.BytesIO(samples), recording, sample_rate, _BIT_RATE, tencent=True)
    except silk.SilkError as error:
        message = f"the sound cannot be written as SILK: {error}"
        raise MediaError(message) from error
    return recording.getvalue()


def _packets(data: bytes) -> Iterator[bytes]:
    """Yield each whole packet with its size in front; stop at the end, at a cut, and at a size that cannot be."""
    if not is_silk(data):
        message = f"this is no SILK recording: it begins with {data[:10]!r}"
        raise MediaError(message)
    position = len(_TENCENT_MAGIC) if data.startswith(_TENCENT_MAGIC) else len(_MAGIC)
    while position + 2 <= len(data):
        size = int.from_bytes(data[position : position + 2], "little")
        end = position + 2 + size
        if not 0 < size <= _MAX_PACKET_BYTES or end > len(data):
            return
        yield data[position:end]
        position = end


def _within_limit(packets: Iterator[bytes]) -> Iterator[bytes]:
    for number, packet in enumerate(packets):
        if number * _PACKET_SECONDS >= MAX_SECONDS:
            message = f"the recording is longer than {MAX_SECONDS:.0f} seconds"
            raise TooLargeError(message)
        yield packet


def _read_wav(data: bytes) -> tuple[bytes, int]:
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if file.getnframes() > MAX_SECONDS * max(rate, 1):
                message = f"the WAV file is longer than {MAX_SECONDS:.0f} seconds"
                raise TooLargeError(message)
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OverflowError, ZeroDivisionError) as error:
        message = f"this is no WAV file: {str(error) or 'it was cut'}"
        raise MediaError(message) from error
    if width != 2 or rate not in SAMPLE_RATES:
        message = f"a WAV file of {8 * width} bits at {rate} Hz; expected 16 bits at one of {SAMPLE_RATES} Hz"
        raise MediaError(message)
    return _mix(samples, channels), rate


def _mix(samples: bytes, channels: int) -> bytes:
    """Return the mean of the channels."""
    values = memoryview(samples[: len(samples) // (2 * channels) * 2 * channels]).cast("h")
    if channels == 1:
        return values.tobytes()
    mixed = (sum(values[n : n + channels]) // channels for n in range(0, len(values), channels))
    return b"".join(value.to_bytes(2, "little", signed=True) for value in mixed)


def write_wav(samples: bytes, sample_rate: int) -> bytes:
    """Return a WAV file of samples of 16 bits, one channel."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples)
    return target.getvalue()


def _check_rate(sample_rate: int) -> None:
    if sample_rate not in SAMPLE_RATES:
        message = f"SILK is not decoded at {sample_rate} Hz; choose one of {SAMPLE_RATES}"
        raise ConfigError(message)


class _Codec(Protocol):
    """The part of pysilk that is used; its own types are incomplete."""

    SilkError: type[Exception]

    def decode(self, source: BinaryIO, target: BinaryIO, sample_rate: int, /) -> object: ...

    def encode(
        self,
        source: BinaryIO,
        target: BinaryIO,
        sample_rate: int,
        bit_rate: int,
        /,
        *,
        tencent: bool,
    ) -> object: ...


def _load_codec() -> _Codec:
    # Late: the codec is in an extra, and who never converts a recording does without it.
    try:
        import pysilk
    except ImportError as error:
        message = "converting voice needs the SILK codec: install ilink[media]"
        raise ConfigError(message) from error
    return cast("_Codec", pysilk)
