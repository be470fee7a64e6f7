"""easywechatpy: its own program, `login` and then `bridge`, which runs a command for each text; this file is that, too.

The command shows that it types through the program's `send-typing`.
"""

import contextlib
import io
import os
import shlex
import sys

from easyWechatpy.ilink import cli
from easyWechatpy.ilink.state import StateStore
from scenario import BASE_URL, STATE, report

HERE = ["--state-dir", os.fspath(STATE)]


def reply():
    text = sys.stdin.read()
    if text != "!typing":
        return f"echo: {text}"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        cli.main([*HERE, "send-typing", "--fetch-ticket"])
    return said.getvalue()


def main():
    if not StateStore(STATE).load_account().token:
        report("QRCODE")
        if cli.main([*HERE, "login", "--base-url", BASE_URL]):
            return 1
    report("SIGNED_IN")
    return cli.main([*HERE, "bridge", shlex.join([sys.executable, __file__, "reply"])])


if sys.argv[1:] == ["reply"]:
    print(reply())
else:
    sys.exit(main())
