"""What a bot writes down before it acts on it: the updates it received and the messages it is going to send.

The seam every journal stands behind; one class of tests holds for all of them. A journal belongs to one account. Times
are milliseconds since 1970, passed in.

What is promised: an update and the cursor behind it are stored together or not at all. An update whose identity is
known is not stored again. Completing an update stores its outgoing messages and its conversation's state in the same
step, once: the newest run of the process that took the journal over last wins, every other one is refused.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, Protocol, Self

from msgspec import Struct

from ilink.flows.window import Window, accepted, limited, refused
from ilink.storage.roles import Role
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, Secret, UserId

__all__ = [
    "Adopted",
    "Arrival",
    "Completed",
    "Counts",
    "Draft",
    "InboxState",
    "Ingested",
    "Journal",
    "Letter",
    "OutboxState",
    "Outcome",
    "Outgoing",
    "OutgoingFile",
    "WindowEvent",
    "after_outcome",
]


class Record(Struct, frozen=True, kw_only=True):
    """What all values of a journal share: several are made for every message, at a tenth of a dataclass's cost."""

    def __repr__(self) -> str:
        """Name the kind only: records hold what people wrote, and tokens."""
        return f"{type(self).__name__}(…)"


class InboxState(IntEnum):
    """What became of an update."""

    WAITING = 0
    DONE = 1
    DEAD = 2
    """It failed too often or cannot be read; it stays until somebody replays or drops it."""
    IGNORED = 3
    """Nobody wanted it: its sender is not listened to, it is too old, or a newer one took its place."""


class OutboxState(IntEnum):
    """What became of an outgoing message."""

    WAITING = 0
    ACCEPTED = 1
    UNCONFIRMED = 2
    REJECTED = 3
    UNKNOWN = 4
    EXPIRED = 5
    IN_FLIGHT = 6
    """Written down just before it is sent, where a second attempt is not allowed; after a crash it is unknown."""
    ASKED = 7
    """Its outcome is unknown and it waits for a decision; it holds its conversation up until then."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of it."""
        return self not in _UNSENT


_UNSENT: Final = frozenset({OutboxState.WAITING, OutboxState.IN_FLIGHT, OutboxState.ASKED})


class Arrival(Record, frozen=True, kw_only=True):
    """One update as it is to be stored.

    Attributes:
        raw: The bytes as they came.
        identity: By what it is recognised when it comes again.
        conversation: Its lane.
        user: Who sent it; empty when that cannot be read.
        context_token: The one it carried.
        state: WAITING, or what it is at once.
        error: Why it is dead or ignored at once.
        opens: Whether it opens the window of its user.
        resembles: The identity of a message that said the same shortly before, under another id.
    """

    raw: bytes
    identity: str
    conversation: str
    user: UserId
    context_token: Secret | None = None
    state: InboxState = InboxState.WAITING
    error: str | None = None
    opens: bool = True
    resembles: str | None = None


class Ingested(Record, frozen=True, kw_only=True):
    """What became of a batch.

    Attributes:
        sequences: One for each arrival; None for those that had been stored before.
        has_moved: Whether the cursor was stored; not when another process or a newer login took over, whose cursor it
            is now. The updates are stored in any case.
        outdated: The places in the batch of those that were stored before with the same context token: what they carry
            may be older than what is known, and is not kept.
        foreign: Conversations in which updates wait that this process has not stored, since it adopted the journal or
            last stored a batch: another one had polled before. They come before what is in this batch.
    """

    sequences: tuple[int | None, ...]
    has_moved: bool
    outdated: frozenset[int] = frozenset()
    foreign: tuple[str, ...] = ()


class Letter(Record, frozen=True, kw_only=True):
    """A stored update.

    Attributes:
        sequence: Its place.
        conversation: Its lane.
        user: Who sent it.
        identity: By what it is recognised when it comes again.
        raw: The bytes as they came.
        claim: Names the run that may complete it.
        attempts: How many runs failed.
        interrupted: How many runs died with their process.
        due_ms: Not before.
        received_ms: When it was stored.
        state: What became of it.
        error: Why it failed last, or nobody wanted it.
        is_parked: Whether it failed too often and its lane waits, until somebody replays or drops it.
        resembles: The identity of a message that said the same shortly before, under another id.
    """

    sequence: int
    conversation: str
    user: UserId
    identity: str
    raw: bytes
    claim: int = 0
    attempts: int = 0
    interrupted: int = 0
    due_ms: int = 0
    received_ms: int = 0
    state: InboxState = InboxState.WAITING
    error: str | None = None
    is_parked: bool = False
    resembles: str | None = None


class OutgoingFile(Record, frozen=True, kw_only=True):
    """A file that is uploaded when its turn comes. Its bytes lie in the spool, under the client id of its message.

    Attributes:
        size: Bytes.
        sha256: Their SHA-256 in hexadecimal.
        kind: What a phone shall show it as; empty to decide by content.
        name: The name to show.
    """

    size: int
    sha256: str
    kind: str = ""
    name: str = ""


class Draft(Record, frozen=True, kw_only=True):
    """One outgoing message as it is to be stored.

    Attributes:
        client_id: Names it for good; a second one with the same name is not stored.
        conversation: Its lane.
        user: Who it is for.
        item: The one item, as it goes on the wire; empty for a file that is not uploaded.
        file: What is uploaded before it can be sent; None for what is no file.
        cause: The update it answers.
        is_progress: Whether it makes room for others when few messages are left.
        run_id: Ties the messages of one turn together.
        expires_ms: When it is not worth sending any more.
    """

    client_id: ClientId
    conversation: str
    user: UserId
    item: bytes
    file: OutgoingFile | None = None
    cause: int | None = None
    is_progress: bool = False
    run_id: str | None = None
    expires_ms: int | None = None


class Outgoing(Record, frozen=True, kw_only=True):
    """A stored outgoing message.

    Attributes:
        out_sequence: Its place; messages of one conversation are sent in this order.
        draft: What is sent.
        state: What became of it.
        attempts: How often it was tried.
        is_doubtful: Whether an attempt was written without an answer, so that it may have arrived.
        created_ms: When it was stored.
        uploaded_ms: When its file was uploaded; None if it was not, or has none.
        message_id: The server's id.
        code: The number it was refused with.
        reason: Why it was refused, or is unknown or expired.
    """

    out_sequence: int
    draft: Draft
    state: OutboxState = OutboxState.WAITING
    attempts: int = 0
    is_doubtful: bool = False
    created_ms: int = 0
    uploaded_ms: int | None = None
    message_id: MessageId | None = None
    code: int | None = None
    reason: str | None = None


class WindowEvent(IntEnum):
    """What a send taught about its user's window."""

    NOTHING = 0
    ACCEPTED = 1
    REFUSED = 2
    LIMITED = 3


class Outcome(Record, frozen=True, kw_only=True):
    """What became of one attempt to send.

    Attributes:
        out_sequence: Which message.
        user: Who it was for.
        state: WAITING when it is tried again later.
        event: What it taught about the window.
        retry_after_ms: How long the server wants a pause, with LIMITED.
        was_tried: Whether this was an attempt.
        is_doubtful: Whether this attempt, or one before it, was written without an answer.
        message_id: The server's id.
        code: The number it was refused with.
        reason: Why.
    """

    out_sequence: int
    user: UserId
    state: OutboxState
    event: WindowEvent = WindowEvent.NOTHING
    retry_after_ms: int | None = None
    was_tried: bool = True
    is_doubtful: bool = False
    message_id: MessageId | None = None
    code: int | None = None
    reason: str | None = None


class Completed(Record, frozen=True, kw_only=True):
    """The answer to a completion.

    Attributes:
        is_accepted: Whether this run's effects are stored; otherwise none of them is, because another run's are, or
            will be.
        outgoing: Its messages that wait to be sent, in order.
    """

    is_accepted: bool
    outgoing: tuple[Outgoing, ...] = ()


class Adopted(Record, frozen=True, kw_only=True):
    """The journal belongs to this process now.

    Attributes:
        epoch: How many processes had it before, and this one.
        was_open: Whether the last one ended without giving it back.
    """

    epoch: int
    was_open: bool


class Counts(Record, frozen=True, kw_only=True):
    """How much there is, and how much came twice since the journal began.

    Attributes:
        waiting: Updates that wait to be handled.
        dead: Dead letters.
        parked: Updates that failed too often and hold their lanes up.
        outgoing: Messages that wait to be sent.
        duplicates: Updates that had been stored before and were not stored again.
        suspects: Messages that said the same as one shortly before, under another id, and were handled with that mark.
        suspects_dropped: Those that were stored and not handled.
    """

    waiting: int
    dead: int
    outgoing: int
    duplicates: int
    suspects: int = 0
    suspects_dropped: int = 0
    parked: int = 0


class Journal(Protocol):
    """The journal of one account.

    Every call raises StoreError when the store does not take or give what was asked; nothing of it is stored then.
    Cancelling a call that writes leaves open whether it was stored, never a part of it.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Store what is still to be stored, and close."""
        ...

    @property
    def account(self) -> AccountId:
        """Whose journal it is."""
        ...

    async def adopt(self, role: Role = Role.ALL, /) -> Adopted:
        """Take the journal over from whoever had it for a role; they can complete nothing there any more.

        If the last process died, the first waiting update of every conversation counts as interrupted: it may be what
        killed it. The first waiting message of every conversation is doubtful: it may have been on its way. The first
        is for handlers only, the second for senders. A store for one process knows one role, that of everything.
        """
        ...

    async def release(self) -> None:
        """Give the journal back in order."""
        ...

    async def is_ours(self) -> bool:
        """Tell whether nobody has taken the journal over for our role since `adopt`."""
        ...

    async def note_clock_gap(self, gap_ms: int) -> None:
        """Write down how far the machine's clock is ahead of the times that are passed in, since it was set.

        The next one who takes the journal over is passed the machine's time again. So `adopt` moves the times of what
        waits by the gap: nothing expires, and no window closes, because a clock was set.
        """
        ...

    async def check(self, *, gap_ms: int) -> None:
        """Look whether writes are taken, by writing down the clock's gap; after a refusal also by what needs room."""
        ...

    async def ingest(
        self, arrivals: Sequence[Arrival], *, cursor: Cursor, generation: int, hint_ms: int | None, now_ms: int
    ) -> Ingested:
        """Store a batch in one step: the updates that are new, context tokens, windows and the cursor behind it.

        An update that comes again brings its context token if that is not the one it came with first.

        It outlives this process, so that a handler may begin. Whether it outlives a power cut is known after `sync`, or
        after whatever is stored next, so before any reply to it.
        """
        ...

    async def sync(self) -> None:
        """Return once everything that was ingested outlives a power cut; before that no poll may acknowledge it.

        Raises:
            StoreError: Nobody knows whether it does.

        Cancellation: harmless.
        """
        ...

    async def inherit(self, previous: AccountId) -> None:
        """Take over what waits in the journal of another account.

        A person who signs in again gets a new account (observed: openilink-hub#90); what the old one had not finished
        is finished by the new one. Windows and context tokens belong to the old one and are not taken over.
        """
        ...

    async def find_arrived(self, after: int) -> tuple[list[tuple[str, UserId]], int]:
        """Return in which conversations who wrote what was stored behind a place, and the newest place.

        So processes that do not poll find what others have stored; none is missed, as for `find_enqueued`.
        """
        ...

    async def read_arrived(self, after: int, *, limit: int = 200) -> list[Letter]:
        """Return a page of what was stored behind a place and waits, of all conversations, in order."""
        ...

    async def waiting_conversations(self, *, after: str = "", limit: int = 500) -> list[str]:
        """Return conversations with waiting updates, in the order of their names."""
        ...

    async def read_waiting(self, conversation: str, *, after: int = 0, limit: int = 50) -> list[Letter]:
        """Return a page of the waiting updates of a conversation, in order."""
        ...

    def complete(
        self,
        sequence: int,
        claim: int,
        *,
        drafts: Sequence[Draft],
        state: bytes | None,
        now_ms: int,
        due_ms: int | None = None,
        expires_ms: int | None = None,
        others: Sequence[tuple[int, int]] = (),
        ignored: str | None = None,
    ) -> Future[Completed]:
        """Store the success of a run with everything that follows from it, in one step.

        Completions, additions and outcomes are stored in the order of the calls. The answer may be awaited later; if it
        is an error, everything that was asked for since then has failed with it.

        Args:
            sequence: The update.
            claim: The run, as the update was read.
            drafts: What it sends.
            state: The conversation's new state; None to leave it as it is, empty bytes to forget it.
            now_ms: Now.
            due_ms: With a new state: when the conversation is looked at though nobody writes; None for never.
            expires_ms: With a new state: when it is worth nothing any more; None for never.
            others: More updates that are finished with it, each with its claim: all of them or none.
            ignored: Why nobody wants them; None if they are done.
        """
        ...

    async def fail(
        self,
        sequence: int,
        claim: int,
        *,
        error: str,
        due_ms: int | None,
        now_ms: int,
        others: Sequence[tuple[int, int]] = (),
        is_parked: bool = False,
    ) -> Letter | None:
        """Store the failure of a run, and return the update for the next one.

        Args:
            sequence: The update.
            claim: The run.
            error: Why it failed, for a person.
            due_ms: When it is tried again; None to give it up and keep it as dead.
            now_ms: Now.
            others: More updates, each with its claim, that are given up with it; left out while it is tried again.
            is_parked: With no `due_ms`: it stays the first of its conversation, until somebody replays or drops it.

        Returns:
            The update as it is now; None when another run has its place.
        """
        ...

    async def mark_running(self, sequence: int, claim: int) -> None:
        """Write down that a suspicious update is being handled, so that it counts if the process dies."""
        ...

    async def read_state(self, conversation: str) -> bytes | None:
        """Return a conversation's state; None when it has none."""
        ...

    def enqueue(self, drafts: Sequence[Draft], *, now_ms: int) -> Future[list[Outgoing]]:
        """Store outgoing messages at once, and return the new ones; known client ids are left as they are.

        They come behind those of every completion that was asked for before. Anybody may do this; whoever owns the
        journal notices and sends them.
        """
        ...

    async def find_enqueued(self, after: int) -> tuple[list[str], int]:
        """Return the conversations of messages that were stored behind a place and wait, and the newest place."""
        ...

    async def wait_changed(self, since: int) -> int:
        """Wait until somebody else may have written to the store; cheap, and nothing is written for it.

        Args:
            since: What the last call returned; 0 at the beginning.

        Returns:
            A number that differs from `since`, at once if there was a change meanwhile.
        """
        ...

    async def outgoing_conversations(self, *, after: str = "", limit: int = 500) -> list[str]:
        """Return conversations with messages that wait to be sent, in the order of their names."""
        ...

    async def read_outgoing(self, conversation: str, *, after: int = 0, limit: int = 50) -> list[Outgoing]:
        """Return a page of the messages of a conversation that wait to be sent, in order."""
        ...

    async def read_sent(self, client_id: ClientId) -> Outgoing | None:
        """Return one outgoing message by its name; None when it is not known, or no longer."""
        ...

    def settle(self, outcome: Outcome, *, now_ms: int) -> Future[None]:
        """Store what became of an attempt to send, and what it taught about the window, in the order of the calls.

        What is final stays. A process that was taken over from may still tell that a message was accepted or refused
        for good, because that is so; nothing else of it is stored.
        """
        ...

    async def attach(self, out_sequence: int, item: bytes, *, now_ms: int) -> None:
        """Store what a file became by its upload, for a message that still waits."""
        ...

    async def find_needed_files(self, names: Sequence[ClientId]) -> set[ClientId]:
        """Return those of some messages, of whatever account, whose files are still to be sent."""
        ...

    async def read_outbox(self, states: Sequence[OutboxState], *, after: int = 0, limit: int = 100) -> list[Outgoing]:
        """Return a page of the messages in some states, oldest first."""
        ...

    async def decide(self, client_id: ClientId, *, is_retry: bool, now_ms: int) -> Outgoing | None:
        """Decide about a message that asked: it is sent again as the same message, or stays unknown for good.

        Anybody may do this; whoever owns the journal notices. Returns the message as it is now; None for one that does
        not ask.
        """
        ...

    async def read_windows(self, users: Sequence[UserId]) -> Mapping[UserId, Window]:
        """Return what is known about sending to some users; those nothing is known about are left out."""
        ...

    async def read_context_token(self, user: UserId) -> Secret | None:
        """Return the newest context token of a user."""
        ...

    async def read_dead(self, *, after: int = 0, limit: int = 100) -> list[Letter]:
        """Return a page of the letters that were given up, dead and parked ones, oldest first."""
        ...

    async def read_letter(self, sequence: int) -> Letter | None:
        """Return one stored update, whatever became of it."""
        ...

    async def read_recent(self, *, since_ms: int, limit: int = 1_000) -> list[Letter]:
        """Return the updates that came after a moment, oldest first, whatever became of them; the newest so many."""
        ...

    async def replay(self, sequences: Sequence[int]) -> list[str]:
        """Let dead and parked letters be handled again as if they had never failed; return their conversations."""
        ...

    async def drop(self, sequences: Sequence[int]) -> int:
        """Give dead and parked letters up for good, and return how many; they recognise duplicates for a while."""
        ...

    async def prune(self, before_ms: int) -> int:
        """Forget what was finished before a moment, and return how many rows. What waits or is dead stays.

        Updates may be remembered some days longer, where a store drops all those of a day at once.
        """
        ...

    async def count(self) -> Counts:
        """Return how much there is."""
        ...


def after_outcome(window: Window, outcome: Outcome, now_ms: int) -> Window:
    """Return the window as an attempt to send leaves it."""
    match outcome.event:
        case WindowEvent.ACCEPTED:
            return accepted(window)
        case WindowEvent.REFUSED:
            return refused(window, now_ms)
        case WindowEvent.LIMITED:
            return limited(window, now_ms, retry_after_ms=outcome.retry_after_ms)
        case WindowEvent.NOTHING:
            return window
