"""What a conversation's lane does with messages that come while a handler is busy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ilink.errors import ConfigError

__all__ = ["LaneMode", "LanePolicy"]

LaneMode = Literal["queue", "restart", "drop", "merge"]
"""What happens to a message that comes while the handler of the one before it runs: it waits ("queue"), takes its place
("restart"), is ignored ("drop"), or is handed over together with those around it ("merge")."""

_MODES: Final = get_args(LaneMode)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePolicy:
    """How the messages of one handler go through the lane of their conversation.

    Whatever is decided holds across a crash: messages that were not finished are decided about again, and what was
    finished stays so. Nothing here changes what other conversations do.

    Attributes:
        mode: "queue": messages are handled one after the other, each for itself. "restart": a newer message cancels the
            running handler and takes its place; the older one is done and nothing it would have said is sent. "drop":
            messages that come while the handler runs are ignored, and kept as such with the reason. "merge": messages
            that follow each other closely are handled as one; the handler gets the last of them, `message.merged` are
            all, in order. Messages of several handlers are merged if these share one policy object.
        merge_seconds: How long it has to be quiet before a merged message is handled.
        merge_most_seconds: How long the first of them waits at most.
        merge_most_messages: How many are merged at most.
        overtakes: Handled at once, beside the lane, whatever runs or waits there; for commands like "/stop". The other
            words about the mode do not apply then.
        cancels_running: When it overtakes, it cancels the handler that runs in its conversation; that message is done
            and nothing it would have said is sent. What waits behind it is handled.
        seconds: How long one run may take before it fails; None for `Policies.handler_seconds`. A handler gets more
            with `message.extend(seconds)`.

    Raises:
        ConfigError: The mode is an unknown word, a number is not above zero, `cancels_running` comes without
            `overtakes`, or `overtakes` with a mode.
    """

    mode: LaneMode = "queue"
    merge_seconds: float = 1.0
    merge_most_seconds: float = 10.0
    merge_most_messages: int = 20
    overtakes: bool = False
    cancels_running: bool = False
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.mode not in _MODES:
            message = f"mode={self.mode!r} means nothing; use one of {', '.join(_MODES)}"
            raise ConfigError(message)
        if min(self.merge_seconds, self.merge_most_seconds, self.merge_most_messages) <= 0:
            message = "merge_seconds, merge_most_seconds and merge_most_messages have to be above zero"
            raise ConfigError(message)
        if self.seconds is not None and self.seconds <= 0:
            message = f"seconds={self.seconds} leaves a handler no time; give it some, or None"
            raise ConfigError(message)
        if self.overtakes and self.mode != "queue":
            message = f'a message that overtakes never waits in its lane, so mode="{self.mode}" means nothing for it'
            raise ConfigError(message)
        if self.cancels_running and not self.overtakes:
            message = "cancels_running works for messages that overtake: set overtakes=True as well"
            raise ConfigError(message)

    @property
    def is_ordinary(self) -> bool:
        """Whether messages wait in their lane, one after the other."""
        return self.mode == "queue" and not self.overtakes
