"""ilink-bot-server: its server with one bot, whose account is kept by callbacks. The CDN's host is a constant."""

import asyncio
import dataclasses
import json

from ilink_bot_server import BotConfig, BotCredentials, BotServer, download_media, login, worker
from scenario import BASE_URL, CDN_URL, IS_LED, STATE, keep, report

if not IS_LED:
    worker._CDN_BASE = CDN_URL

saved = STATE / "account.json"
server = BotServer()


@server.credential_loader
async def load(bot_id):
    return BotCredentials(**json.loads(saved.read_text()))


@server.on_credential_update
async def save(bot_id, credentials):
    saved.write_text(json.dumps(dataclasses.asdict(credentials)))


@server.on_message
async def answer(message):
    if message.type == "image":
        keep(await download_media(message))
    elif message.text == "!typing":
        await server.send_typing(message.bot_id, message.user_id)
    else:
        await server.reply(message, f"echo: {message.text}")


if not saved.exists():
    report("QRCODE")
    asyncio.run(save("one", asyncio.run(login(BASE_URL))))
report("SIGNED_IN")
server.run([BotConfig(bot_id="one")])
