"""The knobs in force: the gateway's own, and what differs for a bot or a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ilink.gateway.knob_table import (
    KNOBS,
    KnobValue,
    ScopeKind,
    find_knob,
    profile_values,
    read_rate,
    scoped_profile_values,
)

__all__ = ["Knobs", "Override", "Readings", "Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom knobs differ.

    Attributes:
        kind: A bot or a person.
        id: Its id.
        number: A bot's number in the store; 0 for a person.
    """

    kind: ScopeKind
    id: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Override:
    """What differs for one bot or person.

    Attributes:
        scope: For whom.
        profile: The profile that was chosen for it, or None.
        knobs: What differs, those of the profile included.
    """

    scope: Scope
    profile: str | None = None
    knobs: Mapping[str, KnobValue] = field(default_factory=dict[str, KnobValue])


class Readings:
    """Values of all knobs, as the rules read them."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, KnobValue]) -> None:
        self._values = values

    @property
    def values(self) -> dict[str, KnobValue]:
        """Every knob's value by name, a copy."""
        return dict(self._values)

    def whole(self, name: str) -> int:
        """Return the value of a knob that is always a whole number."""
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def number(self, name: str) -> float | None:
        """Return the value of a knob that is a number or null."""
        value = self._values[name]
        assert value is None or isinstance(value, int | float)
        return value

    def seconds(self, name: str) -> float:
        """Return the value of a knob that is always a number."""
        value = self.number(name)
        assert value is not None
        return value

    def flag(self, name: str) -> bool:
        """Return the value of a knob that is true or false."""
        return self._values[name] is True

    def choice(self, name: str) -> str:
        """Return the value of a knob that is a text."""
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def rate(self, name: str) -> tuple[int, int] | None:
        """Return a rate as so many in so many seconds; None for none."""
        return read_rate(self.choice(name))


class Knobs(Readings):
    """The values in force for the whole gateway, and those that differ for some.

    A person's come before a bot's, and a bot's before the gateway's.
    """

    __slots__ = ("_bots", "_people", "profile")

    def __init__(self, profile: str = "observed", knobs: Mapping[str, object] | None = None) -> None:
        super().__init__({knob.name: knob.default for knob in KNOBS.values()})
        self.profile = "observed"
        self._bots: dict[int, Override] = {}
        self._people: dict[str, Override] = {}
        self.change(profile=profile, knobs=knobs)

    def change(self, *, profile: str | None = None, knobs: Mapping[str, object] | None = None) -> None:
        """Choose a profile, which sets every knob, then set single ones; all or nothing.

        What differs for a bot or a person stays as it is.

        Raises:
            KnobError: A name or value is wrong.
        """
        values = dict(self._values) if profile is None else profile_values(profile)
        for name, value in (knobs or {}).items():
            values[name] = find_knob(name).read(value)
        self._values = values
        self.profile = self.profile if profile is None else profile

    def about(self, bot: int, user_id: str | None) -> Readings:
        """Return the values for what a bot and a person do with each other.

        Args:
            bot: The bot's number in the store; 0 for none.
            user_id: The person, or None.
        """
        if not (self._bots or self._people):
            return self
        found = [override for override in (self._bots.get(bot), self._people.get(user_id or "")) if override]
        if not found:
            return self
        values = dict(self._values)
        for override in found:
            values.update(override.knobs)
        return Readings(values)

    def largest(self, name: str) -> int:
        """Return the largest value that a whole number has for anybody, for what is bounded before it is known who."""
        overrides = [override.knobs.get(name) for override in self.overrides]
        return max(self.whole(name), *(value for value in overrides if isinstance(value, int)), 0)

    def changed_override(
        self, scope: Scope, *, profile: str | None = None, knobs: Mapping[str, object] | None = None
    ) -> Override:
        """Return what would differ for a bot or a person with a profile and single knobs set; nothing is set yet.

        Raises:
            KnobError: A name or value is wrong, or the knob cannot be set for such.
        """
        old = self._override(scope) or Override(scope)
        values = dict(old.knobs) if profile is None else scoped_profile_values(profile, scope.kind)
        for name, value in (knobs or {}).items():
            knob = find_knob(name)
            knob.check_scope(scope.kind)
            values[name] = knob.read(value)
        return Override(scope, profile or old.profile, values)

    def put_override(self, override: Override) -> None:
        """Let knobs differ for a bot or a person as this says, and in nothing else."""
        scope = override.scope
        if scope.kind == "bot":
            self._bots[scope.number] = override
        else:
            self._people[scope.id] = override

    def drop_override(self, scope: Scope) -> None:
        """Let nothing differ for a bot or a person any more."""
        if scope.kind == "bot":
            self._bots.pop(scope.number, None)
        else:
            self._people.pop(scope.id, None)

    def drop_overrides(self) -> None:
        """Let nothing differ for anybody."""
        self._bots.clear()
        self._people.clear()

    @property
    def overrides(self) -> list[Override]:
        """What differs, bots first, in the order in which they were set."""
        return [*self._bots.values(), *self._people.values()]

    def _override(self, scope: Scope) -> Override | None:
        return self._bots.get(scope.number) if scope.kind == "bot" else self._people.get(scope.id)
