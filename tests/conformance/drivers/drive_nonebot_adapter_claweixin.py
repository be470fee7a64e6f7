"""nonebot-adapter-claweixin: another adapter of NoneBot 2. Its login host is a constant.

A token goes into its configuration. It shows by itself that it types, from when a message comes until it is answered.
"""

import asyncio
import json

import nonebot
from claweixin_login.login import HttpxLoginHTTPClient
from nonebot.adapters.claweixin import Adapter, Bot, MessageSegment
from nonebot.adapters.claweixin.api import login
from nonebot.adapters.claweixin.event import PrivateMessageEvent
from scenario import BASE_URL, CDN_URL, DOCUMENT, IS_LED, PICTURE, SIGNS_IN_AGAIN, STATE, keep, report, typed

if not IS_LED:
    login.FIXED_LOGIN_API_ROOT = BASE_URL
saved = STATE / "account.json"


def show(url):
    report("QRCODE", url)


def sign_in():
    tokens = [json.loads(saved.read_text())["token"]] if saved.exists() else []
    flow = login.login_flow(
        HttpxLoginHTTPClient(), BASE_URL, qrcode_handler=show, local_token_list=tokens, verify_code_provider=typed
    )
    result = asyncio.run(flow)
    if result.already_connected:
        report("ALREADY_BOUND")
    else:
        saved.write_text(json.dumps({"token": result.bot_token, "api_root": result.api_root}))


if SIGNS_IN_AGAIN or not saved.exists():
    sign_in()
account = json.loads(saved.read_text())
nonebot.init(
    driver="~none+~httpx",
    claweixin_token=[account["token"]],
    claweixin_api_root=account["api_root"],
    claweixin_cdn_root=CDN_URL,
    log_level="WARNING",
    _env_file=None,
)
nonebot.get_driver().register_adapter(Adapter)


@nonebot.get_driver().on_bot_connect
async def greet(bot: Bot) -> None:
    report("SIGNED_IN", bot.self_id)


async def answer(bot: Bot, event: PrivateMessageEvent) -> None:
    text = event.get_plaintext()
    if event.media_type and event.media_type.startswith("image"):
        keep(event.media_data)
    elif text == "!picture":
        await bot.send(event, MessageSegment.image(PICTURE))
    elif text == "!document":
        await bot.send(event, MessageSegment.file(DOCUMENT))
    elif text != "!typing":
        await bot.send(event, f"echo: {text}")


nonebot.on_message(handlers=[answer])
nonebot.run()
