"""What a program wants to be told, and whose account it is about."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from ilink.bot.duplicates import Duplicate
from ilink.bot.incidents import Incident
from ilink.bot.observing import Observer, Observers
from ilink.bot.outbox.postbox import OutboxEntry, entry_of
from ilink.bot.states import SessionState
from ilink.storage.journal import Letter, Outgoing
from ilink.wire.ids import AccountId

__all__ = [
    "AccountHooks",
    "DeadHook",
    "DeclaresHooks",
    "DuplicateHook",
    "Hooks",
    "IncidentHook",
    "StateHook",
    "UnknownHook",
]

_log = logging.getLogger(__name__)

StateHook: TypeAlias = Callable[[SessionState], None] | Callable[[SessionState, AccountId], None]
DeadHook: TypeAlias = (
    Callable[[Letter, BaseException | None], None] | Callable[[Letter, BaseException | None, AccountId], None]
)
UnknownHook: TypeAlias = Callable[[OutboxEntry], None] | Callable[[OutboxEntry, AccountId], None]
DuplicateHook: TypeAlias = Callable[[Duplicate], None] | Callable[[Duplicate, AccountId], None]
IncidentHook: TypeAlias = Callable[[Incident], None] | Callable[[Incident, AccountId], None]

_BEST_FIRST: Final = (SessionState.ACTIVE, SessionState.SUSPENDED, SessionState.EXPIRED, SessionState.DISPLACED)


class Hooks:
    """The functions that are called, and what they were told last."""

    def __init__(self) -> None:
        self._state: list[Callable[..., None]] = []
        self._dead: list[Callable[..., None]] = []
        self._unknown: list[Callable[..., None]] = []
        self._duplicate: list[Callable[..., None]] = []
        self._incident: list[Callable[..., None]] = []
        self._states: dict[AccountId, SessionState] = {}
        self._incidents: Counter[type[Incident]] = Counter()
        self.observers = Observers()

    @property
    def states(self) -> Mapping[AccountId, SessionState]:
        """What each account is doing."""
        return dict(self._states)

    @property
    def incidents(self) -> Mapping[type[Incident], int]:
        """How often what went wrong."""
        return dict(self._incidents)

    def on_state(self, hook: StateHook) -> None:
        """Call a function when the state of an account changes."""
        self._state.append(_telling_account(hook, 1))

    def on_dead(self, hook: DeadHook) -> None:
        """Call a function with what is given up."""
        self._dead.append(_telling_account(hook, 2))

    def on_unknown(self, hook: UnknownHook) -> None:
        """Call a function with messages of which nobody knows whether they arrived."""
        self._unknown.append(_telling_account(hook, 1))

    def on_duplicate(self, hook: DuplicateHook) -> None:
        """Call a function with what came twice."""
        self._duplicate.append(_telling_account(hook, 1))

    def on_incident(self, hook: IncidentHook) -> None:
        """Call a function with what goes wrong."""
        self._incident.append(_telling_account(hook, 1))

    def of(self, account: AccountId) -> AccountHooks:
        """Return what tells of one account."""
        return AccountHooks(self, account)

    def note_state(self, account: AccountId, state: SessionState) -> None:
        """Tell what an account is doing now."""
        if state is not self._states.get(account, SessionState.STOPPED):
            _log.info("the bot of %s is %s", account, state)
            self._states[account] = state
            _tell(self._state, state, account)

    def note_dead(self, account: AccountId, letter: Letter, error: BaseException | None) -> None:
        """Tell what was given up."""
        _tell(self._dead, letter, error, account)

    def note_unknown(self, account: AccountId, message: Outgoing) -> None:
        """Tell of which message nobody knows whether it arrived."""
        _tell(self._unknown, entry_of(message, account), account)

    def note_duplicate(self, account: AccountId, duplicate: Duplicate) -> None:
        """Tell what came twice."""
        _tell(self._duplicate, duplicate, account)

    def note_incident(self, account: AccountId, incident: Incident) -> None:
        """Tell what went wrong."""
        self._incidents[type(incident)] += 1
        _tell(self._incident, incident, account)

    def forget(self, account: AccountId) -> None:
        """Forget the state of an account that the bot does not work for any more."""
        self._states.pop(account, None)


class AccountHooks:
    """Tells of one account; see `Hooks`.

    Args:
        hooks: Whom it tells.
        account: The account.
    """

    __slots__ = ("_account", "_hooks")

    def __init__(self, hooks: Hooks, account: AccountId) -> None:
        self._hooks = hooks
        self._account = account

    def note_state(self, state: SessionState) -> None:
        """Tell what it is doing now."""
        self._hooks.note_state(self._account, state)

    def note_dead(self, letter: Letter, error: BaseException | None) -> None:
        """Tell what was given up."""
        self._hooks.note_dead(self._account, letter, error)

    def note_unknown(self, message: Outgoing) -> None:
        """Tell of which message nobody knows whether it arrived."""
        self._hooks.note_unknown(self._account, message)

    def note_duplicate(self, duplicate: Duplicate) -> None:
        """Tell what came twice."""
        self._hooks.note_duplicate(self._account, duplicate)

    def note_incident(self, incident: Incident) -> None:
        """Tell what went wrong."""
        self._hooks.note_incident(self._account, incident)


class DeclaresHooks:
    """What declares what a program wants to be told, and answers what was told."""

    def __init__(self) -> None:
        self._hooks = Hooks()

    @property
    def state(self) -> SessionState:
        """What the bot is doing; of several accounts, what the one does that does best."""
        states = set(self._hooks.states.values())
        return next((state for state in _BEST_FIRST if state in states), SessionState.STOPPED)

    @property
    def states(self) -> Mapping[AccountId, SessionState]:
        """What each account does that the bot works for; `stopped` is one that cannot work now."""
        return self._hooks.states

    @property
    def incidents(self) -> Mapping[type[Incident], int]:
        """How often what went wrong, since this object was made."""
        return self._hooks.incidents

    def on_state(self, hook: StateHook) -> StateHook:
        """Call a function when the state of an account changes; `expired` is when somebody has to sign in again.

        It is told the account, if it takes one argument more: `def changed(state, account)`. So are all hooks. It is
        called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_state(hook)
        return hook

    def on_dead_letter(self, hook: DeadHook) -> DeadHook:
        """Call a function with every message that was given up, and the last error of its handler.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_dead(hook)
        return hook

    def on_unknown(self, hook: UnknownHook) -> UnknownHook:
        """Call a function with every message of which nobody knows whether it arrived and that is not repeated.

        Its receipt tells whether it waits for a decision, see `Outbox.asked`, or stays unknown. It is called in the
        event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_unknown(hook)
        return hook

    def on_duplicate(self, hook: DuplicateHook) -> DuplicateHook:
        """Call a function with everything that came twice, and what became of it; `counts` has the sums.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_duplicate(hook)
        return hook

    def on_incident(self, hook: IncidentHook) -> IncidentHook:
        """Call a function with whatever goes wrong without stopping the bot; `incidents` has the sums.

        It is called in the event loop and must not block; what it raises ends the bot.
        """
        self._hooks.on_incident(hook)
        return hook

    def observe(self, observer: Observer) -> None:
        """Tell somebody of every poll, every run of a handler and every attempt to send; see `ilink.telemetry`.

        Call it before the bot runs.
        """
        self._hooks.observers.add(observer)


def _tell(hooks: list[Callable[..., None]], *values: object) -> None:
    for hook in hooks:
        hook(*values)


def _telling_account(hook: Callable[..., None], others: int) -> Callable[..., None]:
    """Return a hook that takes the account behind its other arguments, whether or not the given one wants to know."""
    return hook if _required(hook) > others else lambda *values: hook(*values[:-1])


def _required(hook: Callable[..., None]) -> int:
    """Count the arguments that a function has to be given; one with a default is the program's own."""
    try:
        parameters = inspect.signature(hook).parameters.values()
    except ValueError:  # some functions written in C do not tell
        return 0
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in positional and one.default is inspect.Parameter.empty for one in parameters)
