"""getuploadurl: the permission to upload one blob (protocol §2.7)."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from ilink.gateway.bots import Bot
from ilink.gateway.knobs import Readings
from ilink.gateway.refusals import Reply, refuse, required
from ilink.gateway.state import GatewayState
from ilink.storage.gateway import UploadTicketRecord
from ilink.wire.enums import MediaType
from ilink.wire.models import UploadUrlAnswer, UploadUrlRequest, given
from ilink.wire.results import INVALID_ARGUMENTS, PARAMETER_ERROR

__all__ = ["Uploads"]

_HEX_32: Final = re.compile(r"[0-9A-Fa-f]{32}")
_KEY_FINDINGS: Final = {"aeskey": ("aeskey_not_hex",)}
_FILEKEY_CHARACTERS: Final = 128
_PARAM_BYTES: Final = 48
_MOST_BYTES: Final = 2**63 - 1
"""What fits into the store; no file is as large, whatever `cdn.max_bytes` says."""


class Uploads:
    """The permissions to upload of all bots."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state

    async def request(self, bot: Bot, request: UploadUrlRequest) -> Reply:
        """Check an announced upload and return the permission for it, in the forms that `upload.forms` says."""
        knobs = self._state.knobs_about(bot, given(request.to_user_id, ""))
        refusal = await self._refuse(request, knobs)
        if refusal is not None:
            return refusal
        ticket = self._ticket(bot, request)
        tickets = [ticket]
        if request.no_need_thumb is not True and given(request.thumb_rawsize, 0) > 0:
            tickets.append(self._thumbnail(ticket, request))
        await self._state.store.add_upload_tickets(tickets)
        return self._reply(ticket, tickets[1] if len(tickets) > 1 else None, knobs.choice("upload.forms"))

    async def _refuse(self, request: UploadUrlRequest, knobs: Readings) -> Reply | None:
        for field, text in (("filekey", request.filekey), ("to_user_id", request.to_user_id)):
            if not given(text, ""):
                return required(knobs, field)
        for field, text in (("rawfilemd5", request.rawfilemd5), ("aeskey", request.aeskey)):
            if not given(text, ""):
                return required(knobs, field)
            if not _HEX_32.fullmatch(given(text, "")):
                return refuse(knobs, PARAMETER_ERROR, f"{field} invalid", findings=_KEY_FINDINGS.get(field, ()))
        if len(given(request.filekey, "")) > _FILEKEY_CHARACTERS:
            return refuse(knobs, PARAMETER_ERROR, "filekey invalid")
        if given(request.media_type, 0) not in set(MediaType):
            return refuse(knobs, PARAMETER_ERROR, "media_type invalid")
        for field, size in (("rawsize", request.rawsize), ("filesize", request.filesize)):
            if given(size, -1) < 0:
                return required(knobs, field)
        for field, size in (
            ("rawsize", request.rawsize),
            ("filesize", request.filesize),
            ("thumb_rawsize", request.thumb_rawsize),
            ("thumb_filesize", request.thumb_filesize),
        ):
            if given(size, 0) > _MOST_BYTES:
                return refuse(knobs, PARAMETER_ERROR, f"{field} invalid")
        if await self._state.store.person(given(request.to_user_id, "")) is None:
            return refuse(knobs, INVALID_ARGUMENTS, "invalid arguments")
        return None

    def _ticket(self, bot: Bot, request: UploadUrlRequest) -> UploadTicketRecord:
        return UploadTicketRecord(
            param=self._param(),
            bot=bot.number,
            user_id=given(request.to_user_id, ""),
            filekey=given(request.filekey, ""),
            media_type=given(request.media_type, 0),
            plain_bytes=given(request.rawsize, 0),
            plain_md5=given(request.rawfilemd5, "").lower(),
            cipher_bytes=given(request.filesize, 0),
            aes_key=given(request.aeskey, "").lower(),
            is_thumbnail=False,
            issued_ms=self._state.clock.now_ms(),
        )

    def _thumbnail(self, ticket: UploadTicketRecord, request: UploadUrlRequest) -> UploadTicketRecord:
        """Return the permission for the thumbnail: same key and file key as the picture's (assumed)."""
        return replace(
            ticket,
            param=self._param(),
            plain_bytes=given(request.thumb_rawsize, 0),
            plain_md5=given(request.thumb_rawfilemd5, "").lower(),
            cipher_bytes=given(request.thumb_filesize, 0),
            is_thumbnail=True,
        )

    def _reply(self, ticket: UploadTicketRecord, thumbnail: UploadTicketRecord | None, forms: str) -> Reply:
        answer = UploadUrlAnswer(ret=0, upload_param="" if forms == "full" else ticket.param)
        if thumbnail is not None:
            answer.thumb_upload_param = thumbnail.param
        if forms != "param":
            answer.upload_full_url = (
                f"{self._state.cdn_url}/upload?encrypted_query_param={quote(ticket.param, safe='')}"
                f"&filekey={quote(ticket.filekey, safe='')}"
            )
        is_padded = ticket.cipher_bytes == 16 * (ticket.plain_bytes // 16 + 1)
        return Reply(body=answer, findings=() if is_padded else ("filesize_is_not_the_padded_rawsize",))

    def _param(self) -> str:
        return base64.b64encode(self._state.ids.draw("upload", _PARAM_BYTES)).decode()
