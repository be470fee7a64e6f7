"""Every line of the short reference that the protocol is known by publicly, spoken word for word to our gateway.

`seed.txt` is that reference; a line `# test_…` in it names the fact that covers the lines below it.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from ilink.errors import RequestRejectedError, StaleTokenError
from ilink.storage.accounts_sqlite import SqliteAccounts
from ilink.testing import LocalGateway, Person
from ilink.wire.accounts import Account
from ilink.wire.cipher import decrypt, encrypt
from ilink.wire.codec import decode
from ilink.wire.endpoints import CDN_BASE_URL, DEFAULT_BASE_URL
from ilink.wire.enums import ItemType
from ilink.wire.headers import app_headers, post_headers
from ilink.wire.ids import AccountId, Secret, UserId
from ilink.wire.keys import MediaKey, read_key
from ilink.wire.models import Answer
from ilink.wire.results import read_result

SEED = Path(__file__).with_name("seed.txt").read_text("utf-8").splitlines()
BASE_INFO = {"channel_version": "1.0.0"}


@dataclass
class Bot:
    """A program that does what the reference says and knows nothing else."""

    gateway: LocalGateway
    http: aiohttp.ClientSession
    token: str = ""
    credentials: dict = field(default_factory=dict)

    async def get(self, path: str, headers: dict[str, str] | None = None) -> dict:
        async with self.http.get(self.gateway.api_url + path, headers=headers) as answer:
            assert answer.status == 200
            return json.loads(await answer.read())

    async def post(self, name: str, body: dict) -> dict:
        headers = {
            "Content-Type": "application/json",
            "AuthorizationType": "ilink_bot_token",
            "Authorization": f"Bearer {self.token}",
            "X-WECHAT-UIN": base64.b64encode(str(secrets.randbits(32)).encode()).decode(),
        }
        url = f"{self.gateway.api_url}/ilink/bot/{name}"
        async with self.http.post(url, json={**body, "base_info": BASE_INFO}, headers=headers) as answer:
            assert answer.status == 200
            return json.loads(await answer.read())

    async def sign_in(self, person: Person) -> None:
        code = await self.get("/ilink/bot/get_bot_qrcode?bot_type=3")
        await person.befriend(code["qrcode"])
        path = f"/ilink/bot/get_qrcode_status?qrcode={code['qrcode']}"
        self.credentials = await self.get(path, {"iLink-App-ClientVersion": "1"})
        self.token = self.credentials["bot_token"]


@pytest.fixture
async def gateway() -> AsyncIterator[LocalGateway]:
    async with LocalGateway() as gateway:
        yield gateway


@pytest.fixture
async def alice(gateway: LocalGateway) -> Person:
    return await gateway.person("alice")


@pytest.fixture
async def visitor(gateway: LocalGateway) -> AsyncIterator[Bot]:
    """A bot that has not signed in."""
    async with aiohttp.ClientSession() as http:
        yield Bot(gateway, http)


@pytest.fixture
async def bot(visitor: Bot, alice: Person) -> Bot:
    await visitor.sign_in(alice)
    return visitor


def test_every_line_belongs_to_a_fact_that_is_tested() -> None:
    facts = {line.removeprefix("# ") for line in SEED if line.startswith("# ")}
    tested = {name for name in globals() if name.startswith("test_")}
    assert SEED[0].startswith("# ")
    assert facts == tested - {"test_every_line_belongs_to_a_fact_that_is_tested"}


def test_base_urls_are_those_of_the_reference() -> None:
    assert f"Base URL: {DEFAULT_BASE_URL}" in SEED
    assert f"CDN URL: {CDN_BASE_URL}" in SEED


async def test_login_by_qr_code(visitor: Bot, alice: Person) -> None:
    code = await visitor.get("/ilink/bot/get_bot_qrcode?bot_type=3")
    assert code["qrcode"]
    assert code["qrcode_img_content"].startswith("http")
    path = f"/ilink/bot/get_qrcode_status?qrcode={code['qrcode']}"
    one = {"iLink-App-ClientVersion": "1"}
    assert (await visitor.get(path, one))["status"] == "wait"
    await alice.scans(code["qrcode"])
    assert (await visitor.get(path, one))["status"] == "scaned"
    await alice.befriend(code["qrcode"])
    confirmed = await visitor.get(path, one)
    assert confirmed["status"] == "confirmed"
    assert confirmed["ilink_bot_id"] == alice.bot_id
    assert confirmed["ilink_user_id"] == alice.user_id
    assert confirmed["baseurl"] == visitor.gateway.api_url
    assert confirmed["bot_token"]
    stale = await visitor.get("/ilink/bot/get_bot_qrcode?bot_type=3")
    await visitor.gateway.rules.expire_code(stale["qrcode"])
    assert (await visitor.get(f"/ilink/bot/get_qrcode_status?qrcode={stale['qrcode']}", one))["status"] == "expired"


def test_common_headers_of_all_posts() -> None:
    headers = post_headers("1.0.0", uin=1234, token=Secret("t"))
    others = app_headers("1.0.0").keys()
    assert {name: value for name, value in headers.items() if name not in others} == {
        "Content-Type": "application/json",
        "AuthorizationType": "ilink_bot_token",
        "Authorization": "Bearer t",
        "X-WECHAT-UIN": base64.b64encode(b"1234").decode(),
    }


async def test_updates_are_long_polled(bot: Bot, alice: Person) -> None:
    await alice.says("hello")
    first = await bot.post("getupdates", {"get_updates_buf": ""})
    assert first["ret"] == 0
    assert [message["item_list"][0]["text_item"]["text"] for message in first["msgs"]] == ["hello"]
    await bot.gateway.rules.configure(knobs={"poll.hold_ms": 0})
    second = await bot.post("getupdates", {"get_updates_buf": first["get_updates_buf"]})
    assert (second["ret"], second["msgs"]) == (0, [])
    assert second["get_updates_buf"]


async def test_an_expired_session_is_errcode_minus_14(bot: Bot, alice: Person) -> None:
    await bot.gateway.rules.configure(knobs={"poll.error_delay_ms": 0})
    assert alice.bot_id is not None
    await bot.gateway.rules.expire_bot(alice.bot_id)
    answer = await bot.post("getupdates", {"get_updates_buf": ""})
    assert answer["errcode"] == -14


async def test_a_message_is_sent(bot: Bot, alice: Person) -> None:
    await alice.says("hello")
    (message,) = (await bot.post("getupdates", {"get_updates_buf": ""}))["msgs"]
    body = {
        "from_user_id": "",
        "to_user_id": message["from_user_id"],
        "client_id": "0b1d2f1e-7a55-4c58-9f9b-0d6a3a9be001",
        "message_type": 2,
        "message_state": 2,
        "context_token": message["context_token"],
        "item_list": [{"type": 1, "text_item": {"text": "hello yourself"}}],
    }
    assert (await bot.post("sendmessage", {"msg": body}))["ret"] == 0
    assert await alice.hears() == "hello yourself"


async def test_typing_is_shown_with_a_ticket(bot: Bot, alice: Person) -> None:
    await alice.says("hello")
    ticket = (await bot.post("getconfig", {"ilink_user_id": alice.user_id}))["typing_ticket"]
    assert alice.bot_id is not None
    for status, is_typing in ((1, True), (2, False)):
        body = {"ilink_user_id": alice.user_id, "typing_ticket": ticket, "status": status}
        assert (await bot.post("sendtyping", body))["ret"] == 0
        assert bot.gateway.rules.typing(alice.bot_id, alice.user_id).typing is is_typing


async def test_media_is_uploaded_encrypted_and_downloaded_again(bot: Bot, alice: Person) -> None:
    plain, key = b"iLink probe 01", MediaKey(bytes(range(16)))
    ciphertext = encrypt(key, plain)
    filekey = secrets.token_hex(16)
    request = {
        "filekey": filekey,
        "media_type": 3,
        "to_user_id": alice.user_id,
        "rawsize": len(plain),
        "rawfilemd5": "0a1790440a3dc81dcc60221ba5fcff9c",
        "filesize": len(ciphertext),
        "aeskey": key.raw.hex(),
    }
    param = (await bot.post("getuploadurl", request))["upload_param"]
    upload = f"{bot.gateway.cdn_url}/upload"
    query = {"encrypted_query_param": param, "filekey": filekey}
    octets = {"Content-Type": "application/octet-stream"}
    async with bot.http.post(upload, params=query, data=ciphertext, headers=octets) as answer:
        assert answer.status == 200
        reference = answer.headers["x-encrypted-param"]
    download = f"{bot.gateway.cdn_url}/download"
    async with bot.http.get(download, params={"encrypted_query_param": reference}) as answer:
        assert decrypt(key, await answer.read()) == plain


def test_item_types_have_their_numbers() -> None:
    rows = [line.split("|")[1:3] for line in SEED if line.startswith("|") and line.split("|")[2].strip().isdigit()]
    assert {name.strip(): int(number) for name, number in rows} == {
        kind.name: kind.value for kind in ItemType if 1 <= kind <= 5
    }


def test_keys_are_read_in_all_formats() -> None:
    start = SEED.index("# test_keys_are_read_in_all_formats")
    rows = [line.split("|") for line in SEED[start:] if line.startswith(("| base64(", "| direct"))]
    assert len(rows) == 3
    for row in rows:
        assert read_key(row[2].strip())[0].raw == bytes.fromhex("00112233445566778899aabbccddeeff")


def test_error_codes_have_their_meaning() -> None:
    def read(body: bytes) -> object:
        return read_result("sendmessage", decode(body, Answer).value)

    assert read(b'{"ret":0}') is None
    assert isinstance(read(b'{"errcode":-14}'), StaleTokenError)
    assert isinstance(read(b'{"ret":-2,"errmsg":"msg required"}'), RequestRejectedError)


async def test_context_tokens_are_kept_per_account_and_user_across_restarts(tmp_path: Path) -> None:
    def account(bot: str, owner: str) -> Account:
        return Account(account_id=AccountId(bot), token=Secret("t"), base_url=DEFAULT_BASE_URL, owner_id=UserId(owner))

    alice, bob = UserId("alice@im.wechat"), UserId("bob@im.wechat")
    async with SqliteAccounts(tmp_path) as accounts:
        stored = await accounts.put(account("1@im.bot", "o1"))
        other = await accounts.put(account("2@im.bot", "o2"))
        await accounts.put_context_token(stored, alice, Secret("one"))
        await accounts.put_context_token(stored, bob, Secret("two"))
        await accounts.put_context_token(other, alice, Secret("three"))
    async with SqliteAccounts(tmp_path) as accounts:
        assert await accounts.context_token(AccountId("1@im.bot"), alice) == Secret("one")
        assert await accounts.context_token(AccountId("1@im.bot"), bob) == Secret("two")
        assert await accounts.context_token(AccountId("2@im.bot"), alice) == Secret("three")
        await accounts.put(account("3@im.bot", "o1"))
        assert await accounts.context_token(AccountId("1@im.bot"), alice) is None
        assert await accounts.context_token(AccountId("2@im.bot"), alice) == Secret("three")
