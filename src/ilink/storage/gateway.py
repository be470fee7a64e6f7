"""What the gateway keeps, and the seam behind which it is kept.

Every method is one unit of work: it has happened wholly when it returns, and not at all when it raises. The rules
stay in the gateway: where one must decide on what is stored, it is handed in as a pure function and runs inside the
unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

__all__ = [
    "DAY_MS",
    "FORGOTTEN_AT_ONCE",
    "MOST_UNREAD",
    "BotRecord",
    "Bound",
    "ChatFacts",
    "ChatLine",
    "ChatRecord",
    "CodeRecord",
    "ContextTokenRecord",
    "EntryRecord",
    "GatewayStore",
    "Judgement",
    "MailDraft",
    "MailOutline",
    "MailRecord",
    "PersonRecord",
    "Progress",
    "SavedState",
    "SendDraft",
    "SendOutcome",
    "StoredMail",
    "TicketRecord",
    "TokenFacts",
    "UploadTicketRecord",
]

BotState = Literal["live", "replaced", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """A person."""

    user_id: str
    name: str
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BotRecord:
    """A bot as it is stored; `number` is given by the store."""

    number: int
    bot_id: str
    owner_user_id: str
    state: BotState
    generation: int
    created_ms: int
    token_hash: bytes
    revoke_ms: int | None
    head_seq: int
    handed_seq: int
    acked_seq: int
    last_poll_ms: int | None
    is_notified: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """A bot that was added: its number in the store, and the ids of the bots that it replaced."""

    number: int
    replaced: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRecord:
    """A login code.

    Attributes:
        status: In the wire's spelling; `expired` is stored only when somebody ended it.
        secret: What the token of its bot follows from.
        known_bots: The bots whose live tokens the client sent along, in their order.
        digits: What the client has to send, while it has to.
        attempts: How often it sent something else.
    """

    qrcode: str
    url: str
    secret: bytes
    status: str
    created_ms: int
    expires_ms: int
    known_bots: tuple[str, ...]
    user_id: str | None = None
    digits: str | None = None
    attempts: int = 0
    redirect_host: str | None = None
    bot_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailOutline:
    """The bytes of a message whose seq and id are still to be written into it, in this order.

    Attributes:
        head: What comes before the seq.
        after_seq: What comes between the seq and the id; None: the message ends before the seq.
        after_id: What comes after the id; None: it ends before the id.
        first_id: The id of the entry with the number 0, from which ids count.
    """

    head: bytes
    after_seq: bytes | None
    after_id: bytes | None
    first_id: int

    def filled(self, n: int, seq: int) -> bytes:
        """Return the bytes of the message whose entry has a number, at a place in the mailbox."""
        between = b"" if self.after_seq is None else b"%d%b" % (seq, self.after_seq)
        rest = b"" if self.after_id is None else b"%d%b" % (self.first_id + n, self.after_id)
        return self.head + between + rest


@dataclass(frozen=True, slots=True, kw_only=True)
class MailDraft:
    """A person's message on its way into a mailbox.

    Attributes:
        bot: The bot's number in the store.
        user_id: Who writes.
        client_id: The sender's id.
        at_ms: When.
        context_token: The token that goes with it.
        outline: The message's bytes, but for the numbers that it gets when it is stored.
    """

    bot: int
    user_id: str
    client_id: str
    at_ms: int
    context_token: str
    outline: MailOutline


@dataclass(frozen=True, slots=True)
class StoredMail:
    """Where a message went: the entry's number, its place in the mailbox, and its bytes."""

    n: int
    seq: int
    wire: bytes


@dataclass(frozen=True, slots=True)
class MailRecord:
    """A message in a mailbox, as it travels."""

    seq: int
    wire: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What is known of the context token that came with a send."""

    issued_ms: int
    is_used: bool
    is_latest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFacts:
    """What a rule may know when it judges a send.

    Attributes:
        is_person: Whether the recipient exists.
        last_inbound_ms: When the person last wrote to this bot, or None.
        sends: What counted since then.
        token: The context token's facts, or None when none came or it was never given for this chat.
        recent: When the newest sends were, newest first: as many as the draft asked for.
    """

    is_person: bool
    last_inbound_ms: int | None
    sends: int
    token: TokenFacts | None
    recent: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What becomes of a send.

    Attributes:
        state: `shown`, `not_shown`, `refused`.
        why: The reason, for people.
        ret: The protocol's number of a refusal.
        errmsg: Its words.
        counts: Whether it counts toward the allowance.
        is_confirmed: Whether the answer carries the message's id.
        is_stored: Whether the transcript keeps it.
        uses_token: Whether the context token is used up.
        shown_ms: When it is shown.
        cut: How many characters of a text are shown, or None for all.
        findings: What the protocol says should have been otherwise.
    """

    state: Literal["shown", "not_shown", "refused"]
    why: str | None = None
    ret: int = 0
    errmsg: str = ""
    counts: bool = True
    is_confirmed: bool = True
    is_stored: bool = True
    uses_token: bool = False
    shown_ms: int | None = None
    cut: int | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDraft:
    """A bot's message on its way to a person.

    Attributes:
        bot: The bot's number in the store.
        user_id: To whom.
        client_id: The bot's id of it.
        context_token: The token that came with it, or an empty text.
        at_ms: When.
        wire: The request as it came.
        is_idempotent: Whether an earlier send with the same client id answers this one.
        recent: How many earlier sends the rule wants to know the times of.
        recent_refused: Whether refused ones are among those.
    """

    bot: int
    user_id: str
    client_id: str
    context_token: str
    at_ms: int
    wire: bytes
    is_idempotent: bool
    recent: int = 0
    recent_refused: bool = False


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What became of a send; `n` is None when nothing was stored."""

    n: int | None
    judgement: Judgement
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRecord:
    """One line of a transcript as it is stored; an incoming one's state follows from the mailbox's progress."""

    n: int
    bot: int
    user_id: str
    is_outgoing: bool
    seq: int | None
    client_id: str
    at_ms: int
    state: str
    shown_ms: int | None
    why: str | None
    cut: int | None
    wire: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRecord:
    """What a chat's window is made of."""

    user_id: str
    last_inbound_ms: int
    sends: int
    context_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLine:
    """What a list of chats shows of one.

    Attributes:
        bot: The bot's number in the store.
        user_id: The person.
        newest: The number of the newest entry.
        read_to: The number of the newest entry that the person has seen.
        unread: How many messages of the bot came after that one; no more than `MOST_UNREAD` are counted.
        last: The newest entry that a phone shows, or None.
    """

    bot: int
    user_id: str
    newest: int
    read_to: int
    unread: int
    last: EntryRecord | None


DAY_MS: Final = 86_400_000
FORGOTTEN_AT_ONCE: Final = 5000
"""Rows that are deleted in one transaction at most, so that others have their turn in between."""
MOST_UNREAD: Final = 1000
"""Unread messages of a chat are counted up to here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTokenRecord:
    """A context token that was given out."""

    token: str
    user_id: str
    issued_ms: int
    is_used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRecord:
    """A typing ticket that was given out."""

    ticket: str
    bot: int
    user_id: str
    issued_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTicketRecord:
    """A permission to upload one blob, as getuploadurl gave it; sizes in bytes, MD5 and key in hexadecimal."""

    param: str
    bot: int
    user_id: str
    filekey: str
    media_type: int
    plain_bytes: int
    plain_md5: str
    cipher_bytes: int
    aes_key: str
    is_thumbnail: bool
    issued_ms: int
    used_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a bot has read; only numbers that grew are stored."""

    bot: int
    handed_seq: int
    acked_seq: int
    last_poll_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """People, bots and what was said, to be stored as one; numbers of bots and entries are given.

    Attributes:
        chats: The windows: the bot's number, and the rest.
        read_marks: The bot's number, the person, and the newest entry that was seen.
    """

    people: Sequence[PersonRecord]
    bots: Sequence[BotRecord]
    entries: Sequence[EntryRecord]
    chats: Sequence[tuple[int, ChatRecord]]
    read_marks: Sequence[tuple[int, str, int]]


class GatewayStore(Protocol):
    """Where the gateway keeps its state. Every method raises StoreError when nothing was stored."""

    async def aclose(self) -> None:
        """Finish what was asked for, and close."""
        ...

    async def clear(self) -> None:
        """Forget everything but the meta values, and count from the beginning again."""
        ...

    async def restore(self, state: SavedState) -> None:
        """Forget everything but the meta values, and store this instead."""
        ...

    async def meta(self) -> dict[str, str]:
        """Return all meta values."""
        ...

    async def put_meta(self, values: dict[str, str]) -> None:
        """Set meta values."""
        ...

    async def check(self, *, at_ms: int) -> None:
        """Write something, to see whether the store takes writes: as much as it takes to know.

        Args:
            at_ms: When; what is written.
        """
        ...

    async def claim_meta(self, values: dict[str, str]) -> dict[str, str]:
        """Set the meta values that are not set yet, and return all: of several who claim one, the first has it."""
        ...

    async def count_up(self, name: str) -> int:
        """Raise a meta value that counts, and return it; the first is 0, and nobody gets one twice."""
        ...

    async def add_person(self, person: PersonRecord) -> None:
        """Add a person."""
        ...

    async def people(self) -> list[PersonRecord]:
        """Return all people, oldest first."""
        ...

    async def person(self, user_id: str) -> PersonRecord | None:
        """Return a person; ids are case-sensitive."""
        ...

    async def bots(self) -> list[BotRecord]:
        """Return all bots, oldest first."""
        ...

    async def bot(self, bot_id: str) -> BotRecord | None:
        """Return a bot."""
        ...

    async def bots_numbered(self, numbers: Sequence[int]) -> list[BotRecord]:
        """Return the bots that have some numbers; a number that is none's is no error."""
        ...

    async def live_bots(self, owner_user_id: str) -> list[BotRecord]:
        """Return the live bots of a person."""
        ...

    async def bind(self, bot: BotRecord, code: CodeRecord, *, revoke_others_ms: int | None) -> Bound | None:
        """Add a bot, store its code, and replace the owner's other live bots from a time on; None replaces none.

        Returns:
            The new bot's number and whom it replaced; None when the stored code has a bot already: nothing changed.
        """
        ...

    async def expire_bot(self, bot_id: str) -> None:
        """Make a bot `expired`."""
        ...

    async def replace_bot(self, bot_id: str, *, revoke_ms: int) -> None:
        """Make a bot `replaced`, its token dead from a time on."""
        ...

    async def start_generation(self, bot_id: str) -> int:
        """Raise a bot's generation and return the new one."""
        ...

    async def set_notified(self, bot: int, *, is_notified: bool) -> None:
        """Note that notifystart or notifystop came."""
        ...

    async def put_code(self, code: CodeRecord) -> None:
        """Store a code as it is now."""
        ...

    async def change_code(self, old: CodeRecord, new: CodeRecord) -> bool:
        """Store a changed code if it still is as it was; else change nothing and return False."""
        ...

    async def code(self, qrcode: str) -> CodeRecord | None:
        """Return a code."""
        ...

    async def codes(self) -> list[CodeRecord]:
        """Return all codes, newest first."""
        ...

    async def drop_codes(self, *, expired_before_ms: int) -> None:
        """Forget the codes that ran out before a time, and the secrets of their tokens with them."""
        ...

    async def append(self, mail: MailDraft) -> StoredMail:
        """Put a message into a mailbox and open the chat's window anew."""
        ...

    async def forget(self, *, now_ms: int, before_ms: int) -> None:
        """Forget messages from before a moment, and context tokens and tickets that were given out before it.

        Messages go from the oldest on, up to the first that is younger; a chat keeps its newest context token. Some may
        be left for the next time, where several processes share the store or somebody reads for long.

        Args:
            now_ms: The gateway's time.
            before_ms: The moment.
        """
        ...

    async def read_mail(
        self, bot: int, *, after_seq: int, not_before_ms: int, most: int, most_bytes: int
    ) -> list[MailRecord]:
        """Return the next messages of a mailbox in order; at least one when there is one, whatever its size."""
        ...

    async def advance(self, progress: Progress) -> None:
        """Store how far a bot has read; nothing ever goes back."""
        ...

    async def send(self, draft: SendDraft, judge: Callable[[ChatFacts], Judgement]) -> SendOutcome:
        """Judge a send on what is stored, and store what became of it."""
        ...

    async def entries(
        self, bot: int, *, user_id: str | None, after: int, limit: int, is_outgoing: bool | None = None
    ) -> list[EntryRecord]:
        """Return entries of a bot in order, of one chat or all."""
        ...

    async def count_entries(
        self, bot: int, *, user_id: str | None, after: int, is_outgoing: bool | None = None
    ) -> tuple[int, int]:
        """Return how many entries `entries` would find without a limit, and the number of the last, or `after`."""
        ...

    async def newest_entries(self, bot: int, user_id: str, *, before: int, limit: int) -> list[EntryRecord]:
        """Return the newest entries of a chat whose numbers are below `before`, in order."""
        ...

    async def entry(self, n: int) -> EntryRecord | None:
        """Return one entry."""
        ...

    async def pending(self, bot: int, *, after_seq: int, limit: int) -> tuple[int, list[EntryRecord]]:
        """Return how many messages of a mailbox come after a seq, and the first of them."""
        ...

    async def chats(self, bot: int) -> list[ChatRecord]:
        """Return the chats in which a person has written to the bot."""
        ...

    async def chat_lines(self, *, user_id: str | None, limit: int) -> list[ChatLine]:
        """Return the chats of a person or of all, the one with the newest entry first."""
        ...

    async def mark_read(self, bot: int, user_id: str, n: int) -> bool:
        """Note that a person has read a chat up to an entry; nothing goes back, and False says that nothing changed."""
        ...

    async def chat(self, bot: int, user_id: str) -> ChatRecord | None:
        """Return one chat."""
        ...

    async def context_tokens(self, bot: int, *, limit: int) -> list[ContextTokenRecord]:
        """Return the newest context tokens of a bot."""
        ...

    async def add_context_token(self, bot: int, user_id: str, token: str, *, at_ms: int) -> None:
        """Give a chat a newer context token."""
        ...

    async def add_ticket(self, ticket: TicketRecord) -> None:
        """Store a typing ticket."""
        ...

    async def ticket(self, ticket: str) -> TicketRecord | None:
        """Return a typing ticket."""
        ...

    async def chat_ticket(self, bot: int, user_id: str) -> TicketRecord | None:
        """Return the newest typing ticket of a chat."""
        ...

    async def tickets(self, bot: int, *, limit: int) -> list[TicketRecord]:
        """Return the newest typing tickets of a bot."""
        ...

    async def add_upload_tickets(self, tickets: Sequence[UploadTicketRecord]) -> None:
        """Store permissions to upload."""
        ...

    async def upload_ticket(self, param: str) -> UploadTicketRecord | None:
        """Return a permission to upload."""
        ...

    async def use_upload_ticket(self, param: str, *, at_ms: int) -> None:
        """Note that a permission to upload was used."""
        ...
