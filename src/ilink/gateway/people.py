"""The people of a gateway: who there is, and making more."""

from __future__ import annotations

from typing import Final

from ilink.gateway.problems import InvalidRequestError, UnknownThingError
from ilink.gateway.state import GatewayState
from ilink.gateway.views import PersonView
from ilink.storage.gateway import PersonRecord

__all__ = ["People"]

_NAME_CHARACTERS: Final = 64
_KNOWN_PEOPLE: Final = 100_000
"""How many people are remembered to exist, which saves a look into the store for each of their messages."""


class People:
    """Everybody who may write to bots."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._known: set[str] = set()

    def forget(self) -> None:
        """Forget who exists."""
        self._known.clear()

    async def add(self, name: str) -> PersonView:
        """Make a person; see `Gateway.add_person`."""
        if not 0 < len(name.strip()) <= _NAME_CHARACTERS:
            message = f"a name has 1 to {_NAME_CHARACTERS} characters, not {len(name)}"
            raise InvalidRequestError(message)
        user_id = self._state.ids.person()
        await self._state.store.add_person(
            PersonRecord(user_id=user_id, name=name.strip(), created_ms=self._state.clock.now_ms())
        )
        self._remember(user_id)
        self._state.publish("person", {"user_id": user_id})
        return PersonView(user_id=user_id, name=name.strip())

    async def all(self) -> list[PersonView]:
        """Return all people, oldest first."""
        return [PersonView(user_id=one.user_id, name=one.name) for one in await self._state.store.people()]

    def remembers(self, user_id: str) -> bool:
        """Tell whether somebody is known to exist without a look into the store."""
        return user_id in self._known

    async def require(self, user_id: str) -> None:
        """Refuse a person who is none.

        Raises:
            UnknownThingError: There is none.
        """
        if user_id in self._known:
            return
        if await self._state.store.person(user_id) is None:
            raise UnknownThingError("person", user_id)
        self._remember(user_id)

    def _remember(self, user_id: str) -> None:
        if len(self._known) < _KNOWN_PEOPLE:
            self._known.add(user_id)
