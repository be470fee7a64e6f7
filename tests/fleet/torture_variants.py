"""What is broken on purpose in a fleet under torture, to see that the oracle notices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from ilink.bot import intake
from ilink.fleet.lease import Lease, SessionLostError
from ilink.storage.journal_postgres import PostgresJournal


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One promise that is broken.

    Attributes:
        words: What the oracle says of it.
        kinds: What has to happen to a fleet, for it to show.
        one_way: Whether it shows only where messages are handed out once.
        conflict: What the gateway does with two polls of one token; see its knob `poll.conflict`.
        rate: Messages a second: an owner before that receives something is refused, and only then polls no more.
        functions: What is replaced in functions of the database.
    """

    words: str
    kinds: tuple[str, ...]
    one_way: bool = False
    conflict: str = "newest"
    rate: float = 12.0
    functions: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])


_REFUSED: Final = "IF v_epoch <> p_epoch THEN RAISE EXCEPTION 'stale' USING ERRCODE = 'IL001'; END IF;"

VARIANTS: Final = {
    "completion_not_fenced": Variant(
        words="effects of a stale owner",
        kinds=("stall",),
        functions={"store_group": {"v_epoch = p_epoch AND": ""}},
    ),
    "cursor_not_fenced": Variant(
        words="cursor of a stale owner",
        kinds=("stall",),
        functions={"ingest": {"AND v_epoch = p_epoch AND": "AND"}},
    ),
    "append_fenced": Variant(
        words="lost",
        kinds=("stall",),
        one_way=True,
        functions={"ingest": {"sequences := array_fill": f"{_REFUSED} sequences := array_fill"}},
    ),
    "duplicates_kept": Variant(
        words="stored 2 times",
        kinds=("stall",),
        functions={"ingest": {"IF NOT v_known[n] AND array_position(p_identity, p_identity[n]) = n": "IF true"}},
    ),
    "cursor_first": Variant(words="lost", kinds=("kill",)),
    "order_not_kept": Variant(words="out of order", kinds=("stall",)),
    "permits_ignored": Variant(words="had lost the slot", kinds=("stall",), rate=1.5),
    "renewed_late": Variant(words="had lost the slot", kinds=()),
    "given_while_polled": Variant(words="two polls of one token", kinds=("drain", "rebalance"), conflict="split"),
}
"""By name; one without changes in the database is one of workers."""


def break_worker(variants: str) -> None:
    """Break this process as those variants say that are of workers."""
    for variant in variants.split("+"):
        if (change := _CHANGES.get(variant)) is not None:
            change()


def _ignore_permits() -> None:
    """Poll and send whatever the lease says, and do not end when it is lost."""
    lease: Any = Lease
    lease.may_poll = lambda _self, _slot: True
    lease.may_act = lambda _self, _slot: True
    beat = lease._beat

    async def deaf_beat(self: Any) -> None:
        standing = self._standing
        try:
            await beat(self)
        except SessionLostError:
            self._standing = standing

    lease._beat = deaf_beat


def _renew_late() -> None:
    """Say so seldom that one lives that the lease ends between, and trust it all the while."""
    lease: Any = Lease
    believe, pause = lease._believe, lease._pause

    def believe_long(self: Any, began: float) -> None:
        believe(self, began + 1000)

    def pause_long(self: Any) -> float:
        return 3 * self._terms.ttl if self._owned else pause(self)

    lease._believe, lease._pause = believe_long, pause_long


def _give_while_polled() -> None:
    """Give slots away before their accounts have ended."""
    lease: Any = Lease
    settle = lease.settle

    async def settle_at_once(self: Any, _busy: object) -> None:
        await settle(self, ())

    lease.settle = settle_at_once


def _move_the_cursor_first() -> None:
    """Store where polling goes on, and only then what came."""
    journal: Any = PostgresJournal
    ingest = journal.ingest

    async def ingest_late(self: Any, arrivals: Any, **more: Any) -> Any:
        if arrivals:
            await ingest(self, [], **more)
            await asyncio.sleep(0.5)
        return await ingest(self, arrivals, **more)

    journal.ingest = ingest_late


def _turn_batches_round() -> None:
    """Take the newest of a batch first."""
    module: Any = intake
    in_order = module.in_order
    module.in_order = lambda updates: in_order(updates)[::-1]


_CHANGES: Final = {
    "cursor_first": _move_the_cursor_first,
    "order_not_kept": _turn_batches_round,
    "permits_ignored": _ignore_permits,
    "renewed_late": _renew_late,
    "given_while_polled": _give_while_polled,
}
