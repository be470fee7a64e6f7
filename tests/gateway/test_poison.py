"""Odd messages of protocol §4 and §8.1 through the gateway: our client and bot survive, keep and report them."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ilink import Account, AccountId, Bot, Client, Cursor, Message, Secret, UserId
from ilink.messages.incoming import read_update
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.testing import LocalGateway, Person

TEXT = {"type": 1, "text_item": {"text": "hi"}}
AGES = {"create_time_ms": 1790000000123, "update_time_ms": 1790000000123, "is_completed": True}
POINTER = {"encrypt_query_param": "ZXFw", "aes_key": "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY="}


def quoting(reference: object) -> list[dict[str, Any]]:
    return [{**TEXT, "ref_msg": reference}]


HANDLED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "no items": ([], {}),
    "items null": ([TEXT], {"item_list": None}),
    "items an object": ([TEXT], {"item_list": {"0": TEXT}}),
    "items with null": ([TEXT], {"item_list": [None, TEXT, 7, "text", [TEXT]]}),
    "an empty item": ([{}], {}),
    "an item without its payload": ([{"type": 1}], {}),
    "an item of type 0": ([{"type": 0, **AGES}], {}),
    "an item of type 8": ([{"type": 8, **AGES}], {}),
    "an item of type 99 with a payload": ([{"type": 99, "hologram_item": {"depth": 3}}], {}),
    "an item whose type is a text": ([{"type": "1", "text_item": {"text": "hi"}}], {}),
    "an item whose type is null": ([{"type": None, "text_item": {"text": "hi"}}], {}),
    "a tool item": ([{"type": 11, "tool_call_start_item": {"tool_name": "search", "tool_call_id": "t1"}}], {}),
    "a tool result of unknown status": ([{"type": 12, "tool_call_result_item": {"status": "exploded"}}], {}),
    "several texts": ([TEXT, TEXT], {}),
    "a text that is null": ([{"type": 1, "text_item": {"text": None}}], {}),
    "a text that is a number": ([{"type": 1, "text_item": {"text": 5}}], {}),
    "a text item that is a text": ([{"type": 1, "text_item": "hi"}], {}),
    "half a surrogate pair": ([{"type": 1, "text_item": {"text": "a\ud83d b\udc00"}}], {}),
    "nul and direction marks": ([{"type": 1, "text_item": {"text": "\x00\u202e\u2066\ufeff"}}], {}),
    "a text of a megabyte": ([{"type": 1, "text_item": {"text": "x" * 2**20}}], {}),
    "buttons nobody knows": ([{**TEXT, "button_item_list": [{"id": 1}, None]}], {}),
    "deep nesting": ([{"type": 1, "text_item": {"text": "hi"}, "extra": json.loads("[" * 200 + "]" * 200)}], {}),
    "a picture with sizes as texts": ([{"type": 2, "image_item": {"media": POINTER, "mid_size": "20496"}}], {}),
    "a picture without media": ([{"type": 2, "image_item": {"mid_size": 1}}], {}),
    "a picture whose media is null": ([{"type": 2, "image_item": {"media": None, "aeskey": None}}], {}),
    "a picture with a broken key": ([{"type": 2, "image_item": {"media": {**POINTER, "aes_key": "&&&"}}}], {}),
    "a voice without a recording": ([{"type": 3, "voice_item": {"text": "on my way", "encode_type": 4}}], {}),
    "a voice of unknown encoding": ([{"type": 3, "voice_item": {"media": POINTER, "encode_type": 77}}], {}),
    "a file whose len is a number": ([{"type": 4, "file_item": {"media": POINTER, "len": 14}}], {}),
    "a file named like a path": ([{"type": 4, "file_item": {"media": POINTER, "file_name": "../../etc/passwd"}}], {}),
    "a video of negative length": ([{"type": 5, "video_item": {"media": POINTER, "play_length": -7.5}}], {}),
    "a quote of type 0": (quoting({"message_item": {"type": 0, "msg_id": "75", "button_item_list": [], **AGES}}), {}),
    "a quote of type 8": (quoting({"message_item": {"type": 8, **AGES}}), {}),
    "a quote by id alone": (quoting({"svr_id": "7512000000000000101"}), {}),
    "a quote by a numeric id": (quoting({"svr_id": 7512000000000000101}), {}),
    "a quote of words that are not there": (
        quoting({"svr_id": "7", "partial_text": {"start": "b", "end": "a", "startindex": -1, "endindex": 2**70}}),
        {},
    ),
    "a quote that is null": (quoting(None), {}),
    "a quote that is a text": (quoting("quoted"), {}),
    "an empty quote": (quoting({}), {}),
    "a quote in a voice": ([{"type": 3, "voice_item": {"text": "yes"}, "ref_msg": {"message_item": TEXT}}], {}),
    "a message id as text": ([TEXT], {"message_id": "7497484083968569736"}),
    "a message id of 64 bits": ([TEXT], {"message_id": 2**64 - 1}),
    "a message id beyond 64 bits": ([TEXT], {"message_id": 2**80}),
    "a negative message id": ([TEXT], {"message_id": -1}),
    "a message id with a fraction": ([TEXT], {"message_id": 7.5e18}),
    "a message id of 0": ([TEXT], {"message_id": 0}),
    "a message id that is null": ([TEXT], {"message_id": None}),
    "a message id that is a list": ([TEXT], {"message_id": [1]}),
    "a seq as text": ([TEXT], {"seq": "41"}),
    "a client id that is a number": ([TEXT], {"client_id": 77}),
    "times as texts": ([TEXT], {"create_time_ms": "soon", "update_time_ms": None, "delete_time_ms": -1}),
    "times beyond the calendar": ([TEXT], {"create_time_ms": 2**62}),
    "an unknown type": ([TEXT], {"message_type": 9}),
    "an unfinished state": ([TEXT], {"message_state": 1}),
    "an unknown state": ([TEXT], {"message_state": 99}),
    "a context token that is null": ([TEXT], {"context_token": None}),
    "a context token that is a number": ([TEXT], {"context_token": 5}),
    "an empty context token": ([TEXT], {"context_token": ""}),
    "a group id": ([TEXT], {"group_id": "12345@chatroom"}),
    "a group id that is a number": ([TEXT], {"group_id": 5}),
    "a type of nothing": ([TEXT], {"message_type": 0}),
    "a type that is a text": ([TEXT], {"message_type": "1"}),
    "a type and a state that are null": ([TEXT], {"message_type": None, "message_state": None}),
    "a new state": ([TEXT], {"message_state": 0}),
    "a message to another bot": ([TEXT], {"to_user_id": "0badc0ffee42@im.bot"}),
    "a message to nobody": ([TEXT], {"to_user_id": None}),
    "a run and a numeric session": ([TEXT], {"session_id": 7, "run_id": "3f0c2b1e-2f55-4c58-9f9b-0d6a3a9be001"}),
    "a message id only on its item": ([{**TEXT, "msg_id": "7512000000000000100"}], {"message_id": None}),
    "a numeric id on its item": ([{**TEXT, "msg_id": 7512000000000000100}], {"message_id": 0}),
    "a time of deletion": ([TEXT], {"delete_time_ms": 1790000000999}),
    "a text and a voice": ([TEXT, {"type": 3, "voice_item": {"text": "yes"}}], {}),
    "a payload of another kind": ([{"type": 2, "text_item": {"text": "hi"}}], {}),
    "two payloads": ([{**TEXT, "image_item": {"media": POINTER}}], {}),
    "a picture by its address alone": ([{"type": 2, "image_item": {"media": {"full_url": "http://[::1"}}}], {}),
    "a picture with a numeric key": ([{"type": 2, "image_item": {"media": {**POINTER, "aes_key": 5}}}], {}),
    "a picture of unknown encryption": ([{"type": 2, "image_item": {"media": {**POINTER, "encrypt_type": 9}}}], {}),
    "a voice with a size": ([{"type": 3, "voice_item": {"media": POINTER, "size": 2380, "encode_type": 4}}], {}),
    "a file without a name": ([{"type": 4, "file_item": {"media": POINTER, "file_name": None, "len": ""}}], {}),
    "a file of negative length": ([{"type": 4, "file_item": {"media": POINTER, "len": "-1", "md5": 5}}], {}),
    "a video whose small picture is null": ([{"type": 5, "video_item": {"media": POINTER, "thumb_media": None}}], {}),
    "a quote with a time alone": (quoting({"message_item": {"create_time_ms": 1790000000123}}), {}),
    "a quoted picture without its data": (quoting({"message_item": {**AGES, "msg_id": "75"}, "title": None}), {}),
    "a quote of a list of items": (quoting({"message_item": [{"type": 8, **AGES}, TEXT]}), {}),
    "a quote of a quote": (quoting({"message_item": {**TEXT, "ref_msg": {"svr_id": "75"}}}), {}),
    "a quote of type 99": (quoting({"message_item": {"type": 99, "hologram_item": {}}}), {}),
    "a quote with a wrong checksum": (
        quoting({"svr_id": "75", "partial_text": {"start": "h", "end": "i", "quotemd5": "nothing"}}),
        {},
    ),
    "a quote of nothing selected": (quoting({"svr_id": "75", "partial_text": {"start": "", "end": None}}), {}),
    "a quote whose selection is a text": (quoting({"svr_id": "75", "partial_text": "beta"}), {}),
    "fields nobody knows": ([TEXT], {"room_id": None, "msg_type": "text", "a.b": {"c": [1, 2.5, None, True]}}),
}
"""Messages that a handler is to see, whatever it makes of them: items, and fields that differ."""

SET_ASIDE: dict[str, tuple[dict[str, Any], int, str]] = {
    "no sender": ({"from_user_id": ""}, 2, "it names no sender"),
    "a sender that is null": ({"from_user_id": None}, 2, "it names no sender"),
    "a sender that is an object": ({"from_user_id": {"id": 1}}, 2, "it names no sender"),
    "the bot's own message": ({"message_type": 2}, 3, "it is the bot's own"),
}
"""Messages that no handler is to see: fields, the state in the journal (2 dead, 3 ignored), and why."""


async def sign_in(gateway: LocalGateway, person: Person) -> Account:
    async with Client(base_url=gateway.api_url) as client:
        code = await client.get_qr_code()
        await person.befriend(code.qrcode)
        report = await client.get_login_status(code.qrcode)
    assert report.token is not None
    return Account(
        account_id=AccountId(report.account_id or ""),
        token=Secret(report.token),
        base_url=gateway.api_url,
        owner_id=UserId(report.owner_id or ""),
    )


class Taker:
    """A bot that notes what it is given and answers `ping`, and the journal behind it."""

    def __init__(self, gateway: LocalGateway, person: Person, folder: Path) -> None:
        self.gateway, self.person, self.folder = gateway, person, folder
        self.taken: list[Message] = []
        self.bot = Bot(data=folder, base_url=gateway.api_url, allow="anyone")
        self.bot.on_any()(self.take)

    async def take(self, message: Message) -> None:
        if message.text == "ping":
            await message.reply("pong")
            return
        self.taken.append(message)
        # A handler looks at everything; nothing of it may raise.
        _ = (message.quote, message.sent_at, message.key, message.id, repr(message), message.items)

    async def login(self, accounts: Accounts) -> StoredAccount:
        return await accounts.put(await sign_in(self.gateway, self.person))

    async def give(self, items: list[Any], fields: dict[str, Any]) -> None:
        """Let the bot run, send it a message, and wait until it answers another one."""
        begun = asyncio.Event()
        self.bot.on_state(lambda _: begun.set())
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.bot.serve(login=self.login))
            await begun.wait()
            assert self.person.bot_id is not None
            await self.held(self.person.bot_id)
            await self.gateway.rules.post_message(self.person.user_id, self.person.bot_id, items=items, fields=fields)
            await self.person.says("ping")
            assert await self.person.hears(timeout=5) == "pong"
            assert not task.done()
            self.bot.stop()

    async def held(self, bot_id: AccountId) -> None:
        """Wait until the bot's poll is."""
        while True:
            if (await self.gateway.rules.bot(bot_id)).waiting_polls:
                return
            await asyncio.sleep(0)

    def journal(self) -> list[tuple[int, str | None, bytes]]:
        """Return state, error and bytes of every message in the journal."""
        with sqlite3.connect(self.folder / "ilink.db") as db:
            rows = db.execute("SELECT state, error, raw FROM inbox ORDER BY seq").fetchall()
        db.close()
        return rows


@pytest.fixture
async def taker(ilink_gateway: LocalGateway, tmp_path: Path) -> Taker:
    return Taker(ilink_gateway, await ilink_gateway.person("alice"), tmp_path)


@pytest.mark.parametrize("name", HANDLED)
async def test_the_bot_takes_and_keeps(taker: Taker, name: str, caplog: pytest.LogCaptureFixture) -> None:
    items, fields = HANDLED[name]
    await taker.give(items, fields)
    assert len(taker.taken) == 1
    poison, ping = taker.journal()
    assert (poison[0], ping[0]) == (1, 1)
    sent = (await taker.gateway.rules.transcript(taker.person.bot_id, taker.person.user_id))[0]  # type: ignore[arg-type]
    assert sent.state == "acked"
    assert taker.taken[0].raw == poison[2]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("name", SET_ASIDE)
async def test_the_bot_sets_aside_and_says_why(taker: Taker, name: str) -> None:
    fields, state, why = SET_ASIDE[name]
    await taker.give([TEXT], fields)
    assert taker.taken == []
    poison, ping = taker.journal()
    assert (poison[0], ping[0]) == (state, 1)
    assert why in (poison[1] or "")
    assert json.loads(poison[2])["item_list"] == [TEXT]


async def test_the_client_hands_on_every_byte_of_it_in_one_batch(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    account = await sign_in(ilink_gateway, alice)
    await ilink_gateway.rules.configure(knobs={"limits.batch_messages": 1000, "limits.batch_bytes": 2**24})
    poisons = [*HANDLED.values(), *(([TEXT], fields) for fields, _, _ in SET_ASIDE.values())]
    for items, fields in poisons:
        await ilink_gateway.rules.post_message(alice.user_id, account.account_id, items=items, fields=fields)
    async with Client(account) as client:
        batch = await client.get_updates(Cursor(""))
    assert len(batch.updates) == len(poisons)
    for raw, (items, fields) in zip(batch.updates, poisons, strict=True):
        message = json.loads(raw)
        if items != HANDLED["half a surrogate pair"][0]:  # which is no text; the client replaces its halves
            assert message["item_list"] == fields.get("item_list", items)
        assert {name: message[name] for name in fields} == fields
        assert read_update(raw) is not None


@pytest.mark.parametrize(
    ("omitted", "kept"),
    [
        (["ret"], 2),
        (["msgs"], 1),  # the cursor goes on without what it should have brought
        (["get_updates_buf"], 2),
        (["ret", "msgs", "get_updates_buf"], 2),
    ],
)
async def test_the_bot_survives_answers_without(taker: Taker, omitted: list[str], kept: int) -> None:
    fault = taker.gateway.fault("getupdates", omit=omitted, times=1)
    await taker.give([TEXT], {})
    assert fault.hits == 1
    assert [state for state, _, _ in taker.journal()] == [1] * kept
