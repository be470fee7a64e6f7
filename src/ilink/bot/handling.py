"""One run of a handler: the stored update becomes a message, its handler is found and run."""

from __future__ import annotations

import asyncio
import logging
import traceback

from ilink.bot.handled import Handled
from ilink.bot.routing.dispatch import Dispatch
from ilink.bot.routing.routes import Match
from ilink.bot.settings import Policies
from ilink.bot.turn import Outlet, Turn
from ilink.errors import HandlerError
from ilink.messages.incoming import Message, read_message, read_update
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
    """

    def __init__(self, account: AccountId, *, dispatch: Dispatch, outlet: Outlet, policies: Policies) -> None:
        self._account = account
        self._dispatch = dispatch
        self._outlet = outlet
        self._policies = policies

    async def handle(self, letter: Letter) -> Handled:
        """Run the handler of a message; return what follows from it."""
        wire = read_update(letter.raw)
        if wire is None:
            return Handled()
        turn = Turn(self._account, letter, self._outlet, self._policies)
        message = read_message(
            letter.raw,
            wire,
            account=self._account,
            sequence=letter.sequence,
            attempt=letter.attempts + letter.interrupted + 1,
            suspect_duplicate=letter.resembles is not None,
            turn=turn,
        )
        match = await self._dispatch.find(message)
        if match is None:
            self._note_unhandled(message)
            return Handled()
        try:
            await self._run(match, message, turn)
        except Exception as error:
            name = match.route.name
            words = f"the handler {name} failed on message {letter.sequence}: {_words(error)}"
            raise HandlerError(words, handler=name, message_id=message.id) from error
        return Handled(drafts=turn.drafts)

    async def _run(self, match: Match, message: Message, turn: Turn) -> None:
        """Run a handler; when it fails, those who asked for its errors, with as much time as it had."""
        try:
            async with asyncio.timeout(self._policies.handler_seconds):
                await self._dispatch.run(match, message, turn)
        except Exception as error:
            if not match.route.error_handlers:
                raise
            async with asyncio.timeout(self._policies.handler_seconds):
                if not await self._dispatch.recover(match, message, turn, error):
                    raise
            name = match.route.name
            _log.warning("%s failed on message %d; an error handler took it", name, message.sequence, exc_info=error)

    def _note_unhandled(self, message: Message) -> None:
        if _log.isEnabledFor(logging.INFO):
            nearest = self._dispatch.explain(message)
            _log.info("nobody handles message %d, a %s; nearest: %s", message.sequence, type(message).__name__, nearest)


def _words(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
