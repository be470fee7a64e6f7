"""The door of the control listener: every request is checked, read, handled, and answered or refused here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from ilink.gateway.control import chats, crowds, faults, live, machine, media, people, scenes, tables
from ilink.gateway.control.bodies import content_type, read_json_body
from ilink.gateway.control.calls import Call, CallTable
from ilink.gateway.control.forms import read_form
from ilink.gateway.control.openapi import draw_openapi
from ilink.gateway.control.page import SECURITY_HEADERS, serve_page
from ilink.gateway.control.refusals import Refusal, refused

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ilink.gateway.control.state import ControlState

__all__ = ["CALLS", "ControlApp"]

CALLS: Final = CallTable.joined(
    people.calls,
    chats.calls,
    crowds.calls,
    media.calls,
    faults.calls,
    machine.calls,
    tables.calls,
    scenes.calls,
    live.calls,
)
"""Every call of the control API."""

_log = logging.getLogger(__name__)
_json = msgspec.json.Encoder()
_LEFT = Response(status_code=499)
"""For a caller that is gone; nobody reads it."""


class ControlApp:
    """The control API and the phone's files as an ASGI application."""

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._openapi = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        """Turn whatever happens into an answer; nothing is raised from here but cancellation."""
        try:
            return await self._dispatch(request)
        except Refusal as refusal:
            return _refuse(refusal)
        except ClientDisconnect:
            return _LEFT
        except Exception:  # noqa: BLE001  # the door of the server: the caller gets an answer, the log the traceback
            _log.exception("the control call %s %s failed", request.method, request.url.path)
            return _refuse(Refusal(500, "the gateway failed on this call", hint="its log on standard error says more"))

    async def _dispatch(self, request: Request) -> Response:
        path = request.url.path
        if path.startswith("/_sim/") or path in ("/metrics", "/healthz", "/readyz"):
            raw_path: bytes = request.scope["raw_path"]
            return await self._call(request, raw_path.decode("latin-1"))
        self._state.guard.check_page(host=request.headers.get("host"))
        if request.method not in ("GET", "HEAD"):
            raise Refusal(405, f"{path!r} does not know {request.method}", headers={"allow": "GET, HEAD"})
        if path == "/login":
            return self._log_in(request)
        return serve_page(path, etag=request.headers.get("if-none-match"))

    async def _call(self, request: Request, path: str) -> Response:
        headers, guard = request.headers, self._state.guard
        guard.check_call(host=headers.get("host"), origin=headers.get("origin"), site=headers.get("sec-fetch-site"))
        if path == "/_sim/openapi.json":
            return self._show_openapi()
        call, values = CALLS.find(request.method, path)
        if not call.is_open:
            guard.check_key(authorization=headers.get("authorization"), cookie=headers.get("cookie"))
        try:
            response = await self._handle(call, values, request)
        except Refusal as refusal:
            response = _refuse(refusal)
        counted = (call.path, call.method, response.status_code)
        self._state.answered[counted] = self._state.answered.get(counted, 0) + 1
        return response

    async def _handle(self, call: Call, values: dict[str, str], request: Request) -> Response:
        arguments: dict[str, object] = dict(values)
        query = call.read_query(request.query_params.multi_items())
        if query is not None:
            arguments["query"] = query
        if "request" in call.arguments:
            arguments["request"] = request
        if call.takes_form and content_type(request) == "multipart/form-data":
            most = self._state.gateway.state.knobs.largest("cdn.max_bytes")
            async with read_form(request, max_file=most) as form:
                return await self._respond(call, {**arguments, "form": form}, request)
        if call.body is not None:
            body = call.read_body(await read_json_body(request, most=call.most_bytes))
            if "body" in call.arguments:
                arguments["body"] = body
        return await self._respond(call, arguments, request)

    async def _respond(self, call: Call, arguments: dict[str, object], request: Request) -> Response:
        if call.waits:
            answer = await _run_unless_gone(call, self._state, arguments, request)
        else:
            answer = await _run(call, self._state, arguments)
        if isinstance(answer, Response):
            return answer
        content = b"" if answer is None else _json.encode(answer)
        media_type = None if answer is None else "application/json"
        return Response(content, call.status, {"cache-control": "no-store"}, media_type)

    def _log_in(self, request: Request) -> Response:
        """Redeem a login link: the browser gets its cookie and goes on to the page, the code leaves the address bar."""
        if request.method == "HEAD":  # programs that look at links beforehand must not use it up
            return Response(headers={"cache-control": "no-store"})
        cookie = self._state.guard.redeem(request.query_params.get("code", ""))
        return RedirectResponse("/", 303, {"set-cookie": cookie, "cache-control": "no-store"})

    def _show_openapi(self) -> Response:
        if not self._openapi:
            self._openapi = draw_openapi(CALLS, has_key=self._state.guard.has_key)
        return Response(self._openapi, media_type="application/json")


async def _run(call: Call, state: ControlState, arguments: dict[str, object]) -> object:
    """Run a call and translate the gateway's own refusals."""
    with refused():
        return await call.handle(state, **arguments)


async def _run_unless_gone(call: Call, state: ControlState, arguments: dict[str, object], request: Request) -> object:
    """Run a call that may wait long, and end it when its caller hangs up."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_outcome(call, state, arguments))
        watching = group.create_task(_cancel_when_gone(request, running))
        await asyncio.wait([running])
        watching.cancel()
    if running.cancelled():
        raise ClientDisconnect
    outcome = running.result()
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


async def _outcome(call: Call, state: ControlState, arguments: dict[str, object]) -> object:
    """Return a refusal instead of raising it, since a task group would wrap it."""
    try:
        return await _run(call, state, arguments)
    except Refusal as refusal:
        return refusal


async def _cancel_when_gone(request: Request, running: asyncio.Task[object]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    running.cancel()


def _refuse(refusal: Refusal) -> Response:
    headers = {"cache-control": "no-store", **refusal.headers}
    return Response(refusal.body(), refusal.status, headers, "application/json")
