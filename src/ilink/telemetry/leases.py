"""Figures of the leases of a process in a fleet, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ilink.storage.slots_counted import LeaseTally

__all__ = ["show_leases"]


def show_leases(tally: LeaseTally, registry: CollectorRegistry) -> None:
    """Show what has become of the leases of this process beside its other figures, from now on."""
    registry.register(_Leases(tally))


class _Leases(Collector):
    def __init__(self, tally: LeaseTally) -> None:
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """Return the figures as they are now."""
        tally = self._tally
        yield GaugeMetricFamily("ilink_slots", "Slots of accounts that this process has.", tally.held)
        moved = CounterMetricFamily("ilink_slots_moved", "Slots by what became of them here.", labels=["how"])
        for how, count in (("taken", tally.taken), ("given", tally.given), ("lost", tally.lost)):
            moved.add_metric([how], count)
        yield moved
        renewed = CounterMetricFamily("ilink_lease_renewals", "Renewals of the lease, by outcome.", labels=["outcome"])
        for outcome, count in (("renewed", tally.renewals), ("failed", tally.failures), ("lost", tally.deaths)):
            renewed.add_metric([outcome], count)
        yield renewed
        yield CounterMetricFamily("ilink_workers_reaped", "Other processes that were found dead here.", tally.reaped)
