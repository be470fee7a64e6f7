"""What Prometheus reads: gauges taken from the gateway at the moment of asking, and counts of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ilink.gateway.control.state import ControlState
    from ilink.gateway.tallies import Tallies

__all__ = ["CONTENT_TYPE", "render_metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST


async def render_metrics(control: ControlState) -> bytes:
    """Return the metrics of one gateway as text; nothing in them is a secret or an id."""
    # A registry of its own for each answer: a process may hold several gateways, and these are views of a store.
    registry = CollectorRegistry(auto_describe=True)
    bots = await control.gateway.bots()
    by_state = Gauge("ilink_bots", "Bots by state", ["state"], registry=registry)
    for state in ("live", "replaced", "expired"):
        by_state.labels(state).set(sum(bot.state == state for bot in bots))
    _gauge(registry, "ilink_people", "People", len(await control.gateway.people()))
    _gauge(registry, "ilink_waiting_polls", "Polls that are held now", sum(bot.waiting_polls for bot in bots))
    _gauge(
        registry,
        "ilink_unacknowledged_messages",
        "Messages in mailboxes that no poll has acknowledged",
        sum(bot.head_seq - bot.acked_seq for bot in bots),
    )
    _gauge(registry, "ilink_newest_event", "The number of the newest event", control.gateway.events.newest)
    calls = Counter("ilink_control_calls", "Calls of the control API", ["path", "method", "status"], registry=registry)
    for (path, method, status), count in sorted(control.answered.items()):
        calls.labels(path, method, str(status)).inc(count)
    _count(control.gateway.tallies, registry)
    return generate_latest(registry)


def _count(tallies: Tallies, registry: CollectorRegistry) -> None:
    """Add what was counted since the gateway opened."""
    counted: tuple[tuple[str, str, list[str], Mapping[tuple[str, ...], int]], ...] = (
        (
            "ilink_answers",
            "Answers by endpoint, class of the HTTP status and code",
            ["endpoint", "status", "code"],
            tallies.answers,
        ),
        ("ilink_refusals", "Refusals by endpoint and code", ["endpoint", "code"], tallies.refusals),
        ("ilink_faults", "Faults that struck, by action", ["action"], tallies.faults),
        ("ilink_findings", "What the linter found, by code", ["code"], tallies.findings),
        (
            "ilink_media_bytes",
            "Encrypted bytes through the CDN, up from bots and down to them",
            ["direction"],
            tallies.media_bytes,
        ),
    )
    for name, words, labels, counts in counted:
        counter = Counter(name, words, labels, registry=registry)
        for values, count in sorted(counts.items()):
            counter.labels(*values).inc(count)


def _gauge(registry: CollectorRegistry, name: str, words: str, value: float) -> None:
    Gauge(name, words, registry=registry).set(value)
