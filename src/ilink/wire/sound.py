"""Any recording to WAV, and any to WeChat's SILK, in memory."""

from __future__ import annotations

import io
from typing import Final

from ilink.errors import ConfigError, MediaError, TooLargeError
from ilink.wire.containers import open_container, resampled
from ilink.wire.silk import MAX_SECONDS, SAMPLE_RATE, SAMPLE_RATES, is_silk, silk_to_wav, wav_to_silk, write_wav

__all__ = ["to_silk", "to_wav"]

_BYTES_PER_SAMPLE: Final = 2


def to_wav(data: bytes, *, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Turn sound into a WAV file of 16 bits, one channel: SILK, MP3, M4A, Ogg, AMR, FLAC, WAV, the sound of a video.

    Takes a few milliseconds for each second of sound: call it in a thread.

    Args:
        data: The recording.
        sample_rate: One of `ilink.wire.silk.SAMPLE_RATES`.

    Raises:
        MediaError: It is no sound, or is damaged.
        TooLargeError: It is longer than `MAX_SECONDS`.
        ConfigError: The rate is none of those, or the extra `media` is missing.
    """
    if is_silk(data):
        return silk_to_wav(data, sample_rate=sample_rate)
    if sample_rate not in SAMPLE_RATES:
        message = f"cannot write sound at {sample_rate} Hz; choose one of {SAMPLE_RATES}"
        raise ConfigError(message)
    samples = bytearray()
    most = int(MAX_SECONDS * sample_rate * _BYTES_PER_SAMPLE)
    with open_container(io.BytesIO(data)) as container:
        for piece in resampled(container, sample_rate):
            samples += piece
            if len(samples) > most:
                message = f"the recording is longer than {MAX_SECONDS:.0f} seconds"
                raise TooLargeError(message)
    return write_wav(bytes(samples), sample_rate)


def to_silk(data: bytes) -> bytes:
    """Turn sound into SILK as WeChat's phones record; what is SILK already stays as it is.

    Raises:
        MediaError, TooLargeError, ConfigError: As for `to_wav`.
    """
    if is_silk(data):
        return data
    if data.startswith(b"RIFF"):
        try:
            return wav_to_silk(data)
        except TooLargeError:
            raise
        except MediaError:
            # A WAV file of another rate or with other samples: read as any other format.
            pass
    return wav_to_silk(to_wav(data))
