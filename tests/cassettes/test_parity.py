"""The parity run does on our gateway what it says that the gateway does."""

from __future__ import annotations

import pytest
from cassette_house import outcomes

from ilink.cassettes.steps import STEPS
from ilink.testing import LocalGateway


async def test_every_step_comes_out_as_expected(gateway: LocalGateway) -> None:
    found = await outcomes(gateway, spends=True)
    assert [(one.name, one.seen) for one in found] == [(step.name, step.expected) for step in STEPS]


async def test_what_uses_up_the_allowance_is_left_out_unless_asked_for(gateway: LocalGateway) -> None:
    assert [one.name for one in await outcomes(gateway)] == [step.name for step in STEPS if not step.spends]


@pytest.mark.parametrize(
    ("knob", "value", "step"),
    [
        ("ids.send_as", "string", "send a text"),
        ("context.missing", "-2", "send without a context token"),
        ("poll.consume_on_send", True, "poll with the old cursor again"),
        ("upload.forms", "param", "ask to upload"),
        ("cdn.require_taskid", True, "download the picture"),
        ("auth.require_headers", "-14", "call without AuthorizationType"),
        ("send.client_id_idempotent", False, "send with the same client_id"),
    ],
)
async def test_a_server_that_does_otherwise_is_seen_at_the_step_of_the_question(
    gateway: LocalGateway, knob: str, value: object, step: str
) -> None:
    await gateway.rules.configure(knobs={knob: value})
    assert step in [one.name for one in await outcomes(gateway) if not one.is_as_expected]


async def test_a_server_that_is_not_there_is_told_step_by_step(gateway: LocalGateway) -> None:
    found = await outcomes(gateway, base_url="http://127.0.0.1:9", cdn_url="http://127.0.0.1:9/c2c")
    assert found[0].seen.startswith("ConnectError: ")
    assert len(found) == len([step for step in STEPS if not step.spends])
