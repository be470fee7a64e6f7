"""Plays the client's side of a cassette against a gateway, and everybody else's part too, and compares the answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from ilink.cassettes.blobs import Blobs
from ilink.cassettes.cast import Parts
from ilink.cassettes.compare import Comparison, differences
from ilink.cassettes.people import People
from ilink.cassettes.tape import Cassette, Part, Take
from ilink.errors import IlinkError, RemoteProtocolError
from ilink.gateway.server import GatewayServer, ServerOptions
from ilink.transport.http import HttpTransport
from ilink.transport.seam import Request, Response, Transport
from ilink.wire.codec import decode_object, encode

__all__ = ["compare"]

_TIMEOUT: Final = 30.0
_LOOK_AGAIN: Final = 0.001
_STEP: Final = 1.0
"""Seconds by which the gateway's clock goes on while it holds an answer back."""

_UNSENT: Final = frozenset({"authorization", "host", "content-length", "connection", "accept-encoding", "user-agent"})


async def compare(
    cassette: Cassette, *, profile: str = "observed", knobs: Mapping[str, object] | None = None
) -> Comparison:
    """Play a cassette against a new gateway in this process, and return where its answers differ.

    Codes are scanned, messages written and pictures sent as the recorded answers tell that somebody did; waiting takes
    no time, since the gateway's clock is moved.

    Args:
        cassette: A recording.
        profile: The gateway's knobs.
        knobs: Those that differ.

    Raises:
        ConfigError: A profile or knob is wrong.
    """
    options = ServerOptions(profile=profile, knobs=dict(knobs or {}), seed=1, synchronous="OFF")
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(HttpTransport(environ={}))
        server = await stack.enter_async_context(GatewayServer(options))
        return await _Player(cassette, server, transport).play()


class _Player:
    """One performance."""

    def __init__(self, cassette: Cassette, server: GatewayServer, transport: Transport) -> None:
        self._takes = sorted(cassette.takes, key=lambda take: (take.at_ms + take.held_ms, take.n))
        self._server = server
        self._gateway = server.gateway
        self._transport = transport
        self._blobs = Blobs(cassette)
        self._parts = Parts()
        self._people = People(cassette, server, transport, self._parts)
        self._now_ms = 0
        self._found = Comparison()

    async def play(self) -> Comparison:
        await self._gateway.freeze_clock(frozen=True)
        for take in self._takes:
            why = _why_unplayable(take)
            if why is None:
                try:
                    await self._play(take)
                except IlinkError as error:
                    why = str(error)
            if why is not None:
                self._found.skipped.append((take.n, why))
        return self._found

    async def _play(self, take: Take) -> None:
        """Make one request when it was made, and let happen what happened before it was answered."""
        await self._advance_to(take.at_ms)
        await self._people.prepare(take)
        comes_late = take.held_ms > 1000 * _STEP
        if not comes_late:
            await self._people.write(take)
        began_ms = self._now_ms
        asking = asyncio.ensure_future(self._transport.send(self._request(take), timeout=_TIMEOUT))
        try:
            if not await self._is_answered(asking):
                await self._advance_to(take.at_ms + take.held_ms)
                if comes_late:
                    await self._people.write(take)
            while not await self._is_answered(asking):
                await self._advance_to(self._now_ms + int(1000 * _STEP))
            answer = asking.result()
        finally:
            asking.cancel()
        self._compare(take, answer, self._now_ms - began_ms)

    async def _is_answered(self, asking: asyncio.Future[Response]) -> bool:
        """Tell whether an answer came, as soon as it did or is held back."""
        while not (asking.done() or self._gateway.state.waiting):
            await asyncio.wait((asking,), timeout=_LOOK_AGAIN)
        return asking.done()

    async def _advance_to(self, ms: int) -> None:
        if ms > self._now_ms:
            await self._gateway.advance_clock((ms - self._now_ms) / 1000)
            self._now_ms = ms

    def _request(self, take: Take) -> Request:
        is_media = take.endpoint.startswith("cdn_")
        base = self._server.info.cdn_url if is_media else self._server.info.api_url
        query = {name: self._parts.get(value) for name, value in take.query.items()}
        path = take.path.removeprefix("/c2c") if is_media else take.path
        url = base + path + (f"?{urlencode(query)}" if query else "")
        if take.method == "GET":
            return Request(method="GET", url=url, headers=self._headers(take))
        return Request(method="POST", url=url, headers=self._headers(take), body=self._body(take))

    def _headers(self, take: Take) -> dict[str, str]:
        headers = {
            name: value for name, value in take.request.headers.items() if name not in _UNSENT and value != "***"
        }
        scheme, _, token = take.request.headers.get("authorization", "").partition(" ")
        if token:
            headers["authorization"] = f"{scheme} {self._parts.get(token)}"
        return headers

    def _body(self, take: Take) -> bytes:
        if take.request.bytes is not UNSET:
            return self._blobs.make(take, take.request.bytes)
        if take.request.json is UNSET:
            return b""
        body = {name: self._parts.translated(value) for name, value in take.request.json.items()}
        size = body.get("rawsize")
        if take.endpoint == "getuploadurl" and isinstance(size, int):  # what is uploaded stands for it, and is zeros
            body["rawfilemd5"] = hashlib.md5(bytes(size), usedforsecurity=False).hexdigest()
        return encode(body)

    def _compare(self, take: Take, answer: Response, held_ms: int) -> None:
        ours = _part(answer, api=self._server.info.api_url, cdn=self._server.info.cdn_url)
        if take.response.json is not UNSET and ours.json is not UNSET:
            self._parts.learn(take.response.json, ours.json)
        self._parts.learn(dict(take.response.headers), dict(ours.headers))
        self._found.played += 1
        self._found.differences.extend(differences(take, answer.status, ours, held_ms))


def _why_unplayable(take: Take) -> str | None:
    if take.endpoint == "?":
        return "the path is none of the protocol's"
    return {"left": "the client left before an answer", "failed": "the server was not reached"}.get(take.end)


def _part(answer: Response, *, api: str, cdn: str) -> Part:
    """Return our answer as a recording would have it, but for its secrets."""
    if not answer.body:
        return Part(headers=dict(answer.headers))
    try:
        fields = decode_object(answer.body)
    except RemoteProtocolError:
        return Part(headers=dict(answer.headers), bytes=len(answer.body))
    raw = msgspec.json.encode(fields).replace(f'"{cdn}'.encode(), b'"{cdn}').replace(f'"{api}'.encode(), b'"{api}')
    return Part(headers=dict(answer.headers), json=decode_object(raw))
