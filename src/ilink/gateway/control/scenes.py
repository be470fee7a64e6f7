"""Calls about the whole state as a file."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.responses import Response

from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.state import ControlState
from ilink.gateway.scene_file import Scene

__all__ = ["calls"]

calls = CallTable()

_MOST_BYTES: Final = 48 << 20
"""A scene holds its files in base64."""


@calls.call("GET", "/_sim/scene")
async def save_scene(control: ControlState) -> Scene | Response:
    """Return people, bots, chats, files and knobs, also those of single bots and people, as one file for `PUT`.

    Tokens are not in it, only their hashes, so that a program that runs goes on. Files are, up to 24 MiB in all; those
    beyond are left out. Login codes, faults, the wire and typing tickets are not part of a scene.
    """
    scene = await control.gateway.scene()
    content = msgspec.json.format(msgspec.json.encode(scene), indent=2)
    name = f"ilink-scene-{control.gateway.now:%Y-%m-%d}.json"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(content, media_type="application/json", headers=headers)


@calls.call("PUT", "/_sim/scene", status=204, most_bytes=_MOST_BYTES)
async def load_scene(control: ControlState, body: Scene) -> None:
    """Put a scene in the place of everything; what is wrong with one is said with its place, and nothing is replaced.

    A scene is JSON with `"ilink_scene": 1` and lists of `people`, `bots` and `messages`, which name each other by id or
    by name, and may be written by hand. The gateway's knobs are as it says, and one without any leaves them;
    knobs differ for the bots and people in its `overrides`, and for nobody else.
    """
    await control.gateway.load_scene(body)
