"""The ASGI application that every transport talks to in the tests."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

MEBIBYTE = b"\xa5" * (1 << 20)


class Application:
    """Answers by path, and notes who asked and who left."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        path = scope["path"]
        self.requests.append(path)
        match path.strip("/").split("/"):
            case ["status", number]:
                await self.answer(send, int(number), b"words", [(b"X-Kind", b"Test"), (b"Location", b"/elsewhere")])
            case ["hang"]:
                self.entered.set()
                await self.wait_until_left(receive)
            case ["large", count]:
                await self.stream(send, [MEBIBYTE] * int(count))
            case ["break-mid-body"]:
                head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]}
                await send(head)
                await send({"type": "http.response.body", "body": b"part", "more_body": True})
                message = "the application fails"
                raise RuntimeError(message)
            case ["break-early"]:
                message = "the application fails"
                raise RuntimeError(message)
            case ["stall"]:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"first", "more_body": True})
                await self.wait_until_left(receive)
            case ["empty"]:
                await self.answer(send, 200, b"")
            case ["cookie"]:
                await self.answer(send, 200, b"", [(b"Set-Cookie", b"who=me; Path=/")])
            case ["early"]:
                await self.answer(send, 413, b"too large")
            case _:
                await self.echo(scope, receive, send)

    async def wait_until_left(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        digest, size, pieces = hashlib.sha256(), 0, 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.left.set()
                return
            digest.update(event.get("body", b""))
            size += len(event.get("body", b""))
            pieces += 1
            if not event.get("more_body"):
                break
        seen = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            "size": size,
            "sha256": digest.hexdigest(),
            "pieces": pieces,
        }
        await self.answer(send, 200, json.dumps(seen).encode())

    async def answer(self, send: Any, status: int, body: bytes, headers: Any = ()) -> None:
        head = [(b"content-length", str(len(body)).encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def stream(self, send: Any, chunks: list[bytes]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
