"""Sound and video for tests, made by the library that reads them."""

from __future__ import annotations

import io
from typing import Any

import pytest


def recording(container: str, codec: str, *, rate: int = 44_100, seconds: float = 1.0, layout: str = "stereo") -> bytes:
    """Return silence in a format."""
    av: Any = pytest.importorskip("av", reason="the extra `media` is not installed")
    target = io.BytesIO()
    with av.open(target, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame("s16", layout, round(rate * seconds))
        frame.sample_rate, frame.pts = rate, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for packet in (*stream.encode(frame), *stream.encode()):
            file.mux(packet)
    return target.getvalue()


def video(*, width: int = 320, height: int = 160, frames: int = 20) -> bytes:
    """Return a video of ten pictures a second."""
    av: Any = pytest.importorskip("av", reason="the extra `media` is not installed")
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = width, height
        for _ in range(frames):
            for packet in stream.encode(av.VideoFrame(width, height, "yuv420p")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return target.getvalue()
