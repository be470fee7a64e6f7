"""The settings of a bot, and who it listens to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from ilink.bot.access import Pairing
from ilink.bot.duplicates import OnSuspect
from ilink.bot.rates import Rate
from ilink.errors import ConfigError
from ilink.flows.polling import Backoff
from ilink.flows.split import DEFAULT_LIMIT
from ilink.storage.spool import MOST_BYTES
from ilink.wire.ids import UserId, normalize_user_id

__all__ = ["Access", "Allow", "OnFailure", "OnUnknown", "Policies", "read_access"]

Allow = Literal["owner", "anyone"] | Iterable[str] | Callable[[UserId], bool] | Pairing
"""Who is listened to: the person who scanned, anyone, a list of user ids, a function that says so, or whoever the owner
lets in."""

Access = Callable[[UserId, UserId | None], bool]
"""Tells for a user and the account's owner whether the user is listened to."""


OnBacklog = Literal["process", "skip", "summarise"] | Callable[[datetime], bool]
"""What happens to messages that were sent while the bot was down: they are handled, or not, or those of a conversation
are handled together by `@bot.on_backlog`, or a function of the time they were sent at decides whether they are. A
message without that time is handled."""

OnFailure = Literal["dead-letter", "park"]
"""What happens to a message whose handler failed too often."""

_HANDLER_BACKOFF: Final = Backoff(first=1.0, ceiling=300.0)
_SEND_BACKOFF: Final = Backoff(first=0.5, ceiling=60.0)


class OnUnknown(StrEnum):
    """What happens to a message that was written to the server without an answer."""

    RETRY = "retry"
    """It is sent again with the same client id. A server that ignores client ids shows it twice."""
    DROP = "drop"
    """It is not sent again: at most once."""
    ASK = "ask"
    """It waits, and its conversation with it, until the program decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What a bot does when something does not work.

    Attributes:
        attempts: How often a handler is run for a message before the message becomes a dead letter.
        interruptions: How many deaths of the process a message may have been running in before it becomes one.
        handler_backoff: The pauses between two runs of a handler for one message.
        on_failure: What happens to a message whose handler failed so often: "dead-letter", it is put aside and its lane
            goes on; or "park", its lane waits until somebody replays or drops it, because what follows needs it.
        handler_seconds: How long one run of a handler may take; a handler gets more with `message.extend(seconds)`.
        stop_seconds: How long running handlers and sends may go on after the bot was told to stop; handlers leave a
            fifth of it to sends.
        last_poll_seconds: How long a poll may go on after the bot was told to stop: an answer that is on its way was
            handed out for good, and a server that hands out once would never repeat it (observed: ocw#164).
        send_attempts: How often a message is tried that the server fails to take.
        send_backoff: The pauses between these.
        on_unknown: What happens to a message that was written without an answer.
        expire_seconds: How long a message may wait to be sent.
        spacing_seconds: The least distance between two messages to one conversation, up to a quarter more by chance. 0
            by default: no server was seen to refuse messages for following each other closely, only for being many,
            and those pauses are kept whatever this says. Spacing was seen to help with files (observed: ocw#216).
        account_spacing_seconds: The least distance between any two messages of the account, likewise.
        spool_bytes: How many bytes of files may wait to be sent; more are refused when they are said.
        text_bytes: The most bytes of UTF-8 in one message; longer texts are split.
        conversations: How many conversations are worked on at the same time.
        sends: To how many conversations messages are sent at the same time.
        backlog: What happens to messages that were sent long before they came: "process", "skip", "summarise", which
            hands those of a conversation to `@bot.on_backlog` together, or a function that tells by the time they were
            sent whether they are handled.
        backlog_seconds: How old a message is that counts as one of these. Where the clocks of this machine and of the
            server differ, the difference is taken off as soon as it shows.
        on_suspect: What happens to a message that says the same as one shortly before it, under another id.
        suspect_seconds: How shortly before.
        rate: How many messages of one person are handled; None for all of them.
        file_roots: The folders that files are sent from when they are named by a path; None for any. A link that leads
            out of them is refused as well. What a program opens itself is its own business.
        keep_seconds: How long what is finished is remembered, to recognise duplicates; at least 48 hours is wise.
    """

    attempts: int = 5
    interruptions: int = 3
    handler_backoff: Backoff = _HANDLER_BACKOFF
    on_failure: OnFailure = "dead-letter"
    handler_seconds: float = 120.0
    stop_seconds: float = 10.0
    last_poll_seconds: float = 0.25
    send_attempts: int = 8
    send_backoff: Backoff = _SEND_BACKOFF
    on_unknown: OnUnknown = OnUnknown.RETRY
    expire_seconds: float = 86_400.0
    spacing_seconds: float = 0.0
    account_spacing_seconds: float = 0.0
    spool_bytes: int = MOST_BYTES
    text_bytes: int = DEFAULT_LIMIT
    conversations: int = 2_000
    sends: int = 200
    backlog: OnBacklog = "process"
    backlog_seconds: float = 600.0
    on_suspect: OnSuspect = OnSuspect.JUDGE
    suspect_seconds: float = 10.0
    rate: Rate | None = None
    file_roots: Sequence[Path | str] | None = None
    keep_seconds: float = 172_800.0


_WORDS: Final[dict[str, Access]] = {
    "owner": lambda user, owner: user == owner,
    "anyone": lambda _user, _owner: True,
}


def read_access(allow: Allow) -> Access:
    """Return the rule that an `allow` argument stands for.

    Raises:
        ConfigError: It is a word that means nothing here.
    """
    if isinstance(allow, str):
        if (rule := _WORDS.get(allow)) is None:
            message = f'allow={allow!r} means nothing; use "owner", "anyone", a list of user ids or a function'
            raise ConfigError(message)
        return rule
    if isinstance(allow, Pairing):
        return _WORDS["anyone"]  # strangers are told a code, so their messages go as far as the gate
    if callable(allow):
        return lambda user, _owner: allow(user)
    users = frozenset(normalize_user_id(user) for user in allow)
    return lambda user, _owner: user in users
