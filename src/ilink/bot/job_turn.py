"""One run of a job: what it says is kept here until it succeeds."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from ilink.bot.conversation_results import Results
from ilink.bot.outbox.drafts import conversation_with, drafts_of, file_draft
from ilink.bot.settings import Policies
from ilink.bot.turn import Outlet
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Deferred, DeferredWhy, Receipt, weakest
from ilink.storage.journal import Draft, Letter
from ilink.wire.ids import AccountId, UserId

__all__ = ["JobTurn"]

T = TypeVar("T")


class JobTurn:
    """Where the messages of a job go during one run.

    Client ids are derived from the job, its moment and the place of the message, so that a run that is repeated says
    the same messages, not new ones.

    Args:
        account: The bot.
        letter: The moment, as it came through the inbox.
        outlet: What a run needs of the bot around it.
        policies: How long texts are cut, and how long messages are worth sending.
        results: What it did once.

    Attributes:
        drafts: What goes out with the success of the job.
    """

    def __init__(
        self, account: AccountId, letter: Letter, outlet: Outlet, policies: Policies, results: Results
    ) -> None:
        self._account = account
        self._letter = letter
        self._outlet = outlet
        self._policies = policies
        self._results = results
        self._ordinal = 0
        self.drafts: list[Draft] = []

    async def send(self, user: UserId, text: str, *, wait: float | None) -> Receipt:
        """Say something; see `Job.send`."""
        return await self._say(self._texts(user, text), wait)

    async def send_media(
        self, user: UserId, source: UploadSource, kind: MediaKind | None, *, caption: str, name: str, wait: float | None
    ) -> Receipt:
        """Send a file; see `Job.send_media`."""
        drafts = self._texts(user, caption) if caption.strip() else []
        file = await file_draft(
            source,
            kind,
            shown_name=name,
            conversation=conversation_with(user),
            user=user,
            files=self._outlet.files,
            policies=self._policies,
            now_ms=self._outlet.now_ms(),
            name=self._next_name(),
            cause=self._letter.sequence,
            run_id=self._run_id,
        )
        return await self._say([*drafts, file], wait)

    async def forecast(self, user: UserId) -> Forecast:
        """Tell what will probably happen to a message."""
        return await self._outlet.forecast(user)

    async def once(self, name: str, function: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
        """Return the result of a function that is called once for this moment."""
        return await self._results.once(name, function)

    def _texts(self, user: UserId, text: str) -> list[Draft]:
        return drafts_of(
            text,
            conversation=conversation_with(user),
            user=user,
            policies=self._policies,
            now_ms=self._outlet.now_ms(),
            name=self._next_name(),
            cause=self._letter.sequence,
            run_id=self._run_id,
        )

    async def _say(self, drafts: list[Draft], wait: float | None) -> Receipt:
        self.drafts += drafts
        if wait is None:
            return Deferred(client_id=drafts[-1].client_id, why=DeferredWhy.HANDLER)
        sent, self.drafts = self.drafts, []
        receipts = await self._outlet.send_now(sent, wait=wait)
        return weakest(receipts[-len(drafts) :])

    def _next_name(self) -> Callable[[int], str]:
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        cause = f"{self._account}\0{self._letter.identity}\0{ordinal}\0"
        return lambda part: hashlib.sha256(f"{cause}{part}".encode()).hexdigest()[:32]

    @property
    def _run_id(self) -> str:
        digest = hashlib.sha256(f"{self._account}\0{self._letter.identity}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))
