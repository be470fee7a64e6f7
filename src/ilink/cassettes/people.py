"""The people of a recording: they scan, confirm and write when the recorded answers tell that they did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, cast

from msgspec import UNSET

from ilink.cassettes.blobs import objects_in
from ilink.cassettes.cast import Parts
from ilink.cassettes.tape import Cassette, Take
from ilink.gateway.media import MediaWord
from ilink.gateway.server import GatewayServer
from ilink.gateway.views import Quote
from ilink.transport.seam import Request, Transport
from ilink.wire.codec import decode_object
from ilink.wire.enums import ItemType, LoginStatus
from ilink.wire.ids import AccountId, UserId
from ilink.wire.results import STALE_TOKEN
from ilink.wire.shapes import is_array, is_object

__all__ = ["People"]

_SOMEBODY: Final = "somebody"
_MEDIA: Final[dict[object, tuple[MediaWord, str]]] = {
    ItemType.IMAGE: ("image", "image_item"),
    ItemType.VOICE: ("voice", "voice_item"),
    ItemType.FILE: ("file", "file_item"),
    ItemType.VIDEO: ("video", "video_item"),
}
_DIGITS: Final = "123456"
_BLOCK: Final = 16
_SMALL: Final = 16
_TIMEOUT: Final = 30.0


class People:
    """Everybody but the client."""

    def __init__(self, cassette: Cassette, server: GatewayServer, transport: Transport, parts: Parts) -> None:
        self._takes = cassette.takes
        self._server = server
        self._gateway = server.gateway
        self._transport = transport
        self._parts = parts
        self._users: dict[str, UserId] = {}
        self._bots: dict[str, AccountId] = {}
        self._told: dict[str, str] = {}
        self._written: set[str] = set()
        self._sizes = {
            take.query.get("encrypted_query_param", ""): take.response.bytes
            for take in cassette.takes
            if take.endpoint == "cdn_download" and take.response.bytes is not UNSET
        }

    async def prepare(self, take: Take) -> None:
        """Let happen what must have happened before a request was answered as it was; see `write` for messages.

        Raises:
            IlinkError: It cannot be made to happen.
        """
        token = take.request.headers.get("authorization", "").partition(" ")[2]
        if token and token not in self._parts and not _is_stale(take):
            await self._sign_in(token)
        if take.endpoint == "get_qrcode_status":
            await self._handle_code(take)

    async def write(self, take: Take) -> None:
        """Write what a recorded poll was answered with."""
        if take.endpoint != "getupdates" or take.response.json is UNSET:
            return
        token = take.request.headers.get("authorization", "").partition(" ")[2]
        messages = take.response.json.get("msgs")
        for message in messages if is_array(messages) else []:
            if is_object(message) and (message_id := str(message.get("message_id"))) not in self._written:
                self._written.add(message_id)
                await self._write(message, self._bots[token])

    async def _handle_code(self, take: Take) -> None:
        body = {} if take.response.json is UNSET else take.response.json
        qrcode, status = take.query.get("qrcode", ""), body.get("status")
        if not isinstance(status, str) or self._told.get(qrcode) == status or qrcode not in self._parts:
            return
        self._told[qrcode] = status
        ours = self._parts.get(qrcode)
        owner = await self._user(self._owner_of(qrcode))
        match status:
            case LoginStatus.SCANNED | LoginStatus.BOUND_REDIRECT:
                if not take.query.get("verify_code"):
                    await self._gateway.scan(ours, owner)
            case LoginStatus.CONFIRMED:
                code = await self._gateway.confirm(ours, user_id=owner)
                assert code.bot_id is not None
                self._bots[str(body.get("bot_token", ""))] = AccountId(code.bot_id)
            case LoginStatus.NEED_VERIFY_CODE:
                await self._gateway.scan(ours, owner)
                await self._gateway.require_code(ours, self._digits(qrcode))
            case LoginStatus.SCANNED_BUT_REDIRECT:
                await self._gateway.redirect(ours, str(body.get("redirect_host", "host.invalid")))
            case LoginStatus.EXPIRED:
                await self._gateway.expire_code(ours)
            case _:
                return

    def _owner_of(self, qrcode: str) -> str:
        """Return who confirmed a code in the end, or at least somebody."""
        for take in self._takes:
            body = {} if take.response.json is UNSET else take.response.json
            if take.query.get("qrcode") == qrcode and body.get("ilink_user_id"):
                return str(body["ilink_user_id"])
        return _SOMEBODY

    def _digits(self, qrcode: str) -> str:
        """Return the digits that the client sends last, which are the right ones if any are."""
        sent = [
            take.query["verify_code"]
            for take in self._takes
            if take.query.get("qrcode") == qrcode and take.query.get("verify_code")
        ]
        return sent[-1] if sent else _DIGITS

    async def _user(self, recorded: str) -> UserId:
        user = self._users.get(recorded)
        if user is None:
            user = self._users[recorded] = UserId(
                (await self._gateway.add_person(f"person {len(self._users) + 1}")).user_id
            )
            self._parts.put(recorded, user)
        return user

    async def _sign_in(self, token: str) -> None:
        """Make the bot of a token that was there before the recording began."""
        owner = await self._user(self._first_writer(token))
        url = f"{self._server.info.api_url}/ilink/bot"
        answer = await self._transport.send(
            Request(method="GET", url=f"{url}/get_bot_qrcode?bot_type=3"), timeout=_TIMEOUT
        )
        qrcode = str(decode_object(answer.body)["qrcode"])
        await self._gateway.confirm(qrcode, user_id=owner)
        status = await self._transport.send(
            Request(method="GET", url=f"{url}/get_qrcode_status?qrcode={qrcode}"), timeout=_TIMEOUT
        )
        confirmed = decode_object(status.body)
        self._bots[token] = AccountId(str(confirmed["ilink_bot_id"]))
        self._parts.put(token, str(confirmed["bot_token"]))
        self._parts.put(token.rpartition(":")[0], str(confirmed["ilink_bot_id"]))

    def _first_writer(self, token: str) -> str:
        for take in self._takes:
            if take.request.headers.get("authorization", "").endswith(token) and take.response.json is not UNSET:
                for found in objects_in(take.response.json):
                    if isinstance(found.get("from_user_id"), str):
                        return cast("str", found["from_user_id"])
        return _SOMEBODY

    async def _write(self, message: dict[str, object], bot_id: AccountId) -> None:
        user = await self._user(str(message.get("from_user_id", _SOMEBODY)))
        items = message.get("item_list")
        items = [item for item in items if is_object(item)] if is_array(items) else []
        if len(items) == 1 and items[0].get("type") in _MEDIA:
            await self._send_file(items[0], user, bot_id)
        elif len(items) == 1 and items[0].get("type") == ItemType.TEXT and is_object(items[0].get("text_item")):
            await self._say(items[0], user, bot_id)
        else:
            translated = [cast("dict[str, object]", self._parts.translated(item)) for item in items]
            await self._gateway.post_message(user, bot_id, items=translated)

    async def _say(self, item: dict[str, object], user: UserId, bot_id: AccountId) -> None:
        text_item, reference = item["text_item"], item.get("ref_msg")
        text = text_item.get("text") if is_object(text_item) else ""
        quoted = reference.get("svr_id") if is_object(reference) else None
        is_known = isinstance(quoted, str) and quoted in self._parts
        quote = Quote(message_id=self._parts.get(str(quoted))) if is_known else None
        await self._gateway.post_message(user, bot_id, text=str(text), quote=quote)

    async def _send_file(self, item: dict[str, object], user: UserId, bot_id: AccountId) -> None:
        kind, field = _MEDIA[item["type"]]
        payload = item.get(field)
        payload = payload if is_object(payload) else {}
        media = payload.get("media")
        param = media.get("encrypt_query_param") if is_object(media) else None
        length = payload.get("len")
        size = int(length) if isinstance(length, str) and length.isdigit() else self._plain_size(param)
        text = payload.get("text")

        async def chunks() -> AsyncIterator[bytes]:
            yield bytes(size)

        await self._gateway.post_media(
            user,
            bot_id,
            kind,
            chunks(),
            name=str(payload.get("file_name", "")),
            text=text if isinstance(text, str) and kind == "voice" else None,
        )

    def _plain_size(self, param: object) -> int:
        size = self._sizes.get(str(param))
        return _SMALL if size is None else max(0, size - _BLOCK)


def _is_stale(take: Take) -> bool:
    """Tell whether the server did not know a token, so that nobody has to sign in with it."""
    body = {} if take.response.json is UNSET else take.response.json
    return STALE_TOKEN in (body.get("ret"), body.get("errcode"))
