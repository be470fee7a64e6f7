"""wechatbot-sdk 0.3.0, unmodified but for its fixed hosts: answers `!file` with a file, and tells what that took."""

import asyncio
import json
import os
import time
from pathlib import Path

from wechatbot import IncomingMessage, WeChatBot, auth, client

auth.FIXED_QR_BASE_URL = os.environ["ILINK_BASE_URL"]
client.CDN_BASE_URL = os.environ["ILINK_CDN_URL"]


def status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def read_file() -> bytes:
    return Path(os.environ["SEND_FILE"]).read_bytes()


async def main() -> None:
    bot = WeChatBot(
        base_url=os.environ["ILINK_BASE_URL"],
        cred_path=os.environ["STATE_DIR"] + "/credentials.json",
        on_qr_url=lambda url: print("QRCODE", url, flush=True),
    )
    await bot.login()
    print("LOGGED_IN", flush=True)

    @bot.on_message
    async def send(message: IncomingMessage) -> None:
        before, cpu, started = status("VmRSS"), time.process_time(), time.perf_counter()
        data = read_file()
        await bot.reply_media(message, {"file": data, "file_name": "large.bin"})
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - cpu,
            "memory": status("VmHWM") - before,
        }
        print("DONE", json.dumps(figures), flush=True)

    await bot.start()


asyncio.run(main())
