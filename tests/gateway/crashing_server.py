"""A gateway in a process of its own, to be killed: it prints its port and what a bot needs, and serves."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from ilink.gateway.http import ProtocolApp
from ilink.gateway.listeners import Listener
from ilink.gateway.service import Gateway


async def main(folder: Path, database_url: str | None) -> None:
    listener = Listener.bind("127.0.0.1:0")
    url = f"http://127.0.0.1:{listener.port}"
    knobs = {"quota.per_inbound": 1_000_000}
    async with Gateway(folder, api_url=url, cdn_url=url, knobs=knobs, database_url=database_url) as gateway:
        await listener.start(ProtocolApp(gateway))
        person = (await gateway.add_person("alice")).user_id
        answer = (await gateway.door.get_bot_qrcode([])).body
        code = await gateway.confirm(answer.qrcode, user_id=person)
        await gateway.post_message(person, code.bot_id, text="hello")
        print(json.dumps({"url": url, "person": person, "bot": code.bot_id, "qrcode": code.qrcode}), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
