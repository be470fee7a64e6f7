"""Failures on purpose, as a test asks for them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Literal, Self, TypedDict

import msgspec

from ilink.errors import ConfigError

if TYPE_CHECKING:
    from ilink.gateway.fault_actions import FaultView
    from ilink.gateway.service import Gateway

__all__ = ["Fault", "FaultWords", "set_fault"]


class FaultWords(TypedDict, total=False):
    """What a fault does, to which requests: the fields of `POST /_sim/faults`, written side by side."""

    bot_id: str
    user_id: str
    nth: int
    times: int
    probability: float
    after_s: float
    for_s: float
    every_s: float
    delay_ms: int
    hang: bool
    http_status: int
    ret: int
    errcode: int
    errmsg: str
    reset: Literal["before", "after_effect", "after_headers", "mid_body"]
    truncate_json: bool
    omit: list[str]
    drop_silently: bool
    duplicate: Literal["same_id", "new_id"]
    reorder: bool
    lose_cursor: bool
    corrupt: bool
    slow_bytes_per_s: int


class Fault:
    """A fault that is set on a gateway. It may be awaited, as the calls around it are: it is set already.

    Attributes:
        id: What it is called in the wire log and in events.
    """

    def __init__(self, gateway: Gateway, fault_id: str) -> None:
        self._gateway = gateway
        self.id = fault_id

    def __await__(self) -> Generator[None, None, Self]:
        return self
        yield

    @property
    def hits(self) -> int:
        """How many requests it struck; 0 once it is removed."""
        view = self._view()
        return 0 if view is None else view.hits

    @property
    def matched(self) -> int:
        """How many requests it was set for, struck or not; 0 once it is removed."""
        view = self._view()
        return 0 if view is None else view.matched

    def remove(self) -> None:
        """Let requests succeed again; harmless when it is gone."""
        if self._view() is not None:
            self._gateway.faults.remove(self.id)

    def _view(self) -> FaultView | None:
        return next((view for view in self._gateway.faults.views() if view.id == self.id), None)


def set_fault(gateway: Gateway, endpoint: str, words: FaultWords) -> Fault:
    """Set a fault from its words.

    Raises:
        ConfigError: It could never strike, or says two things at once; the message names what is wrong.
    """
    # Loaded here, because the pytest plugin is loaded in every test run of a user, and most set no fault.
    from ilink.gateway.fault_actions import FaultSpec
    from ilink.gateway.problems import InvalidRequestError

    fields: dict[str, object] = {"endpoint": endpoint}
    action: dict[str, object] = {}
    for name, value in words.items():
        (fields if name in FaultSpec.__struct_fields__ else action)[name] = value
    try:
        spec = msgspec.convert({**fields, "action": action}, FaultSpec)
        return Fault(gateway, gateway.faults.add(spec).id)
    except (msgspec.ValidationError, InvalidRequestError) as error:
        message = f"this fault will not do: {error}"
        raise ConfigError(message) from error
