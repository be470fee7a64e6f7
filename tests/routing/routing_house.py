"""A house for routing without a bot around it: messages by kind, a turn that only listens, and one way to dispatch."""

from __future__ import annotations

from typing import Any

from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.router import Router
from ilink.messages.incoming import AnyMessage, read_message, read_update
from ilink.messages.receipts import Deferred, DeferredWhy
from ilink.wire.codec import encode
from ilink.wire.ids import AccountId, ClientId

ITEMS: dict[str, dict[str, object]] = {
    "image": {"type": 2, "image_item": {}},
    "voice": {"type": 3, "voice_item": {"text": "heard"}},
    "file": {"type": 4, "file_item": {"file_name": "a.pdf"}},
    "video": {"type": 5, "video_item": {}},
    "other": {"type": 99},
}


class Ear:
    """A turn that notes what is said."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.rewrite: Any = None
        self.media: Any = None
        self.forgotten = 0

    async def reply(self, text: str, *, wait: float | None, is_progress: bool) -> Deferred:
        self.heard.append(self.rewrite(text) if self.rewrite else text)
        return Deferred(client_id=ClientId("c"), why=DeferredWhy.HANDLER)

    def forget(self) -> None:
        self.heard.clear()
        self.forgotten += 1


def message(text: str = "", *, kind: str = "", user: str = "alice@im.wechat", **more: object) -> AnyMessage:
    """A message, with an ear as its turn."""
    items: list[dict[str, object]] = [ITEMS[kind]] if kind else []
    if text or not kind:
        items.append({"type": 1, "text_item": {"text": text}})
    if "quote" in more:
        items[-1]["ref_msg"] = {"svr_id": "9", "title": more.pop("quote")}
    raw = encode({"message_id": 7, "from_user_id": user, "item_list": items, **more})
    wire = read_update(raw)
    assert wire is not None
    return read_message(raw, wire, account=AccountId("bot@im.bot"), sequence=1, turn=Ear())  # type: ignore[arg-type]


async def dispatch(router: Router, said: AnyMessage | str, **options: Any) -> list[str]:
    """Let a router handle a message as a bot does; return what it answers, or nothing when nobody takes it."""
    built = Dispatch(router.registered, **options)
    async with built.lifespan():
        return await dispatch_built(built, said)


async def dispatch_built(built: Dispatch, said: AnyMessage | str) -> list[str]:
    one = message(said) if isinstance(said, str) else said
    match = await built.find(one)
    ear: Any = one.turn
    if match is not None:
        try:
            await built.run(match, one, ear)
        except Exception as error:
            if not await built.recover(match, one, ear, error):
                raise
    return list(ear.heard)


async def taken_by(router: Router, said: AnyMessage | str) -> str | None:
    """The name of the handler that takes a message."""
    match = await Dispatch(router.registered).find(message(said) if isinstance(said, str) else said)
    return None if match is None else match.route.handler.place.name
