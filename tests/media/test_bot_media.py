"""A bot takes and gives files, from handler to phone, over real sockets."""

from __future__ import annotations

import asyncio
import io
import os
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ilink import (
    Account,
    AccountId,
    Bot,
    Client,
    ConfigError,
    FileMessage,
    ImageMessage,
    MediaKind,
    Message,
    Secret,
    UserId,
    VoiceMessage,
)
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.testing import LocalGateway
from ilink.testing.person import Person

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + os.urandom(200_000)


def login_of(gateway: LocalGateway, person: Person, signed_in: asyncio.Event):  # type: ignore[no-untyped-def]
    async def login(accounts: Accounts) -> StoredAccount:
        async with Client(base_url=gateway.api_url) as client:
            code = await client.get_qr_code()
            await person.befriend(code.qrcode)
            report = await client.get_login_status(code.qrcode)
        signed_in.set()
        return await accounts.put(
            Account(
                account_id=AccountId(str(report.account_id)),
                token=Secret(str(report.token)),
                base_url=gateway.api_url,
                owner_id=UserId(str(report.owner_id)),
            )
        )

    return login


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def silence(seconds: float) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(bytes(round(seconds * 48_000)))
    return target.getvalue()


async def test_handlers_take_and_give_files(tmp_path: Path) -> None:
    pytest.importorskip("pysilk", reason="the extra `media` is not installed")
    async with LocalGateway() as gateway, asyncio.TaskGroup() as tasks:
        alice = await gateway.person("alice")
        bot = Bot(data=tmp_path / "data", base_url=gateway.api_url)
        signed_in = asyncio.Event()

        @bot.on_image()
        async def picture(message: ImageMessage) -> None:
            saved = await message.image.save(tmp_path / message.image.name)
            await message.reply_media(saved.path, caption="here it is again")

        @bot.on_file()
        async def file(message: FileMessage) -> None:
            async with message.file.stream() as pieces:
                size = sum([len(piece) async for piece in pieces])
            await message.reply(f"{message.file.name}: {size} of {message.file.size}")

        @bot.on_voice()
        async def voice(message: VoiceMessage) -> None:
            await message.reply_media(await message.voice.read_wav(), MediaKind.VOICE, name="voice.wav")

        @bot.on_text()
        async def text(message: Message) -> None:
            with pytest.raises(ConfigError, match="no file"):
                _ = message.media
            await message.reply("no file")

        running = tasks.create_task(bot.serve(login=login_of(gateway, alice, signed_in)))
        await signed_in.wait()
        rules, bot_id = gateway.rules, alice.bot_id
        assert bot_id is not None
        await rules.post_media(alice.user_id, bot_id, "image", once(PNG))
        await rules.post_media(alice.user_id, bot_id, "file", once(b"hello"), name="../plan.pdf")
        await rules.post_media(alice.user_id, bot_id, "voice", once(silence(0.1)))
        await alice.says("hi")
        entries = await rules.wait_entries(bot_id, alice.user_id, direction="out", count=5, timeout=20)
        items = [entry.items[0] for entry in entries if entry.direction == "out"]
        bot.stop()
        await running
        assert [item.type for item in items] == [1, 2, 1, 4, 1]
        assert [item.text for item in items if item.type == 1] == ["here it is again", "plan.pdf: 5 of 5", "no file"]
        room = rules.media
        record = await room.record(str(items[1].media.media_id))  # type: ignore[union-attr]
        assert b"".join([bytes(piece) async for piece in room.plain(record)]) == PNG
        assert (items[3].file_name, items[3].media.mime) == ("voice.wav", "audio/x-wav")  # type: ignore[union-attr]
    assert (tmp_path / "image").read_bytes() == PNG
