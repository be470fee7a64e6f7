"""weilink 0.6.2, unmodified but for its fixed hosts: answers any text with a file, and tells what that took."""

import json
import os
import time
from pathlib import Path

import weilink._cdn as cdn
import weilink._protocol as protocol
from weilink import WeiLink

BASE = os.environ["ILINK_BASE_URL"]
protocol.BASE_URL = BASE
cdn.CDN_BASE = os.environ["ILINK_CDN_URL"]
protocol.get_qr_code.__defaults__ = (BASE,)
protocol.poll_qr_status.__defaults__ = (BASE,)
WeiLink._display_qr = staticmethod(lambda url: print("QRCODE", url, flush=True))  # noqa: SLF001  # it has no other way


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


link = WeiLink(base_path=os.environ["STATE_DIR"])
link.login()
print("\nLOGGED_IN", flush=True)
while True:
    for message in link.recv(timeout=5):
        before, cpu, started = status("VmRSS"), time.process_time(), time.perf_counter()
        link.send(message.from_user, file=Path(os.environ["SEND_FILE"]).read_bytes(), file_name="large.bin")
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - cpu,
            "memory": status("VmHWM") - before,
        }
        print("DONE", json.dumps(figures), flush=True)
