"""wechatbot-sdk: its bot class. Login host and CDN are constants of its modules."""

import asyncio

from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, SIGNS_IN_AGAIN, STATE, keep, report
from wechatbot import WeChatBot, auth, client

auth.FIXED_QR_BASE_URL = BASE_URL
client.CDN_BASE_URL = CDN_URL


async def main() -> None:
    bot = WeChatBot(
        base_url=BASE_URL, cred_path=str(STATE / "account.json"), on_qr_url=lambda url: report("QRCODE", url)
    )
    account = await bot.login(force=SIGNS_IN_AGAIN)
    report("SIGNED_IN", account.account_id)

    @bot.on_message
    async def answer(message):
        if message.images:
            keep((await bot.download(message)).data)
        elif message.text == "!picture":
            await bot.reply_media(message, {"image": PICTURE.read_bytes()})
        elif message.text == "!document":
            await bot.reply_media(message, {"file": DOCUMENT.read_bytes(), "file_name": DOCUMENT.name})
        elif message.text == "!typing":
            await bot.send_typing(message.user_id)
        else:
            await bot.reply(message, f"echo: {message.text}")

    await bot.start()


asyncio.run(main())
