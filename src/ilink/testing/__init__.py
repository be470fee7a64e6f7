"""Testing programs that speak iLink: a gateway in the test's own process, and people who talk to bots on it.

    async def test_greets(ilink_gateway):
        alice = await ilink_gateway.person("alice")
        await alice.befriend(bot)                                   # scans the bot's code and confirms
        await alice.says("hi")
        assert await alice.hears() == "You said: hi"

The fixture `ilink_gateway` is a `LocalGateway` for each test; without pytest open one with `async with`. A `Bot` runs
in the test's own loop and by the gateway's time; any other program is started by the test with `gateway.api_url`, and
`await alice.befriend()` scans whatever code is asked for.

    await ilink_gateway.clock.advance(hours=25)                             # takes milliseconds
    await alice.hears(within=3600)                                          # skips the time in which nothing happens
    ilink_gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", times=1)     # what WeChat does at its worst
    ilink_gateway.assert_no_findings()                                      # what the client does at its best

When a test fails, its report shows the chats and what went over the wire. `ilink.testing.updates` has messages of every
kind, odd ones too; `forbid_network` makes every connection beyond this machine fail.
"""

from ilink.testing.bots import BotUnderTest
from ilink.testing.faults import Fault, FaultWords
from ilink.testing.gateway import LocalGateway
from ilink.testing.network import NetworkForbiddenError, forbid_network
from ilink.testing.person import Person, Received
from ilink.testing.virtual import BotClock, GatewayClock

__all__ = [
    "BotClock",
    "BotUnderTest",
    "Fault",
    "FaultWords",
    "GatewayClock",
    "LocalGateway",
    "NetworkForbiddenError",
    "Person",
    "Received",
    "forbid_network",
]
