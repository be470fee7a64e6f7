"""The twins have the names of what they are twins of, with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import ilink
from ilink import sync
from ilink.bot.context import Context
from ilink.bot.jobs import Job
from ilink.bot.outbox.outbox import Outbox
from ilink.bot.routing.router import Router
from ilink.client.media import MediaClient

MEDIA = (ilink.IncomingFile, ilink.IncomingImage, ilink.IncomingMedia, ilink.IncomingVideo, ilink.IncomingVoice)
MESSAGES = (
    ilink.FileMessage,
    ilink.ImageMessage,
    ilink.Message,
    ilink.OtherMessage,
    ilink.TextMessage,
    ilink.VideoMessage,
    ilink.VoiceMessage,
)
ORIGINALS = (ilink.Bot, ilink.Client, Context, Job, MediaClient, Outbox, Router, *MEDIA, *MESSAGES)
LEFT_OUT = {
    "Message": {"turn"},  # the seam to the bot
    "Client": {"transport"},  # it belongs to the client's own event loop
    "Bot": {
        "send_from_thread",
        "relocated",
        "is_root",
        "registered",
        "routers",
        "workplace",
    },  # `send` is that; what filters build on, and what fleets do
    "Router": {"is_root", "registered", "routers"},
}
MORE = {
    "Client": {"close"},
    # Attributes that are made with the object.
    "Context": {"message"},
    "Job": {"account", "attempt", "data", "moment", "name", "user"},
}


def public(kind: type[Any]) -> set[str]:
    fields = set(getattr(kind, "__dataclass_fields__", ()))
    return {name for name in {*dir(kind), *fields} if not name.startswith("_")}


def left_out(kind: type[Any]) -> set[str]:
    return set().union(*(LEFT_OUT.get(one.__name__, set()) for one in kind.__mro__))


@pytest.mark.parametrize("original", ORIGINALS, ids=lambda kind: kind.__name__)
def test_every_name_is_there_and_none_besides(original: type[Any]) -> None:
    twin = getattr(sync, original.__name__)
    assert public(twin) - {"move"} == (public(original) - left_out(original)) | MORE.get(original.__name__, set())


@pytest.mark.parametrize("original", ORIGINALS, ids=lambda kind: kind.__name__)
def test_every_function_takes_the_same(original: type[Any]) -> None:
    twin = getattr(sync, original.__name__)
    for name in sorted(public(original) - left_out(original)):
        function = getattr(original, name, None)
        if not inspect.isfunction(function) or (original.__name__, name) == ("Router", "on_any"):
            continue
        expected = inspect.signature(function).parameters.values()
        found = inspect.signature(getattr(twin, name)).parameters.values()
        assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in expected], name
        assert not inspect.iscoroutinefunction(getattr(twin, name)), name


@pytest.mark.parametrize("original", [ilink.Bot, ilink.Client], ids=lambda kind: kind.__name__)
def test_it_is_made_with_the_same(original: type[Any]) -> None:
    expected = inspect.signature(original).parameters
    found = dict(inspect.signature(getattr(sync, original.__name__)).parameters)
    found.pop("threads", None)
    assert [(p.name, p.kind, p.default) for p in found.values()] == [
        (p.name, p.kind, p.default) for p in expected.values()
    ]
