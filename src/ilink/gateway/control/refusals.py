"""Saying no: one error with a status, a code for programs, words for people, and what to do."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import msgspec
from msgspec import Struct

from ilink.errors import ConfigError, StoreError
from ilink.gateway.problems import ConflictError, InvalidRequestError, KnobError, UnknownThingError

__all__ = ["CODES", "SAID_NO", "ErrorAnswer", "ErrorBody", "Refusal", "as_refusal", "refused"]

SAID_NO: Final = (UnknownThingError, ConflictError, KnobError, InvalidRequestError, ConfigError, StoreError)
"""What the gateway itself says no with."""

CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    421: "misdirected",
    422: "invalid",
    500: "internal",
    501: "not_implemented",
    503: "unavailable",
}
"""What a program reads, by HTTP status."""


class ErrorBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What went wrong: `code` for programs, `message` for people, `hint` says what to do."""

    code: str
    message: str
    hint: str


class ErrorAnswer(Struct, kw_only=True, forbid_unknown_fields=True):
    """The one shape of every error."""

    error: ErrorBody


class Refusal(Exception):  # noqa: N818  # it is an answer; "error" is what it carries
    """Raised anywhere below a call; the door of the control API turns it into the answer."""

    def __init__(
        self, status: int, message: str, *, hint: str = "", code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.code = code or CODES[status]
        self.headers = headers or {}

    @property
    def words(self) -> ErrorBody:
        """What the answer says."""
        return ErrorBody(code=self.code, message=self.message, hint=self.hint)

    def body(self) -> bytes:
        """Return the answer's JSON."""
        return msgspec.json.encode(ErrorAnswer(error=self.words))


@contextmanager
def refused() -> Generator[None, None, None]:
    """Translate what the gateway itself says no with.

    Raises:
        Refusal: It said no.
    """
    try:
        yield
    except SAID_NO as error:
        raise as_refusal(error) from error


def as_refusal(error: Exception) -> Refusal:
    """Return the answer for something that the gateway itself said no with: one of `SAID_NO`."""
    match error:
        case UnknownThingError():
            return Refusal(404, str(error), hint="ids are case-sensitive; a reset forgets them")
        case ConflictError():
            return Refusal(409, str(error), hint="look at its present state first")
        case KnobError():
            return Refusal(422, str(error), hint=f"`{error.knob}` is the knob; GET /_sim/config shows all")
        case StoreError():
            return Refusal(503, str(error), hint="nothing was changed; try again")
        case _:
            return Refusal(422, str(error), hint="see /_sim/openapi.json")
