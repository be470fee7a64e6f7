"""Messages of every kind, for tests of handlers, filters and parsers.

    await alice.sends(*several_items())                # to a bot on the gateway
    message = make_message(image_item(), text_item("look"))      # to a function that takes a message
    raw = make_update(text_item("hi"))                 # the bytes of one update, as a poll has them

Files in these messages can be told apart and described, not fetched: to have bytes behind them let a person send them,
see `Person.sends_image` and the like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import count
from types import MappingProxyType
from typing import Final

from ilink.messages.incoming import AnyMessage, read_message, read_update
from ilink.wire.codec import encode
from ilink.wire.enums import ItemType
from ilink.wire.ids import AccountId
from ilink.wire.keys import KeyForm, MediaKey

__all__ = [
    "ODD_UPDATES",
    "Item",
    "file_item",
    "image_item",
    "make_message",
    "make_update",
    "quoting",
    "several_items",
    "text_item",
    "tool_result_item",
    "tool_start_item",
    "unknown_item",
    "video_item",
    "voice_item",
]

Item = dict[str, object]
"""One item as it travels."""

_BOT: Final = "0123456789ab@im.bot"
_USER: Final = "o9cq80AliceAliceAliceAlice00@im.wechat"
_NUMBERS: Final = count(7_600_000_000_000_000_000)
"""Beyond 2^53 as real ids are, and another for each message, because two of one id are one message."""


def text_item(text: str = "hello") -> Item:
    """Return a text."""
    return {"type": int(ItemType.TEXT), "text_item": {"text": text}}


def image_item(*, param: str = "picture", width: int = 320, height: int = 240) -> Item:
    """Return a picture; its key is there twice, as phones send it (captured, peer: dsh-bridge)."""
    image = {"media": _media(param), "aeskey": _key(param).spell(KeyForm.HEX), "mid_size": 1024}
    return {
        "type": int(ItemType.IMAGE),
        "image_item": {**image, "thumb_width": width, "thumb_height": height},
    }


def voice_item(*, transcript: str = "", param: str = "voice", playtime_ms: int = 2_000) -> Item:
    """Return a recording; the transcript is what WeChat understood of it."""
    voice: dict[str, object] = {
        "media": _media(param),
        "encode_type": 4,
        "playtime": playtime_ms,
        "sample_rate": 24_000,
    }
    return {"type": int(ItemType.VOICE), "voice_item": {**voice, **({"text": transcript} if transcript else {})}}


def file_item(name: str = "notes.txt", *, param: str = "file", size: int = 1000) -> Item:
    """Return a file; its size travels as a text (official 2.4.9)."""
    return {"type": int(ItemType.FILE), "file_item": {"media": _media(param), "file_name": name, "len": str(size)}}


def video_item(*, param: str = "video", seconds: int = 5) -> Item:
    """Return a video."""
    return {
        "type": int(ItemType.VIDEO),
        "video_item": {"media": _media(param), "video_size": 4096, "play_length": seconds},
    }


def tool_start_item(name: str = "search", *, call_id: str = "call-1") -> Item:
    """Return the beginning of a tool's work, which the official client sends (official 2.4.9)."""
    return {
        "type": int(ItemType.TOOL_CALL_START),
        "tool_call_start_item": {"tool_name": name, "tool_call_id": call_id},
    }


def tool_result_item(name: str = "search", *, call_id: str = "call-1", status: str = "success") -> Item:
    """Return the end of a tool's work."""
    return {
        "type": int(ItemType.TOOL_CALL_RESULT),
        "tool_call_result_item": {"tool_name": name, "tool_call_id": call_id, "status": status},
    }


def unknown_item(number: int = 99) -> Item:
    """Return an item of a kind that nobody has documented."""
    return {"type": number, "new_item": {"text": "from the future"}}


def quoting(item: Item, *, quoted: Item | None = None, message_id: str | None = None, words: str | None = None) -> Item:
    """Return an item that refers to a message.

    Args:
        item: What is said, such as `text_item("really?")`.
        quoted: The item that it refers to, where the phone sends it along.
        message_id: The id of the message that it refers to; new phones send nothing else (official 2.4.9).
        words: The words of it that were selected.
    """
    quote: dict[str, object] = {}
    if quoted is not None:
        quote["message_item"] = quoted
    if message_id is not None:
        quote["svr_id"] = message_id
    if words is not None:
        md5 = hashlib.md5(words.encode(), usedforsecurity=False).hexdigest()
        quote["partial_text"] = {"start": words, "end": words, "startindex": 0, "endindex": 0, "quotemd5": md5}
    return {**item, "ref_msg": quote}


def several_items() -> tuple[Item, ...]:
    """Return the items of a message that holds one of each kind."""
    return text_item("all of these"), image_item(), voice_item(transcript="hm"), file_item(), video_item()


def make_update(*items: Mapping[str, object], **fields: object) -> bytes:
    """Return one update as a poll has it: a message from a person to a bot, with an id of its own.

    Args:
        items: What it holds.
        fields: Fields to add or replace; None leaves one out.
    """
    number = next(_NUMBERS)
    update: dict[str, object] = {
        "message_id": number,
        "from_user_id": _USER,
        "to_user_id": _BOT,
        "client_id": f"client-{number}",
        "create_time_ms": 1_790_000_000_000,
        "message_type": 1,
        "message_state": 2,
        "context_token": f"AARzJWAF{number}",
        "item_list": [dict(item) for item in items],
        **fields,
    }
    return encode({name: value for name, value in update.items() if value is not None})


def make_message(*items: Mapping[str, object], **fields: object) -> AnyMessage:
    """Return a message as a handler gets it, of the kind that its items make it; nobody hears its replies.

    Args:
        items: What it holds.
        fields: Fields of the update to add or replace; None leaves one out.
    """
    raw = make_update(*items, **fields)
    wire = read_update(raw)
    assert wire is not None, f"no client could read this: {raw!r}"
    return read_message(raw, wire, account=AccountId(_BOT))


def _key(param: str) -> MediaKey:
    return MediaKey(hashlib.sha256(param.encode()).digest()[:16])


def _media(param: str) -> dict[str, object]:
    return {"encrypt_query_param": param, "aes_key": _key(param).spell(KeyForm.BASE64_HEX)}


ODD_UPDATES: Final[Mapping[str, tuple[tuple[Item, ...], Mapping[str, object]]]] = MappingProxyType(
    {
        "no items": ((), {}),
        "items null": ((), {"item_list": None}),
        "an empty item": (({},), {}),
        "a type without its item": (({"type": 2},), {}),
        "an item without its type": (({"text_item": {"text": "hi"}},), {}),
        "the type 0": (({"type": 0, "text_item": {"text": "hi"}},), {}),
        "an empty text": ((text_item(""),), {}),
        "a text of blanks": ((text_item(" \n\t "),), {}),
        "a long text": ((text_item("长" * 20_000),), {}),
        "control characters": ((text_item("a\x00b\x1b[31m\u202e"),), {}),
        "an unknown kind": ((unknown_item(),), {}),
        "an unknown kind beside a text": ((text_item(), unknown_item()), {}),
        "a file name that is a path": ((file_item("../../etc/passwd"),), {}),
        "a file without a key": (({"type": 4, "file_item": {"media": {"encrypt_query_param": "x"}}},), {}),
        "a size that is none": (({"type": 4, "file_item": {"media": _media("x"), "len": "many"}},), {}),
        "a quote of nothing": ((quoting(text_item()),), {}),
        "a quote of a quote": ((quoting(text_item(), quoted=quoting(text_item("b"), quoted=text_item("c"))),), {}),
        "no context token": ((text_item(),), {"context_token": None}),
        "no id": ((text_item(),), {"message_id": None}),
        "an id of text": ((text_item(),), {"message_id": "7497484083968569736"}),
        "the largest id": ((text_item(),), {"message_id": 2**64 - 1}),
        "no time": ((text_item(),), {"create_time_ms": None}),
        "a time beyond calendars": ((text_item(),), {"create_time_ms": 2**62}),
        "unfinished": ((text_item(),), {"message_state": 1}),
        "a group": ((text_item(),), {"group_id": "12345@chatroom"}),
        "fields of the future": ((text_item(),), {"sparkle": {"level": 3}}),
    }
)
"""Messages that a server may send and that no program should fall over, by name: their items, and further fields.

    @pytest.mark.parametrize("name", ODD_UPDATES)
    async def test_survives(ilink_gateway, name):
        ...
        items, fields = ODD_UPDATES[name]
        await alice.sends(*items, **fields)
"""
