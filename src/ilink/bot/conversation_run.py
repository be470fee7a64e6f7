"""One run of a handler as a part of a conversation: what it asks, what it is answered, and what it did once.

A handler that asks is not kept in memory until the answer comes. The run ends at the question, and what is known so
far is stored with the success of the message it was run for. The answer runs the handler again from its beginning:
questions that were answered return their answers at once, what was said is not said again, and the run goes on behind
the last question. So a conversation lasts for days and through restarts, and a bot that is killed loses nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

from ilink.bot.conversation import Answer, ConversationPolicy, Kept, MergedUpdate, OpenForm, Stored
from ilink.bot.conversation_forms import fill_form
from ilink.bot.conversation_questions import NotUnderstoodError, Reader
from ilink.bot.conversation_results import KeepsResults, Results
from ilink.bot.conversation_state import State, check_state_type, keep_state, read_state, state_name
from ilink.errors import (
    AskCancelledError,
    AskError,
    AskExhaustedError,
    AskTimeoutError,
    ConfigError,
    ConversationChangedError,
    StateError,
)
from ilink.messages.incoming import Message
from ilink.storage.agenda import FOREVER_MS
from ilink.storage.journal import Letter

__all__ = ["NO_DEFAULT", "POLICY_TIMEOUT", "Incoming", "Speaks", "Surroundings", "SuspendedError", "Talk"]

T = TypeVar("T")

NO_DEFAULT: Final = object()
"""Stands for a question without a default."""

POLICY_TIMEOUT: Final = -1.0
"""Stands for the timeout of the policy."""

_ENDS: Final[Mapping[str, tuple[type[AskError], str]]] = {
    "timeout": (AskTimeoutError, "nobody answered in time"),
    "cancelled": (AskCancelledError, "the user cancelled"),
    "exhausted": (AskExhaustedError, "no answer could be read"),
}


class SuspendedError(BaseException):
    """A handler stops at a question. No error for the application, which must not catch it."""


class Speaks(Protocol):
    """What is needed of a turn."""

    def say_as(self, place: str, text: str, *, is_last: bool = False) -> None:
        """Say a text that has a place of its own; what is said after the last one is left out."""
        ...

    @property
    def said(self) -> int:
        """How many answers were given."""
        ...


class Surroundings(KeepsResults, Protocol):
    """What a conversation needs of the bot around it."""

    async def read_kept(self, conversation: str) -> Kept:
        """Return what is kept of a conversation, with everything that was handled before."""
        ...

    def now_ms(self) -> int:
        """Return the time of day."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What an open question gets.

    Attributes:
        letter: The update that was handed over.
        message: What it says; None when it is the end of the time.
    """

    letter: Letter
    message: Message | None


class Talk:
    """The conversation of one run of a handler.

    Args:
        handler: The name of the handler.
        cause: The update it is run for: its first message, also when it is run again for an answer.
        speaker: Where questions go.
        read: Reads a stored update as a message.
        around: What is needed of the bot.
        policy: How questions are asked.
        form: What is known from the runs before; None for the first one.
        incoming: What the open question gets; None for the first run.
        merged: The updates after the first that are handled as one with it.
    """

    def __init__(
        self,
        handler: str,
        cause: Letter,
        *,
        speaker: Speaks,
        read: Callable[[bytes, int], Message],
        around: Surroundings,
        policy: ConversationPolicy,
        form: OpenForm | None = None,
        incoming: Incoming | None = None,
        merged: Sequence[MergedUpdate] = (),
    ) -> None:
        self._handler = handler
        self._cause = cause
        self._speaker = speaker
        self._read = read
        self._around = around
        self._policy = policy
        self._form = form
        self._incoming = incoming
        self._merged = merged
        self._answers: list[Answer] = [] if form is None else list(form.answers)
        self._place = 0
        self._results = Results(cause.identity, around, None if form is None else form.results)
        self._states: dict[str, State[Any]] = {}
        self._waiting: OpenForm | None = None

    async def ask(
        self,
        question: str,
        reader: Reader[T],
        *,
        hint: str,
        timeout: float | None,
        tries: int | None,
        default: object,
        name: str,
    ) -> T:
        """Return the answer to a question, or stop here until there is one; see `Context.ask`."""
        self._refuse_after_stop()
        place, self._place = self._place, self._place + 1
        asked = f"{name or question} ({reader.name})"
        if place < len(self._answers):
            self._check_same(place, self._answers[place].asked, asked)
            return self._answer(self._answers[place], question, reader, default)
        form, incoming = self._form, self._incoming
        if form is None or incoming is None:
            self._wait(asked, timeout)
            self._speaker.say_as(f"ask {place}", reader.ask(question), is_last=True)
            raise SuspendedError
        self._check_same(place, form.asked, asked)
        self._incoming = None
        answer = self._take(incoming, form, place, question, reader, hint, tries or self._policy.tries)
        self._answers.append(answer)
        return self._answer(answer, question, reader, default)

    async def once(self, name: str, function: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
        """Return the result of a function that is called once in this conversation; see `Context.once`."""
        self._refuse_after_stop()
        return await self._results.once(name, function)

    async def state(self, kind: type[T], *, expire: float | None) -> State[T]:
        """Return a state of the conversation; see `Context.state`."""
        self._refuse_after_stop()
        name = state_name(kind)
        known = self._states.get(name)
        if known is None:
            check_state_type(kind)
            kept = (await self._around.read_kept(self._cause.conversation)).states.get(name)
            known = self._states[name] = read_state(kind, kept, now_ms=self._around.now_ms(), expire=expire)
        if known.kind is not kind:
            message = f"two states of one conversation are called {name}; give one of the types a `state_name`"
            raise StateError(message, state=name)
        return cast("State[T]", known)

    async def fill(self, kind: type[T], *, timeout: float | None) -> T:
        """Return a form, filled question by question; see `Context.fill`."""

        async def ask(text: str, reader: Reader[Any], *, hint: str, name: str) -> object:
            return await self.ask(text, reader, hint=hint, timeout=timeout, tries=None, default=NO_DEFAULT, name=name)

        return await fill_form(kind, ask, self._policy)

    @property
    def is_suspended(self) -> bool:
        """Whether the handler stopped at a question."""
        return self._waiting is not None

    def check_finished(self) -> None:
        """Refuse the end of a handler that did not come to its open question, or went on behind one.

        Raises:
            ConversationChangedError: It took another way than before.
            ConfigError: It caught what stops it.
        """
        self._refuse_after_stop()
        if self._form is not None and (self._incoming is not None or self._place < len(self._form.answers)):
            raise self._changed(self._place, self._form.asked, "it ended")

    async def kept(self) -> Stored | None:
        """Return what is to be kept of the conversation; None when nothing of it changed.

        Raises:
            StateError: A state cannot be kept.
        """
        changed = {} if self.is_suspended else {n: s for n, s in self._states.items() if s.expire or s.has_changed}
        if not changed and self._form is None and self._waiting is None:
            return None
        now_ms = self._around.now_ms()
        # Read again, because commands that overtook this run may have changed it meanwhile.
        kept = await self._around.read_kept(self._cause.conversation)
        kept.states |= {name: keep_state(state, now_ms=now_ms) for name, state in changed.items()}
        kept.forms = [form for form in kept.forms if form.identity != self._cause.identity]
        if self._waiting is not None:
            kept.forms = [*kept.forms, self._waiting][-self._policy.most_forms :]
        return kept.to_stored(now_ms=now_ms, limit=self._policy.state_bytes)

    def close(self, farewell: str) -> None:
        """End the conversation otherwise than by its handler's success: something is said, and no state changes."""
        self._states.clear()
        self._speaker.say_as("end", farewell)

    @property
    def conversation(self) -> str:
        """Its name."""
        return self._cause.conversation

    def _take(
        self,
        incoming: Incoming,
        form: OpenForm,
        place: int,
        question: str,
        reader: Reader[Any],
        hint: str,
        tries: int,
    ) -> Answer:
        """Return what became of the open question, or ask it again."""
        found = self._look(incoming, form.asked, reader)
        if isinstance(found, Answer):
            return found
        if form.tries + 1 >= tries:
            return Answer(asked=form.asked, end="exhausted")
        self._waiting = self._stored(form.asked, form.due_ms, tries=form.tries + 1)
        again = reader.ask_again(self._policy.words_for(question), hint or found.hint)
        self._speaker.say_as(f"ask {place} again {incoming.letter.identity}", again, is_last=True)
        raise SuspendedError

    def _look(self, incoming: Incoming, asked: str, reader: Reader[Any]) -> Answer | NotUnderstoodError:
        """Return what became of a question by what came in, or why that is no answer."""
        message = incoming.message
        if message is None:
            return Answer(asked=asked, end="timeout")
        cancelled = Answer(asked=asked, end="cancelled")
        is_word = self._policy.is_cancel_word(message.text)
        if self._policy.is_cancel_command(message.text) or (is_word and not reader.is_picky):
            return cancelled
        try:
            reader.read(message)
        except NotUnderstoodError as refusal:
            return cancelled if is_word else refusal
        return Answer(asked=asked, raw=incoming.letter.raw, sequence=incoming.letter.sequence)

    def _answer(self, answer: Answer, question: str, reader: Reader[T], default: object) -> T:
        if not answer.end:
            try:
                return reader.read(self._read(answer.raw, answer.sequence))
            except NotUnderstoodError as error:
                why = "its answer, which was good before, is refused now"
                raise self._changed(self._place, answer.asked, why) from error
        if answer.end == "timeout" and default is not NO_DEFAULT:
            return cast("T", default)
        kind, why = _ENDS[answer.end]
        message = f"{self._handler} asked {question!r}: {why}"
        raise kind(message, question=question)

    def _wait(self, asked: str, timeout: float | None) -> None:
        seconds = self._policy.timeout if timeout == POLICY_TIMEOUT else timeout
        if seconds is not None and seconds <= 0:
            message = f"timeout={seconds} leaves nobody time to answer; give some seconds, or None"
            raise ConfigError(message)
        due_ms = FOREVER_MS if seconds is None else self._around.now_ms() + int(seconds * 1000)
        self._waiting = self._stored(asked, due_ms, tries=0)

    def _stored(self, asked: str, due_ms: int, *, tries: int) -> OpenForm:
        return OpenForm(
            handler=self._handler,
            identity=self._cause.identity,
            sequence=self._cause.sequence,
            user=self._cause.user,
            raw=self._cause.raw,
            asked=asked,
            due_ms=due_ms,
            said=self._speaker.said,
            tries=tries,
            answers=self._answers,
            results=self._results.known,
            merged=list(self._merged),
        )

    def _check_same(self, place: int, before: str, now: str) -> None:
        if before != now:
            raise self._changed(place + 1, before, f"it asks {now!r}")

    def _changed(self, place: int, before: str, now: str) -> ConversationChangedError:
        message = (
            f"{self._handler} took another way than before: its question {place} was {before!r}, and now {now}; what"
            " changes from run to run belongs into `once`, and a question that may be worded anew needs a name"
        )
        return ConversationChangedError(message, handler=self._handler, place=place, question=before)

    def _refuse_after_stop(self) -> None:
        if self._waiting is not None:
            message = f"{self._handler} went on behind a question that has no answer yet; let `ask` stop it"
            raise ConfigError(message)
