"""What a program says without being asked, from wherever it says it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TypeVar

from ilink.bot.at_work import WorksForAccounts
from ilink.bot.blueprint import Blueprint
from ilink.bot.crew import Crew
from ilink.bot.equipment import open_postbox
from ilink.bot.outbox.door import Address, Door, choose
from ilink.bot.outbox.outbox import Outbox
from ilink.bot.outbox.postbox import Postbox
from ilink.bot.store import Store
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Receipt
from ilink.storage.accounts import StoredAccount
from ilink.wire.ids import AccountId, normalize_user_id

__all__ = ["SendsUnasked"]

T = TypeVar("T")


class SendsUnasked(WorksForAccounts):
    """What sends for a bot from any task, thread or process, and tells what became of it.

    Args:
        blueprint: What the bot is made with.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self._door = Door(self._open_postboxes)

    async def send(self, user: str, text: str, *, account: str | None = None, wait: float | None = None) -> Receipt:
        """Say something to a user without being asked.

        The message is in the journal when this returns, and is sent as soon as the user's window lets it. It may be
        called from any task and any event loop, and in a process that does not run the bot: then the process that does
        sends it, or, while there is none and as long as `wait` lasts, this one.

        Args:
            user: Who it is for.
            text: What to say; long texts go out in as few parts as possible.
            account: Which of several accounts says it. By default, in a handler, job or what it starts, the one that it
                works for; elsewhere the one that knows the user.
            wait: Seconds to wait for the final receipt; None to go on at once.

        Returns:
            What is known of it; of a text in parts, of the part that fared worst. `Outbox.receipt` tells it later.

        Raises:
            ConfigError: The text is blank, there is no account on this machine, or several accounts know the user, or
                none of several does.
            StoreError: Nothing was stored, so nothing will be sent.

        Cancellation: the message may be stored, and is sent then.
        """
        to = self._address(user, account)
        return await self._door(lambda postbox: postbox.send(normalize_user_id(user), text, wait=wait), to)

    async def send_media(
        self,
        user: str,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        caption: str = "",
        name: str = "",
        account: str | None = None,
        wait: float | None = None,
    ) -> Receipt:
        """Send a file to a user without being asked, from anywhere, as `send` does.

        A private copy of the file and the message are on the disk when this returns. It is uploaded when it is its
        turn, and again if that is so late that the link has run out.

        Args:
            user: Who it is for.
            source: A path, bytes, an open binary file, or an asynchronous iterable of bytes.
            kind: What the phone shall show it as; None decides by content. VOICE goes as a FILE: phones do not show
                voice that a bot sends (observed: ocw#215).
            caption: A text that goes before it as a message of its own, as phones expect it (official 2.4.9).
            name: The name to show; by default that of the path or file.
            account: As for `send`.
            wait: As for `send`.

        Returns:
            What is known of the file and its caption, of the one that fared worst. A file that cannot be uploaded is
            rejected.

        Raises:
            TooLargeError, MediaError: It is too large, or cannot be read.
            StoreError: The disk is full, or `Policies.spool_bytes` wait already; nothing was stored.
            ConfigError: It is nothing that can be sent, or there is no account on this machine.

        Cancellation: the message may be stored, and is sent then.
        """
        return await self._door(
            lambda postbox: postbox.send_media(
                normalize_user_id(user), source, kind, caption=caption, name=name, wait=wait
            ),
            self._address(user, account),
        )

    def send_from_thread(
        self, user: str, text: str, *, account: str | None = None, wait: float | None = None
    ) -> Receipt:
        """Do what `send` does from a thread without event loop, and block it until the message is stored, or known of.

        Raises:
            ConfigError: This thread runs an event loop; await `send` there. Or see `send`.
            StoreError: Nothing was stored, so nothing will be sent.
        """
        to = self._address(user, account)
        return self._door.from_thread(lambda postbox: postbox.send(normalize_user_id(user), text, wait=wait), to)

    async def can_send(self, user: str, *, account: str | None = None) -> Forecast:
        """Tell what will probably happen to a message to a user: how many are left, until when, how sure, and why.

        Raises:
            ConfigError: There is no account on this machine, or it is not clear which of several, as for `send`.
            StoreError: The journal cannot be read.
        """
        to = self._address(user, account)
        return await self._door(lambda postbox: postbox.forecast(normalize_user_id(user)), to)

    @property
    def outbox(self) -> Outbox:
        """The messages that wait to be sent: what became of them, and those that need a decision."""
        return Outbox(self._at_each)

    @contextmanager
    def _employed(self, crew: Crew) -> Generator[None, None, None]:
        """Lead to the accounts at work until the block ends."""
        self._crew = crew
        try:
            with self._door.opened(self._find_postboxes):
                yield
        finally:
            self._crew = None

    def _address(self, user: str, account: str | None) -> Address:
        current = None if self._crew is None or not self._blueprint.wanted.is_many else self._crew.current
        return Address(account=AccountId(account) if account else current, user=normalize_user_id(user))

    async def _at_each(self, work: Callable[[Postbox], Awaitable[T]], /) -> list[T]:
        return await self._door.at_each(work, Address())

    def _postboxes_at_work(self) -> dict[AccountId, Postbox]:
        if self._crew is None:
            return {}
        found = {account_id: runner.postbox for account_id, runner in self._crew.runners.items()}
        return {account_id: postbox for account_id, postbox in found.items() if postbox is not None}

    def _find_postboxes(self, address: Address) -> Sequence[Postbox]:
        """Return what an address means if it is at work here; nothing when others may be meant."""
        found = self._postboxes_at_work()
        if address.account is None:
            return [] if self._blueprint.wanted.is_many else list(found.values())
        return [found[address.account]] if address.account in found else []

    @asynccontextmanager
    async def _open_postboxes(self, address: Address) -> AsyncGenerator[Sequence[Postbox], None]:
        """Open what an address means beside whatever process runs the bot; what is at work here is used as it is."""
        at_work = self._postboxes_at_work()
        async with AsyncExitStack() as exits:
            store, candidates = await self._find_candidates(exits)
            if address.account is not None:
                candidates = [one for one in candidates if one.account.account_id == address.account] or candidates
            elif not self._blueprint.wanted.is_many:
                candidates = candidates[:1]  # the newest
            postboxes: list[Postbox] = []
            for stored in candidates:
                postbox = at_work.get(stored.account.account_id)
                if postbox is None:
                    tell = partial(self._tell, stored.account.account_id)
                    opened = open_postbox(stored, blueprint=self._blueprint, store=store, on_written=tell)
                    postbox = await exits.enter_async_context(opened)
                postboxes.append(postbox)
            if not postboxes:
                raise self._blueprint.no_account()
            yield await choose(postboxes, address)

    async def _tell(self, account: AccountId) -> None:
        """Let an account that has begun to work here meanwhile find what was handed in beside it."""
        runner = None if self._crew is None else self._crew.runners.get(account)
        if runner is not None:
            await runner.notice()

    async def _find_candidates(self, exits: AsyncExitStack) -> tuple[Store, list[StoredAccount]]:
        """Return the accounts the bot works for, or would; and what lasts of them, opened for that if need be."""
        if self._crew is not None:
            return self._crew.store, await self._crew.candidates()
        store = await exits.enter_async_context(self._blueprint.open_store())
        ours = self._blueprint.ours
        return store, [stored for stored in await store.accounts.list() if ours.is_wanted(stored)]
