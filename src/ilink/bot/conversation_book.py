"""Where the conversations of one account are looked up: what is kept of them, and who waits for an answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.conversation import Kept, OpenForm, read_kept
from ilink.storage.agenda import FOREVER_MS, Agenda, Posting
from ilink.storage.journal import Journal, Letter
from ilink.wire.codec import encode

__all__ = ["ASK_MARK", "Book"]

_log = logging.getLogger(__name__)

ASK_MARK: Final = "ask:"
"""What the identity of an update begins with that says that the time for an answer is over."""


class Book:
    """The conversations of one account.

    Args:
        journal: Where their states are.
        agenda: Where open questions and results are.
        clock: Source of time.
        wait_stored: Waits until everything that was handled before in a conversation is stored.
    """

    def __init__(
        self, journal: Journal, agenda: Agenda, *, clock: Clock, wait_stored: Callable[[str], Awaitable[None]]
    ) -> None:
        self._journal = journal
        self._agenda = agenda
        self._clock = clock
        self._wait_stored = wait_stored
        self._may_wait: set[str] = set()

    async def open(self) -> None:
        """Learn which conversations have open questions.

        Raises:
            StoreError: That could not be read.
        """
        self._may_wait = {question.conversation for question in await self._agenda.read_questions()}

    def note_waiting(self, conversation: str) -> None:
        """Take note that a handler of a conversation waits for an answer, or will when that is stored."""
        self._may_wait.add(conversation)

    def may_wait(self, conversation: str) -> bool:
        """Whether a handler of a conversation may wait for an answer."""
        return conversation in self._may_wait

    async def open_forms(self, conversation: str) -> list[OpenForm]:
        """Return the handlers that wait for an answer in a conversation; costs nothing where there was none."""
        if conversation not in self._may_wait:
            return []
        forms = (await self.read_kept(conversation)).forms
        if not forms:
            self._may_wait.discard(conversation)
        return forms

    async def read_kept(self, conversation: str) -> Kept:
        """Return what is kept of a conversation, with everything that was handled before."""
        await self._wait_stored(conversation)
        return read_kept(await self._journal.read_state(conversation))

    async def recall(self, cause: str) -> Mapping[str, bytes]:
        """Return the results that were kept for an update."""
        return await self._agenda.recall(cause)

    async def remember(self, cause: str, name: str, result: bytes) -> None:
        """Keep a result."""
        await self._agenda.remember(cause, name, result, now_ms=self._clock.now_ms())

    def now_ms(self) -> int:
        """Return the time of day."""
        return self._clock.now_ms()

    async def next_deadline(self) -> int | None:
        """Return when the time for the first open question is over; None when there is none, or no end."""
        questions = await self._agenda.read_questions()
        return questions[0].due_ms if questions and questions[0].due_ms < FOREVER_MS else None

    async def post_overdue(self) -> list[Letter]:
        """Put an update into the lane of every conversation whose time for an answer is over, and return these."""
        now_ms = self._clock.now_ms()
        posted: list[Letter | None] = []
        for question in await self._agenda.read_questions():
            if question.due_ms > now_ms:
                break
            kept = read_kept(await self._journal.read_state(question.conversation))
            overdue = [form for form in kept.forms if form.due_ms <= now_ms]
            posted += [await self._post(question.conversation, form) for form in overdue]
        return [letter for letter in posted if letter is not None]

    async def _post(self, conversation: str, form: OpenForm) -> Letter | None:
        posting = Posting(
            identity=form.deadline_name,
            conversation=conversation,
            user=form.user,
            raw=encode({"timeout": form.asked, "handler": form.handler}),
        )
        return await self._agenda.post(posting, now_ms=self._clock.now_ms())
