"""Failures on purpose: which requests they hit, how often, and what they make of an answer.

Nothing in here waits, writes or cuts a connection; the HTTP layer asks this book what is to fail, and does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import UNSET, Raw

from ilink.gateway.fault_actions import EVERYWHERE, Action, Cut, FaultSpec, FaultView, Stage, read_action
from ilink.gateway.problems import UnknownThingError

if TYPE_CHECKING:
    from ilink.gateway.state import GatewayState

__all__ = ["Delivery", "Fault", "FaultBook", "Subject"]

_POLLING: Final = "getupdates"
_SECOND_IDS: Final = 8_500_000_000_000_000_000
"""Where the ids of duplicates under another id begin: above every message's own, below 2^63."""

_NEEDED_MESSAGES: Final = {"drop_silently": 1, "duplicate": 1, "reorder": 2}
"""How many messages a batch must hold for these to strike: one that is set once is not spent on an empty poll."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a request is about.

    Attributes:
        endpoint: Its short name.
        bot_id: The bot that calls, or None.
        user_ids: The people it is about: whom it is sent to, or else the bot's owner.
        senders: Who wrote each message of the batch that answers a poll.
    """

    endpoint: str
    bot_id: str | None
    user_ids: frozenset[str] = frozenset()
    senders: tuple[str, ...] = ()


class _StoredFault(msgspec.Struct):
    """A fault as it is stored."""

    id: str
    set_at: float
    spec: FaultSpec


@dataclass(slots=True)
class Fault:
    """A fault that is set, and what it did so far.

    Attributes:
        set_at: When that was, in seconds by the gateway's clock.
    """

    id: str
    spec: FaultSpec
    action: Action
    set_at: float
    matched: int = 0
    hits: int = 0

    @property
    def stage(self) -> Stage:
        """When it strikes; a reset after the effect is one of the answer."""
        is_late = self.action.name == "reset" and self.spec.action.reset != "before"
        return "answer" if is_late else self.action.stage

    def is_awake(self, now: float) -> bool:
        """Tell whether it is at work at a moment of the gateway's clock."""
        begun = now - self.set_at - (self.spec.after_s or 0)
        if begun < 0:
            return False
        if self.spec.every_s is not None:
            begun %= self.spec.every_s
        return self.spec.for_s is None or begun < self.spec.for_s

    def fits(self, subject: Subject) -> bool:
        """Tell whether a request is one that it is set for."""
        spec = self.spec
        return (
            subject.endpoint in self.action.endpoints
            and spec.endpoint in (EVERYWHERE, subject.endpoint)
            and spec.bot_id in (None, subject.bot_id)
            and (spec.user_id is None or spec.user_id in subject.user_ids or spec.user_id in subject.senders)
            and (subject.endpoint != _POLLING or len(self.choose(subject.senders)) >= self._needed_messages)
        )

    def choose(self, senders: Iterable[str]) -> list[int]:
        """Return which messages of a batch it is set for, by their place."""
        return [n for n, sender in enumerate(senders) if self.spec.user_id in (None, sender)]

    @property
    def _needed_messages(self) -> int:
        return _NEEDED_MESSAGES.get(self.action.name, 0)

    @property
    def is_due(self) -> bool:
        """Tell whether its count says that it strikes now, after the present request was counted."""
        times = self.spec.times
        if times is None and self.spec.nth is not None:
            times = 1
        return self.matched >= (self.spec.nth or 1) and (times is None or self.hits < times)

    @property
    def view(self) -> FaultView:
        """What is shown of it."""
        return FaultView(
            **{name: getattr(self.spec, name) for name in FaultSpec.__struct_fields__},
            id=self.id,
            matched=self.matched,
            hits=self.hits,
        )


@dataclass(slots=True)
class Delivery:
    """An answer on its way through the faults.

    Attributes:
        body: Its bytes.
        cut: Where the connection is reset, or None.
    """

    body: bytes
    cut: Cut | None = None


@dataclass(slots=True)
class FaultBook:
    """The faults of one gateway, in the order in which they were set.

    They are kept in memory, and a reset removes them; processes that share a store take them over from each other, and
    each counts its own hits. Each fault draws from a random stream of its own, so that with a seed the same requests
    meet the same failures, whatever other faults there are.
    """

    state: GatewayState
    _faults: dict[str, Fault] = field(default_factory=dict[str, Fault])
    _count: int = 0
    _second_ids: int = _SECOND_IDS

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, spec: FaultSpec) -> FaultView:
        """Set a fault.

        Raises:
            InvalidRequestError: It could never strike, or says two things at once; the message names what is wrong.
        """
        action = read_action(spec)
        self._count += 1
        fault = Fault(f"f{self._count}", spec, action, self.state.clock.now())
        self._faults[fault.id] = fault
        self._tell(fault, "added")
        return fault.view

    @property
    def stored(self) -> str:
        """The faults as other processes of the gateway take them up, which count their own hits."""
        faults = [_StoredFault(id=fault.id, set_at=fault.set_at, spec=fault.spec) for fault in self._faults.values()]
        return msgspec.json.encode(faults).decode()

    def take_up(self, stored: str) -> None:
        """Have the faults that another process stored, and no others."""
        told = msgspec.json.decode(stored, type=list[_StoredFault])
        faults: dict[str, Fault] = {}
        for one in told:
            known = self._faults.get(one.id)
            faults[one.id] = known or Fault(one.id, one.spec, read_action(one.spec), one.set_at)
            self._count = max(self._count, int(one.id.removeprefix("f")))
        self._faults = faults

    def views(self) -> list[FaultView]:
        """Return all faults, oldest first."""
        return [fault.view for fault in self._faults.values()]

    def remove(self, fault_id: str) -> None:
        """Remove a fault.

        Raises:
            UnknownThingError: There is none with this id.
        """
        fault = self._faults.pop(fault_id, None)
        if fault is None:
            raise UnknownThingError("fault", fault_id)
        self._tell(fault, "removed")

    def remove_all(self) -> None:
        """Remove every fault."""
        for fault_id in tuple(self._faults):
            self.remove(fault_id)

    def forget(self) -> None:
        """Forget everything and count from the beginning, as a reset does."""
        self._faults.clear()
        self._count = 0
        self._second_ids = _SECOND_IDS

    def striking(self, stage: Stage, subject: Subject) -> Iterator[Fault]:
        """Yield the faults that may strike a request now; the caller calls `strike` on each that does."""
        now = self.state.clock.now()
        fitting = [
            fault
            for fault in self._faults.values()
            if fault.stage == stage and fault.is_awake(now) and fault.fits(subject)
        ]
        for fault in fitting:
            fault.matched += 1
        for fault in fitting:
            if fault.is_due and self._has_luck(fault):
                yield fault

    def strike(self, fault: Fault, subject: Subject) -> None:
        """Count a hit and tell of it."""
        fault.hits += 1
        self._tell(fault, "hit", subject)

    def deliver(self, subject: Subject, body: bytes) -> tuple[Delivery, list[Fault]]:
        """Return an answer as the faults leave it, and which struck it.

        Args:
            subject: Whom the request is about.
            body: The answer's JSON.
        """
        delivery, struck = Delivery(body), list[Fault]()
        is_poll = subject.endpoint == _POLLING
        stages: tuple[Stage, ...] = ("effect", "answer") if is_poll else ("answer",)
        for stage in stages:
            about = replace(subject, senders=tuple(_senders(delivery.body))) if is_poll else subject
            for fault in self.striking(stage, about):
                if self._change(fault, delivery):
                    self.strike(fault, about)
                    struck.append(fault)
        return delivery, struck

    def _has_luck(self, fault: Fault) -> bool:
        probability = fault.spec.probability
        return probability is None or self.state.ids.stream(f"fault {fault.id}").random() < probability

    def _change(self, fault: Fault, delivery: Delivery) -> bool:
        """Do to an answer what a fault says; False when there is nothing that it could be done to."""
        action = fault.spec.action
        match fault.action.name:
            case "reset" if action.reset is not UNSET:
                if delivery.cut is not None:
                    return False
                delivery.cut = action.reset
            case "truncate_json":
                delivery.body = delivery.body[: len(delivery.body) // 2]
            case "omit" if action.omit is not UNSET:
                delivery.body = _without(delivery.body, action.omit)
            case "lose_cursor":
                delivery.body = _with(delivery.body, "get_updates_buf", b'""')
            case _:
                return self._change_messages(fault, delivery)
        return True

    def _change_messages(self, fault: Fault, delivery: Delivery) -> bool:
        chosen = fault.choose(_senders(delivery.body))
        if not chosen:  # an earlier fault took the messages away
            return False
        messages = _messages(delivery.body)
        match fault.action.name:
            case "drop_silently":
                messages = [message for n, message in enumerate(messages) if n not in chosen]
            case "reorder":
                for n, message in zip(chosen, [messages[n] for n in reversed(chosen)], strict=True):
                    messages[n] = message
            case _:
                is_new = fault.spec.action.duplicate == "new_id"
                messages += [self._under_new_id(messages[n]) if is_new else messages[n] for n in chosen]
        delivery.body = _with(delivery.body, "msgs", msgspec.json.encode(messages))
        return True

    def _under_new_id(self, message: Raw) -> Raw:
        self._second_ids += 1
        return Raw(_with(bytes(message), "message_id", str(self._second_ids).encode()))

    def _tell(self, fault: Fault, change: Literal["added", "hit", "removed"], subject: Subject | None = None) -> None:
        data: dict[str, object] = {
            "id": fault.id,
            "change": change,
            "action": fault.action.name,
            "endpoint": fault.spec.endpoint if subject is None else subject.endpoint,
            "bot_id": fault.spec.bot_id if subject is None else subject.bot_id,
            "hits": fault.hits,
        }
        self.state.publish("fault", data)


_Fields: Final = msgspec.json.Decoder(dict[str, Raw])
_List: Final = msgspec.json.Decoder(list[Raw])


def _messages(body: bytes) -> list[Raw]:
    """Return the messages of a poll's answer, unread, so that whatever is in them stays as it is."""
    try:
        return _List.decode(_Fields.decode(body).get("msgs", Raw(b"[]")))
    except msgspec.DecodeError:
        return []


def _senders(body: bytes) -> list[str]:
    senders: list[str] = []
    for message in _messages(body):
        try:
            senders.append(msgspec.json.decode(_Fields.decode(message).get("from_user_id", Raw(b'""')), type=str))
        except msgspec.DecodeError:
            senders.append("")
    return senders


def _with(body: bytes, name: str, value: bytes) -> bytes:
    return msgspec.json.encode({**_Fields.decode(body), name: Raw(value)})


def _without(body: bytes, names: Iterable[str]) -> bytes:
    """Return an object without some fields; `a.b` is the field `b` of `a`, or of every object in the list `a`."""
    try:
        fields = _Fields.decode(body)
    except msgspec.DecodeError:
        return body
    for name in names:
        head, _, rest = name.partition(".")
        if not rest:
            fields.pop(head, None)
        elif head in fields:
            fields[head] = Raw(_without_in(bytes(fields[head]), rest))
    return msgspec.json.encode(fields)


def _without_in(value: bytes, name: str) -> bytes:
    try:
        entries = _List.decode(value)
    except msgspec.DecodeError:
        return _without(value, [name])
    return msgspec.json.encode([Raw(_without_in(bytes(entry), name)) for entry in entries])
