"""What can be set and made to fail, with what is known about it, for pages and tools that offer it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.requests import KnobValue
from ilink.gateway.control.state import ControlState
from ilink.gateway.fault_actions import ACTIONS
from ilink.gateway.knob_table import KNOBS, PROFILES, Knob

__all__ = ["calls"]

calls = CallTable()


class KnobRow(Struct, kw_only=True):
    """A knob: what it may be set to, for whom beside the whole gateway, and what it does and what is known of it."""

    name: str
    kind: Literal["integer", "number", "flag", "choice", "rate"]
    default: KnobValue
    choices: tuple[str, ...]
    is_optional: bool
    scopes: tuple[Literal["bot", "person"], ...]
    allowed: str
    evidence: str


class ActionRow(Struct, kw_only=True):
    """A way to fail: where it makes sense, what the caller sees, and what is known of it."""

    name: str
    endpoints: list[str]
    words: str
    evidence: str


class Tables(Struct, kw_only=True):
    """Knobs by name, profiles with what differs from the defaults in them, and ways to fail."""

    knobs: list[KnobRow]
    profiles: dict[str, dict[str, KnobValue]]
    actions: list[ActionRow]


@calls.call("GET", "/_sim/tables")
async def show_tables(_control: ControlState) -> Tables:
    """Return every knob and profile, and everything that can be made to fail, with what is known about each."""
    return Tables(
        knobs=[_knob(knob) for _, knob in sorted(KNOBS.items())],
        profiles={name: dict(values) for name, values in PROFILES.items()},
        actions=[
            ActionRow(name=one.name, endpoints=sorted(one.endpoints), words=one.words, evidence=one.evidence)
            for one in ACTIONS.values()
        ],
    )


def _knob(knob: Knob) -> KnobRow:
    return KnobRow(
        name=knob.name,
        kind=knob.kind,
        default=knob.default,
        choices=knob.choices,
        is_optional=knob.is_optional,
        scopes=knob.scopes,
        allowed=knob.allowed,
        evidence=knob.evidence,
    )
