"""wechat-clawbot, a port of the vendor's plugin: its login, accounts, calls and media. The login host is a constant."""

import asyncio
import os

from scenario import BASE_URL, CDN_URL, DOCUMENT, IS_LED, PICTURE, STATE, keep, report

os.environ["OPENCLAW_STATE_DIR"] = str(STATE)

from wechat_clawbot.api.client import WeixinApiOptions, get_config, get_updates, send_typing
from wechat_clawbot.api.types import MessageItemType, SendTypingReq
from wechat_clawbot.auth import login_qr
from wechat_clawbot.media.download import download_media_from_item
from wechat_clawbot.messaging.inbound import body_from_item_list
from wechat_clawbot.messaging.send import send_message_weixin
from wechat_clawbot.messaging.send_media import send_weixin_media_file

if not IS_LED:
    login_qr._FIXED_BASE_URL = BASE_URL


async def save(data, *_):
    keep(data)
    return {"path": os.environ["RECEIVED"]}


async def answer(message, options):
    person = message.from_user_id
    for item in message.item_list:
        if item.type == MessageItemType.IMAGE:
            await download_media_from_item(
                item, cdn_base_url=CDN_URL, save_media=save, log=print, err_log=print, label="test"
            )
            return
    text = body_from_item_list(message.item_list)
    if text == "!picture":
        await send_weixin_media_file(str(PICTURE), person, "", options, CDN_URL)
    elif text == "!document":
        await send_weixin_media_file(str(DOCUMENT), person, "", options, CDN_URL)
    elif text == "!typing":
        ticket = (await get_config(options, person, message.context_token)).typing_ticket
        await send_typing(options, SendTypingReq(ilink_user_id=person, typing_ticket=ticket, status=1))
    else:
        await send_message_weixin(person, f"echo: {text}", options)


async def main():
    code = await login_qr.start_weixin_login_with_qr(BASE_URL)
    report("QRCODE", code.qrcode_url)
    account = await login_qr.wait_for_weixin_login(code.session_key, BASE_URL)
    report("SIGNED_IN", account.account_id)
    cursor = ""
    while True:
        updates = await get_updates(account.base_url, account.bot_token, cursor)
        cursor = updates.get_updates_buf or cursor
        for message in updates.msgs or []:
            options = WeixinApiOptions(
                base_url=account.base_url, token=account.bot_token, context_token=message.context_token
            )
            await answer(message, options)


asyncio.run(main())
