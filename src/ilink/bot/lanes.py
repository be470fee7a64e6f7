"""The way in: one ordered queue per conversation, conversations side by side, never more in memory than pages of them.

A message is in the journal before it comes here. Its handler runs until it succeeds or has failed too often; then the
lane goes on. A lane does not wait for the disk: the next handler runs while the success of the last one is stored, and
the journal keeps their order.

Handlers may want their messages otherwise: see `LanePolicy`. What is decided by that is stored as the success of a
handler is. A process that dies before has decided nothing: the messages still wait, and it is decided about them again.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, TaskGroup
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from random import Random
from typing import Final, Protocol

from ilink.bot.clock import Clock
from ilink.bot.handled import Handled
from ilink.bot.lane_endings import PARKED, Endings, Retry, again
from ilink.bot.lane_looks import Looks
from ilink.bot.lane_plans import LetterLane, Merging, Plan, Plans, Running
from ilink.bot.lane_policy import LanePolicy
from ilink.bot.scheduler import Pause, Scheduler
from ilink.bot.settings import Policies
from ilink.errors import StoreError
from ilink.storage.journal import Completed, Journal, Letter, Outgoing

__all__ = ["Lanes", "Run"]

_log = logging.getLogger(__name__)

_MOST_UNSTORED: Final = 50
"""Successes of a lane that may be on their way to the disk."""

_MOST_COMMANDS: Final = 20
"""Messages of a lane that overtake at a time; more of them wait until these are handled."""

_ALONE: Final = 2
"""Deaths of the process after which a message is handled alone, to find out which of a group it was."""

_LOOKS: Final = 3
"""How often a message is looked for that a command cancels and that ends by itself at that moment."""

_NOTHING: Final = Handled()
_MERGING: Final = "merge"


class Run(Protocol):
    """How a message is handled."""

    async def __call__(self, letter: Letter, *, following: Sequence[Letter] = ()) -> Handled:
        """Run the handler of a message and return what follows; whatever it raises is a failure of the handler.

        Args:
            letter: The message.
            following: More messages that are handled as one with it, in order.
        """
        ...


class Lanes:
    """Handles what the journal holds for one account.

    Args:
        journal: Where messages wait.
        run: How one is handled.
        send: Called with what is to be sent once it is stored.
        policies: What happens when something does not work.
        clock: Source of time.
        random: Source of jitter.
        tasks: The group the handlers run in; its owner waits for them.
        on_dead: Called with a message that was given up.
        on_due: Called with the moment when a conversation is to be looked at though nobody writes, once that is stored.
        on_parked: Called with a message that failed too often and holds its lane up.
        plan: Tells how a message goes through its lane; None when all go one after the other.
    """

    def __init__(
        self,
        journal: Journal,
        run: Run,
        send: Callable[[Sequence[Outgoing]], None],
        *,
        policies: Policies,
        clock: Clock,
        random: Random,
        tasks: TaskGroup,
        on_dead: Callable[[Letter, BaseException | None], None],
        on_due: Callable[[int], None] = lambda _due_ms: None,
        on_parked: Callable[[Letter], None] = lambda _letter: None,
        plan: Plan | None = None,
    ) -> None:
        self._journal = journal
        self._run_handler = run
        self._policies = policies
        self._clock = clock
        self._plans = None if plan is None else Plans(plan)
        self._suspects = asyncio.Lock()
        self._scheduler: Scheduler[Letter, LetterLane] = Scheduler(
            self, most=policies.conversations, backoff=policies.handler_backoff.first, clock=clock, tasks=tasks
        )
        self._looks = (
            None
            if self._plans is None
            else Looks(journal, self._scheduler, self._plans, self._overtake, backoff=policies.handler_backoff.first)
        )
        self._endings = Endings(
            journal,
            self._scheduler,
            send,
            policies=policies,
            clock=clock,
            random=random,
            on_dead=on_dead,
            on_due=on_due,
            on_parked=on_parked,
        )

    @property
    def parked(self) -> int:
        """How many lanes are held up by a message that failed too often."""
        return sum(lane.pause is PARKED for lane in self._scheduler.lanes)

    def start(self) -> None:
        """Begin with what the journal holds from before."""
        self._scheduler.start()

    def look_again(self) -> None:
        """Look through the journal for what others put there, such as dead letters that are replayed."""
        self._scheduler.look_again()

    def offer(self, letters: Sequence[Letter]) -> None:
        """Take messages that have just been stored, in their order."""
        if self._plans is None:
            self._scheduler.offer(letters)
            return
        for letter in letters:
            if self._is_for_the_lane(self._plans, letter):
                self._scheduler.offer([letter])
                self._note_offered(self._plans, letter)

    def arrived(self, letters: Sequence[Letter]) -> None:
        """Take messages that another process has stored, in their order; some may have been read here already."""
        for letter in letters:
            lane = self._scheduler.find(letter.conversation)
            if lane is not None and lane.read_to:  # it tells what was read, so nothing is taken twice
                self.offer([letter])
            else:
                self._scheduler.expect([letter.conversation])

    def wake(self, conversations: Sequence[str]) -> None:
        """Look again for messages of some conversations in the journal, from their beginning."""
        for name in conversations:
            self._scheduler.start_over(name)

    async def wait_stored(self, conversation: str) -> None:
        """Wait until everything that was handled in a conversation is stored.

        Raises:
            StoreError: It could not be stored, so it will be handled again.
        """
        lane = self._scheduler.find(conversation)
        if lane is not None:
            await self.settle(lane)
            if lane.has_lost:
                lane.starts_over = True
                message = "what was handled before this message could not be stored"
                raise StoreError(message)

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, and let running handlers finish, for so long at most; then cancel them."""
        self._scheduler.stop()
        if not await self._scheduler.wait_idle(seconds):
            running = self._scheduler.running
            _log.warning("%d handlers did not finish in %.0f s and are cancelled", running, seconds)
        self.cancel()
        for lane in list(self._scheduler.lanes):
            await self.settle(lane)

    def cancel(self) -> None:
        """Stop at once: messages whose handlers did not finish stay in the journal."""
        self._scheduler.cancel()

    def open_lane(self, conversation: str) -> LetterLane:
        """Return an empty lane; see `Work`."""
        return LetterLane(conversation)

    def conversation_of(self, item: Letter) -> str:
        """Return the lane of a message; see `Work`."""
        return item.conversation

    def place_of(self, item: Letter) -> int:
        """Return the place of a message; see `Work`."""
        return item.sequence

    async def find_conversations(self, *, after: str) -> Sequence[str]:
        """Return conversations with waiting messages; see `Work`."""
        return await self._journal.waiting_conversations(after=after)

    async def read_page(self, lane: LetterLane, *, limit: int) -> Sequence[Letter]:
        """Return the next waiting messages, and begin with those that overtake; see `Work`."""
        if not lane.read_to:
            lane.storing = None  # what could not be stored comes again now
            lane.is_looked = lane.wants_look = False
        with lane.reading():
            page = await self._journal.read_waiting(lane.conversation, after=lane.read_to, limit=limit)
        if self._plans is not None and self._looks is not None:
            for letter in page:
                if self._plans.overtakes(letter) and not self._overtake(lane, letter):
                    break
            if lane.wants_look or (len(page) == limit and not lane.is_looked):
                lane.wants_look = True
                self._looks.look(lane)
        return page

    async def settle(self, lane: LetterLane) -> None:
        """Wait until the journal has answered every completion of a lane; see `Work`."""
        await self._endings.settle(lane)

    def is_unsettled(self, lane: LetterLane) -> bool:
        """Whether the journal has not answered yet; see `Work`."""
        return lane.is_unsettled

    async def take_first(self, lane: LetterLane) -> Pause | None:
        """Handle a lane's first message, or several as one; see `Work`."""
        if lane.is_cancelling:
            # It may have failed just then and wait to be handled again: what follows it waits until that is known.
            await self.settle(lane)
            if lane.starts_over:
                return None
        if (lane.in_hand or lane.late) and not lane.leave_out():
            return None
        letter = lane.waiting[0]
        if letter.is_parked:
            return PARKED
        if letter.due_ms and (wait_ms := letter.due_ms - self._clock.now_ms()) > 0:
            return again(wait_ms / 1000)
        letters: Sequence[Letter] = (letter,)
        policy = None if self._plans is None else self._plans.again(letter)
        if self._plans is not None and policy is not None:
            chosen = await self._choose(lane, self._plans, letter, policy)
            if not isinstance(chosen, Sequence):
                return chosen
            letters = chosen
            if not lane.is_first(letter):
                return None  # it was cancelled while more messages were looked for
        retry = await self._try(lane, letters, policy, is_beside=False)
        if retry is not None:
            lane.put_first(retry.letter)
            return retry.pause
        lane.take_away(letters)
        if lane.unstored >= _MOST_UNSTORED:
            await self.settle(lane)
        return None

    def _is_for_the_lane(self, plans: Plans, letter: Letter) -> bool:
        """Decide about a message that has just come; False when nothing of it is left for its lane."""
        policy = plans.of(letter)
        if policy is None:
            return True
        if policy.overtakes:
            return self._looks is None or not self._looks.take(self._scheduler.lane(letter.conversation), letter)
        lane = self._scheduler.find(letter.conversation)
        running = None if lane is None else lane.running
        if lane is None or running is None or running.policy is not policy:
            return True
        if policy.mode == "restart":
            running.cancel(letter.sequence, f"message {letter.sequence} took its place")
        if policy.mode == "drop":
            reason = f"it came while message {running.letters[-1].sequence} was handled"
            return not self._endings.finish(lane, (letter,), _NOTHING, ignored=reason)
        return True

    def _note_offered(self, plans: Plans, letter: Letter) -> None:
        """Take note that a message has come to its lane, if that is in memory."""
        lane = self._scheduler.find(letter.conversation)
        if lane is None:
            return
        if self._looks is not None:
            self._looks.note_seen(lane)
        if lane.pause is not None and lane.pause.why == _MERGING:
            self._look_at_merging(lane, plans, letter)

    def _look_at_merging(self, lane: LetterLane, plans: Plans, letter: Letter) -> None:
        """Let a lane that waits for more messages go on when there are enough, or no more can follow."""
        policy = plans.of(letter)
        is_complete = policy is None or not lane.waiting or len(lane.waiting) >= policy.merge_most_messages
        if is_complete or lane.has_more or plans.of(lane.waiting[0]) is not policy:
            self._scheduler.wake(lane)

    async def _choose(
        self, lane: LetterLane, plans: Plans, letter: Letter, policy: LanePolicy
    ) -> Sequence[Letter] | Pause | None:
        """Return the messages that are handled now, or why none is, or None when the first one is out of the way."""
        if policy.mode == "restart" and (newer := await self._find_newer(lane, plans, policy)) is not None:
            if not lane.is_first(letter):
                return None  # it was cancelled meanwhile: the first one is another
            if not self._endings.finish(lane, (letter,), _NOTHING, ignored=f"message {newer} took its place"):
                return again(self._policies.handler_backoff.first)
            lane.waiting.popleft()
            return None
        if policy.mode == "merge" and letter.interrupted < _ALONE:
            return await self._merge(lane, plans, policy)
        return (letter,)

    async def _find_newer(self, lane: LetterLane, plans: Plans, policy: LanePolicy) -> int | None:
        """Return the message that takes the first one's place, looking a page further at most."""

        def find() -> int | None:
            newer = islice(lane.waiting, 1, None)
            return next((letter.sequence for letter in newer if plans.of(letter) is policy), None)

        if (found := find()) is None and lane.has_more:
            await self._scheduler.read_more(lane)
            found = find()
        return found

    async def _merge(self, lane: LetterLane, plans: Plans, policy: LanePolicy) -> Sequence[Letter] | Pause:
        """Return the messages that are handled as one, or how long there may come more."""
        group = plans.merge(lane.waiting, policy)
        if lane.has_more and len(group) == len(lane.waiting) < policy.merge_most_messages:
            await self._scheduler.read_more(lane)
            if not lane.is_first(group[0]):
                return group
            group = plans.merge(lane.waiting, policy)
        is_complete = len(group) >= policy.merge_most_messages or len(group) < len(lane.waiting)
        left = self._merging(lane, group).over_at(policy) - self._clock.monotonic()
        if left > 0 and not is_complete:
            return Pause(_MERGING, left)
        lane.merging = None
        return group

    def _merging(self, lane: LetterLane, group: Sequence[Letter]) -> Merging:
        """Return the wait for more messages; those that waited in the journal waited for that as well."""
        first, last, now = group[0], group[-1], self._clock.monotonic()
        merging = lane.merging
        if merging is None or merging.first != first.sequence:
            merging = lane.merging = Merging(first.sequence, 0, now - self._age(first), now)
        if merging.last != last.sequence:
            merging.last, merging.quiet_since = last.sequence, now - self._age(last)
        return merging

    def _age(self, letter: Letter) -> float:
        return max(0.0, (self._clock.now_ms() - letter.received_ms) / 1000)

    def _overtake(self, lane: LetterLane, letter: Letter) -> bool:
        """Handle a message beside its lane, at once; False when too many do so already."""
        if letter.sequence in lane.in_hand or letter.sequence in lane.late:
            return True
        beside = self._scheduler.beside - (0 if self._looks is None else self._looks.running)
        if len(lane.commands) >= _MOST_COMMANDS or beside >= self._policies.conversations:
            lane.wants_look = True  # those that come behind it do not go past it
            return False
        lane.in_hand.add(letter.sequence)
        lane.commands.append(letter)
        if len(lane.commands) == 1:
            self._scheduler.run_beside(lambda: self._command(lane))
        return True

    async def _command(self, lane: LetterLane) -> None:
        """Handle the first message that overtakes, and go on with the next one."""
        letter = lane.commands[0]
        policy = None if self._plans is None else self._plans.of(letter)
        if policy is not None and policy.cancels_running and not await self._cancel_current(lane, letter):
            retry: Retry | None = Retry(again(self._policies.handler_backoff.first), letter)
        else:
            retry = await self._try(lane, (letter,), policy, is_beside=True)
        after = 0.0
        if retry is None or letter.sequence not in lane.in_hand:  # then it is read again with its lane
            lane.commands.pop(0)
        else:
            lane.commands[0] = retry.letter
            after = retry.pause.seconds or 0.0
        if lane.commands:
            self._scheduler.run_beside(lambda: self._command(lane), after=after)
        elif lane.wants_look and self._looks is not None:
            self._looks.look(lane)
        else:
            self._scheduler.forget(lane)

    async def _cancel_current(self, lane: LetterLane, letter: Letter) -> bool:
        """Cancel what is being handled, or is about to be, if it came before; False when that cannot be told."""
        for _ in range(_LOOKS):
            if _cancel_running(lane, letter):
                return True
            await self.settle(lane)
            first = await self._read_first(lane, letter)
            if first is None:
                return False
            is_settled = first.sequence in lane.in_hand or first.is_parked
            if _cancel_running(lane, letter) or is_settled:
                return True
            lane.in_hand.add(first.sequence)
            if not self._endings.finish(lane, (first,), _NOTHING, ignored=_cancelled_by(letter)):
                return False
            storing, lane.is_cancelling = lane.storing, True
            try:
                await self.settle(lane)
            finally:
                lane.is_cancelling = False
            if not _was_refused(storing):
                lane.wakes += 1  # it may rest because of that message, or be just about to
                if lane.pause is not None:
                    self._scheduler.wake(lane)
                return True
            # It was finished meanwhile; or it failed, and waits to be handled again: then it is cancelled once more.
        return False

    async def _read_first(self, lane: LetterLane, letter: Letter) -> Letter | None:
        """Return the first message of a lane that waits; the given one if there is none, None if that is unknown."""
        try:
            page = await self._journal.read_waiting(lane.conversation, limit=1)
        except StoreError as error:
            _log.warning("cannot read the journal, trying again: %s", error)
            return None
        return page[0] if page else letter

    async def _try(
        self, lane: LetterLane, letters: Sequence[Letter], policy: LanePolicy | None, *, is_beside: bool
    ) -> Retry | None:
        """Handle messages as one; None when they are finished, in whatever way."""
        letter = letters[0]
        if letter.interrupted >= self._policies.interruptions:
            error = f"the process died {letter.interrupted} times while this message was handled"
            return await self._endings.give_up(lane, letters, error, may_park=not is_beside)
        running = None if self._plans is None or is_beside else Running(letters, policy, _this_task())
        lane.running = lane.running if is_beside else running
        handled: Handled | None = None
        failure: BaseException | None = None
        try:
            if letter.interrupted or len(letters) > 1:
                handled = await self._run_carefully(letter, letters[1:])
            else:
                handled = await self._run_handler(letter)
        except (asyncio.CancelledError, Exception) as error:  # a handler may raise anything; it is stored  # noqa: BLE001
            failure = error
        if not is_beside:
            lane.running = None
        if running is not None and running.cancelled is not None:
            return self._set_aside(lane, running)
        if isinstance(failure, asyncio.CancelledError) and _this_task().cancelling():
            raise failure
        if handled is None:
            assert failure is not None, "a handler returns or raises"
            return await self._endings.fail(lane, letters, failure, may_park=not is_beside)
        if not self._endings.finish(lane, letters, handled):
            return Retry(again(self._policies.handler_backoff.first), letter)
        return None

    def _set_aside(self, lane: LetterLane, running: Running) -> Retry | None:
        """Be done with messages whose handler was cancelled, whether it noticed or not."""
        if running.task.uncancel():
            raise asyncio.CancelledError  # the bot is stopped as well
        before = [letter for letter in running.letters if letter.sequence < running.cancelled_by]
        if not self._endings.finish(lane, before, _NOTHING, ignored=running.cancelled):
            return Retry(again(self._policies.handler_backoff.first), running.letters[0])
        if len(before) < len(running.letters):
            lane.starts_over = True  # what was merged with them came later, waits still, and is handled
        return None

    async def _run_carefully(self, letter: Letter, following: Sequence[Letter]) -> Handled:
        """Run a handler; if it may have killed the process, written down and the only one of its kind at a time."""
        async with self._suspects if letter.interrupted >= _ALONE else nullcontext():
            if letter.interrupted:
                await self._journal.mark_running(letter.sequence, letter.claim)
            return await self._run_handler(letter, following=following)


def _cancel_running(lane: LetterLane, letter: Letter) -> bool:
    """Cancel the running handler if its message came before another one; tell whether one runs."""
    running = lane.running
    if running is not None and running.letters[0].sequence < letter.sequence:
        running.cancel(letter.sequence, _cancelled_by(letter))
    return running is not None


def _cancelled_by(letter: Letter) -> str:
    return f"message {letter.sequence} cancelled it"


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None, "lanes are worked on in tasks"
    return task


def _was_refused(storing: Future[Completed] | None) -> bool:
    if storing is None or not storing.done() or storing.cancelled() or storing.exception() is not None:
        return False
    return not storing.result().is_accepted
