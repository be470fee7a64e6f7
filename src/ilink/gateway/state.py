"""What the gateway's rules share: the store, the clock, the sources of ids and chance, the knobs, the events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ilink.gateway.clock import Clock, as_datetime
from ilink.gateway.events import EventKind, EventStream
from ilink.gateway.holds import Waiting
from ilink.gateway.ids import IdSource
from ilink.gateway.knobs import Knobs
from ilink.storage.gateway import GatewayStore

__all__ = ["GatewayState"]


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
    cursor_key: bytes
    api_url: str
    cdn_url: str

    @property
    def now(self) -> datetime:
        """The gateway's time, aware and in UTC."""
        return as_datetime(self.clock.now_ms())

    def publish(self, kind: EventKind, data: dict[str, object]) -> None:
        """Tell whoever follows what happened."""
        self.events.publish(kind, self.clock.now_ms(), data)
