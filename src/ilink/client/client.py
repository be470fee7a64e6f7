"""One typed coroutine per endpoint, over one transport."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version as installed_version
from random import Random
from typing import Final, Self, TypeVar
from urllib.parse import urlencode

from ilink.client.answers import Batch, QrCode, TypingConfig, UploadPermission
from ilink.client.calls import CONNECT_TRIES, Calls, endpoint_at
from ilink.client.clock import Clock, SystemClock
from ilink.client.media import MediaClient
from ilink.client.settings import Addresses, as_url, refused_host
from ilink.errors import ApiError, ConfigError, IlinkError, LoginError, RemoteProtocolError
from ilink.flows.login import LoginReport
from ilink.flows.polling import MAX_SLACK, MIN_SLACK, is_empty_poll, is_hint, poll_timeout
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.transport.seam import Transport
from ilink.wire.accounts import Account
from ilink.wire.codec import decode_object, encode
from ilink.wire.endpoints import (
    ENDPOINTS,
    GET_BOT_QRCODE,
    GET_QRCODE_STATUS,
    GETCONFIG,
    GETUPDATES,
    GETUPLOADURL,
    NOTIFYSTART,
    NOTIFYSTOP,
    SENDMESSAGE,
    SENDTYPING,
    Endpoint,
)
from ilink.wire.enums import LoginStatus, TypingStatus
from ilink.wire.hosts import HostPolicy
from ilink.wire.ids import Cursor, MessageId, Secret, UserId
from ilink.wire.models import (
    UNSET,
    Answer,
    BaseInfo,
    ConfigAnswer,
    ConfigRequest,
    LoginStatusAnswer,
    NotifyRequest,
    QrCodeAnswer,
    SendMessageAnswer,
    SendMessageRequest,
    TypingRequest,
    UpdatesAnswer,
    UpdatesRequest,
    UploadUrlAnswer,
    UploadUrlRequest,
    WireModel,
    given,
)
from ilink.wire.results import INVALID_ARGUMENTS
from ilink.wire.versions import format_bot_agent

__all__ = ["MAX_KNOWN_TOKENS", "PROTOCOL_VERSION", "Client"]

A = TypeVar("A", bound=Answer)

PROTOCOL_VERSION: Final = "2.4.9"
"""The official client whose protocol this one speaks, and which it says it is: servers and phones switch features by it
(observed: hermes-agent#24995). Who really calls is said in `bot_agent`."""

BOT_TYPE: Final = "3"
"""The login's only parameter; 3 in every client seen (seed)."""

MAX_KNOWN_TOKENS: Final = 10
"""How many stored tokens go with the request for a code (official 2.4.9)."""


class Client:
    """Speaks as one account, or as none for the login's calls. Open it with `async with`; nothing happens before.

    Args:
        account: Who speaks; None for the login.
        base_url: Where the API is; else the account's address, else `ILINK_BASE_URL`, else Tencent's.
        cdn_url: Where media is; else `ILINK_CDN_URL`, else Tencent's, or `/c2c` below a server that is not Tencent's.
        bot_agent: Which program this is, as `name/version (comment)`; ilink's own name follows it.
        route_tag: The operator's SKRouteTag, if there is one.
        version: The version of the official client to call itself.
        allow_hosts: Hosts or URLs, beside Tencent's and those above, to which an answer may send this program; also
            `ILINK_ALLOW_HOSTS`, separated by commas. A host allows https on its default port, a URL its own origin.
        transport: The way to the network; it stays open, so that clients can share it. Without one the client opens an
            HTTP transport of its own and closes it.
        random: Source of random numbers that need not be secret.
        clock: Source of time.
        environ: Where the variables are looked up.

    Raises:
        ConfigError: An address is no http or https URL.
    """

    def __init__(
        self,
        account: Account | None = None,
        *,
        base_url: str | None = None,
        cdn_url: str | None = None,
        bot_agent: str = "",
        route_tag: str | None = None,
        version: str = PROTOCOL_VERSION,
        allow_hosts: Iterable[str] = (),
        transport: Transport | None = None,
        random: Random | None = None,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._account = account
        self._addresses = Addresses.choose(
            account, base_url=base_url, cdn_url=cdn_url, allow_hosts=allow_hosts, environ=environ
        )
        self._random = random or Random()  # noqa: S311  # jitter and the UIN header, which is no secret
        clock = clock or SystemClock()
        self._calls = Calls(
            self._addresses.base_url,
            token=account.token if account is not None else None,
            version=version,
            route_tag=route_tag,
            random=self._random,
            clock=clock,
        )
        self._base_info = _base_info(bot_agent, version)
        self._environ = environ
        self._given_transport = transport
        self._media = MediaClient(self, random=self._random, clock=clock)
        self._exits: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        if self._given_transport is not None:
            self._calls.transport = self._given_transport
        else:
            # Loaded late: the HTTP library takes longer to import than all of ilink.
            from ilink.transport.http import HttpTransport

            own_transport = HttpTransport(environ=self._environ)
            self._exits = AsyncExitStack()
            self._calls.transport = await self._exits.enter_async_context(own_transport)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._calls.transport = None
        if self._exits is not None:
            await self._exits.aclose()

    @property
    def account(self) -> Account | None:
        """Who speaks."""
        return self._account

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._addresses.base_url

    @property
    def cdn_url(self) -> str:
        """Where media is."""
        return self._addresses.cdn_url

    @property
    def hosts(self) -> HostPolicy:
        """What URLs out of answers may point to."""
        return self._addresses.hosts

    @property
    def transport(self) -> Transport:
        """The open transport.

        Raises:
            ConfigError: The client is not open.
        """
        if self._calls.transport is None:
            message = "the client is not open; use it inside `async with client:`"
            raise ConfigError(message)
        return self._calls.transport

    @property
    def media(self) -> MediaClient:
        """Files to the CDN and back; what was uploaded is remembered as long as this client lives."""
        return self._media

    async def get_qr_code(self, known_tokens: Sequence[Secret] = (), *, timeout: float = 15.0) -> QrCode:
        """Ask for a login code.

        Args:
            known_tokens: Tokens stored on this machine, newest first; at most ten are sent. They let the server notice
                that the bot is bound here already. Send none to force new credentials (observed: nanobot#5310).
            timeout: Seconds for each request.

        Raises:
            TransportError, ApiError, RemoteProtocolError: No code; asking again is harmless.

        A server that knows no POST is asked by GET, and one that refuses the tokens is asked without them.
        Wire: POST /ilink/bot/get_bot_qrcode?bot_type=3, {"local_token_list": [...]}, no base_info (official 2.4.9).
        """
        texts = [text for token in known_tokens if (text := token.reveal().strip())]
        path = f"{GET_BOT_QRCODE.path}?bot_type={BOT_TYPE}"
        try:
            answer = await self._ask_for_code(path, texts[:MAX_KNOWN_TOKENS], timeout)
        except ApiError as error:
            if error.http_status in (404, 405):
                answer = await self._calls.get(GET_BOT_QRCODE, path, QrCodeAnswer, timeout=timeout)
            elif texts and INVALID_ARGUMENTS in (error.ret, error.errcode):
                answer = await self._ask_for_code(path, [], timeout)
            else:
                raise
        code = QrCode(qrcode=given(answer.qrcode, ""), link=given(answer.qrcode_img_content, ""))
        if not code.qrcode or not code.link:
            message = "get_bot_qrcode was answered without a code; ask again, or check the base URL"
            raise RemoteProtocolError(message)
        return code

    async def get_login_status(
        self, qrcode: str, *, verify_code: Secret | None = None, host: str | None = None, timeout: float = 35.0
    ) -> LoginReport:
        """Ask what became of a code; the server holds the question until something changes.

        Args:
            qrcode: The code's name.
            verify_code: The digits shown on the phone, if it asked for them.
            host: Where to ask after a redirect, as it came: a host, which is asked by https, or a whole URL.
            timeout: Seconds to wait.

        Raises:
            LoginError: The host is not allowed.
            TransportError, ApiError, RemoteProtocolError: Nothing is known; ask again.

        Wire: GET /ilink/bot/get_qrcode_status?qrcode=…[&verify_code=…] (seed, official 2.4.9).
        """
        query = {"qrcode": qrcode}
        if verify_code is not None:
            query["verify_code"] = verify_code.reveal()
        path = f"{GET_QRCODE_STATUS.path}?{urlencode(query)}"
        base_url = self.login_base_url(host)
        answer = await self._calls.get(GET_QRCODE_STATUS, path, LoginStatusAnswer, timeout=timeout, base_url=base_url)
        return LoginReport(
            status=given(answer.status, LoginStatus.WAIT.value),
            token=given(answer.bot_token, "") or None,
            account_id=given(answer.ilink_bot_id, "") or None,
            owner_id=given(answer.ilink_user_id, "") or None,
            base_url=given(answer.baseurl, "") or None,
            host=given(answer.redirect_host, "").strip() or None,
        )

    def login_base_url(self, host: str | None) -> str:
        """Return the base URL that a login's `redirect_host` stands for; None stands for this client's own.

        Raises:
            LoginError: The host is neither Tencent's nor configured; the message says how to allow it.
        """
        if host is None:
            return self.base_url
        url = as_url(host)
        if not self.hosts.allows(url):
            raise LoginError(refused_host(url, "the login's redirect_host"))
        return url

    async def get_updates(self, cursor: Cursor, *, hint_ms: int | None = None, timeout: float | None = None) -> Batch:
        """Wait for updates after a cursor; presenting it acknowledges everything before it.

        Poll one at a time for each account: two polls with one token split the stream (observed:
        Lingtai-AI/lingtai#83).

        Args:
            cursor: The one of the last batch that is safely stored; empty at the very beginning.
            hint_ms: The last batch's hint.
            timeout: Seconds to wait; by default the hint, or 35 seconds, and 5 to 10 on top, and less for the
                international host, whose edge cuts long polls.

        Returns:
            The updates and the cursor to present next. A wait that ends without an answer is an empty batch with the
            cursor that was sent.

        Raises:
            StaleTokenError: The token stopped working; see `ilink.flows.polling` for what to try first.
            TransportError, ApiError, RemoteProtocolError: No batch; poll again with the same cursor after a pause.

        Cancellation: harmless, poll again with the same cursor.
        Wire: POST /ilink/bot/getupdates, {"get_updates_buf": …, "base_info": …} (seed).
        """
        if timeout is None:
            slack = self._random.uniform(MIN_SLACK, MAX_SLACK)
            timeout = poll_timeout(hint_ms, base_url=self.base_url, slack=slack)
        request = UpdatesRequest(get_updates_buf=cursor, base_info=self._base_info)
        try:
            answer = await self._post(GETUPDATES, request, UpdatesAnswer, timeout=timeout, tries=1)
        except IlinkError as error:
            if not is_empty_poll(error):
                raise
            return Batch(updates=(), cursor=cursor, hint_ms=hint_ms, is_cut=True)
        named_ms = given(answer.longpolling_timeout_ms, 0)
        return Batch(
            updates=tuple(bytes(raw) for raw in given(answer.msgs, [])),
            cursor=Cursor(given(answer.get_updates_buf, "") or cursor),
            hint_ms=named_ms if is_hint(named_ms) else hint_ms,
        )

    async def send_message(self, message: OutgoingMessage, *, timeout: float = 15.0) -> SendReceipt:
        """Send one message, that is one item, to one user.

        Repeated only while nothing has been written; an answer lost on the way leaves the outcome unknown.

        Args:
            message: Exactly one item.
            timeout: Seconds for the whole call, connecting and repeats included.

        Returns:
            The client id sent and the server's message id. Accepted is not delivered; a message id of None means the
            server did not confirm it, which goes with messages that never arrive (observed: ocw#263).

        Raises:
            WindowClosedError: Nothing may be sent until the user writes again.
            RateLimitedError: Too many; wait at least half a minute.
            RequestRejectedError: The message itself is wrong.
            StaleTokenError: The token stopped working. The application decides whether to wait or sign in.
            ConnectError: Nothing was written.
            OutcomeUnknownError: Written, no answer. Send again with the same client id and accept a duplicate.
            RemoteProtocolError: Written, and the answer cannot be read: as for OutcomeUnknownError.

        Cancellation: before the request is written nothing happened; after that as for OutcomeUnknownError.
        Wire: POST /ilink/bot/sendmessage, {"msg": WeixinMessage, "base_info": BaseInfo} (request official 2.4.9;
        meaning of the answer observed).
        """
        request = SendMessageRequest(msg=message.to_wire(), base_info=self._base_info)
        answer = await self._post(SENDMESSAGE, request, SendMessageAnswer, timeout=timeout)
        message_id = given(answer.message_id, "")
        return SendReceipt(
            client_id=message.client_id, message_id=MessageId(str(message_id)) if message_id not in ("", 0) else None
        )

    async def get_config(
        self, user_id: UserId, *, context_token: Secret | None = None, timeout: float = 10.0
    ) -> TypingConfig:
        """Fetch the ticket for showing a user that an answer is being typed.

        Raises:
            WindowClosedError: The user has not written yet (-4, observed: ocw#268).
            TransportError, ApiError, RemoteProtocolError: No ticket; go on without typing.

        Wire: POST /ilink/bot/getconfig (official 2.4.9).
        """
        request = ConfigRequest(
            ilink_user_id=user_id,
            context_token=UNSET if context_token is None else context_token.reveal(),
            base_info=self._base_info,
        )
        answer = await self._post(GETCONFIG, request, ConfigAnswer, timeout=timeout)
        ticket, fresh = given(answer.typing_ticket, ""), given(answer.context_token, "")
        return TypingConfig(
            typing_ticket=Secret(ticket) if ticket else None, context_token=Secret(fresh) if fresh else None
        )

    async def send_typing(
        self, user_id: UserId, typing_ticket: Secret, *, is_typing: bool = True, timeout: float = 10.0
    ) -> None:
        """Show a user that an answer is being typed, for about five seconds, or that it is not any more.

        Raises:
            TransportError, ApiError, RemoteProtocolError: It may not be shown; nothing else depends on it.

        Wire: POST /ilink/bot/sendtyping, status 1 or 2 (seed).
        """
        request = TypingRequest(
            ilink_user_id=user_id,
            typing_ticket=typing_ticket.reveal(),
            status=TypingStatus.TYPING if is_typing else TypingStatus.CANCEL,
            base_info=self._base_info,
        )
        await self._post(SENDTYPING, request, Answer, timeout=timeout)

    async def get_upload_url(self, request: UploadUrlRequest, *, timeout: float = 15.0) -> UploadPermission:
        """Ask where one encrypted blob may be uploaded.

        Args:
            request: Sizes, hashes and key of the blob; `base_info` is added.
            timeout: Seconds for the whole call.

        Raises:
            RemoteProtocolError: The answer names no address, or only one that is not allowed; the message says which.
            TransportError, ApiError: No permission; asking again is harmless.

        Wire: POST /ilink/bot/getuploadurl (official 2.4.9).
        """
        request = UploadUrlRequest(
            **{name: getattr(request, name) for name in request.__struct_fields__ if name != "base_info"},
            base_info=self._base_info,
        )
        answer = await self._post(GETUPLOADURL, request, UploadUrlAnswer, timeout=timeout)
        permission = UploadPermission(
            full_url=given(answer.upload_full_url, "").strip() or None,
            param=given(answer.upload_param, "") or None,
            thumb_param=given(answer.thumb_upload_param, "") or None,
        )
        if permission.full_url is None and permission.param is None:
            message = "getuploadurl was answered without an address to upload to; try again later"
            raise RemoteProtocolError(message)
        if permission.full_url is None or self.hosts.allows(permission.full_url):
            return permission
        if permission.param is None:
            raise RemoteProtocolError(refused_host(permission.full_url, "getuploadurl's upload_full_url"))
        return replace(permission, full_url=None)

    async def notify_start(self, *, timeout: float = 10.0) -> None:
        """Tell the server that this account is about to poll; a failure may be ignored (official 2.4.9).

        Wire: POST /ilink/bot/msg/notifystart.
        """
        await self._post(NOTIFYSTART, NotifyRequest(base_info=self._base_info), Answer, timeout=timeout)

    async def notify_stop(self, *, timeout: float = 10.0) -> None:
        """Tell the server that this account stops polling; a failure may be ignored (official 2.4.9).

        Wire: POST /ilink/bot/msg/notifystop.
        """
        await self._post(NOTIFYSTOP, NotifyRequest(base_info=self._base_info), Answer, timeout=timeout, tries=1)

    async def call(
        self, endpoint: Endpoint | str, body: Mapping[str, object], *, timeout: float = 15.0
    ) -> dict[str, object]:
        """Call any endpoint by POST: the raw door, for what has no coroutine of its own.

        Args:
            endpoint: An endpoint, the name of a known one, or a path such as `ilink/bot/newthing`.
            body: The JSON object to send; `base_info` is added unless it has one.
            timeout: Seconds for the whole call.

        Returns:
            The answer as plain data, once `ret` and `errcode` say that it worked.

        Raises:
            ConfigError: The endpoint is a URL, not a path.
            TransportError, ApiError, RemoteProtocolError: As for the typed calls.
        """
        if isinstance(endpoint, str):
            endpoint = ENDPOINTS.get(endpoint) or endpoint_at(endpoint)
        content = encode({**body} if "base_info" in body else {**body, "base_info": self._base_info})
        raw, _ = await self._calls.post(endpoint, content, Answer, timeout=timeout)
        return decode_object(raw) if raw else {}

    async def _ask_for_code(self, path: str, tokens: list[str], timeout: float) -> QrCodeAnswer:
        body = encode({"local_token_list": tokens})  # the model would leave an empty list out; it must be there
        return (await self._calls.post(GET_BOT_QRCODE, body, QrCodeAnswer, timeout=timeout, path=path))[1]

    async def _post(
        self, endpoint: Endpoint, body: WireModel, model: type[A], *, timeout: float, tries: int = CONNECT_TRIES
    ) -> A:
        if self._account is None:
            message = f"{endpoint.name} needs an account; sign in first and pass it to the client"
            raise ConfigError(message)
        return (await self._calls.post(endpoint, encode(body), model, timeout=timeout, tries=tries))[1]


@lru_cache(maxsize=64)
def _base_info(bot_agent: str, version: str) -> BaseInfo:
    """Return what every request says of its program; thousands of clients share it, and our version is in a file."""
    agent = format_bot_agent(f"{bot_agent} ilink/{installed_version('ilink')}")
    return BaseInfo(channel_version=version, bot_agent=agent)
