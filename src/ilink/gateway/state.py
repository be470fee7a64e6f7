"""What the gateway's rules share: the store, the clock, the sources of ids and chance, the knobs, the events."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from ilink.gateway.clock import Clock, as_datetime
from ilink.gateway.events import EventKind, EventStream
from ilink.gateway.holds import Waiting
from ilink.gateway.ids import IdSource
from ilink.gateway.knobs import Knobs, Readings
from ilink.gateway.peers import Peers
from ilink.storage.gateway import GatewayStore

__all__ = ["GatewayState", "Party"]


_OWN_EVENTS: Final = frozenset({"wire"})
"""What other processes are not told of: the wire log is each one's own."""
_PROGRESS: Final = "waiting_polls"
"""What an event about a poll has: the others are told of those while somebody looks."""


class Party(Protocol):
    """A bot, as far as its knobs go."""

    number: int
    owner_user_id: str


@dataclass(slots=True, kw_only=True)
class GatewayState:
    """One gateway's shared parts.

    Attributes:
        cursor_key: What cursors are authenticated with; it stays with the data.
        api_url: The origin of the API, without a slash at its end.
        cdn_url: The base of media URLs, likewise.
    """

    store: GatewayStore
    clock: Clock
    ids: IdSource
    knobs: Knobs
    events: EventStream
    waiting: Waiting
    peers: Peers
    cursor_key: bytes
    api_url: str
    cdn_url: str

    @property
    def now(self) -> datetime:
        """The gateway's time, aware and in UTC."""
        return as_datetime(self.clock.now_ms())

    def knobs_about(self, bot: Party, user_id: str = "") -> Readings:
        """Return the knobs for what a bot does with a person; where nobody is named, its owner is meant."""
        return self.knobs.about(bot.number, user_id or bot.owner_user_id)

    def publish(self, kind: EventKind, data: dict[str, object]) -> None:
        """Tell whoever follows what happened."""
        at_ms = self.clock.now_ms()
        self.events.publish(kind, at_ms, data)
        if self.peers.is_shared and kind not in _OWN_EVENTS and (_PROGRESS not in data or self.peers.are_watched):
            self.peers.tell("event", json.dumps([kind, at_ms, data], default=str))
