"""What is kept of a conversation between two messages: the states of handlers, and the questions that are open."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from ilink.errors import AskCancelledError, AskError, AskTimeoutError, ConfigError, StateError
from ilink.flows.answers import is_chinese, normalise
from ilink.storage.agenda import FOREVER_MS
from ilink.wire.ids import UserId

__all__ = [
    "CHINESE",
    "ENGLISH",
    "Answer",
    "ConversationPolicy",
    "Kept",
    "KeptState",
    "MergedUpdate",
    "OpenForm",
    "Stored",
    "Words",
    "is_same_handler",
    "read_kept",
]


class KeptState(Struct, omit_defaults=True):
    """One state of a conversation.

    Attributes:
        value: Its JSON.
        version: Which version of its type wrote it.
        expires_ms: When it is worth nothing any more; None for never.
    """

    value: Raw
    version: int = 1
    expires_ms: int | None = None


class Answer(Struct, omit_defaults=True):
    """What became of a question.

    Attributes:
        asked: What the question was, to see whether the same is asked again.
        raw: The update that answered it; empty for none.
        sequence: The place of that update in the journal.
        end: Why there is none: "timeout", "cancelled" or "exhausted"; empty when it was answered.
    """

    asked: str
    raw: bytes = b""
    sequence: int = 0
    end: Literal["", "timeout", "cancelled", "exhausted"] = ""


class MergedUpdate(Struct, frozen=True):
    """An update that was handled as one with another.

    Attributes:
        raw: The update.
        sequence: Its place in the journal.
    """

    raw: bytes
    sequence: int


class OpenForm(Struct, omit_defaults=True):
    """A handler that waits for an answer. It is run again from its beginning, and given what it was given before.

    Attributes:
        handler: Its name.
        identity: Of the update it was run for.
        sequence: The place of that update in the journal.
        user: Who sent it, and whose answers count.
        raw: That update.
        asked: The question that is open.
        due_ms: Until when it waits.
        said: How many answers it gave; they are not given again.
        tries: How many answers to the open question could not be read.
        answers: What became of the questions before.
        results: What it did once, by name.
        merged: The updates after the first that were handled as one with it, in order.
    """

    handler: str
    identity: str
    sequence: int
    user: UserId
    raw: bytes
    asked: str
    due_ms: int
    said: int = 0
    tries: int = 0
    answers: list[Answer] = msgspec.field(default_factory=list[Answer])
    results: dict[str, Raw] = msgspec.field(default_factory=dict[str, Raw])
    merged: list[MergedUpdate] = msgspec.field(default_factory=list[MergedUpdate])

    @property
    def deadline_name(self) -> str:
        """The identity of the update that says that the open question's time is over."""
        return f"ask:{self.identity}:{len(self.answers)}"


class Stored(Struct, frozen=True, kw_only=True):
    """What is kept of a conversation, as bytes.

    Attributes:
        data: All of it; empty for nothing.
        due_ms: When somebody has to look at it though nobody writes; None for never.
        expires_ms: When all of it is worth nothing; None for never.
    """

    data: bytes
    due_ms: int | None
    expires_ms: int | None


class Kept(Struct, omit_defaults=True):
    """All that is kept of a conversation.

    Attributes:
        states: The states, by the names of their types.
        forms: The handlers that wait for an answer; the last one gets the next answer.
    """

    states: dict[str, KeptState] = msgspec.field(default_factory=dict[str, KeptState])
    forms: list[OpenForm] = msgspec.field(default_factory=list[OpenForm])

    @property
    def due_ms(self) -> int | None:
        """When somebody has to look at it though nobody writes; None for never."""
        return min((form.due_ms for form in self.forms), default=None)

    @property
    def expires_ms(self) -> int | None:
        """When all of it is worth nothing; None for never."""
        ends = [FOREVER_MS if state.expires_ms is None else state.expires_ms for state in self.states.values()]
        latest = FOREVER_MS if self.forms else max(ends, default=0)
        return None if latest >= FOREVER_MS else latest

    def to_stored(self, *, now_ms: int, limit: int) -> Stored:
        """Return it as it is stored, without what is over; nothing at all when nothing is left.

        Raises:
            StateError: It is larger than the limit.
        """
        self.states = {
            name: state for name, state in self.states.items() if state.expires_ms is None or state.expires_ms > now_ms
        }
        if not self.states and not self.forms:
            return Stored(data=b"", due_ms=None, expires_ms=None)
        encoded = _encoder.encode(self)
        if len(encoded) > limit:
            largest = max(self.states, key=lambda name: len(bytes(self.states[name].value)), default="")
            message = (
                f"the state of this conversation is {len(encoded)} bytes and may be {limit}; keep less in"
                f" {largest or 'the answers of one handler'}, or raise ConversationPolicy.state_bytes"
            )
            raise StateError(message, state=largest)
        return Stored(data=encoded, due_ms=self.due_ms, expires_ms=self.expires_ms)


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Kept)


def read_kept(stored: bytes | None) -> Kept:
    """Return what was stored of a conversation.

    Raises:
        StateError: It was written by something else, or is damaged.
    """
    if not stored:
        return Kept()
    try:
        return _decoder.decode(stored)
    except msgspec.DecodeError as error:
        message = f"what is stored of this conversation cannot be read: {error}"
        raise StateError(message, state="") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a bot says by itself while it asks.

    Attributes:
        not_understood: Before the hint, when an answer could not be read.
        number_wanted: The hint for a number.
        whole_number_wanted: The hint for a whole number.
        approval_wanted: The hint for yes or no.
        choice_wanted: The hint for a choice, before the choices.
        kind_wanted: The hint for a picture, a file and so on; `{kind}` is which.
        kinds: What these are called.
        answer_wanted: The hint when nothing better is known.
        cancelled: When the user cancelled.
        timed_out: When nobody answered in time.
        exhausted: When no answer could be read, too often.
        changed: When the handler cannot go on, because the program changed.
    """

    not_understood: str
    number_wanted: str
    whole_number_wanted: str
    approval_wanted: str
    choice_wanted: str
    kind_wanted: str
    kinds: tuple[str, str, str, str, str]
    answer_wanted: str
    cancelled: str
    timed_out: str
    exhausted: str
    changed: str


ENGLISH: Final = Words(
    not_understood="Sorry, I did not understand that.",
    number_wanted="Please answer with a number.",
    whole_number_wanted="Please answer with a whole number, such as 3.",
    approval_wanted="Please answer yes or no.",
    choice_wanted="Please answer with one of these, or its number:",
    kind_wanted="Please send {kind}.",
    kinds=("a text", "a picture", "a voice message", "a file", "a video"),
    answer_wanted="Please try again.",
    cancelled="All right, cancelled.",
    timed_out="I stopped waiting for your answer. Just start again when you like.",
    exhausted="I am sorry, I still do not understand. Let us stop here; just start again when you like.",
    changed="I am sorry, this has changed in the meantime and cannot go on. Please start again.",
)

CHINESE: Final = Words(
    not_understood="抱歉，没看懂。",
    number_wanted="请回复一个数字。",
    whole_number_wanted="请回复一个整数，例如 3。",
    approval_wanted="请回复“是”或“否”。",
    choice_wanted="请回复下面的一项，或它的序号：",
    kind_wanted="请发送{kind}。",
    kinds=("一段文字", "一张图片", "一条语音", "一个文件", "一段视频"),
    answer_wanted="请再试一次。",
    cancelled="好的，已取消。",
    timed_out="等了很久没有收到回复，先到这里。需要时请重新开始。",
    exhausted="抱歉，还是没看懂，先到这里。需要时请重新开始。",
    changed="抱歉，程序更新过了，刚才的对话无法继续。请重新开始。",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationPolicy:
    """How a bot asks and what it keeps.

    Attributes:
        timeout: Seconds a question waits for its answer, unless it says otherwise; None for ever. An hour less than the
            window of 24 hours, so that its end can still be told.
        tries: How many answers that cannot be read a question takes.
        cancel_commands: Texts that end a question, whatever it asks for.
        cancel_words: Texts that end a question, unless it takes them as an answer: an approval takes them as a no.
        back_words: Texts that go back to the question before, in a form.
        skip_words: Texts that skip a question of a form that has a default.
        commands: What a command is while a question is open: "overtake", it is handled and the question stays open; or
            "answer".
        english: What it says to people who are asked in English.
        chinese: What it says to people who are asked in Chinese.
        state_bytes: The most that is kept of one conversation.
        most_forms: How many handlers may wait in one conversation; then the oldest is given up.
    """

    timeout: float | None = 82_800.0
    tries: int = 3
    cancel_commands: Sequence[str] = ("/cancel", "/取消")
    cancel_words: Sequence[str] = ("cancel", "取消", "退出", "算了")
    back_words: Sequence[str] = ("back", "返回", "上一步")
    skip_words: Sequence[str] = ("skip", "跳过", "略过")
    commands: Literal["overtake", "answer"] = "overtake"
    english: Words = field(default=ENGLISH, repr=False)
    chinese: Words = field(default=CHINESE, repr=False)
    state_bytes: int = 262_144
    most_forms: int = 5

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.tries < 1 or self.most_forms < 1 or (self.timeout is not None and self.timeout <= 0):
            message = "tries and most_forms have to be 1 at least, and timeout above 0 or None"
            raise ConfigError(message)
        if self.commands not in ("overtake", "answer"):
            message = f'commands={self.commands!r} means nothing; use "overtake" or "answer"'
            raise ConfigError(message)

    def words_for(self, text: str) -> Words:
        """Return the words in the language of a text."""
        return self.chinese if is_chinese(text) else self.english

    def is_cancel_command(self, text: str) -> bool:
        """Tell whether a text ends a question, whatever it asks for."""
        said = unicodedata.normalize("NFKC", text).strip().casefold()
        return said in self.cancel_commands

    def is_cancel_word(self, text: str) -> bool:
        """Tell whether a text ends a question that does not take it as an answer."""
        return normalise(text) in (normalise(word) for word in self.cancel_words)

    def farewell(self, error: AskError) -> str:
        """Return what is said when a handler ends because a question was not answered."""
        words = self.words_for(error.question)
        match error:
            case AskTimeoutError():
                return words.timed_out
            case AskCancelledError():
                return words.cancelled
            case _:
                return words.exhausted


def is_same_handler(name: str, other: str) -> bool:
    """Tell whether two names are of one handler; a program that is run itself has another name than one imported."""
    return name == other or ("__main__" in (_module(name), _module(other)) and _inner(name) == _inner(other))


def _module(name: str) -> str:
    return name.partition(".")[0]


def _inner(name: str) -> str:
    return name.partition(".")[2]
