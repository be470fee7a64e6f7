"""wechat-clawbot-sdk: its client class and event stream."""

import asyncio
import inspect
import os
from pathlib import Path

from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, STATE, keep, report
from wechat_clawbot_sdk import AsyncWeChatBotClient
from wechat_clawbot_sdk.media.transfer import download_inbound_media_item


async def fetch(client, item):
    offered = {
        "cdn_base_url": CDN_URL,
        "temp_dir": str(STATE),
        "dest_dir": str(STATE),
        "label": "test",
        "transport": getattr(client._api_client, "_transport", None),
    }
    taken = inspect.signature(download_inbound_media_item).parameters
    result = download_inbound_media_item(item, **{name: offered[name] for name in offered if name in taken})
    result = await result if inspect.isawaitable(result) else result
    if result is not None:
        keep(Path(getattr(result, "local_path", None) or result.path).read_bytes())


async def main():
    client = AsyncWeChatBotClient.create(login_base_url=BASE_URL, cdn_base_url=CDN_URL, state_dir=os.fspath(STATE))
    code = await client.start_login()
    report("QRCODE", code)
    account = (await client.wait_for_login(code.qrcode)).account_id
    report("SIGNED_IN", account)

    async def answer(event):
        message = event.message
        address = {"account_id": account, "user_id": message.user_id}
        if not message.text:
            for item in message.raw_message["item_list"]:
                await fetch(client, item)
        elif message.text == "!picture":
            await client.send_image(local_path=str(PICTURE), **address)
        elif message.text == "!document":
            await client.send_file(local_path=str(DOCUMENT), **address)
        elif message.text == "!typing":
            await client.send_typing(**address)
        else:
            await client.send_text(text=f"echo: {message.text}", **address)

    await client.consume_events(account, answer, message_only=True)


asyncio.run(main())
