"""ides-adapter-weixin: the tools it offers to an agent, called as one does.

FastMCP, which would carry them, is stood in for, because it comes with seventy packages; the host is a constant.
"""

import inspect
import sys
import types

from scenario import BASE_URL, IS_LED, STATE, report


class FastMCP:
    def __init__(self, name):
        self.tools = {}

    def tool(self):
        return lambda function: self.tools.setdefault(function.__name__, function)


sys.modules["fastmcp"] = types.ModuleType("fastmcp")
sys.modules["fastmcp"].FastMCP = FastMCP

from ides_adapter_weixin import WeixinAdapter, build_server  # noqa: E402  # after its stand-in is there

if not IS_LED:
    assert list(inspect.signature(WeixinAdapter).parameters)[-1] == "base_url"
    WeixinAdapter.__init__.__defaults__ = (BASE_URL,)

tools = build_server().tools
if not list(STATE.glob("weixin/accounts/*.json")):
    code = tools["weixin_qrcode_login"]()["qrcode"]
    report("QRCODE", code)
    while not tools["weixin_poll_status"](code).get("token_saved"):
        pass
report("SIGNED_IN")
while True:
    for message in tools["channel_ingest"]()["messages"]:
        tools["channel_emit"](f"echo: {message['text']}", message["from"])
