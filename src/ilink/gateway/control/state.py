"""What every call has at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from ilink.gateway.control.answers import Info
from ilink.gateway.control.guard import Guard
from ilink.gateway.service import Gateway

__all__ = ["ControlState"]


@dataclass(slots=True, kw_only=True)
class ControlState:
    """The gateway and where it listens.

    Attributes:
        gateway: What the calls are made on.
        info: Where everything listens.
        guard: Who may call.
        heartbeat: Seconds between signs of life on a quiet stream of events, so that proxies keep it open.
        answered: How many calls were answered, by path pattern, method and status.
    """

    gateway: Gateway
    info: Info
    guard: Guard
    heartbeat: float = 15.0
    answered: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])
