"""nonebot-adapter-wxclaw: an adapter of NoneBot 2. What a login brought goes into its configuration."""

import asyncio
import json

import nonebot
from nonebot.adapters.wxclaw import Adapter, Bot, MessageEvent, MessageSegment
from scenario import BASE_URL, CDN_URL, DOCUMENT, PICTURE, SIGNS_IN_AGAIN, STATE, keep, report, typed

saved = STATE / "account.json"
accounts = [json.loads(saved.read_text())] if saved.exists() else []
nonebot.init(
    driver="~none+~httpx", wxclaw_accounts=accounts, wxclaw_cdn_base_url=CDN_URL, log_level="WARNING", _env_file=None
)
nonebot.get_driver().register_adapter(Adapter)
signing_in: set[asyncio.Task[None]] = set()


async def read_digits() -> str:
    return await asyncio.to_thread(typed)


async def sign_in() -> None:
    adapter = nonebot.get_adapter(Adapter)
    async with adapter.qr_login(base_url=BASE_URL, auto_connect=True, verify_code_callback=read_digits) as session:
        report("QRCODE", session.qrcode_url)
        result = await session.wait()
    if not result.connected:
        report("ALREADY_BOUND", result.message)
        report("SIGNED_IN", accounts[0]["account_id"])
        return
    account = {"account_id": result.account_id, "token": result.token, "base_url": result.base_url}
    saved.write_text(json.dumps(account))
    report("SIGNED_IN", result.account_id)


@nonebot.get_driver().on_startup
async def begin() -> None:
    if accounts and not SIGNS_IN_AGAIN:
        report("SIGNED_IN", accounts[0]["account_id"])
    else:
        signing_in.add(asyncio.create_task(sign_in()))


async def answer(bot: Bot, event: MessageEvent) -> None:
    text = event.get_plaintext()
    if event.get_event_name() == "message.image":
        (picture,) = await bot.fetch_media(event.message)
        keep(picture.data["content"])
    elif text == "!picture":
        await bot.send(event, MessageSegment.image(content=PICTURE))
    elif text == "!document":
        await bot.send(event, MessageSegment.file(content=DOCUMENT))
    elif text == "!typing":
        config = await bot.get_config(user_id=event.from_user_id, context_token=event.context_token)
        await bot.send_typing(to_user_id=event.from_user_id, typing_ticket=config.typing_ticket)
    else:
        await bot.send(event, f"echo: {text}")


nonebot.on_message(handlers=[answer])
nonebot.run()
