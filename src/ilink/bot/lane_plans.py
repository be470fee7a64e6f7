"""What is decided about messages of a lane: how each goes through it, and which are handled as one."""

from __future__ import annotations

from asyncio import Future, Task
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ilink.bot.lane_policy import LanePolicy
from ilink.bot.scheduler import Lane
from ilink.storage.journal import Completed, Letter

__all__ = ["LetterLane", "Merging", "Plan", "Plans", "Running"]

Plan = Callable[[Letter], LanePolicy | None]
"""Tells how a message goes through its lane; None for one after the other."""

_REMEMBERED: Final = 10_000


class Plans:
    """How messages go through their lanes, worked out once for each.

    Args:
        plan: Works it out; the same for the same message, until a question is asked in its conversation.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[int, LanePolicy | None] = {}

    def of(self, letter: Letter) -> LanePolicy | None:
        """Return how a message goes through its lane."""
        known = self._known
        if letter.sequence not in known:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[letter.sequence] = self._plan(letter)
        return known[letter.sequence]

    def overtakes(self, letter: Letter) -> bool:
        """Tell whether a message is handled beside its lane."""
        policy = self.of(letter)
        return policy is not None and policy.overtakes

    def again(self, letter: Letter) -> LanePolicy | None:
        """Return how a message goes through its lane whose turn has come: it may answer a question that is new."""
        if self.of(letter) is not None:
            del self._known[letter.sequence]
        return self.of(letter)

    def merge(self, waiting: Iterable[Letter], policy: LanePolicy) -> list[Letter]:
        """Return the first messages that are handled as one: of one user, by one policy, one behind the other."""
        group: list[Letter] = []
        for letter in islice(waiting, policy.merge_most_messages):
            if (group and letter.user != group[0].user) or self.of(letter) is not policy:
                break
            group.append(letter)
        return group


@dataclass(slots=True)
class Running:
    """Messages whose handler runs.

    Attributes:
        letters: They, handled as one.
        policy: How they go through their lane.
        task: Which task runs the handler.
        cancelled: Why it was cancelled; None if it was not.
        cancelled_by: The message that cancelled it; what came later is handled all the same.
    """

    letters: Sequence[Letter]
    policy: LanePolicy | None
    task: Task[object]
    cancelled: str | None = None
    cancelled_by: int = 0

    def cancel(self, by: int, reason: str) -> None:
        """Let the handler end: nothing that it says counts any more."""
        if self.cancelled is None:
            self.cancelled, self.cancelled_by = reason, by
            self.task.cancel()


@dataclass(slots=True)
class Merging:
    """The wait for more messages that belong to the first.

    Times are those of the event loop, so that no jump of the machine's clock makes it longer or shorter.

    Attributes:
        first: The first message.
        last: The last one so far.
        since: When the first came.
        quiet_since: When the last came.
    """

    first: int
    last: int
    since: float
    quiet_since: float

    def over_at(self, policy: LanePolicy) -> float:
        """Return the moment it is over."""
        return min(self.quiet_since + policy.merge_seconds, self.since + policy.merge_most_seconds)


@dataclass(slots=True, eq=False)
class LetterLane(Lane[Letter]):
    """A conversation on the way in.

    Attributes:
        storing: The journal's answer to what was asked of it last.
        unstored: How much it has not answered yet.
        running: What is being handled, where that is not just one message after the other.
        in_hand: Messages that are worked on out of their order, so that the lane leaves them out.
        late: Those that were finished while a page was read that may still have them.
        readings: How many pages are being read.
        commands: Messages that overtake, in order.
        wants_look: Whether it is to be looked through for messages that overtake.
        is_looking: Whether it is being looked through.
        is_looked: Whether no message that overtakes waits in it that nobody has seen.
        is_cancelling: Whether a command cancels the first message, and the journal has not answered yet.
        merging: The wait for more messages.
    """

    storing: Future[Completed] | None = None
    unstored: int = 0
    running: Running | None = None
    in_hand: set[int] = field(default_factory=set[int])
    late: set[int] = field(default_factory=set[int])
    readings: int = 0
    commands: list[Letter] = field(default_factory=list[Letter])
    wants_look: bool = False
    is_looking: bool = False
    is_looked: bool = False
    is_cancelling: bool = False
    merging: Merging | None = None

    @contextmanager
    def reading(self) -> Generator[None]:
        """Remember what is finished while a page is read."""
        self.readings += 1
        try:
            yield
        finally:
            self.readings -= 1

    def is_first(self, letter: Letter) -> bool:
        """Tell whether a message is still the first, and nobody else is about to finish it."""
        return bool(self.waiting) and self.waiting[0] is letter and letter.sequence not in self.in_hand

    def let_go(self, letters: Iterable[Letter]) -> bool:
        """Be done with messages that were worked on out of their order; tell whether any of them was."""
        finished = self.in_hand.intersection(letter.sequence for letter in letters)
        self.in_hand -= finished
        if finished:
            self.waiting = deque(letter for letter in self.waiting if letter.sequence not in finished)
        if self.readings:
            self.late |= finished
        return bool(finished)

    def take_back(self, letters: Sequence[Letter]) -> bool:
        """Be done with messages that wait in the journal still, so that they are read again; see `let_go`."""
        was_in_hand = self.let_go(letters)
        self.late.difference_update(letter.sequence for letter in letters)
        return was_in_hand

    def leave_out(self) -> bool:
        """Leave out what is worked on out of its order; tell whether anything is left."""
        left_out = self.in_hand | self.late
        self.waiting = deque(letter for letter in self.waiting if letter.sequence not in left_out)
        if not self.readings:
            self.late.clear()
        return bool(self.waiting)

    def put_first(self, letter: Letter) -> None:
        """Keep a first message as it is now, if it is still the first."""
        if self.waiting and self.waiting[0].sequence == letter.sequence:
            self.waiting[0] = letter

    def take_away(self, letters: Iterable[Letter]) -> None:
        """Be done with the first messages."""
        for letter in letters:
            if self.waiting and self.waiting[0].sequence == letter.sequence:
                self.waiting.popleft()

    @property
    def has_lost(self) -> bool:
        """Whether what was asked of the journal last could not be stored."""
        storing = self.storing
        return storing is not None and storing.done() and (storing.cancelled() or storing.exception() is not None)

    @property
    def is_unsettled(self) -> bool:
        """Whether there is something about it that the journal does not know."""
        return bool(self.unstored or self.in_hand or self.commands or self.is_looking)
