"""What a parity run carries from step to step, and the raw calls it makes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote

from ilink.errors import OutcomeUnknownError, RemoteProtocolError
from ilink.transport.seam import Request, Response, Transport
from ilink.wire.cipher import Encryptor, ciphertext_size
from ilink.wire.codec import decode_object, encode
from ilink.wire.headers import AUTHORIZATION_TYPE, app_headers
from ilink.wire.keys import KeyForm, MediaKey
from ilink.wire.shapes import is_array, is_object

__all__ = ["Errand", "Hand", "verdict"]

_PLAIN: Final = b"\x89PNG\r\n\x1a\n parity"
_VERSION: Final = "2.4.9"
_UIN: Final = base64.b64encode(b"3735928559").decode()

Fields = dict[str, object]


class Hand(Protocol):
    """Somebody with a phone."""

    async def scan(self, url: str, qrcode: str) -> None:
        """Scan a code and confirm; `url` is what the QR picture shows."""
        ...

    async def write(self, text: str) -> None:
        """Write a text to the bot."""
        ...


@dataclass(slots=True, kw_only=True)
class Errand:
    """One run.

    Attributes:
        transport: The way to the server.
        hand: Who scans and writes.
        base_url: The server.
        cdn_url: Its media.
        patience: Seconds after which a held poll counts as one with nothing new.
        ids: Makes random bytes.
        token: The bot's, once it has one.
        user_id: Who scanned.
        cursor: The newest.
        context_token: The newest.
        reference: Of the uploaded picture.
    """

    transport: Transport
    hand: Hand
    base_url: str
    cdn_url: str
    patience: float
    random_id: str
    token: str = ""
    bot_id: str = ""
    user_id: str = ""
    qrcode: str = ""
    cursor: str = ""
    context_token: str = ""
    ticket: str = ""
    message_id: str = ""
    reference: str = ""
    permission: Fields = field(default_factory=dict[str, object])
    _count: int = 0

    def next_id(self, kind: str) -> str:
        """Return an id that this run has not used."""
        self._count += 1
        return f"parity-{kind}-{self.random_id}-{self._count}"

    async def call(
        self, endpoint: str, body: Mapping[str, object], *, token: str | None = None, without: tuple[str, ...] = ()
    ) -> Fields | None:
        """Make a call as the official client does; None when the server held it for too long."""
        headers = {
            "Content-Type": "application/json",
            "AuthorizationType": AUTHORIZATION_TYPE,
            "Authorization": f"Bearer {self.token if token is None else token}",
            "X-WECHAT-UIN": _UIN,
            **app_headers(_VERSION),
        }
        sent = {name: value for name, value in headers.items() if name not in without}
        payload: Fields = {**body, "base_info": {"channel_version": _VERSION, "bot_agent": "ilink-parity"}}
        url = f"{self.base_url}/ilink/bot/{endpoint}"
        request = Request(method="POST", url=url, headers=sent, body=encode(payload))
        try:
            return _fields(await self.transport.send(request, timeout=self.patience))
        except OutcomeUnknownError:
            return None

    async def get(self, path: str) -> Fields | None:
        """Make a call without a token; None when the server held it for too long."""
        request = Request(method="GET", url=f"{self.base_url}/ilink/bot/{path}", headers=app_headers(_VERSION))
        try:
            return _fields(await self.transport.send(request, timeout=self.patience))
        except OutcomeUnknownError:
            return None

    async def poll(self, cursor: str) -> list[Fields]:
        """Return the messages after a cursor; none when there is nothing new."""
        answer = await self.call("getupdates", {"get_updates_buf": cursor}) or {}
        newer = answer.get("get_updates_buf")
        self.cursor = newer if isinstance(newer, str) and newer else self.cursor
        messages = answer.get("msgs")
        return [message for message in messages if is_object(message)] if is_array(messages) else []

    async def send(self, **fields: object) -> Fields:
        """Send a text, with other fields than usual if they are given; None leaves one out."""
        message: Fields = {
            "from_user_id": "",
            "to_user_id": self.user_id,
            "client_id": self.next_id("message"),
            "message_type": 2,
            "message_state": 2,
            "context_token": self.context_token,
            "item_list": [{"type": 1, "text_item": {"text": "parity"}}],
            **fields,
        }
        sent = {name: value for name, value in message.items() if value is not None}
        return await self.call("sendmessage", {"msg": sent}) or {}

    def announce(self) -> Fields:
        """Return the body that asks for the permission to upload a picture."""
        return {
            "filekey": hashlib.md5(self.next_id("file").encode(), usedforsecurity=False).hexdigest(),
            "media_type": 1,
            "to_user_id": self.user_id,
            "rawsize": len(_PLAIN),
            "rawfilemd5": hashlib.md5(_PLAIN, usedforsecurity=False).hexdigest(),
            "filesize": ciphertext_size(len(_PLAIN)),
            "no_need_thumb": True,
            "aeskey": self._key.spell(KeyForm.HEX),
        }

    async def upload(self, filekey: str, *, extra: bytes = b"") -> Response:
        """Upload the picture with the permission that was given last."""
        encryptor = Encryptor(self._key)
        body = bytes(encryptor.update(_PLAIN)) + bytes(encryptor.finish()) + extra
        param = quote(str(self.permission.get("upload_param", "")), safe="")
        url = str(self.permission.get("upload_full_url") or "")
        url = url or f"{self.cdn_url}/upload?encrypted_query_param={param}&filekey={filekey}"
        headers = {"Content-Type": "application/octet-stream"}
        return await self.transport.send(Request(method="POST", url=url, headers=headers, body=body), timeout=30.0)

    async def download(self) -> Response:
        """Fetch the picture by its reference."""
        url = f"{self.cdn_url}/download?encrypted_query_param={quote(self.reference, safe='')}"
        return await self.transport.send(Request(method="GET", url=url), timeout=30.0)

    def picture(self) -> list[Fields]:
        """Return the items that show the picture."""
        media = {
            "encrypt_query_param": self.reference,
            "aes_key": self._key.spell(KeyForm.BASE64_HEX),
            "encrypt_type": 1,
        }
        return [{"type": 2, "image_item": {"media": media, "mid_size": ciphertext_size(len(_PLAIN))}}]

    @property
    def _key(self) -> MediaKey:
        return MediaKey(hashlib.md5(self.random_id.encode(), usedforsecurity=False).digest())


def verdict(answer: Fields | None) -> str:
    """Return an answer in a few words: its numbers and its message, as they stand."""
    if answer is None:
        return "held"
    said = [f"{name}={answer[name]}" for name in ("http", "ret", "errcode", "errmsg") if name in answer]
    return " ".join(said) or "neither ret nor errcode"


def _fields(answer: Response) -> Fields:
    try:
        fields = decode_object(answer.body)
    except RemoteProtocolError:
        return {"http": answer.status}
    return fields if answer.status == 200 else {"http": answer.status, **fields}
