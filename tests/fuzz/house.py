"""A gateway that a fuzzer calls in process, watched for what must never happen."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ilink.gateway.http import CdnDoor, ProtocolApp
from ilink.gateway.service import Gateway
from ilink.wire.cipher import ciphertext_size, encrypt
from ilink.wire.keys import KEY_BYTES, KeyForm, MediaKey

__all__ = ["FILEKEY", "KEY", "PLAIN", "House", "UnexpectedError"]

T = TypeVar("T")

KNOBS = {"poll.hold_ms": 0, "poll.error_delay_ms": 0, "qr.hold_ms": 0}
KEY = MediaKey(bytes(range(KEY_BYTES)))
PLAIN = b"a picture of a cat"
FILEKEY = "0123456789abcdef0123456789abcdef"
RENEWED_AFTER = 2_000
"""Requests after which the house is built anew: what it leaks shows then, and its store stays small."""
_DESCRIPTORS = Path("/proc/self/fd")


class UnexpectedError(AssertionError):
    """The gateway failed, or leaked something."""


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class House:
    """One gateway with a bot, a person, a login and a file.

    Attributes:
        words: Valid secrets of the present house by the letter that stands for each, as in `{T}` for the token.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._errors = _Errors()
        self._requests = 0
        self._bare = (0, 0)
        self.words: dict[bytes, bytes] = {}

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._errors)
        self._build()
        self._tear_down()  # what is opened once and kept, is open now
        self._bare = self._held()
        self._build()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._tear_down()
        self._runner.close()
        logging.getLogger().removeHandler(self._errors)

    def filled(self, data: bytes) -> bytes:
        """Put the valid secrets in their places."""
        for letter, word in self.words.items():
            data = data.replace(b"{" + letter + b"}", word)
        return data

    def request(
        self, method: str, path: str, query: bytes = b"", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> int:
        """Send a request and return its status; 0 for a caller who was hung up on.

        Raises:
            UnexpectedError: The answer has a status of 500 or above, an error was logged, or something leaked.
        """
        status = self._run(self._call(method, path, query, headers or {}, body))
        if status >= 500 or self._errors.records:
            told = [record.getMessage() for record in self._errors.records]
            message = f"{method} {path} got {status}; logged: {told}"
            raise UnexpectedError(message)
        self._requests += 1
        if self._requests % RENEWED_AFTER == 0:
            self.renew()
        return status

    def renew(self) -> None:
        """Build the house anew, and see whether anything of the old one is left.

        Raises:
            UnexpectedError: Tasks or descriptors are.
        """
        self._tear_down()
        held = self._held()
        if held[0] > self._bare[0] or held[1] > self._bare[1]:
            message = f"tasks and descriptors were {self._bare}, and are {held}"
            raise UnexpectedError(message)
        self._build()

    def _held(self) -> tuple[int, int]:
        gc.collect()
        tasks = len(asyncio.all_tasks(self._runner.get_loop()))
        return tasks, sum(1 for _ in _DESCRIPTORS.iterdir()) if _DESCRIPTORS.exists() else 0

    def _build(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ilink-fuzz-")
        self._run(self._open(Path(self._folder.name)))

    def _tear_down(self) -> None:
        self._run(self._gateway.aclose())
        self._folder.cleanup()

    async def _open(self, folder: Path) -> None:
        self._gateway = await Gateway(folder, synchronous="OFF", seed=1, knobs=KNOBS).__aenter__()
        self._app = ProtocolApp(self._gateway, cdn=CdnDoor(self._gateway))
        person = (await self._gateway.add_person("alice")).user_id
        code, open_code = await self._new_code(), await self._new_code()
        bot_id = (await self._gateway.confirm(code, user_id=person)).bot_id
        token = (await self._json("GET", "get_qrcode_status", b"qrcode=" + code.encode()))["bot_token"]
        await self._gateway.scan(open_code, person)
        await self._gateway.require_code(open_code, "123456")
        assert bot_id
        await self._gateway.post_message(person, bot_id, text="hello")
        self.words = {b"T": token.encode(), b"P": person.encode(), b"Q": open_code.encode()}
        permission = (await self._json("POST", "getuploadurl", body=self._upload_body(person)))["upload_param"]
        self.words[b"U"] = permission.replace("+", "%2B").encode()
        self.words[b"R"] = (await self._upload(permission)).replace("+", "%2B").encode()

    async def _new_code(self) -> str:
        return (await self._json("GET", "get_bot_qrcode", b"bot_type=3"))["qrcode"]

    @staticmethod
    def _upload_body(person: str) -> bytes:
        return (
            f'{{"filekey":"{FILEKEY}","media_type":1,"to_user_id":"{person}","rawsize":{len(PLAIN)},'
            f'"rawfilemd5":"{hashlib.md5(PLAIN).hexdigest()}","filesize":{ciphertext_size(len(PLAIN))},'
            f'"no_need_thumb":true,"aeskey":"{KEY.spell(KeyForm.HEX)}"}}'
        ).encode()

    async def _upload(self, permission: str) -> str:
        media = self._gateway.media
        reference = await media.take_upload(permission, FILEKEY, _once(encrypt(KEY, PLAIN)), announced=None)
        await media.find(reference, has_task=True)
        return reference

    async def _json(self, method: str, endpoint: str, query: bytes = b"", body: bytes = b"") -> dict[str, Any]:
        sent: list[dict[str, Any]] = []
        bearer = self.words.get(b"T", b"").decode()
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        await self._call(method, f"/ilink/bot/{endpoint}", query, headers, body, sent)
        return json.loads(b"".join(message.get("body", b"") for message in sent))

    async def _call(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: dict[str, str],
        body: bytes,
        sent: list[dict[str, Any]] | None = None,
    ) -> int:
        answers: list[dict[str, Any]] = [] if sent is None else sent
        half = len(body) // 2
        pending = [
            {"type": "http.request", "body": body[:half], "more_body": True},
            {"type": "http.request", "body": body[half:], "more_body": False},
        ]

        async def receive() -> dict[str, Any]:
            return pending.pop(0) if pending else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answers.append(dict(message))

        named = {"host": "gateway.test", "content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()],
        }
        await self._app(scope, receive, send)
        return answers[0]["status"] if answers else 0

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.get_loop().run_until_complete(work)


async def _once(data: bytes) -> Any:
    yield data
