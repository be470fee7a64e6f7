"""The ASGI app for `/ilink/bot/*`.

A plain callable without a framework: a poll that waits costs little, and a send goes through few hands. Every answer
is one JSON object with its length; headers leave together with the body, since clients stop their timers at the
headers (protocol §1.3).
"""

from __future__ import annotations

import logging
import re
from time import monotonic
from typing import TYPE_CHECKING, Final

from ilink.errors import StoreError
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.http.bodies import BodyTooLargeError, CallerGoneError, read_body
from ilink.gateway.http.calls import CALLS, Call, Endpoint, UnreadableError
from ilink.gateway.http.failures import CutError, Failures, answer_at_once, hold_of, reset_connection
from ilink.gateway.refusals import Reply
from ilink.gateway.wire_log import Exchange
from ilink.wire.codec import encode
from ilink.wire.models import Answer
from ilink.wire.results import GENERIC_FAILURE, STALE_TOKEN

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ilink.gateway.fault_actions import Cut
    from ilink.gateway.service import Gateway

__all__ = ["ProtocolApp"]

_log = logging.getLogger(__name__)

_SLASHES: Final = re.compile("//+")
_CDN: Final = "/c2c"
_BODILESS: Final = frozenset({204, 304})


class ProtocolApp:
    """Serves the protocol of one gateway over HTTP.

    Args:
        gateway: An open gateway, or one that is opened before the first request.
        cdn: An ASGI app for everything below `/c2c`.
    """

    def __init__(self, gateway: Gateway, *, cdn: ASGIApp | None = None) -> None:
        self._gateway = gateway
        self._cdn = cdn
        self._failures = Failures(gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as ASGI asks for it.

        Ten thousand of these wait at a time, and each coroutine between here and the mailbox costs every one of them
        half a kilobyte: so this one does not pass a poll on, and what does is a plain function where it can be.
        """
        if scope["type"] != "http":
            return await _live(receive, send)
        wait = self._gateway.admission.request((scope.get("client") or ("",))[0])
        if wait is not None:
            self._gateway.tallies.add_turned_away()
            return await _refuse_rate(send, wait)
        path: str = scope["path"]
        if "//" in path:
            path = _SLASHES.sub("/", path)
        if self._cdn is not None and (path == _CDN or path.startswith(_CDN + "/")):
            return await self._cdn({**scope, "path": path}, receive, send)
        started = monotonic()
        endpoint = CALLS.get(path.rstrip("/"))
        exchange = Exchange(
            at_ms=self._gateway.state.clock.now_ms(),
            endpoint="?" if endpoint is None else endpoint.name,
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=scope["headers"],
        )
        hold = hold_of(scope)
        try:
            reply = _refuse_request(endpoint, exchange)
            if reply is None:
                assert endpoint is not None
                reply = await self._answer(endpoint, exchange, receive, hold)
            if hold.ending is not Ending.GONE:
                await self._send(exchange, reply, scope, send)
        except CallerGoneError:
            pass
        except CutError:
            await reset_connection(scope)
        finally:
            hold.close()
            exchange.held_ms = int((monotonic() - started) * 1000)
            self._gateway.note(exchange)
        return None

    async def _answer(self, endpoint: Endpoint, exchange: Exchange, receive: Receive, hold: Hold) -> Reply:
        """Return the answer to a request; whatever goes wrong in here is one, too."""
        door = self._gateway.door
        try:
            prepared = await self._prepare(endpoint, exchange, receive, hold)
            if isinstance(prepared, Call):
                reply = await endpoint.run(prepared)
                if prepared.subject is not None:
                    reply = self._failures.leave(exchange, prepared.subject, reply)
            else:
                reply = prepared
            exchange.findings += reply.findings
            exchange.why = reply.why
            if endpoint.has_token and reply.plain is None and _is_failure(reply.body):
                await door.delay_error(endpoint.name, exchange.bot_id)
        except UnreadableError as error:
            exchange.findings += error.reply.findings
            await door.delay_error(endpoint.name, exchange.bot_id)
            return error.reply
        except BodyTooLargeError:
            most = self._gateway.state.knobs.whole("limits.body_bytes")
            return _http_refusal(413, f"a body has at most {most} bytes (limits.body_bytes)")
        except (CallerGoneError, CutError):
            raise
        except StoreError:
            _log.exception("%s could not be stored", endpoint.name)
            return _http_refusal(503, "nothing was stored; try again later")
        except Exception:  # noqa: BLE001  # the door of the server: one request's failure stays its own
            _log.exception("%s failed", endpoint.name)
            return _http_refusal(503, "the server failed; try again later")
        return reply

    async def _prepare(self, endpoint: Endpoint, exchange: Exchange, receive: Receive, hold: Hold) -> Call | Reply:
        """Read the request and find out who calls; a reply is the refusal they get."""
        door = self._gateway.door
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers}
        if exchange.method == "POST":  # what comes with a GET has no meaning, and is not read
            most = self._gateway.state.knobs.whole("limits.body_bytes")
            exchange.request = await read_body(receive, headers, most=most)
        call = Call(door=door, host=headers.get("host", ""), query=exchange.query, body=exchange.request, hold=hold)
        refusal: Reply | None = None
        if endpoint.has_token:
            exchange.findings = door.missing_headers(headers)
            caller = await door.authenticate(endpoint.name, headers)
            if isinstance(caller, Reply):
                exchange.bot_id = caller.caller
                refusal = caller
            else:
                exchange.bot_id = caller.bot_id
                call.bot = caller
        if self._gateway.faults:
            refusal = await self._failures.arrive(exchange, call, hold) or refusal
        return refusal or call

    async def _send(self, exchange: Exchange, reply: Reply, scope: Scope, send: Send) -> None:
        """Write an answer, as far as faults let it.

        Raises:
            CutError: A fault resets the connection here.
        """
        body, cut = _bytes_of(reply)
        exchange.ret = reply.body.ret if isinstance(reply.body.ret, int) else None
        exchange.is_refused = reply.plain is None and _is_failure(reply.body)
        exchange.is_stale = STALE_TOKEN in (reply.body.ret, reply.body.errcode)
        exchange.response = body
        if cut != "after_effect":
            exchange.status = reply.status
            headers = _headers(exchange, reply, body)
            if cut is not None or not answer_at_once(scope, reply.status, headers, body):
                await _send_in_parts(send, reply.status, headers, body, cut)
        if reply.on_sent is not None:
            await reply.on_sent()
        if cut is not None:
            raise CutError


async def _send_in_parts(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, cut: Cut | None
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if cut == "mid_body":
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    elif cut is None:
        await send({"type": "http.response.body", "body": body})


def _bytes_of(reply: Reply) -> tuple[bytes, Cut | None]:
    """Return the body as it is written, and where the connection is reset."""
    if reply.delivery is not None:
        return reply.delivery.body, reply.delivery.cut
    if reply.plain is not None:
        return b"" if reply.status in _BODILESS else reply.plain.encode(), None
    return encode(reply.body), None


def _headers(exchange: Exchange, reply: Reply, body: bytes) -> list[tuple[bytes, bytes]]:
    kind = b"application/json" if reply.plain is None else b"text/plain"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if reply.plain is None and reply.status == 405:
        endpoint = CALLS[_SLASHES.sub("/", exchange.path).rstrip("/")]
        headers.append((b"allow", ", ".join(endpoint.methods).encode()))
    elif reply.status == 413:
        headers.append((b"connection", b"close"))
    return headers


def _refuse_request(endpoint: Endpoint | None, exchange: Exchange) -> Reply | None:
    if endpoint is None:
        return _http_refusal(404, f"there is no {exchange.path}")
    if exchange.method not in endpoint.methods:
        return _http_refusal(405, f"{endpoint.name} is called by {' or '.join(endpoint.methods)}")
    return None


async def _refuse_rate(send: Send, wait: int) -> None:
    """Refuse a request that is one too many; it is not read, and noted nowhere, since a flood would fill the log."""
    body = encode(Answer(ret=GENERIC_FAILURE, errmsg="too many requests from this address (limits.requests)"))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(wait).encode()),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Answer the server's start and stop; the gateway is opened and closed by whoever made it."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _http_refusal(status: int, errmsg: str) -> Reply:
    """Refuse with an HTTP status: something is wrong with the request as such, not with what it asks."""
    return Reply(body=Answer(ret=GENERIC_FAILURE, errmsg=errmsg), status=status)


def _is_failure(answer: Answer) -> bool:
    return answer.ret != 0 or bool(answer.errcode)
