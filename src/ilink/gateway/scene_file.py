"""A scene: people, bots and what was said, as a JSON file that people share and write by hand.

    {
      "ilink_scene": 1,
      "people": [{"name": "alice"}],
      "bots": [{"name": "helper", "owner": "alice"}],
      "messages": [
        {"person": "alice", "bot": "helper", "text": "Are you there?"},
        {"person": "alice", "bot": "helper", "direction": "out", "text": "I am."}
      ]
    }

People and bots are named by their id or by their name. Everything is checked before anything is replaced.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from ilink.gateway.knob_table import KnobValue

__all__ = [
    "SCENE_VERSION",
    "Scene",
    "SceneBot",
    "SceneFile",
    "SceneMessage",
    "SceneOverride",
    "ScenePerson",
    "SceneRead",
]

SCENE_VERSION: Final = 1

_Id = Annotated[str, Meta(min_length=1, max_length=256)]


class _Part(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all of them share."""


class ScenePerson(_Part):
    """A person; without `id` one is made."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    id: Annotated[str, Meta(pattern=r"^[^\s/]{1,200}@im\.wechat$")] | UnsetType = UNSET


class SceneBot(_Part):
    """A bot and whose it is.

    `name` is only for use in the file. A program goes on as this bot with the token whose SHA-256 is `token_hash`. With
    `token` instead, which begins with the bot's id and a colon, a program can be one that has never logged in.
    """

    owner: _Id
    id: Annotated[str, Meta(pattern=r"^[^\s/:]{1,200}@im\.bot$")] | UnsetType = UNSET
    name: _Id | UnsetType = UNSET
    state: Literal["live", "replaced", "expired"] = "live"
    generation: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 1
    token: Annotated[str, Meta(min_length=1, max_length=512)] | UnsetType = UNSET
    token_hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | UnsetType = UNSET


class SceneFile(_Part):
    """A picture, recording, file or video; `data` is its plain bytes in base64, `text` what the phone understood."""

    kind: Literal["image", "voice", "file", "video"]
    data: bytes
    name: Annotated[str, Meta(max_length=255)] = ""
    text: str = ""


class SceneMessage(_Part):
    """One message: a `text`, or `items` as they travel, where `{"file": …}` stands for one with media.

    Without `at` it was said now; without `state` it was read by the bot, or shown to the person. `id` is the message's
    id where the scene was saved, by which later items quote it.
    """

    person: _Id
    bot: _Id
    direction: Literal["in", "out"] = "in"
    text: str | UnsetType = UNSET
    items: Annotated[list[dict[str, object]], Meta(max_length=100)] | UnsetType = UNSET
    at: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET
    state: Literal["stored", "handed_out", "acked", "shown", "not_shown", "refused"] | UnsetType = UNSET
    why: str | UnsetType = UNSET
    cut: Annotated[int, Meta(ge=0, le=2**31 - 1)] | UnsetType = UNSET
    client_id: Annotated[str, Meta(max_length=256)] = ""
    id: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


class SceneRead(_Part):
    """How much of a chat a person has seen: all up to and including the message with this place in `messages`."""

    person: _Id
    bot: _Id
    message: Annotated[int, Meta(ge=0, le=2**31 - 1)]


class SceneOverride(_Part):
    """What differs for one bot or one person: a profile, then single knobs."""

    person: _Id | UnsetType = UNSET
    bot: _Id | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    knobs: dict[str, KnobValue] = {}


class Scene(_Part):
    """The whole file."""

    ilink_scene: Literal[1]
    people: list[ScenePerson] = []
    bots: list[SceneBot] = []
    messages: list[SceneMessage] = []
    read: list[SceneRead] = []
    profile: str | UnsetType = UNSET
    knobs: dict[str, KnobValue] = {}
    overrides: list[SceneOverride] = []
    saved_at: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET
