"""What a bot does, told to whoever measures or traces it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from typing import Final, Protocol

from ilink.bot.handled import Handled
from ilink.storage.journal import Letter, Outcome, Outgoing
from ilink.wire.ids import AccountId

__all__ = ["AccountObservers", "Observer", "Observers", "conversation_at_hand"]

conversation_at_hand: Final[ContextVar[str | None]] = ContextVar("conversation_at_hand", default=None)
"""The conversation that the running task works on, in or out; None for none."""


class Handle(Protocol):
    """What handles a message."""

    async def __call__(self, letter: Letter, *, following: Sequence[Letter] = ()) -> Handled:
        """See `Handling.handle`."""
        ...


class Observer(Protocol):
    """Is told what a bot does, as it does it; see `Bot.observe`.

    Everything is called in the event loop and must not block; what it raises ends the bot.
    """

    def polled(self, account: AccountId, *, updates: int) -> None:
        """A poll was answered, and what it brought is stored."""
        ...

    def handling(self, account: AccountId, letter: Letter) -> AbstractContextManager[object]:
        """Return what is entered while a message is handled once; it sees what its handler raises."""
        ...

    def sent(self, account: AccountId, message: Outgoing, outcome: Outcome) -> None:
        """An attempt to send a message has ended, or the message was given up without one."""
        ...


class Observers:
    """All that are told."""

    def __init__(self) -> None:
        self._all: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Tell one more."""
        self._all.append(observer)

    def of(self, account: AccountId) -> AccountObservers | None:
        """Return what tells them about one account; None when there is nobody to tell."""
        return AccountObservers(account, tuple(self._all)) if self._all else None


class AccountObservers:
    """Tells some observers, one after the other, about one account."""

    def __init__(self, account: AccountId, observers: Sequence[Observer]) -> None:
        self._account = account
        self._observers = observers

    def polled(self, *, updates: int) -> None:
        """See `Observer.polled`."""
        for observer in self._observers:
            observer.polled(self._account, updates=updates)

    def around(self, handle: Handle) -> Handle:
        """Return what handles messages while the observers watch; the first of them is the outermost."""

        async def observed(letter: Letter, *, following: Sequence[Letter] = ()) -> Handled:
            with ExitStack() as stack:
                for observer in self._observers:
                    stack.enter_context(observer.handling(self._account, letter))
                return await handle(letter, following=following)

        return observed

    def sent(self, message: Outgoing, outcome: Outcome) -> None:
        """See `Observer.sent`."""
        for observer in self._observers:
            observer.sent(self._account, message, outcome)
