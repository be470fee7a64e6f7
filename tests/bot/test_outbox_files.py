"""Files wait in the outbox like texts: stored first, uploaded in their turn, whatever happens in between."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from bot_house import FAST, running
from outbox_house import House, house, quiet_bot

from ilink import (
    Accepted,
    Bot,
    Deferred,
    DeferredWhy,
    MediaError,
    MediaKind,
    Message,
    OnUnknown,
    Rejected,
    StoreError,
    TooLargeError,
    Unknown,
)
from ilink.bot.outbox import files as outgoing_files
from ilink.storage.files import PartialFile
from ilink.storage.journal import OutboxState

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + os.urandom(50_000)
HASTY = replace(FAST, send_attempts=3)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data") as home:
        yield home


async def bytes_of(home: House, number: int = -1) -> bytes:
    """What alice can see of a picture."""
    room = home.gateway.rules.media
    entries = await home.gateway.rules.transcript(home.alice.bot_id, home.alice.user_id)  # type: ignore[arg-type]
    media = [item.media for entry in entries for item in entry.items if item.media is not None]
    record = await room.record(str(media[number].media_id))
    return b"".join([bytes(piece) async for piece in room.plain(record)])


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 7_000):
        yield data[start : start + 7_000]


class TestSending:
    @pytest.mark.parametrize("kind", ["path", "bytes", "file", "chunks"])
    async def test_any_source_arrives_whole_and_its_copy_goes(self, home: House, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "cat.png"
        path.write_bytes(PNG)
        sources: dict[str, Any] = {"path": path, "bytes": PNG, "file": BytesIO(PNG), "chunks": in_pieces(PNG)}
        async with quiet_bot(home) as bot:
            receipt = await bot.send_media(home.alice.user_id, sources[kind], caption="look", wait=20)
            assert isinstance(receipt, Accepted)
            await home.until_shown("look", "[2]")
            assert await bytes_of(home) == PNG
            await home.until(lambda: _is(not home.spooled()))

    async def test_a_nameless_file_has_a_name_that_programs_can_open(self, home: House) -> None:
        async with quiet_bot(home) as bot:
            await bot.send_media(home.alice.user_id, PNG, MediaKind.FILE, wait=20)
            await bot.send_media(home.alice.user_id, b"hello", name="../plan.txt", wait=20)
        entries = await home.gateway.rules.transcript(home.alice.bot_id, home.alice.user_id)  # type: ignore[arg-type]
        assert [item.file_name for entry in entries for item in entry.items if item.media] == ["file.png", "plan.txt"]

    async def test_a_copy_is_private(self, home: House) -> None:
        home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home) as bot:
            await bot.send_media(home.alice.user_id, PNG)
            (copy,) = home.spooled()
            assert copy.stat().st_mode & 0o077 == 0
            assert copy.parent.stat().st_mode & 0o077 == 0

    async def test_the_handler_succeeds_without_waiting_for_the_upload(self, home: House) -> None:
        stuck = home.gateway.fault("cdn_upload", hang=True)
        bot = home.bot()
        handled = asyncio.Event()
        receipts = []

        @bot.on_text()
        async def answer(message: Message) -> None:
            receipts.append(await message.reply_media(PNG, caption="look"))
            handled.set()

        async with running(bot, login=None):
            await asyncio.wait_for(handled.wait(), 10)

            async def is_stored() -> bool:
                return (await bot.counts()).waiting == 0

            await home.until(is_stored)
            assert isinstance(receipts[0], Deferred)
            assert receipts[0].why is DeferredWhy.HANDLER
            stuck.remove()
        async with running(home_bot_with_handler(home), login=None):
            await home.until_shown("look", "[2]")

    async def test_the_same_bytes_for_the_same_user_are_uploaded_once(self, home: House) -> None:
        uploads = home.watch_uploads()
        async with quiet_bot(home) as bot:
            for _ in range(3):
                assert isinstance(await bot.send_media(home.alice.user_id, PNG, wait=20), Accepted)
        assert uploads.hits == 1

    async def test_messages_of_one_turn_carry_its_run_id(self, home: House) -> None:
        bot = home.bot()

        @bot.on_text()
        async def answer(message: Message) -> None:
            await message.reply("one", wait=10)
            await message.reply_media(b"two", wait=10)

        async with running(bot, login=None):
            await home.until_shown("one", "[4]")
        entries = [entry for entry in home.gateway.rules.wire_log(limit=10**6) if entry.endpoint == "sendmessage"]
        run_ids = {str(entry.request["msg"]["run_id"]) for entry in entries}  # type: ignore[index, call-overload]
        assert len(run_ids) == 1
        assert len(run_ids.pop()) == 36


class TestFailures:
    async def test_an_upload_that_fails_is_repeated(self, home: House) -> None:
        home.gateway.fault("getuploadurl", http_status=500, times=1)
        home.gateway.fault("getuploadurl", reset="after_effect", nth=2, times=1)
        async with quiet_bot(home, HASTY) as bot:
            assert isinstance(await bot.send_media(home.alice.user_id, PNG, wait=20), Accepted)

    async def test_what_is_lost_on_an_upload_is_no_doubt_about_the_message(self, home: House) -> None:
        home.gateway.fault("getuploadurl", reset="before")
        async with quiet_bot(home, replace(HASTY, on_unknown=OnUnknown.ASK)) as bot:
            receipt = await bot.send_media(home.alice.user_id, PNG, wait=20)
            assert isinstance(receipt, Rejected)
            assert "uploaded" in receipt.reason
            await home.until(lambda: _is(not home.spooled()))

    async def test_a_refused_upload_is_the_last_word_and_the_next_message_goes_out(self, home: House) -> None:
        home.gateway.fault("getuploadurl", ret=-3, errmsg="invalid arguments")
        async with quiet_bot(home) as bot:
            receipt = await bot.send_media(home.alice.user_id, PNG, caption="look", wait=20)
            assert isinstance(receipt, Rejected)
            assert receipt.code == -3
            assert isinstance(await bot.send(home.alice.user_id, "sorry", wait=20), Accepted)
            assert await home.shown() == ["look", "sorry"]

    async def test_uploads_that_are_refused_for_now_are_not_repeated_until_the_user_writes(self, home: House) -> None:
        refused = home.gateway.fault("getuploadurl", ret=-2)
        async with quiet_bot(home) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)

            async def waits() -> bool:
                known = await bot.outbox.receipt(sent.client_id)
                return isinstance(known, Deferred) and known.why is DeferredWhy.WINDOW

            await home.until(waits)
            assert (await bot.can_send(home.alice.user_id)).can_send, "texts have a breaker of their own"
            assert refused.hits == 1
            refused.remove()
            await home.alice.says("well?")
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)

    async def test_too_many_uploads_are_paused(self, home: House) -> None:
        limited = home.gateway.fault("getuploadurl", ret=-2, errmsg="freq limit", times=1)
        async with quiet_bot(home) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)

            async def waits() -> bool:
                known = await bot.outbox.receipt(sent.client_id)
                return isinstance(known, Deferred) and known.why is DeferredWhy.RATE

            await home.until(waits)
            assert limited.hits == 1
            home.clock.ahead_ms += 31_000
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)

    @pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
    async def test_a_damaged_copy_is_not_sent(self, home: House, damage: str) -> None:
        closed = home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home) as bot:
            await bot.send(home.alice.user_id, "first")
            sent = await bot.send_media(home.alice.user_id, PNG)
            await home.until(lambda: _is(closed.hits == 1))
            (copy,) = home.spooled()
            match damage:
                case "cut":
                    copy.write_bytes(PNG[:-1])
                case "changed":
                    copy.write_bytes(PNG[:-1] + bytes([PNG[-1] ^ 1]))
                case _:
                    copy.unlink()
            closed.remove()
            await home.alice.says("well?")
            receipt = await bot.outbox.receipt(sent.client_id, wait=20)
            assert isinstance(receipt, Rejected)
            assert "copy" in receipt.reason
            assert ("not on this machine" in receipt.reason) == (damage == "gone")
            assert await home.shown() == ["first"]


class TestKeeping:
    async def test_a_full_disk_is_told_to_the_handler_and_nothing_is_stored(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_self: PartialFile) -> None:
            raise StoreError(os.strerror(errno.ENOSPC))

        monkeypatch.setattr(PartialFile, "sync", full)
        async with quiet_bot(home) as bot:
            with pytest.raises(StoreError, match="space"):
                await bot.send_media(home.alice.user_id, PNG, caption="look")
            assert (await bot.counts()).outgoing == 0
            assert home.spooled() == []
            assert await home.shown() == []

    async def test_a_disk_that_is_full_while_a_stream_is_taken_is_a_typed_error(
        self, home: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield PNG
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        async with quiet_bot(home) as bot:
            with pytest.raises(StoreError, match="space"):
                await bot.send_media(home.alice.user_id, broken())
            assert home.spooled() == []

    async def test_what_waits_is_bounded(self, home: House) -> None:
        home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home, replace(FAST, spool_bytes=120_000)) as bot:
            for _ in range(2):
                await bot.send_media(home.alice.user_id, os.urandom(50_000))
            with pytest.raises(StoreError, match="120000"):
                await bot.send_media(home.alice.user_id, os.urandom(50_000))
            assert len(home.spooled()) == 2
            assert (await bot.counts()).outgoing == 2

    async def test_what_cannot_be_read_is_told_at_once(
        self, home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with quiet_bot(home) as bot:
            with pytest.raises(MediaError, match="nowhere"):
                await bot.send_media(home.alice.user_id, tmp_path / "nowhere.png")
            monkeypatch.setattr(outgoing_files, "MAX_BYTES", 10)
            with pytest.raises(TooLargeError):
                await bot.send_media(home.alice.user_id, PNG)
            assert (await bot.counts()).outgoing == 0

    async def test_copies_that_no_message_needs_are_swept_away_when_a_bot_begins(self, home: House) -> None:
        home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)
        orphan, young = home.folder / "spool" / "ilink-orphan", home.folder / "spool" / "ilink-young"
        part = home.folder / "spool" / ".ilink-part.1.part"
        for path in (orphan, young, part):
            path.write_bytes(b"x")
        for path in (orphan, part, home.folder / "spool" / sent.client_id):
            os.utime(path, (1, 1))
        async with quiet_bot(home):
            await home.until(lambda: _is(not orphan.exists() and not part.exists()))
            assert {path.name for path in home.spooled()} == {young.name, sent.client_id}


class TestResuming:
    async def test_a_reference_that_is_stored_is_used_after_a_restart(self, home: House) -> None:
        uploads = home.watch_uploads()
        closed = home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)
            await home.until(lambda: _is(closed.hits == 1))
        row = await home.row(sent.client_id)
        assert row.draft.item
        assert row.uploaded_ms is not None
        closed.remove()
        async with quiet_bot(home) as bot:
            await home.alice.says("well?")
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)
        assert uploads.hits == 1
        assert await bytes_of(home) == PNG

    async def test_a_link_that_ran_out_is_made_anew(self, home: House) -> None:
        uploads = home.watch_uploads()
        closed = home.gateway.fault("sendmessage", ret=-2, errmsg="prepare failed")
        async with quiet_bot(home, replace(FAST, expire_seconds=1e6)) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)
            await home.until(lambda: _is(closed.hits == 1))
        closed.remove()
        home.clock.ahead_ms += 21 * 3_600_000
        async with quiet_bot(home) as bot:
            await home.alice.says("well?")
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)
        assert uploads.hits == 2

    async def test_an_upload_that_was_cut_off_is_begun_again(self, home: House) -> None:
        stuck = home.gateway.fault("cdn_upload", hang=True)
        async with quiet_bot(home, replace(FAST, stop_seconds=0.2)) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)
            await home.until(lambda: _is(stuck.hits == 1))
        assert not (await home.row(sent.client_id)).draft.item
        stuck.remove()
        async with quiet_bot(home) as bot:
            assert isinstance(await bot.outbox.receipt(sent.client_id, wait=20), Accepted)
        assert await bytes_of(home) == PNG

    async def test_a_file_that_asks_keeps_its_copy_until_it_is_decided(self, home: House) -> None:
        home.gateway.fault("sendmessage", reset="before", times=1)
        async with quiet_bot(home, replace(FAST, on_unknown=OnUnknown.ASK)) as bot:
            sent = await bot.send_media(home.alice.user_id, PNG)
            await home.until_state(sent.client_id, OutboxState.ASKED)
            assert len(home.spooled()) == 1
            entry = await bot.outbox.drop(sent.client_id)
            assert isinstance(entry.receipt, Unknown)
            assert entry.text == "image.png"
            assert home.spooled() == []


def home_bot_with_handler(home: House) -> Bot:
    bot = home.bot()

    @bot.on_any()
    async def listen(message: Message) -> None:
        return

    return bot


async def _is(value: object) -> bool:
    return bool(value)
