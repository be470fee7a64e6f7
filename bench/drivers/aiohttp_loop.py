"""A bare loop on aiohttp, the library under our client: what our layers cost beside it. It keeps nothing."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
import msgspec

from bench.machine import fast_run

BASE = os.environ["ILINK_BASE_URL"]


async def main() -> None:
    async with aiohttp.ClientSession(BASE, connector=aiohttp.TCPConnector(limit=0)) as session:
        token = await sign_in(session)
        print("LOGGED_IN", flush=True)
        sys.stdin.readline()
        headers = {"AuthorizationType": "ilink_bot_token", "Authorization": f"Bearer {token}"}
        cursor = ""
        while True:
            updates = await post(session, "getupdates", {"get_updates_buf": cursor}, headers)
            cursor = updates.get("get_updates_buf") or cursor
            await asyncio.gather(*(echo(session, message, headers) for message in updates["msgs"]))


async def sign_in(session: aiohttp.ClientSession) -> str:
    code = (await get(session, "get_bot_qrcode", {"bot_type": "3"}))["qrcode"]
    print("QRCODE", code, flush=True)
    while True:
        login = await get(session, "get_qrcode_status", {"qrcode": code})
        if login["status"] == "confirmed":
            return login["bot_token"]


async def get(session: aiohttp.ClientSession, name: str, query: dict[str, str]) -> dict:
    async with session.get(f"/ilink/bot/{name}", params=query) as answer:
        return msgspec.json.decode(await answer.read())


async def post(session: aiohttp.ClientSession, name: str, body: dict, headers: dict[str, str]) -> dict:
    async with session.post(f"/ilink/bot/{name}", data=msgspec.json.encode(body), headers=headers) as answer:
        return msgspec.json.decode(await answer.read())


async def echo(session: aiohttp.ClientSession, message: dict, headers: dict[str, str]) -> None:
    text = "".join(item["text_item"]["text"] for item in message["item_list"])
    body = {
        "msg": {
            "from_user_id": "",
            "to_user_id": message["from_user_id"],
            "client_id": f"echo-{message['client_id']}",
            "message_type": 2,
            "message_state": 2,
            "context_token": message["context_token"],
            "item_list": [{"type": 1, "text_item": {"text": f"echo: {text}"}}],
        },
        "base_info": {"channel_version": "0.1.0"},
    }
    await post(session, "sendmessage", body, headers)


fast_run(main())
