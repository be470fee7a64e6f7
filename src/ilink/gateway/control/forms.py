"""A message with a file, as `multipart/form-data`: read in pieces, the file on the disk until it is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ilink.gateway.control.bodies import limited
from ilink.gateway.control.refusals import Refusal
from ilink.gateway.control.requests import FileMessage

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile
    from starlette.requests import Request

__all__ = ["FORM_SCHEMA", "SentFile", "read_form"]

_PIECE: Final = 1024 * 1024
_MOST_FIELDS: Final = 8
_ROOM_FOR_FIELDS: Final = 1024 * 1024
"""Bytes that a form may have beyond its file."""


def _draw_form() -> dict[str, object]:
    (_,), components = msgspec.json.schema_components([FileMessage])
    drawn: dict[str, Any] = components["FileMessage"]
    drawn["properties"]["file"] = {"type": "string", "contentMediaType": "application/octet-stream"}
    drawn["required"].append("file")
    return drawn


FORM_SCHEMA: Final = _draw_form()
"""The form as OpenAPI shows it."""


class SentFile:
    """A form that was read: its fields and its file."""

    def __init__(self, fields: FileMessage, file: UploadFile) -> None:
        self._file = file
        self.fields = fields

    @property
    def name(self) -> str:
        """The file's name, without the folders that some programs send along."""
        return (self._file.filename or "").replace("\\", "/").rpartition("/")[2]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes in pieces."""
        while chunk := await self._file.read(_PIECE):
            yield chunk


@asynccontextmanager
async def read_form(request: Request, *, max_file: int) -> AsyncGenerator[SentFile, None]:
    """Read the form of a request; what was written to the disk for it is gone afterwards.

    Raises:
        Refusal: 400, it is no form; 413, it is too large; 422, a field is missing, unknown or wrong.
        ClientDisconnect: The caller left.
    """
    # Loaded late: most gateways never see a form.
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    stream = limited(request, max_file + _ROOM_FOR_FIELDS)
    parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=_MOST_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"the body is no form: {error.message}", hint="send multipart/form-data") from error
    try:
        items = form.multi_items()
        texts = {name: value for name, value in items if isinstance(value, str)}
        files = [value for name, value in items if isinstance(value, UploadFile) and name == "file"]
        if len(files) != 1 or len(texts) != len(items) - 1:
            raise Refusal(422, "a form has each field once, and one `file` with a file name", hint="see the contract")
        yield SentFile(_read_fields(texts), files[0])
    finally:
        await form.close()


def _read_fields(texts: dict[str, str]) -> FileMessage:
    """Read the texts of a form; `quote` is an object in JSON."""
    fields: dict[str, object] = dict(texts)
    try:
        if "quote" in texts:
            fields["quote"] = msgspec.json.decode(texts["quote"])
        return msgspec.convert(fields, FileMessage)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Refusal(422, f"the form is not as this call takes it: {error}", hint="see /_sim/openapi.json") from error
