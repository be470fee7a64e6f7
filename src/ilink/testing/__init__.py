"""Testing programs that speak iLink: a gateway in the test's own process, and people who talk to bots on it.

    async with LocalGateway() as gateway:
        alice = await gateway.person("alice")
        ...                                   # start the program under test with gateway.api_url
        await alice.befriend()                # scans its login code and confirms
        await alice.says("hi")
        assert await alice.hears() == "You said: hi"

With pytest the fixture `ilink_gateway` is such a gateway, a new one for each test; when the test fails, its report
shows the chats and what went over the wire.

    gateway.fault("sendmessage", ret=-2, errmsg="prepare failed", times=1)     # what WeChat does at its worst
    gateway.assert_no_findings()                                               # what the client does at its best
"""

from ilink.testing.faults import Fault, FaultWords
from ilink.testing.gateway import GatewayClock, LocalGateway
from ilink.testing.person import Person

__all__ = ["Fault", "FaultWords", "GatewayClock", "LocalGateway", "Person"]
