"""wechatbot-sdk 0.3.0, unmodified but for its fixed login host: its loop, its reply (which also ends the typing)."""

import asyncio
import os
import sys

from wechatbot import IncomingMessage, WeChatBot, auth

auth.FIXED_QR_BASE_URL = os.environ["ILINK_BASE_URL"]


async def main() -> None:
    bot = WeChatBot(
        base_url=os.environ["ILINK_BASE_URL"],
        cred_path=os.environ["STATE_DIR"] + "/credentials.json",
        on_qr_url=lambda url: print("QRCODE", url, flush=True),
    )
    await bot.login()
    print("LOGGED_IN", flush=True)

    @bot.on_message
    async def echo(message: IncomingMessage) -> None:
        await bot.reply(message, f"echo: {message.text}")

    sys.stdin.readline()
    await bot.start()


asyncio.run(main())
