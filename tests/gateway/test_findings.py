"""Each finding is found where the client sins, and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from fault_house import CIPHER, FaultHouse, open_fault_house
from gateway_house import OFFICIAL_HEADERS
from test_must_accept import upload

from ilink.gateway.cursors import write_cursor
from ilink.gateway.findings import FINDINGS
from ilink.gateway.linter import AT_ONCE
from ilink.wire.cipher import Encryptor, ciphertext_size
from ilink.wire.keys import MediaKey

SOURCE = Path(__file__).parents[2] / "src" / "ilink" / "gateway"
KEY_HEX = "00112233445566778899aabbccddeeff"
FORM_A = base64.b64encode(bytes.fromhex(KEY_HEX)).decode()
FORM_B = base64.b64encode(KEY_HEX.encode()).decode()


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[FaultHouse]:
    async with open_fault_house(tmp_path, "memory") as there:
        await there.house.knobs(poll__error_delay_ms=0, poll__hold_ms=0)
        there.house.gateway.wire.clear()
        yield there


def found(there: FaultHouse) -> set[str]:
    return {code for entry in there.house.gateway.wire_log() for code in entry.findings}


async def token(there: FaultHouse) -> str:
    """Let alice write and the bot acknowledge it; return the context token to echo."""
    await there.says("hi")
    (message,) = (await there.bot.poll())["msgs"]
    await there.bot.poll()
    return message["context_token"]


async def send(there: FaultHouse, **fields: object) -> dict[str, object]:
    if "context_token" not in fields:
        fields["context_token"] = await token(there)
    return await there.bot.send(there.alice, **fields)


async def without_header(there: FaultHouse, name: str) -> None:
    there.bot.headers = {key: value for key, value in OFFICIAL_HEADERS.items() if key.lower() != name}
    await there.bot.call("getconfig", {"ilink_user_id": there.alice})


async def with_token(there: FaultHouse, bearer: str) -> None:
    there.bot.token = bearer
    await there.bot.call("getconfig", {"ilink_user_id": there.alice})


async def polls_with(there: FaultHouse, seq: int, *, of: int = 0) -> None:
    await token(there)
    bot = await there.house.gateway._bots.get(there.bot.bot_id)
    key = there.house.gateway.state.cursor_key
    await there.poll(write_cursor(key, bot=bot.number + of, generation=bot.generation, seq=seq))


async def polls_after_forgetting(there: FaultHouse) -> None:
    await token(there)
    await there.poll("")


async def polls_twice_at_once(there: FaultHouse) -> None:
    await there.house.knobs(poll__hold_ms=10_000)
    first = there.bot.begin_poll()
    await there.house.held(there.bot)
    second = there.bot.begin_poll()
    await first.answer()
    await there.says("hi")
    await second.answer()


async def polls_with_a_dead_token(there: FaultHouse) -> None:
    await there.house.gateway.expire_bot(there.bot.bot_id)
    for _ in range(3):
        await there.poll()


async def repeats_what_fails(there: FaultHouse) -> None:
    for _ in range(4):
        await there.bot.call("getconfig", {})


async def echoes_an_old_token(there: FaultHouse) -> None:
    first = await token(there)
    await token(there)
    await send(there, context_token=first)


async def sends_eleven(there: FaultHouse) -> None:
    context_token = await token(there)
    for n in range(11):
        await send(there, text=f"number {n}", context_token=context_token)


async def repeats_a_client_id(there: FaultHouse) -> None:
    context_token = await token(there)
    for _ in range(2):
        await send(there, client_id="c-1", context_token=context_token)


def item(reference: str, key: str = FORM_B, size: int = 16) -> list[dict[str, object]]:
    media = {"encrypt_query_param": reference, "aes_key": key, "encrypt_type": 1}
    return [{"type": 2, "image_item": {"media": media, "mid_size": size}}]


async def reference(there: FaultHouse) -> str:
    return (await there.upload()).headers["x-encrypted-param"]


async def sends_media(there: FaultHouse, **how: object) -> None:
    await send(there, item_list=item(await reference(there), **how))  # type: ignore[arg-type]


async def uses_the_permission_as_a_reference(there: FaultHouse) -> None:
    answer = await there.bot.call("getuploadurl", upload(there.alice))
    await send(there, item_list=item(answer["upload_param"]))


async def sends_a_file_of_another_size(there: FaultHouse) -> None:
    media = {"encrypt_query_param": await reference(there), "aes_key": FORM_B}
    await send(there, item_list=[{"type": 4, "file_item": {"media": media, "file_name": "a", "len": "99"}}])


async def two_items(there: FaultHouse) -> None:
    text = {"type": 1, "text_item": {"text": "hi"}}
    await send(there, item_list=[text, text])


async def types_with_any_ticket(there: FaultHouse) -> None:
    await there.bot.call("sendtyping", {"ilink_user_id": there.alice, "typing_ticket": "made up", "status": 1})


async def puts(there: FaultHouse) -> None:
    await there.call("PUT", f"/c2c/upload?{await there.permission()}", CIPHER, {})


def encrypted(plain: bytes) -> bytes:
    encryptor = Encryptor(MediaKey(bytes.fromhex(KEY_HEX)))
    return bytes(encryptor.update(plain)) + bytes(encryptor.finish())


async def refused(there: FaultHouse, *, data: bytes) -> None:
    await there.house.knobs(cdn__verify="full")
    assert (await there.upload(data=data)).status == 400


async def shows_a_large_file_that_is_another(there: FaultHouse) -> None:
    size = AT_ONCE + 1
    sizes = {"rawsize": size, "filesize": ciphertext_size(size), "rawfilemd5": "0" * 32, "media_type": 3}
    answer = await there.bot.call("getuploadurl", upload(there.alice, **sizes))
    query = f"encrypted_query_param={quote(answer['upload_param'], safe='')}&filekey=00112233445566778899aabbccddeeff"
    param = (await there.upload(query, encrypted(bytes(size)))).headers["x-encrypted-param"]
    assert found(there) == set()
    media = {"encrypt_query_param": param, "aes_key": FORM_B}
    item = {"type": 4, "file_item": {"media": media, "file_name": "a", "len": str(size)}}
    await send(there, item_list=[item])


Sin = Callable[[FaultHouse], Awaitable[object]]

SINS: list[tuple[str, Sin]] = [
    *(
        (f"header_missing:{name}", lambda there, name=name: without_header(there, name))
        for name in (
            "authorizationtype",
            "ilink-app-id",
            "ilink-app-clientversion",
            "x-wechat-uin",
        )
    ),
    ("token_missing", lambda there: with_token(there, "")),
    ("token_unknown", lambda there: with_token(there, "nobody@im.bot:secret")),
    ("cursor_unreadable", lambda there: there.poll("made up")),
    ("cursor_foreign", lambda there: polls_with(there, 1, of=1)),
    ("cursor_old_generation", lambda there: polls_with(there, 99)),
    ("cursor_reused", lambda there: polls_with(there, 1)),
    ("cursor_lost", polls_after_forgetting),
    ("two_pollers", polls_twice_at_once),
    ("stale_loop", polls_with_a_dead_token),
    ("retry_storm", repeats_what_fails),
    ("context_token_missing", lambda there: send(there, context_token="")),
    ("context_token_unknown", lambda there: send(there, context_token="AARzJWAFmade-up")),
    ("context_token_old", echoes_an_old_token),
    ("sends_over_ten", sends_eleven),
    ("message_incomplete", lambda there: send(there, message_state=...)),
    ("several_items", two_items),
    ("client_id_repeated", repeats_a_client_id),
    ("typing_ticket_invalid", types_with_any_ticket),
    ("media_key_form", lambda there: sends_media(there, key=FORM_A)),
    ("media_key_form", lambda there: sends_media(there, key=KEY_HEX)),
    ("media_reference_unknown", uses_the_permission_as_a_reference),
    ("media_size_mismatch", lambda there: sends_media(there, size=14)),
    ("media_size_mismatch", sends_a_file_of_another_size),
    ("aeskey_not_hex", lambda there: there.bot.call("getuploadurl", upload(there.alice, aeskey=FORM_A))),
    (
        "filesize_is_not_the_padded_rawsize",
        lambda there: there.bot.call("getuploadurl", upload(there.alice, filesize=17)),
    ),
    ("upload_size_mismatch", lambda there: there.upload(data=CIPHER + b"more")),
    ("upload_undecryptable", lambda there: there.upload(data=bytes(16))),
    ("upload_undecryptable", lambda there: refused(there, data=bytes(16))),
    ("upload_rawsize_mismatch", lambda there: there.upload(data=encrypted(b"thirteen byte"))),
    ("upload_md5_mismatch", lambda there: there.upload(data=encrypted(b"other 14 bytes"))),
    ("upload_md5_mismatch", lambda there: refused(there, data=encrypted(b"other 14 bytes"))),
    ("upload_md5_mismatch", shows_a_large_file_that_is_another),
    ("upload_by_put", puts),
]


@pytest.mark.parametrize(("code", "sin"), SINS, ids=[f"{n}-{code}" for n, (code, _) in enumerate(SINS)])
async def test_a_sin_is_found_and_nothing_else(there: FaultHouse, code: str, sin: Sin) -> None:
    await sin(there)
    assert found(there) == {code}


def test_every_finding_has_a_sin_and_every_code_of_the_rules_is_in_the_table() -> None:
    assert {code for code, _ in SINS} == set(FINDINGS)
    written = set[str]()
    for path in SOURCE.rglob("*.py"):
        for group in re.findall(r"findings ?\+?= ?\(([^()]*)\)", path.read_text("utf-8")):
            written |= set(re.findall(r'"([a-z_]+)"', group))
    assert written - set(FINDINGS) == set()


async def test_a_clean_client_is_found_to_do_nothing_wrong(there: FaultHouse) -> None:
    await there.bot.call("msg/notifystart", {})
    for n in range(3):
        context_token = await token(there)
        config = await there.bot.call("getconfig", {"ilink_user_id": there.alice, "context_token": context_token})
        typing = {"ilink_user_id": there.alice, "typing_ticket": config["typing_ticket"], "status": 1}
        await there.bot.call("sendtyping", typing)
        await send(there, text=f"answer {n}", context_token=context_token)
    await sends_media(there)
    await there.download(await reference(there))
    await there.bot.call("msg/notifystop", {})
    assert found(there) == set()


async def test_failures_with_pauses_between_are_no_storm(there: FaultHouse) -> None:
    for _ in range(6):
        await there.bot.call("getconfig", {})
        await there.house.gateway.advance_clock(1)
    await there.bot.call("getconfig", {"ilink_user_id": there.alice})
    assert found(there) == set()


async def test_failures_of_one_call_between_successes_are_no_storm(there: FaultHouse) -> None:
    for _ in range(6):
        await there.bot.call("getconfig", {})
        await there.bot.call("getconfig", {"ilink_user_id": there.alice})
        await repeats_nothing(there)
    assert "retry_storm" not in found(there)


async def repeats_nothing(there: FaultHouse) -> None:
    await there.house.gateway.advance_clock(1)


async def test_a_storm_of_resets_and_statuses_is_one_too(there: FaultHouse) -> None:
    there.fault(endpoint="notifystart", reset="before", times=2)
    there.fault(endpoint="notifystart", http_status=503)
    for _ in range(4):
        await there.post("msg/notifystart", {})
    assert [entry.findings for entry in there.house.gateway.wire_log()] == [[], [], [], ["retry_storm"]]


async def test_a_client_id_may_come_again_when_its_answer_was_lost(there: FaultHouse) -> None:
    context_token = await token(there)
    message = there.bot.message(there.alice, context_token=context_token)
    there.fault(endpoint="sendmessage", reset="after_effect", times=1)
    assert (await there.post("sendmessage", message)).status is None
    assert (await there.post("sendmessage", message)).json["ret"] == 0
    assert found(there) == set()


async def test_a_cursor_that_the_gateway_lost_is_not_the_clients_fault(there: FaultHouse) -> None:
    await token(there)
    there.fault(endpoint="getupdates", lose_cursor=True, times=1)
    await there.poll()
    await there.poll("")
    assert found(there) == set()


async def test_an_answer_to_an_older_message_is_no_sin_while_the_newer_is_unread(there: FaultHouse) -> None:
    context_token = await token(there)
    await there.says("one more")
    await send(there, context_token=context_token)
    assert found(there) == set()


async def test_why_a_call_was_refused_is_said_beside_it(there: FaultHouse) -> None:
    await there.house.gateway.expire_bot(there.bot.bot_id)
    await there.bot.call("getconfig", {"ilink_user_id": there.alice})
    (entry,) = there.house.gateway.wire_log()
    assert (entry.why, entry.findings) == ("the bot was expired", [])


async def test_a_reset_forgets_who_failed(there: FaultHouse) -> None:
    await asyncio.gather(*(there.call("POST", "/ilink/bot/getconfig", b"{}", {}) for _ in range(3)))
    await there.house.gateway.reset(7)
    await there.call("POST", "/ilink/bot/getconfig", b"{}", OFFICIAL_HEADERS)
    assert found(there) == {"token_missing"}


async def test_what_a_fault_made_of_an_upload_is_not_held_against_the_client(there: FaultHouse) -> None:
    there.fault(endpoint="cdn_upload", corrupt=True)
    assert (await there.upload()).status == 200
    assert found(there) == set()
