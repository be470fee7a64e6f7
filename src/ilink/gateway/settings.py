"""The knobs of a gateway as its owner sees and sets them, kept in the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypedDict

from ilink.gateway.knob_table import KNOBS, KnobValue, ScopeKind
from ilink.gateway.knobs import Knobs, Override, Scope
from ilink.gateway.problems import InvalidRequestError, KnobError, UnknownThingError
from ilink.gateway.views import ConfigView, OverrideView

if TYPE_CHECKING:
    from ilink.gateway.bots import Bots
    from ilink.gateway.state import GatewayState

__all__ = ["Settings", "take_up_knobs"]

_OVERRIDES: Final = "knob_overrides"


class _StoredOverride(TypedDict):
    """An override in the store, as JSON."""

    kind: ScopeKind
    id: str
    number: int
    profile: str | None
    knobs: dict[str, object]


class Settings:
    """The knobs of one open gateway; whatever is set is stored when a method returns."""

    def __init__(self, state: GatewayState, bots: Bots) -> None:
        self._state = state
        self._bots = bots

    def view(self) -> ConfigView:
        """Return the gateway's own knobs, and all that differs for bots and people."""
        knobs = self._state.knobs
        return ConfigView(
            profile=knobs.profile, knobs=knobs.values, overrides=[_view(override) for override in knobs.overrides]
        )

    async def view_of(self, bot_id: str | None, user_id: str | None) -> ConfigView:
        """Return the knobs as they are for a bot, for a person, or for what both do with each other.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        knobs = self._state.knobs
        bot = None if bot_id is None else await self._scope(bot_id, None)
        person = None if user_id is None else await self._scope(None, user_id)
        found = [override for override in knobs.overrides if override.scope in (bot, person)]
        profiles = [knobs.profile, *(override.profile for override in found if override.profile is not None)]
        return ConfigView(
            profile=profiles[-1],
            knobs=knobs.about(0 if bot is None else bot.number, user_id).values,
            overrides=[_view(override) for override in found],
        )

    async def change(
        self,
        *,
        profile: str | None,
        knobs: Mapping[str, object] | None,
        bot_id: str | None = None,
        user_id: str | None = None,
    ) -> ConfigView:
        """Choose a profile, then set single knobs, for the whole gateway, a bot or a person; all or nothing.

        Raises:
            KnobError: A name or value is wrong, or the knob cannot be set for such; nothing was changed.
            InvalidRequestError: It is for a bot and for a person.
            UnknownThingError: There is no such bot or person.
        """
        if bot_id is None and user_id is None:
            await self._change_all(profile, knobs)
            return self.view()
        override = self._state.knobs.changed_override(await self._scope(bot_id, user_id), profile=profile, knobs=knobs)
        self._state.knobs.put_override(override)
        await self._store()
        return await self.view_of(bot_id, user_id)

    async def drop(self, *, bot_id: str | None = None, user_id: str | None = None) -> None:
        """Let nothing differ for a bot or a person, or without either for anybody.

        Raises:
            InvalidRequestError, UnknownThingError: As for `change`.
        """
        if bot_id is None and user_id is None:
            self._state.knobs.drop_overrides()
        else:
            self._state.knobs.drop_override(await self._scope(bot_id, user_id))
        await self._store()

    async def put(self, overrides: Iterable[Override]) -> None:
        """Let knobs differ for bots and people as these say, and for nobody else."""
        self._state.knobs.drop_overrides()
        for override in overrides:
            self._state.knobs.put_override(override)
        await self._store()

    def load(self, meta: Mapping[str, str]) -> None:
        """Take up what differs for bots and people, as it was before a restart."""
        stored: list[_StoredOverride] = json.loads(meta.get(_OVERRIDES, "[]"))
        for one in stored:
            known = {name: value for name, value in one["knobs"].items() if name in KNOBS}
            scope = Scope(one["kind"], one["id"], one["number"])
            try:
                override = self._state.knobs.changed_override(scope, knobs=known)
            except KnobError:  # written by another version, whose values this one does not allow
                continue
            self._state.knobs.put_override(Override(scope, one["profile"], override.knobs))

    def take_up(self, meta: Mapping[str, str]) -> None:
        """Take up what another process stored."""
        take_up_knobs(self._state.knobs, meta, "observed", {})
        self._state.knobs.drop_overrides()
        self.load(meta)

    async def _change_all(self, profile: str | None, knobs: Mapping[str, object] | None) -> None:
        present = self._state.knobs
        changed = Knobs(present.profile, dict(present.values))
        changed.change(profile=profile, knobs=knobs)
        await self._state.store.put_meta({"profile": changed.profile, "knobs": json.dumps(changed.values)})
        present.change(profile=changed.profile, knobs=dict(changed.values))

    async def _scope(self, bot_id: str | None, user_id: str | None) -> Scope:
        if bot_id is not None and user_id is not None:
            message = "knobs are set for a bot or for a person: give `bot_id` or `user_id`, not both"
            raise InvalidRequestError(message)
        if bot_id is not None:
            return Scope("bot", bot_id, (await self._bots.get(bot_id)).number)
        assert user_id is not None
        if await self._state.store.person(user_id) is None:
            raise UnknownThingError("person", user_id)
        return Scope("person", user_id)

    async def _store(self) -> None:
        stored: list[_StoredOverride] = [
            {
                "kind": one.scope.kind,
                "id": one.scope.id,
                "number": one.scope.number,
                "profile": one.profile,
                "knobs": dict(one.knobs),
            }
            for one in self._state.knobs.overrides
        ]
        await self._state.store.put_meta({_OVERRIDES: json.dumps(stored)})


def take_up_knobs(knobs: Knobs, meta: Mapping[str, str], profile: str, given: Mapping[str, object]) -> None:
    """Set the gateway's knobs as they were before a restart, where the arguments say nothing else."""
    if "knobs" not in meta or profile != "observed":
        return
    stored: dict[str, KnobValue] = json.loads(meta["knobs"])
    known: dict[str, object] = {name: value for name, value in stored.items() if name in KNOBS}
    try:
        knobs.change(profile=meta.get("profile"), knobs={**known, **given})
    except KnobError:  # written by another version, whose values this one does not allow
        knobs.change(profile=profile, knobs=given)


def _view(override: Override) -> OverrideView:
    is_bot = override.scope.kind == "bot"
    return OverrideView(
        bot_id=override.scope.id if is_bot else None,
        user_id=None if is_bot else override.scope.id,
        profile=override.profile,
        knobs=dict(override.knobs),
    )
