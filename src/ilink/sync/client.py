"""The client for programs without `async`."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Self

from ilink.client.answers import Batch, QrCode, TypingConfig, UploadPermission
from ilink.client.client import PROTOCOL_VERSION
from ilink.client.client import Client as AsyncClient
from ilink.client.clock import Clock
from ilink.client.media import MediaClient as AsyncMediaClient
from ilink.client.sending import Progress
from ilink.client.thumbnails import Thumbnail
from ilink.errors import ConfigError
from ilink.flows.login import LoginReport
from ilink.messages.media import MAX_BYTES, MediaKind, MediaReference, SavedMedia, UploadedMedia, UploadSource
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.sync.portal import Portal, open_portal
from ilink.transport.seam import Transport
from ilink.wire.accounts import Account
from ilink.wire.endpoints import Endpoint
from ilink.wire.hosts import HostPolicy
from ilink.wire.ids import Cursor, Secret, UserId
from ilink.wire.models import UploadUrlRequest

__all__ = ["Client", "MediaClient"]


class MediaClient:
    """Moves files for one account; see `ilink.client.media.MediaClient`."""

    def __init__(self, media: AsyncMediaClient, portal: Portal) -> None:
        self._media = media
        self._portal = portal

    def upload(
        self,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        to: UserId,
        name: str = "",
        max_bytes: int = MAX_BYTES,
        thumbnail: Thumbnail | None = None,
        timeout: float = 60.0,
        reuse: bool = True,
        progress: Progress | None = None,
    ) -> UploadedMedia:
        """Encrypt a file and put it on the CDN; `progress` is called in another thread."""
        return self._portal.call(
            lambda: self._media.upload(
                source,
                kind,
                to=to,
                name=name,
                max_bytes=max_bytes,
                thumbnail=thumbnail,
                timeout=timeout,
                reuse=reuse,
                progress=progress,
            )
        )

    def download(
        self,
        reference: MediaReference,
        to: Path | str,
        *,
        max_bytes: int = MAX_BYTES,
        timeout: float = 60.0,
        progress: Progress | None = None,
    ) -> SavedMedia:
        """Fetch a file of a message and decrypt it into a file, which appears only when it is whole and right."""
        return self._portal.call(
            lambda: self._media.download(reference, to, max_bytes=max_bytes, timeout=timeout, progress=progress)
        )

    def read(
        self,
        reference: MediaReference,
        *,
        max_bytes: int = MAX_BYTES,
        timeout: float = 60.0,
        progress: Progress | None = None,
    ) -> bytes:
        """Fetch a file of a message into memory."""
        return self._portal.call(
            lambda: self._media.read(reference, max_bytes=max_bytes, timeout=timeout, progress=progress)
        )

    @contextmanager
    def open(
        self, reference: MediaReference, *, max_bytes: int = MAX_BYTES, timeout: float = 60.0
    ) -> Generator[Iterator[bytes], None, None]:
        """Fetch a file of a message in pieces: `with media.open(reference) as pieces: for piece in pieces: …`."""
        with self._portal.enter(lambda: self._media.open(reference, max_bytes=max_bytes, timeout=timeout)) as stream:
            yield self._portal.iterate(stream)


class Client:
    """Speaks as one account, or as none for the login's calls; see `ilink.Client`. Open it with `with`.

    It has an event loop of its own in a thread of its own, so it works in scripts, threads and notebooks; any number of
    threads may use it at a time. What is raised, and what is safe to repeat, is as for the asynchronous client.

    Args:
        account: As for `ilink.Client`, like all that follow.
        base_url: Where the API is.
        cdn_url: Where media is.
        bot_agent: Which program this is.
        route_tag: The operator's SKRouteTag.
        version: The version of the official client to call itself.
        allow_hosts: Hosts to which an answer may send this program.
        transport: The way to the network, which must not be in use in another event loop.
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
        self._client = AsyncClient(
            account,
            base_url=base_url,
            cdn_url=cdn_url,
            bot_agent=bot_agent,
            route_tag=route_tag,
            version=version,
            allow_hosts=allow_hosts,
            transport=transport,
            random=random,
            clock=clock,
            environ=environ,
        )
        self._opened: Portal | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            portal = exits.enter_context(open_portal())
            exits.enter_context(portal.enter(self._open))
            self._opened = portal
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and end the thread."""
        self._opened = None
        self._exits.close()

    @property
    def account(self) -> Account | None:
        """Who speaks; None for the login."""
        return self._client.account

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self._client.base_url

    @property
    def cdn_url(self) -> str:
        """Where media is."""
        return self._client.cdn_url

    @property
    def hosts(self) -> HostPolicy:
        """Where answers may send this program."""
        return self._client.hosts

    @property
    def media(self) -> MediaClient:
        """What moves files."""
        return MediaClient(self._client.media, self._portal)

    def get_qr_code(self, known_tokens: Sequence[Secret] = (), *, timeout: float = 15.0) -> QrCode:
        """Ask for a login code; see `ilink.Client.get_qr_code`."""
        return self._portal.call(lambda: self._client.get_qr_code(known_tokens, timeout=timeout))

    def get_login_status(
        self, qrcode: str, *, verify_code: Secret | None = None, host: str | None = None, timeout: float = 35.0
    ) -> LoginReport:
        """Ask what became of a code; see `ilink.Client.get_login_status`."""
        return self._portal.call(
            lambda: self._client.get_login_status(qrcode, verify_code=verify_code, host=host, timeout=timeout)
        )

    def login_base_url(self, host: str | None) -> str:
        """Return the address of the API that a login names; see `ilink.Client.login_base_url`."""
        return self._client.login_base_url(host)

    def get_updates(self, cursor: Cursor, *, hint_ms: int | None = None, timeout: float | None = None) -> Batch:
        """Wait for updates; see `ilink.Client.get_updates`."""
        return self._portal.call(lambda: self._client.get_updates(cursor, hint_ms=hint_ms, timeout=timeout))

    def send_message(self, message: OutgoingMessage, *, timeout: float = 15.0) -> SendReceipt:
        """Send one message; see `ilink.Client.send_message`."""
        return self._portal.call(lambda: self._client.send_message(message, timeout=timeout))

    def get_config(
        self, user_id: UserId, *, context_token: Secret | None = None, timeout: float = 10.0
    ) -> TypingConfig:
        """Fetch the ticket for showing a user that an answer is being typed."""
        return self._portal.call(lambda: self._client.get_config(user_id, context_token=context_token, timeout=timeout))

    def send_typing(
        self, user_id: UserId, typing_ticket: Secret, *, is_typing: bool = True, timeout: float = 10.0
    ) -> None:
        """Show a user that an answer is being typed, or that it is not any more."""
        self._portal.call(
            lambda: self._client.send_typing(user_id, typing_ticket, is_typing=is_typing, timeout=timeout)
        )

    def get_upload_url(self, request: UploadUrlRequest, *, timeout: float = 15.0) -> UploadPermission:
        """Ask for the permission to upload; see `ilink.Client.get_upload_url`."""
        return self._portal.call(lambda: self._client.get_upload_url(request, timeout=timeout))

    def notify_start(self, *, timeout: float = 10.0) -> None:
        """Say that polling begins."""
        self._portal.call(lambda: self._client.notify_start(timeout=timeout))

    def notify_stop(self, *, timeout: float = 10.0) -> None:
        """Say that polling ends."""
        self._portal.call(lambda: self._client.notify_stop(timeout=timeout))

    def call(self, endpoint: Endpoint | str, body: Mapping[str, object], *, timeout: float = 15.0) -> dict[str, object]:
        """Call any endpoint by POST: the raw door; see `ilink.Client.call`."""
        return self._portal.call(lambda: self._client.call(endpoint, body, timeout=timeout))

    @property
    def _portal(self) -> Portal:
        if self._opened is None:
            message = "the client is not open; use it inside `with client:`"
            raise ConfigError(message)
        return self._opened

    def _open(self) -> AbstractAsyncContextManager[AsyncClient]:
        return self._client
