"""Calls about people, and about what they do with a login code."""

from __future__ import annotations

from msgspec import UNSET

from ilink.gateway.control.answers import Bound, CodeList, PersonList
from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.requests import Confirmation, NewPerson, Redirect, Scan, VerifyCode
from ilink.gateway.control.state import ControlState
from ilink.gateway.views import CodeView, PersonView
from ilink.wire.ids import UserId

__all__ = ["calls"]

calls = CallTable()


@calls.call("POST", "/_sim/people", status=201)
async def add_person(control: ControlState, body: NewPerson) -> PersonView:
    """Make a person; names need not differ."""
    return await control.gateway.add_person(body.name)


@calls.call("GET", "/_sim/people")
async def list_people(control: ControlState) -> PersonList:
    """List people, oldest first."""
    return PersonList(people=await control.gateway.people())


@calls.call("GET", "/_sim/qr")
async def list_codes(control: ControlState) -> CodeList:
    """List login codes, newest first."""
    return CodeList(codes=await control.gateway.codes())


@calls.call("POST", "/_sim/qr/{qrcode}/scan", refusals=(404, 409))
async def scan_code(control: ControlState, qrcode: str, body: Scan) -> CodeView:
    """Let a person scan a code.

    It becomes `scaned`; or `binded_redirect` when the person has a live bot whose token the client named.
    """
    return await control.gateway.scan(qrcode, UserId(body.user_id))


@calls.call("POST", "/_sim/qr/{qrcode}/confirm", refusals=(404, 409))
async def confirm_code(control: ControlState, qrcode: str, body: Confirmation) -> Bound:
    """Let the person who scanned tap confirm; with `user_id`, that person scans first if nobody has."""
    scanner = None if body.user_id is UNSET else UserId(body.user_id)
    code = await control.gateway.confirm(qrcode, user_id=scanner)
    return Bound(bot_id=code.bot_id or "", user_id=code.user_id or "")


@calls.call("POST", "/_sim/qr/{qrcode}/require-code", refusals=(404, 409))
async def require_code(control: ControlState, qrcode: str, body: VerifyCode) -> CodeView:
    """Ask the client for digits: `need_verifycode` until they come, `verify_code_blocked` after three wrong ones."""
    return await control.gateway.require_code(qrcode, body.code)


@calls.call("POST", "/_sim/qr/{qrcode}/redirect", refusals=(404, 409))
async def redirect_client(control: ControlState, qrcode: str, body: Redirect) -> CodeView:
    """Send the client to another host: `scaned_but_redirect`."""
    return await control.gateway.redirect(qrcode, body.host)


@calls.call("POST", "/_sim/qr/{qrcode}/expire", refusals=(404, 409))
async def expire_code(control: ControlState, qrcode: str) -> CodeView:
    """Let a code run out now."""
    return await control.gateway.expire_code(qrcode)


@calls.call("POST", "/_sim/qr/{qrcode}/cancel", refusals=(404, 409))
async def cancel_code(control: ControlState, qrcode: str) -> CodeView:
    """Let the person cancel; for the client the code has run out."""
    return await control.gateway.expire_code(qrcode)
