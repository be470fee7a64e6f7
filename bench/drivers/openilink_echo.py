"""openilink-sdk-python 0.1.1, unmodified: its monitor, its push."""

import os
import sys

from openilink import Client, LoginCallbacks, extract_text
from openilink.auth import login_with_qr
from openilink.monitor import monitor

client = Client("", base_url=os.environ["ILINK_BASE_URL"])
login_with_qr(client, LoginCallbacks(on_qrcode=lambda url: print("QRCODE", url, flush=True)))
print("LOGGED_IN", flush=True)
sys.stdin.readline()
monitor(client, lambda message: client.push(message.from_user_id, f"echo: {extract_text(message)}"))
