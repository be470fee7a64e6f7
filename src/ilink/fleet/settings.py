"""The settings of a fleet, and what a process tells of itself."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from importlib.metadata import version

from ilink.storage.roles import Role
from ilink.storage.slots import LeaseTerms, WorkerInfo

__all__ = ["PLACE_VARIABLE", "FleetSettings", "this_worker"]

PLACE_VARIABLE = "ILINK_WORKER"
"""Tells each of the processes that one started which of them it is, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How a process takes part in a fleet.

    Attributes:
        role: What it does for its accounts: everything, or one part, while other processes do the rest.
        terms: How leases are kept; the same in all processes.
        peers: How many processes are expected at least: while fewer are there, the first ones wait `terms.grace`
            seconds for the others before they take everything.
        rate: How many accounts a second begin towards one server, in this process.
        at_once: How many accounts may be beginning at the same time.
        moves: How many slots with accounts change hands at the same time.
        poll_seconds: How long a poll under way may go on when its account is given away: what the server hands out is
            never handed out again by some servers (observed: ocw#164), so it should be longer than polls are held.
        drain_seconds: How long a process may take to end.
    """

    role: Role = Role.ALL
    terms: LeaseTerms = field(default_factory=LeaseTerms)
    peers: int = 1
    rate: float = 200.0
    at_once: int = 50
    moves: int = 64
    poll_seconds: float = 40.0
    drain_seconds: float = 55.0


def this_worker(*, weight: int = 100, role: Role = Role.ALL) -> WorkerInfo:
    """Return what this process tells of itself."""
    return WorkerInfo(node=socket.gethostname(), pid=os.getpid(), version=version("ilink"), weight=weight, role=role)
