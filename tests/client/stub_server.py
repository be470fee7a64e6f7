"""A server in this process that answers as the test says and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from ilink.transport.memory import MemoryTransport

URL = "http://ilink.test"


@dataclass(frozen=True)
class Asked:
    method: str
    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Script = Answer | Callable[[Asked], Any] | dict[str, Any] | bytes


class StubServer:
    """Answers by the last part of the path: each with its scripted answers in turn, the last one for ever."""

    def __init__(self, **scripts: Script | list[Script]) -> None:
        self.scripts = {name: script if isinstance(script, list) else [script] for name, script in scripts.items()}
        self.asked: list[Asked] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked = await self._read(scope, receive)
        self.asked.append(asked)
        answer = self._next(asked)
        if answer is None:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.encoded()})

    def _next(self, asked: Asked) -> Answer | None:
        scripts = self.scripts.get(asked.path.rpartition("/")[2], [Answer(status=404)])
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        if callable(script):
            script = script(asked)
        return Answer(script) if isinstance(script, dict | bytes) else script

    async def _read(self, scope: Any, receive: Any) -> Asked:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        return Asked(
            scope["method"], headers["host"], scope["path"], query, headers, json.loads(body) if body else None
        )

    @asynccontextmanager
    async def transport(self, *origins: str) -> AsyncIterator[MemoryTransport]:
        async with MemoryTransport(dict.fromkeys(origins or (URL,), self)) as transport:
            yield transport
