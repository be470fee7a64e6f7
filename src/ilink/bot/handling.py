"""One run of a handler: the stored update becomes a message, its handler is found and run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace as with_values

from msgspec.structs import replace

from ilink.bot.access import Gate
from ilink.bot.backlog import SUMMARY, Backlog, BacklogHandler
from ilink.bot.conversation import ConversationPolicy, MergedUpdate, OpenForm, Stored, is_same_handler
from ilink.bot.conversation_book import ASK_MARK, Book
from ilink.bot.conversation_run import Incoming, SuspendedError, Talk
from ilink.bot.error_text import error_text
from ilink.bot.handled import Handled
from ilink.bot.job_keeper import JOB_MARK, JobKeeper
from ilink.bot.lane_policy import LanePolicy
from ilink.bot.planning import planning_for
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.routes import Match
from ilink.bot.settings import Policies
from ilink.bot.turn import Outlet, Turn
from ilink.errors import AskError, ConversationChangedError, HandlerError
from ilink.messages.incoming import AnyMessage, Message, read_message, read_update
from ilink.messages.quotes import known_quote
from ilink.storage.history import History
from ilink.storage.journal import Letter
from ilink.wire.ids import AccountId

__all__ = ["Handling"]

_log = logging.getLogger(__name__)


class Handling:
    """Runs the handlers of one account.

    Args:
        account: Whose messages they are.
        dispatch: Which function handles which message.
        outlet: What a run needs of the bot around it.
        policies: How long a run may take.
        book: What is kept of conversations, and who waits for an answer.
        conversations: How questions are asked.
        jobs: The jobs of the account.
        history: What was said, to find what messages refer to.
        backlog: Which messages are summarised, and by whom.
        gate: What a message passes first; None for nothing.
    """

    def __init__(
        self,
        account: AccountId,
        *,
        dispatch: Dispatch,
        outlet: Outlet,
        policies: Policies,
        book: Book,
        conversations: ConversationPolicy,
        jobs: JobKeeper,
        history: History,
        backlog: Backlog,
        gate: Gate | None = None,
    ) -> None:
        self._account = account
        self._dispatch = dispatch
        self._outlet = outlet
        self._policies = policies
        self._book = book
        self._conversations = conversations
        self._jobs = jobs
        self._history = history
        self._backlog = backlog
        self._gate = gate

    @property
    def has_plans(self) -> bool:
        """Whether any message may go through its lane otherwise than one after the other."""
        return self._dispatch.has_policies or self._backlog.handler is not None

    def plan(self, letter: Letter) -> LanePolicy | None:
        """Return how a message goes through its lane; None for one after the other, as answers to questions do."""
        is_ours = letter.identity.startswith((ASK_MARK, JOB_MARK))
        if not is_ours and self._backlog.is_summarised(letter) and not self._book.may_wait(letter.conversation):
            return SUMMARY
        if not self._dispatch.has_policies:
            return None
        message = None if is_ours else self._read(letter, None)
        policy = None if message is None else self._dispatch.plan(message)
        if policy is not None and not policy.overtakes and self._book.may_wait(letter.conversation):
            return None
        return policy

    async def handle(self, letter: Letter, *, following: Sequence[Letter] = ()) -> Handled:
        """Run the handler of a message; return what follows from it.

        Args:
            letter: The message. What is said is said by it.
            following: More messages that are handled as one with it: the handler gets the last of them.
        """
        if letter.identity.startswith(JOB_MARK):
            return await self._jobs.run(letter)
        forms = await self._book.open_forms(letter.conversation)
        if letter.identity.startswith(ASK_MARK):
            form = next((form for form in forms if form.deadline_name == letter.identity), None)
            return Handled() if form is None else await self._resume(form, Incoming(letter=letter, message=None))
        turn = Turn(self._account, letter, self._outlet, self._policies)
        message = self._read_as_one(letter, following, turn) if following else self._read(letter, turn)
        if message is None:
            return Handled()
        message = await self._with_quote(message, letter.conversation)
        if self._gate is not None and not await self._gate.admit(message):
            return Handled(drafts=turn.drafts)
        if not forms and self._backlog.handler is not None and self._backlog.is_summarised(letter):
            return await self._summarise(self._backlog.handler, message, turn)
        match = await self._dispatch.find(message)
        if forms and forms[-1].user == letter.user and not self._overtakes(match, message):
            return await self._resume(forms[-1], Incoming(letter=letter, message=message))
        if match is None:
            self._note_unhandled(message)
            return Handled()
        if match.route.is_plain and not match.route.error_handlers:
            return await self._run_alone(match, message, turn)
        merged = [MergedUpdate(raw=one.raw, sequence=one.sequence) for one in following]
        return await self._converse(match, message, turn, self._talk(match.route.name, letter, turn, merged=merged))

    async def _summarise(self, handler: BacklogHandler, message: Message, turn: Turn) -> Handled:
        """Hand old messages over together."""
        try:
            async with asyncio.timeout(self._policies.handler_seconds):
                await handler(message.merged)
        except Exception as error:
            raise self._failed(getattr(handler, "__qualname__", repr(handler)), message, error) from error
        return _handled(turn, None)

    def _read_as_one(self, letter: Letter, following: Sequence[Letter], turn: Turn) -> AnyMessage | None:
        """Return the last of several messages, with the others."""
        found = (self._read(one, turn) for one in (letter, *following))
        messages = [message for message in found if message is not None]
        if not messages:
            return None
        attempt = letter.attempts + letter.interrupted + 1
        return with_values(messages[-1], earlier=tuple(messages[:-1]), attempt=attempt)

    def _read(self, letter: Letter, turn: Turn | None) -> AnyMessage | None:
        wire = read_update(letter.raw)
        if wire is None:
            return None
        return read_message(
            letter.raw,
            wire,
            account=self._account,
            sequence=letter.sequence,
            attempt=letter.attempts + letter.interrupted + 1,
            suspect_duplicate=letter.resembles is not None,
            turn=turn,
        )

    async def _with_quote(self, message: AnyMessage, conversation: str) -> AnyMessage:
        """Return a message with what the journal knows of the one it refers to; that costs nothing if there is none."""
        quote = message.quote
        if quote is None or quote.message_id is None:
            return message
        said = await self._history.find(conversation, quote.message_id)
        if said is None:  # a person may be quicker than the server's answer to what they refer to
            await self._outlet.wait_sent(conversation)
            said = await self._history.find(conversation, quote.message_id)
        known = None if said is None else known_quote(said.raw, is_ours=said.is_ours, at_ms=said.at_ms)
        return with_values(message, known_quote=known)

    def _overtakes(self, match: Match | None, message: Message) -> bool:
        """Whether a message is a command that is handled although a question is open."""
        policy = self._conversations
        is_command = match is not None and match.route.command is not None
        return is_command and policy.commands == "overtake" and not policy.is_cancel_command(message.text)

    def _talk(
        self,
        handler: str,
        cause: Letter,
        turn: Turn,
        *,
        form: OpenForm | None = None,
        incoming: Incoming | None = None,
        merged: Sequence[MergedUpdate] = (),
    ) -> Talk:
        def read(raw: bytes, sequence: int) -> Message:
            message = self._read(replace(cause, raw=raw, sequence=sequence), turn)
            assert message is not None, "it was read as a message when it came"
            return message

        talk = Talk(
            handler,
            cause,
            speaker=turn,
            read=read,
            around=self._book,
            policy=self._conversations,
            form=form,
            incoming=incoming,
            merged=merged,
        )
        turn.talk = talk
        return talk

    async def _resume(self, form: OpenForm, incoming: Incoming) -> Handled:
        """Run a handler again that waits for an answer, for the message or messages it was run for first."""
        letter = incoming.letter
        again = replace(letter, identity=form.identity, user=form.user, raw=form.raw)
        turn = Turn(self._account, again, self._outlet, self._policies, said=form.said)
        cause = replace(again, sequence=form.sequence)
        following = [replace(cause, raw=one.raw, sequence=one.sequence) for one in form.merged]
        message = self._read_as_one(cause, following, turn)
        if message is not None:
            message = await self._with_quote(message, letter.conversation)
        match = None if message is None else await self._dispatch.find(message)
        if message is None or match is None or not is_same_handler(match.route.name, form.handler):
            return await self._give_up(form, cause, turn)
        talk = self._talk(match.route.name, cause, turn, form=form, incoming=incoming, merged=form.merged)
        return await self._converse(match, message, turn, talk)

    async def _run_alone(self, match: Match, message: Message, turn: Turn) -> Handled:
        """Run a handler that gets nothing but its message, and so has no way to ask or to keep anything."""
        try:
            await self._run(match, message, turn)
        except Exception as error:
            raise self._failed(match.route.name, message, error) from error
        return Handled(drafts=turn.drafts)

    async def _converse(self, match: Match, message: Message, turn: Turn, talk: Talk) -> Handled:
        """Run a handler as a part of its conversation; return what it said and what is kept."""
        name = match.route.name
        try:
            try:
                await self._run(match, message, turn)
                talk.check_finished()
            except SuspendedError:
                self._book.note_waiting(talk.conversation)
            except AskError as error:
                _log.info("%s ended: %s", name, error)
                talk.close(self._conversations.farewell(error))
            except ConversationChangedError as error:
                _log.error("a conversation was ended: %s", error)
                talk.close(self._conversations.words_for(error.question).changed)
            stored = await talk.kept()
        except BaseExceptionGroup as group:
            if not isinstance(group, Exception) and not talk.is_suspended:
                raise
            raise self._failed(name, message, group) from group
        except Exception as error:
            raise self._failed(name, message, error) from error
        return _handled(turn, stored)

    async def _give_up(self, form: OpenForm, cause: Letter, turn: Turn) -> Handled:
        """End a conversation whose handler is gone."""
        why = f"{form.handler} waits for an answer to {form.asked!r} and is gone; the conversation is ended"
        _log.error("%s", ConversationChangedError(why, handler=form.handler, place=0, question=form.asked))
        talk = self._talk(form.handler, cause, turn, form=form)
        talk.close(self._conversations.words_for(form.asked).changed)
        return _handled(turn, await talk.kept())

    def _failed(self, name: str, message: Message, error: BaseException) -> HandlerError:
        words = f"the handler {name} failed on message {message.sequence}: {error_text(error)}"
        return HandlerError(words, handler=name, message_id=message.id)

    async def _run(self, match: Match, message: Message, turn: Turn) -> None:
        """Run a handler; when it fails, those who asked for its errors, with as much time as it had."""
        policy = match.route.handler.policy
        seconds = policy.seconds if policy is not None and policy.seconds else self._policies.handler_seconds
        try:
            with planning_for(turn.run_id):
                async with asyncio.timeout(seconds) as turn.time_limit:
                    await self._dispatch.run(match, message, turn)
        except (AskError, ConversationChangedError):
            raise  # that is how a conversation ends, and nothing failed
        except Exception as error:
            if not match.route.error_handlers:
                raise
            async with asyncio.timeout(seconds) as turn.time_limit:
                if not await self._dispatch.recover(match, message, turn, error):
                    raise
            name = match.route.name
            _log.warning("%s failed on message %d; an error handler took it", name, message.sequence, exc_info=error)

    def _note_unhandled(self, message: Message) -> None:
        if _log.isEnabledFor(logging.INFO):
            nearest = self._dispatch.explain(message)
            _log.info("nobody handles message %d, a %s; nearest: %s", message.sequence, type(message).__name__, nearest)


def _handled(turn: Turn, stored: Stored | None) -> Handled:
    if stored is None:
        return Handled(drafts=turn.drafts)
    return Handled(drafts=turn.drafts, state=stored.data, due_ms=stored.due_ms, expires_ms=stored.expires_ms)
