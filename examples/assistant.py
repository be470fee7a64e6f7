"""An assistant: any endpoint that speaks as OpenAI's does answers, and remembers the last things that were said."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import msgspec

from ilink import Bot, State, TextMessage

bot = Bot()

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
KEY = os.environ.get("OPENAI_API_KEY", "none")
MODEL = os.environ.get("OPENAI_MODEL", "qwen3")
REMEMBERED = 20


@dataclass
class Talk:
    said: list[dict[str, str]] = field(default_factory=list)


class Chunk(msgspec.Struct):
    choices: list[dict[str, object]] = []


@bot.on_command("forget", "忘记")
async def forget(message: TextMessage, talk: State[Talk]) -> None:
    """Begin anew."""
    talk.value.said.clear()
    await message.reply("What were we talking about?")


@bot.on_text()
async def answer(message: TextMessage, talk: State[Talk]) -> None:
    said = [*talk.value.said, {"role": "user", "content": message.text}][-REMEMBERED:]
    pieces: list[str] = []
    await message.reply_stream(ask(said, pieces))
    talk.value.said = [*said, {"role": "assistant", "content": "".join(pieces)}]


async def ask(said: list[dict[str, str]], pieces: list[str]) -> AsyncIterator[str]:
    body = {"model": MODEL, "messages": said, "stream": True}
    session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}, raise_for_status=True)
    async with session, session.post(f"{URL}/chat/completions", json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: {"):
                for choice in msgspec.json.decode(line[6:], type=Chunk).choices:
                    pieces.append(msgspec.convert(choice["delta"], dict[str, str | None]).get("content") or "")
                    yield pieces[-1]


bot.run()
