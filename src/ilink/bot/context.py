"""What a handler may ask for besides its message: questions, state, and what is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, cast, get_args, overload

from ilink.bot.conversation_questions import reader_of
from ilink.bot.conversation_run import NO_DEFAULT, POLICY_TIMEOUT
from ilink.bot.conversation_state import State, check_state_type
from ilink.bot.routing.injection import BUILT_IN, Invocation
from ilink.errors import ConfigError
from ilink.messages.incoming import Message
from ilink.wire.ids import AccountId, UserId

if TYPE_CHECKING:
    from ilink.bot.conversation_run import Talk

__all__ = ["Context"]

T = TypeVar("T")
S = TypeVar("S", bound=str)


class Context:
    """The conversation that a message belongs to; a handler gets it by asking for a `Context`.

        @bot.on_command("order")
        async def order(message: Message, ctx: Context) -> None:
            drink = await ctx.ask("What would you like?", ["tea", "coffee"])
            cups = await ctx.ask("How many?", int)
            if await ctx.confirm(f"{cups} cups of {drink}, all right?"):
                await message.reply("On their way.")

    A handler that asks is run again from its beginning when the answer comes: questions that were answered return
    their answers at once, what was said is not said again, and it goes on behind the last question. So a conversation
    may take days, and survives that the bot is stopped or killed. In exchange a handler has to take the same way in
    each run: what it does besides talking, and what differs from run to run, such as the time, random numbers and what
    others answer, belongs into `once`.

    Attributes:
        message: The message the handler was called for, also after questions.
    """

    def __init__(self, message: Message, talk: Talk) -> None:
        self.message = message
        self._talk = talk

    @property
    def account(self) -> AccountId:
        """The bot."""
        return self.message.account

    @property
    def user(self) -> UserId:
        """Who wrote."""
        return self.message.user

    @overload
    async def ask(
        self,
        question: str,
        kind: type[T],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: T = ...,
        name: str = "",
    ) -> T: ...
    @overload
    async def ask(
        self,
        question: str,
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: str = ...,
        name: str = "",
    ) -> str: ...
    @overload
    async def ask(
        self,
        question: str,
        kind: Mapping[str, T],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: T = ...,
        name: str = "",
    ) -> T: ...
    @overload
    async def ask(
        self,
        question: str,
        kind: Sequence[S],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: S = ...,
        name: str = "",
    ) -> S: ...
    @overload
    async def ask(
        self,
        question: str,
        kind: Callable[[str], T],
        *,
        hint: str = "",
        timeout: float | None = ...,
        tries: int | None = None,
        default: T = ...,
        name: str = "",
    ) -> T: ...
    async def ask(
        self,
        question: str,
        kind: object = str,
        *,
        hint: str = "",
        timeout: float | None = POLICY_TIMEOUT,
        tries: int | None = None,
        default: object = NO_DEFAULT,
        name: str = "",
    ) -> object:
        """Ask the user something and return the answer, however long that takes.

        Args:
            question: What to ask.
            kind: What is wanted: `str` for any text, `int`, `float`, `bool` for yes or no, an `Enum`, a kind of message
                such as `ImageMessage`, labels to choose from, a mapping from labels to values, or a function that makes
                a value of the text and raises ValueError with a hint for what it does not take. People answer as they
                like: `2`, `２`, `第二个`, a label or its beginning; `yes`, `ok`, `好的`, `不行`.
            hint: What to say when an answer is not understood; else something that fits the kind.
            timeout: Seconds to wait; None for ever; by default `ConversationPolicy.timeout`. Restarts do not matter.
            tries: How many answers that are not understood are taken; by default `ConversationPolicy.tries`.
            default: What to return when the time is over, instead of an error.
            name: Names the question, so that its words may change while somebody is thinking.

        Raises:
            AskTimeoutError: The time is over. Uncaught, like the next two, it ends the conversation with a polite text.
            AskCancelledError: The user said `/cancel` or `取消`.
            AskExhaustedError: Nothing the user said was understood.
            ConversationChangedError: The handler asks something else than it did before it was run again.
            ConfigError: The question cannot be asked so.

        Cancellation: the question stays open.
        """
        if not question.strip():
            message = "a question has to say something"
            raise ConfigError(message)
        reader = reader_of(kind)
        return await self._talk.ask(
            question, reader, hint=hint, timeout=timeout, tries=tries, default=default, name=name
        )

    async def confirm(self, question: str, *, timeout: float | None = POLICY_TIMEOUT, name: str = "") -> bool:
        """Ask for yes or no, in Chinese or English; `ask` with `bool`."""
        return await self.ask(question, bool, timeout=timeout, name=name)

    async def fill(self, form: type[T], *, timeout: float | None = POLICY_TIMEOUT) -> T:
        """Ask for every field of a form, one after the other, and return it filled.

        The user goes back to the question before with `back` or `返回`, skips one that has a default with `skip` or
        `跳过`, and ends the form with `/cancel` or `取消`.

        Args:
            form: A dataclass with fields such as `cups: int = question("How many?", int)`.
            timeout: Seconds that each question waits; as for `ask`.

        Raises:
            AskError: As for `ask`.
            ConfigError: None of its fields is a question.
        """
        return await self._talk.fill(form, timeout=timeout)

    async def once(self, name: str, function: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
        """Call a function once for this message, however often the handler is run, and return its result.

        The result is stored at once and lasts as long as the conversation with its questions. When the process is
        killed within the function, or before the result is stored, it is called again: what it does should bear that.

        Args:
            name: Names it among all that the handler does once; in a loop it has the number of the round in it.
            function: What to do. Its result is kept as JSON; one that is more than that, such as a dataclass, has to be
                annotated as what the function returns.

        Raises:
            ConfigError: The result cannot be kept.
            StoreError: The result could not be stored.
        """
        return await self._talk.once(name, function)

    async def state(self, kind: type[T], *, expire: float | None = None) -> State[T]:
        """Return a state of this conversation; handlers may also ask for a `State[Form]`.

        What its `value` is when the handler succeeds is stored together with that success. A handler that fails, or
        stops at a question, has changed nothing.

        Args:
            kind: A dataclass or msgspec Struct whose fields all have defaults.
            expire: Seconds after which it is fresh again, counted from the last success; else the type's
                `state_expire`, else never.

        Raises:
            ConfigError: The type cannot be kept.
            StateError: What is stored does not fit the type; see `read_state` for what may change.
        """
        return await self._talk.state(kind, expire=expire)


def _context(invocation: Invocation) -> Context:
    talk = invocation.turn.talk
    assert talk is not None, "every message is handled with one"
    return Context(invocation.message, talk)


def _state_provider(annotation: object) -> Callable[..., object]:
    """Return what makes a `State[...]`.

    Raises:
        ConfigError: Its type cannot be kept.
    """
    (kind,) = get_args(annotation)
    if not isinstance(kind, type):
        message = f"{annotation} names no type; write State[Form] with a dataclass or a msgspec Struct"
        raise ConfigError(message)
    form = cast("type[object]", kind)
    check_state_type(form)

    async def make(context: Context) -> State[object]:
        return await context.state(form)

    return make


BUILT_IN.add(Context, _context)
BUILT_IN.add_family(State, _state_provider)
