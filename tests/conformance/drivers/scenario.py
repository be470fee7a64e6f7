"""What a driver is told, and how it reports. Standard library only: it runs inside the environment of its client.

A driver signs in and then answers every message of a person: `!picture` and `!document` by sending that file, `!typing`
by showing that it types, any other text by `echo: TEXT`. A picture it receives it writes, decrypted, to `RECEIVED`.
"""

from __future__ import annotations

import os
from pathlib import Path

BASE_URL = os.environ["ILINK_BASE_URL"]
CDN_URL = os.environ["ILINK_CDN_URL"]
STATE = Path(os.environ["STATE_DIR"])
PICTURE = Path(os.environ["PICTURE"])
DOCUMENT = Path(os.environ["DOCUMENT"])
RECEIVED = Path(os.environ["RECEIVED"])
IS_LED = "HTTPS_PROXY" in os.environ
"""Whether a proxy leads the client's own addresses to the gateway, so that none of them has to be replaced."""


SIGNS_IN_AGAIN = "SIGN_IN_AGAIN" in os.environ
"""Whether it shows a code although it has an account."""


def typed(*_: object) -> str:
    """Ask for the digits that the phone shows, and return what is typed at the terminal."""
    report("DIGITS")
    return input()


def report(event: str, *details: object) -> None:
    """Tell the test what happened: QRCODE, DIGITS, ALREADY_BOUND, SIGNED_IN, RECEIVED."""
    print(event, *details, flush=True)


def keep(data: bytes) -> None:
    """Write a received picture, then say so."""
    RECEIVED.write_bytes(data)
    report("RECEIVED", len(data))
