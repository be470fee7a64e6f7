"""What bots call, one method per endpoint, without HTTP.

Nothing here raises for what a bot did wrong: the answer says it, in the protocol's numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ilink.gateway.refusals import Reply, refuse, stale
from ilink.wire.enums import ItemType
from ilink.wire.models import Answer, ConfigRequest, MessageItem, TypingRequest, UploadUrlRequest, WeixinMessage, given
from ilink.wire.results import PARAMETER_ERROR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ilink.gateway.bots import Bot, Bots
    from ilink.gateway.codes import Codes
    from ilink.gateway.holds import Hold
    from ilink.gateway.knobs import Readings
    from ilink.gateway.polls import Polls
    from ilink.gateway.sends import Sends
    from ilink.gateway.state import GatewayState
    from ilink.gateway.typing_state import TypingState
    from ilink.gateway.uploads import Uploads

__all__ = ["BotDoor"]

_BEARER: Final = "bearer "
_REQUIRED_HEADERS: Final = ("authorizationtype", "ilink-app-id")
_EXPECTED_HEADERS: Final = tuple(
    (name, f"header_missing:{name}") for name in (*_REQUIRED_HEADERS, "ilink-app-clientversion", "x-wechat-uin")
)
"""Each with the finding for where it is missing."""
_POLLING: Final = "getupdates"


class BotDoor:
    """Everything a bot can ask for.

    Args:
        state: What the rules share.
        bots: The bots.
        codes: The login codes.
        polls: getupdates.
        sends: sendmessage.
        typing: getconfig and sendtyping.
        uploads: getuploadurl.
        on_entry: Told of every entry that a send added.
        inspect: Finds what is wrong with the media of a send.
    """

    def __init__(
        self,
        state: GatewayState,
        *,
        bots: Bots,
        codes: Codes,
        polls: Polls,
        sends: Sends,
        typing: TypingState,
        uploads: Uploads,
        on_entry: Callable[[Bot], None],
        inspect: Callable[[Bot, list[MessageItem]], Awaitable[tuple[str, ...]]],
    ) -> None:
        self._state = state
        self._bots = bots
        self._codes = codes
        self._polls = polls
        self._sends = sends
        self._typing = typing
        self._uploads = uploads
        self._on_entry = on_entry
        self._inspect = inspect

    async def authenticate(self, endpoint: str, headers: Mapping[str, str]) -> Bot | Reply:
        """Return the bot that calls, or the refusal it gets.

        Args:
            endpoint: The endpoint's name: some states of a bot close getupdates and nothing else.
            headers: The request's headers, names in lower case.
        """
        authorization = headers.get("authorization", "")
        token = authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
        bot = await self._bots.by_token(token) if token else None
        knobs = self._knobs(bot)
        if knobs.choice("auth.require_headers") == "-14" and not all(map(headers.get, _REQUIRED_HEADERS)):
            refusal = stale(knobs, why="a header is missing (auth.require_headers)")
            return refusal if bot is None else replace(refusal, caller=bot.bot_id)
        if not token:
            return stale(knobs, findings=("token_missing",))
        if bot is None:
            return stale(knobs, findings=("token_unknown",))
        why = self._bots.why_stale(bot)
        if why is not None:
            return replace(stale(knobs, why=why), caller=bot.bot_id)
        self._bots.touch(bot)
        closed = self._refuse_state(endpoint, bot)
        return bot if closed is None else replace(closed, caller=bot.bot_id)

    def missing_headers(self, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Return the findings for the headers that the official client sends and this caller does not."""
        return tuple([finding for name, finding in _EXPECTED_HEADERS if not headers.get(name)])

    async def get_bot_qrcode(self, tokens: Iterable[str]) -> Reply:
        """Make a login code; `tokens` are those that the caller already has."""
        return await self._codes.create(tokens)

    def get_qrcode_status(self, qrcode: str, *, verify_code: str, host: str, hold: Hold) -> Awaitable[Reply]:
        """Tell how a login code is doing, after a hold when nothing is new.

        Args:
            qrcode: The code's token.
            verify_code: The digits that the person typed, or an empty text.
            host: Where the request was sent to, `name` or `name:port`.
            hold: The caller's wait.
        """
        return self._codes.poll(qrcode, verify_code=verify_code, host=host, hold=hold)

    def getupdates(self, bot: Bot, cursor: str, *, hold: Hold) -> Awaitable[Reply]:
        """Acknowledge up to the cursor and return what comes after it, after a hold when there is nothing."""
        return self._polls.poll(bot, cursor, hold)

    async def sendmessage(
        self, bot: Bot, message: WeixinMessage | None, body: bytes, *, is_dropped: bool = False
    ) -> Reply:
        """Judge and store a message to a person; `body` is the request as it came, and what is kept.

        One that is dropped is accepted, not confirmed and never shown.
        """
        reply, n = await self._sends.send(bot, message, body, is_dropped=is_dropped)
        if n is not None:
            self._on_entry(bot)
        items = [] if message is None else given(message.item_list, list[MessageItem]())
        if any(item.type != ItemType.TEXT for item in items):
            reply.findings += await self._inspect(bot, items)
        return reply

    async def getconfig(self, bot: Bot, request: ConfigRequest) -> Reply:
        """Give a typing ticket."""
        return await self._typing.config(bot, request)

    async def sendtyping(self, bot: Bot, request: TypingRequest) -> Reply:
        """Show or end typing."""
        return await self._typing.type(bot, request)

    async def request_upload(self, bot: Bot, request: UploadUrlRequest) -> Reply:
        """Answer getuploadurl."""
        return await self._uploads.request(bot, request)

    async def notifystart(self, bot: Bot) -> Reply:
        """Note that a bot came."""
        await self._bots.set_notified(bot, is_notified=True)
        return Reply(body=Answer(ret=0))

    async def notifystop(self, bot: Bot) -> Reply:
        """Note that a bot goes."""
        await self._bots.set_notified(bot, is_notified=False)
        return Reply(body=Answer(ret=0))

    async def delay_error(self, endpoint: str, bot_id: str | None) -> None:
        """Hold a poll's failure back, against clients that poll again at once (protocol §8.3)."""
        if endpoint == _POLLING:
            bot = None if bot_id is None else await self._bots.find(bot_id)
            await self._state.waiting.delay(self._knobs(bot).whole("poll.error_delay_ms") / 1000)

    def refuse_body(self, why: str, bot: Bot | None) -> Reply:
        """Refuse a body that cannot be read, saying what about it."""
        return refuse(self._knobs(bot), PARAMETER_ERROR, why)

    def _knobs(self, bot: Bot | None) -> Readings:
        return self._state.knobs if bot is None else self._state.knobs_about(bot)

    def _refuse_state(self, endpoint: str, bot: Bot) -> Reply | None:
        knobs = self._state.knobs_about(bot)
        if endpoint == _POLLING and bot.is_asleep:
            return stale(knobs, why="the bot was idle for longer than session.idle_s")
        is_closed = endpoint in (_POLLING, "sendmessage") and not bot.is_notified
        if is_closed and knobs.choice("notify.required") == "-14":
            return stale(knobs, why="notifystart did not come (notify.required)")
        return None
