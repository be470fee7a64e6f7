"""What people do besides writing: they come to be, and scan and confirm login codes."""

from __future__ import annotations

from ilink.gateway.codes import Codes
from ilink.gateway.people import People
from ilink.gateway.views import CodeView, PersonView
from ilink.wire.ids import UserId

__all__ = ["PeopleRoom"]


class PeopleRoom:
    """The part of a gateway that is about people and login codes."""

    _codes: Codes
    _people: People

    async def add_person(self, name: str) -> PersonView:
        """Make a person. Names need not differ.

        Raises:
            InvalidRequestError: The name is empty or longer than 64 characters.
        """
        return await self._people.add(name)

    async def people(self) -> list[PersonView]:
        """Return all people, oldest first."""
        return await self._people.all()

    async def codes(self) -> list[CodeView]:
        """Return the login codes that are remembered, newest first."""
        return await self._codes.views()

    async def code(self, qrcode: str) -> CodeView:
        """Return one login code.

        Raises:
            UnknownThingError: There is none.
        """
        return await self._codes.view(qrcode)

    async def scan(self, qrcode: str, user_id: UserId) -> CodeView:
        """Let a person scan a code: it becomes `scaned`, `need_verifycode` or `binded_redirect`.

        Raises:
            UnknownThingError: There is no such code or person.
            ConflictError: The code is over, or somebody else scanned it.
        """
        return await self._codes.scan(qrcode, user_id)

    async def confirm(self, qrcode: str, *, user_id: UserId | None = None) -> CodeView:
        """Let the person tap "confirm": the code becomes `confirmed` and a bot exists, named in `bot_id`.

        Scans first when a person is given and nobody has.

        Raises:
            UnknownThingError: There is no such code or person.
            ConflictError: Nobody scanned it, the digits are still missing, or the code is over.
        """
        return await self._codes.confirm(qrcode, user_id)

    async def require_code(self, qrcode: str, code: str | None = None) -> CodeView:
        """Ask the client for the digits that the phone shows; None makes some.

        Raises:
            UnknownThingError: There is no such code.
            ConflictError: The code is over.
            InvalidRequestError: The digits are not as many digits as `qr.code_len` says.
        """
        return await self._codes.require_code(qrcode, code)

    async def redirect(self, qrcode: str, host: str) -> CodeView:
        """Send the client to another host, `name` or `name:port`; it always uses HTTPS there.

        Raises:
            UnknownThingError: There is no such code.
            ConflictError: The code is over.
            InvalidRequestError: The host is none.
        """
        return await self._codes.redirect(qrcode, host)

    async def expire_code(self, qrcode: str) -> CodeView:
        """End a code: it becomes `expired`. Cancelling on the phone looks the same.

        Raises:
            UnknownThingError: There is no such code.
        """
        return await self._codes.expire(qrcode)

    async def wait_code(self, *, timeout: float = 10.0) -> CodeView | None:
        """Return the newest code that nobody has scanned as soon as there is one; None after `timeout` real seconds."""
        return await self._codes.wait_unscanned(timeout)
