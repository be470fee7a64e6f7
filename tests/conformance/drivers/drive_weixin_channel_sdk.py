"""weixin-channel-sdk: its bot class over its store."""

import asyncio
from pathlib import Path

from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, STATE, keep, report
from weixin_channel import WeixinBot, WeixinClient
from weixin_channel.store import StateStore


async def main():
    store = StateStore(STATE)
    if store.load_session() is None:
        await WeixinClient.login(store=store, base_url=BASE_URL, renderer=lambda url: report("QRCODE", url))
    client = WeixinClient(session=store.load_session(), store=store, cdn_base_url=CDN_URL)
    report("SIGNED_IN", client.require_session().account_id)
    bot = WeixinBot(client)

    @bot.on_message
    async def answer(message):
        text = message.text() if callable(message.text) else message.text
        if message.media_items():
            files = await client.download_message_media(message, dest_dir=STATE)
            keep(Path(files[0].path).read_bytes())
        elif text == "!picture":
            await client.reply_media_file(message, PICTURE)
        elif text == "!document":
            await client.reply_media_file(message, DOCUMENT)
        elif text == "!typing":
            await client.send_typing(message)
        else:
            await client.reply_text(message, f"echo: {text}")

    await bot.run_forever()


asyncio.run(main())
