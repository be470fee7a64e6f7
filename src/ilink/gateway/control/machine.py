"""Calls about the gateway itself: health, settings, time, the wire, and starting over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from ilink.gateway.control.answers import Health, Info, LoginLink, WireLog
from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.refusals import Refusal
from ilink.gateway.control.requests import AdvanceClock, ConfigScope, NewConfig, Reset, WireFilter
from ilink.gateway.control.state import ControlState
from ilink.gateway.findings import FINDINGS
from ilink.gateway.views import ClockView, ConfigView
from ilink.wire.ids import AccountId, UserId

__all__ = ["calls"]

T = TypeVar("T", AccountId, UserId)

calls = CallTable()


@calls.call("GET", "/_sim/health")
async def health(control: ControlState) -> Health:
    """Tell that the process answers, and its version."""
    return Health(version=control.info.version)


@calls.call("GET", "/_sim/info")
async def info(control: ControlState, request: Request) -> Info:
    """Return the fields of the ready line; the key only to those who presented it."""
    if control.guard.knows_bearer(request.headers.get("authorization")):
        return control.info
    # A browser that signed in by a link holds a cookie that its scripts cannot read; the key stays away from them too.
    return replace(control.info, control_key=None)


@calls.call("POST", "/_sim/login-links", status=201, refusals=(409,))
async def add_login_link(control: ControlState) -> LoginLink:
    """Make a link that signs one browser in, once, without showing it the key."""
    if not control.guard.has_key:
        raise Refusal(409, "this listener has no key, so every browser on this machine may call", hint="open the page")
    return LoginLink(url=f"{control.info.control_url}/login?code={control.guard.new_login_code()}")


@calls.call("POST", "/_sim/reset", status=204)
async def reset(control: ControlState, body: Reset) -> None:
    """Forget everything; ids, tokens and keys follow from the seed.

    With `now` the clock stands still at that moment: then the same requests get the same answers, byte for byte.
    """
    now = None if body.now is UNSET else body.now
    await control.gateway.reset(None if body.seed is UNSET else body.seed, now=now)


@calls.call("GET", "/_sim/config", refusals=(404,))
async def show_config(control: ControlState, query: ConfigScope) -> ConfigView:
    """Return the profile and the value of every knob, and in `overrides` what differs for bots and people.

    With `bot_id` or `user_id` the values are those for this bot or person; with both, for what they do with each other.
    """
    await control.gateway.catch_up()
    if query.bot_id is UNSET and query.user_id is UNSET:
        return control.gateway.config()
    return await control.gateway.config_of(bot_id=_id(query.bot_id, AccountId), user_id=_id(query.user_id, UserId))


@calls.call("PUT", "/_sim/config", refusals=(404,))
async def configure(control: ControlState, body: NewConfig) -> ConfigView:
    """Choose a profile, then set single knobs; all or nothing, and knobs that are not named keep their value.

    With `bot_id` they are set for this bot only, with `user_id` for what this person and bots do with each other.
    A person's values come before a bot's, and a bot's before the gateway's. A profile sets every knob that can be set
    there; one that is gateway-wide by nature is refused with the reason.
    """
    return await control.gateway.configure(
        profile=None if body.profile is UNSET else body.profile,
        knobs=dict(body.knobs),
        bot_id=_id(body.bot_id, AccountId),
        user_id=_id(body.user_id, UserId),
    )


@calls.call("DELETE", "/_sim/config", status=204, refusals=(404,))
async def drop_config(control: ControlState, query: ConfigScope) -> None:
    """Let no knob differ any more for a bot or for a person, or without either for anybody; the gateway's own stay."""
    await control.gateway.drop_config(bot_id=_id(query.bot_id, AccountId), user_id=_id(query.user_id, UserId))


@calls.call("GET", "/_sim/clock")
async def show_clock(control: ControlState) -> ClockView:
    """Return the gateway's own time."""
    await control.gateway.catch_up()
    return control.gateway.clock()


@calls.call("POST", "/_sim/clock")
async def set_clock(control: ControlState, body: AdvanceClock) -> ClockView:
    """Go forward, stop, or run on; it drives codes, windows, tickets, tokens, links and retention."""
    if body.advance_s is UNSET and body.freeze is UNSET:
        raise Refusal(422, "the body has neither `advance_s` nor `freeze`", hint="say what the clock shall do")
    if body.advance_s is not UNSET:
        await control.gateway.advance_clock(body.advance_s)
    if body.freeze is not UNSET:
        await control.gateway.freeze_clock(frozen=body.freeze)
    return control.gateway.clock()


@calls.call("GET", "/_sim/wire")
async def show_wire(control: ControlState, query: WireFilter) -> WireLog:
    """Return exchanges on the protocol listener, oldest first, secrets masked."""
    entries = control.gateway.wire_log(
        since=query.since,
        bot_id=None if query.bot_id is UNSET else query.bot_id,
        endpoint=None if query.endpoint is UNSET else query.endpoint,
    )
    codes = sorted({code for entry in entries for code in entry.findings})
    return WireLog(entries=entries, findings={code: FINDINGS[code].words for code in codes} or UNSET)


@calls.call("GET", "/healthz", media_type="text/plain", is_open=True)
async def healthz(_control: ControlState) -> Response:
    """Tell that the process answers."""
    return Response("ok\n", media_type="text/plain")


@calls.call("GET", "/readyz", media_type="text/plain", refusals=(503,), is_open=True)
async def readyz(control: ControlState) -> Response:
    """Tell whether the store takes writes, and the gateway does not leave."""
    if control.gateway.is_leaving:
        raise Refusal(503, "the gateway is about to stop", hint="ask another one")
    if not await control.gateway.is_writable():
        raise Refusal(503, "the store takes no writes", hint="look at the disk of the data folder, or at the database")
    return Response("ready\n", media_type="text/plain")


@calls.call("GET", "/metrics", media_type="text/plain")
async def metrics(control: ControlState) -> Response:
    """Return counters and gauges as Prometheus reads them; no label holds an id, a secret or anybody's words.

    Gauges: bots by state, people, polls that are held, messages that no poll acknowledged, the newest event. Counters,
    since the process began and through resets: answers by endpoint, class of the HTTP status (`gone`: nobody was
    answered) and code (`none`: the answer has none; `other`: none of the protocol's); refusals by endpoint and code;
    faults that struck by action; findings by code; encrypted bytes through the CDN by direction; calls of this API.
    """
    # Loaded late: it takes a while, and most gateways are never scraped.
    from ilink.gateway.control.metrics import CONTENT_TYPE, render_metrics

    return Response(await render_metrics(control), headers={"content-type": CONTENT_TYPE})


def _id(given: str | UnsetType, kind: Callable[[str], T]) -> T | None:
    return None if given is UNSET else kind(given)
