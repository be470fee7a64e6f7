"""The limit: a loop that polls and echoes, twenty sends at a time, on raw connections, and keeps nothing."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from bench.machine import fast_run
from bench.rawhttp import Connection, Pool

BASE = os.environ["ILINK_BASE_URL"]


class Text(msgspec.Struct):
    text: str = ""


class Item(msgspec.Struct):
    text_item: Text | None = None


class Message(msgspec.Struct):
    from_user_id: str
    context_token: str
    client_id: str
    item_list: list[Item]


class Updates(msgspec.Struct):
    msgs: list[Message] = []
    get_updates_buf: str = ""


class Login(msgspec.Struct):
    qrcode: str = ""
    status: str = ""
    bot_token: str = ""


read_updates = msgspec.json.Decoder(Updates).decode
read_login = msgspec.json.Decoder(Login).decode


async def sign_in(connection: Connection) -> str:
    code = read_login(await connection.call("GET", "/ilink/bot/get_bot_qrcode?bot_type=3")).qrcode
    print("QRCODE", code, flush=True)
    while True:
        login = read_login(await connection.call("GET", f"/ilink/bot/get_qrcode_status?qrcode={code}"))
        if login.status == "confirmed":
            return login.bot_token


async def echo(pool: Pool, message: Message, token: str) -> None:
    text = "".join(item.text_item.text for item in message.item_list if item.text_item)
    body = {
        "msg": {
            "from_user_id": "",
            "to_user_id": message.from_user_id,
            "client_id": f"echo-{message.client_id}",
            "message_type": 2,
            "message_state": 2,
            "context_token": message.context_token,
            "item_list": [{"type": 1, "text_item": {"text": f"echo: {text}"}}],
        },
        "base_info": {"channel_version": "0.1.0"},
    }
    await pool.call("POST", "/ilink/bot/sendmessage", msgspec.json.encode(body), token=token)


async def main() -> None:
    polling = await Connection.open(BASE)
    token = await sign_in(polling)
    print("LOGGED_IN", flush=True)
    sys.stdin.readline()
    cursor = ""
    async with Pool(BASE, 20) as pool:
        while True:
            body = msgspec.json.encode({"get_updates_buf": cursor, "base_info": {"channel_version": "0.1.0"}})
            updates = read_updates(await polling.call("POST", "/ilink/bot/getupdates", body, token=token))
            cursor = updates.get_updates_buf or cursor
            await asyncio.gather(*(echo(pool, message, token) for message in updates.msgs))


fast_run(main())
