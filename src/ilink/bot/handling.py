"""One run of a handler: the stored update becomes a message, its handler is found and run."""

from __future__ import annotations

import asyncio
import logging
import traceback

from ilink.bot.handled import Handled
from ilink.bot.routes import Routes
from ilink.bot.settings import Policies
from ilink.bot.turn import Outlet, Turn
from ilink.errors import HandlerError
from ilink.messages.incoming import read_message, read_update
from ilink.storage.journal import Letter
from ilink.wire.ids import AccountId

__all__ = ["Handling"]

_log = logging.getLogger(__name__)


class Handling:
    """Runs the handlers of one account.

    Args:
        account: Whose messages they are.
        routes: Which function handles which message.
        outlet: What a run needs of the bot around it.
        policies: How long a run may take.
    """

    def __init__(self, account: AccountId, *, routes: Routes, outlet: Outlet, policies: Policies) -> None:
        self._account = account
        self._routes = routes
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
        handler = self._routes.find(message)
        if handler is None:
            _log.info("nobody handles message %d, a %s", letter.sequence, type(message).__name__)
            return Handled()
        try:
            async with asyncio.timeout(self._policies.handler_seconds):
                await handler.function(message)
        except Exception as error:
            words = f"the handler {handler.name} failed on message {letter.sequence}: {_words(error)}"
            raise HandlerError(words, handler=handler.name, message_id=message.id) from error
        return Handled(drafts=turn.drafts)


def _words(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
