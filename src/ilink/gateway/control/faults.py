"""Calls about failures on purpose."""

from __future__ import annotations

from ilink.gateway.control.answers import FaultList
from ilink.gateway.control.calls import CallTable
from ilink.gateway.control.state import ControlState
from ilink.gateway.fault_actions import FaultSpec, FaultView

__all__ = ["calls"]

calls = CallTable()


@calls.call("POST", "/_sim/faults", status=201)
async def add_fault(control: ControlState, body: FaultSpec) -> FaultView:
    """Make requests fail from now on.

    `nth` is the first of the fitting requests that is struck, `times` how many are; without both every one is, and
    with `nth` alone just that one. With `probability` each of them is struck with this chance, drawn from a random
    stream of the fault's own. By the gateway's clock it is at work from `after_s` seconds from now on, for `for_s`
    seconds, again every `every_s` seconds; requests that come in between do not count. The actions are on the reference
    page of faults.
    """
    await control.gateway.catch_up()
    view = control.gateway.faults.add(body)
    await control.gateway.share_faults()
    return view


@calls.call("GET", "/_sim/faults")
async def list_faults(control: ControlState) -> FaultList:
    """Return the faults that are set, oldest first, and how often each struck."""
    await control.gateway.catch_up()
    return FaultList(faults=control.gateway.faults.views())


@calls.call("DELETE", "/_sim/faults/{fault_id}", status=204, refusals=(404,))
async def remove_fault(control: ControlState, fault_id: str) -> None:
    """Remove one fault."""
    await control.gateway.catch_up()
    control.gateway.faults.remove(fault_id)
    await control.gateway.share_faults()


@calls.call("DELETE", "/_sim/faults", status=204)
async def remove_faults(control: ControlState) -> None:
    """Remove every fault."""
    await control.gateway.catch_up()
    control.gateway.faults.remove_all()
    await control.gateway.share_faults()
