"""What happens, as it happens: server-sent events that a browser resumes by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.refusals import Refusal
from ilink.gateway.control.requests import EventPosition, Notice
from ilink.gateway.control.state import ControlState
from ilink.gateway.events import Event, EventStream

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["calls"]

calls = CallTable()

_RETRY_MS = 1000


@calls.call("GET", "/_sim/events", media_type="text/event-stream")
async def follow_events(control: ControlState, query: EventPosition, request: Request) -> Response:
    """Follow events, each with its number as id.

    There are `message`, `typing`, `qr`, `bot`, `wire`, `fault`, `clock`, `person`, `read`, `reset`, `notice` and
    `config`.

    With `Last-Event-ID`, or `last_event_id` in the query, it starts after that number; else with what comes.
    """
    header = request.headers.get("last-event-id", "").strip()
    if header and not (header.isascii() and header.isdigit() and len(header) < 19):
        raise Refusal(422, "Last-Event-ID is no number", hint="send the id of the last event, or nothing")
    if header:
        return _EventResponse(control.gateway.events, int(header), control.heartbeat)
    position = control.gateway.events.newest if query.last_event_id is UNSET else query.last_event_id
    return _EventResponse(control.gateway.events, position, control.heartbeat)


@calls.call("POST", "/_sim/notice", status=204)
async def show_notice(control: ControlState, body: Notice) -> None:
    """Show something to whoever has the page open, such as an error of the program that is being written."""
    data: dict[str, object] = {"text": body.text, "hint": body.hint, "is_good": body.is_good}
    control.gateway.state.publish("notice", data)


class _EventResponse(Response):
    media_type = "text/event-stream"

    def __init__(self, stream: EventStream, position: int, heartbeat: float) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._stream = stream
        self._position = position
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the gateway stops or the reader leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await _send_text(send, f"retry: {_RETRY_MS}\nid: {self._position}\n\n")
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(self._send_events(send))
            others = [group.create_task(self._send_heartbeats(send)), group.create_task(_until_gone(receive, follower))]
            await asyncio.wait([follower])
            for other in others:
                other.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        async for event in self._stream.follow(self._position):
            await _send_text(send, _format(event))

    async def _send_heartbeats(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            await _send_text(send, ": still here\n\n")


async def _until_gone(receive: Receive, follower: asyncio.Task[None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    follower.cancel()


async def _send_text(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _format(event: Event) -> str:
    data = msgspec.json.encode({"at": event.at, **event.data}).decode()
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"
