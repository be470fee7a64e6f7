"""For every knob, what a bot or a person sees of it: the same look with and without the knob must differ."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent

from gateway_house import BotClient, Exchange, House
from test_must_accept import upload

from ilink.gateway.http import ProtocolApp
from ilink.gateway.listeners import Listener
from ilink.gateway.problems import ConflictError, InvalidRequestError
from ilink.gateway.views import Quote
from ilink.wire.cipher import Encryptor
from ilink.wire.ids import AccountId
from ilink.wire.keys import MediaKey

sys.path.append(str(Path(__file__).parents[1] / "media"))

PLAIN = b"fourteen bytes"
KEY = MediaKey(bytes.fromhex("00112233445566778899aabbccddeeff"))
TOOL = {"type": 11, "tool_call_start_item": {"tool_name": "search", "tool_call_id": "t1"}}
TEXT = {"type": 1, "text_item": {"text": "hi"}}
VOICE = {"type": 3, "voice_item": {"playtime": 1}}


@dataclass
class Side:
    """A person and their bot, and a stranger with a bot of their own."""

    house: House
    person: str
    bot: BotClient
    stranger: str
    other: BotClient

    async def says(self, text: str = "hi") -> str:
        """Let the person write; return the message's id."""
        return (await self.house.gateway.post_message(self.person, self.bot.bot_id, text=text)).message_id

    async def sends(self, **fields: Any) -> dict[str, Any]:
        return await self.bot.send(self.person, **fields)

    async def polls(self, cursor: str = "") -> list[dict[str, Any]]:
        return (await self.bot.poll(cursor))["msgs"]

    async def token(self) -> str:
        """Return the context token of the newest message."""
        return (await self.polls())[-1]["context_token"]

    async def later(self, seconds: float) -> None:
        await self.house.gateway.advance_clock(seconds)

    async def shown(self) -> tuple[str, str]:
        """Return state and text of the newest message that the bot sent."""
        entries = await self.house.gateway.transcript(self.bot.bot_id, self.person)
        newest = [entry for entry in entries if entry.direction == "out"][-1]
        return newest.state, str(newest.items[0].text)

    async def code(self) -> str:
        """Return a code that the person has scanned."""
        qrcode = await self.house.qrcode()
        await self.house.gateway.scan(qrcode, self.person)
        return qrcode

    async def is_held(self, exchange: Exchange) -> bool:
        """Tell whether a request waits for more than a second while the clock stands still, and end it."""
        waiting = self.house.gateway.state.waiting
        await self.house.until(lambda: exchange.task.done() or len(waiting) > 0)
        await self.later(1)
        await self.house.until(lambda: exchange.task.done() or len(waiting) > 0)
        is_held = not exchange.task.done()
        await self.later(100)
        await exchange.answer()
        return is_held

    async def permission(self, **fields: object) -> str:
        answer = await self.bot.call("getuploadurl", upload(self.person, **fields))
        filekey = fields.get("filekey", "00112233445566778899aabbccddeeff")
        return f"encrypted_query_param={percent(answer['upload_param'], safe='')}&filekey={filekey}"

    async def uploads(self, permission: str | None = None, data: bytes | None = None) -> tuple[int, str]:
        """Return the status of an upload, and the reference it gave."""
        data = encrypted() if data is None else data
        permission = permission or await self.permission()
        answer = await self.bot.caller.call("POST", "/c2c/upload", raw=data, query=permission)
        return answer.status, answer.headers.get("x-encrypted-param", "")

    async def downloads(self, reference: str) -> int:
        return await self.status_of(f"encrypted_query_param={percent(reference, safe='')}")

    async def status_of(self, query: str) -> int:
        """Return the status of a download; the blob comes in pieces, so the caller of answers does not fit."""
        seen: list[int] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            seen.extend([message["status"]] if "status" in message else [])

        scope = {"type": "http", "method": "GET", "path": "/c2c/download", "query_string": query.encode()}
        await self.bot.caller.app({**scope, "headers": []}, receive, send)  # type: ignore[arg-type]
        return seen[0]


def encrypted() -> bytes:
    """Return fourteen bytes as they travel."""
    encryptor = Encryptor(KEY)
    return bytes(encryptor.update(PLAIN)) + bytes(encryptor.finish())


Look = Callable[[Side], Awaitable[object]]


@dataclass(frozen=True)
class Fact:
    """One knob at one value.

    Attributes:
        value: What it is set to.
        look: What is seen; the same with and without, except for the knob.
        base: Other knobs that the look needs.
    """

    value: object
    look: Look
    base: dict[str, object] = field(default_factory=dict)


async def ret(answer: Awaitable[dict[str, Any]]) -> object:
    found = await answer
    return found.get("ret"), found.get("errcode")


async def without_header(side: Side) -> object:
    headers = {name: value for name, value in side.bot._headers.items() if name != "AuthorizationType"}
    return await ret(side.bot.call("getconfig", {"ilink_user_id": side.person}, headers=headers))


async def strangers_write(side: Side) -> object:
    seen: list[bool] = []
    for person, bot in ((side.stranger, side.bot), (side.person, side.other)):
        with suppress(ConflictError):
            await side.house.gateway.post_message(person, bot.bot_id, text="hi")
        seen.append(bool((await bot.poll(""))["msgs"]))
    return seen


async def signs_in_again(side: Side) -> object:
    await side.house.login(side.person)
    return await ret(side.bot.call("getupdates", {"get_updates_buf": ""}))


async def signs_in_elsewhere(side: Side) -> object:
    await side.house.gateway.rebind_bot(AccountId(side.bot.bot_id))
    return await ret(side.bot.call("getupdates", {"get_updates_buf": ""}))


async def fetches_later(side: Side, seconds: float = 60) -> object:
    _, reference = await side.uploads()
    await side.later(seconds)
    await side.house.gateway.media.sweep()
    return await side.downloads(reference)


async def remembers(side: Side) -> object:
    """What is still in the chat after a week, the newest message of it an hour old."""
    await side.says("old")
    await side.later(7 * 86_400)
    await side.says("new")
    await side.later(3600)
    return [entry.items[0].text for entry in await side.house.gateway.transcript(side.bot.bot_id, side.person)]


async def uploads_twice(side: Side) -> object:
    permission = await side.permission()
    return [(await side.uploads(permission))[0] for _ in range(2)]


async def uploads_other_bytes(side: Side) -> object:
    """Upload with another size, and with the right size but other bytes."""
    longer = (await side.uploads(data=bytes(32)))[0]
    return longer, (await side.uploads(await side.permission(filekey="f" * 32), bytes(16)))[0]


async def asks_for_a_ticket(side: Side) -> object:
    await side.says()
    return sorted(await side.bot.call("getconfig", {"ilink_user_id": side.person}))


async def sends_without_token(side: Side) -> object:
    await side.says()
    return await ret(side.sends()), await side.shown()


async def sends_many_tokens(side: Side) -> object:
    """Send with a made-up, an older, the newest and twice the same token."""
    await side.says()
    older = await side.token()
    await side.says()
    newest = await side.token()
    return [await ret(side.sends(context_token=token)) for token in ("made up", older, newest, newest)]


async def sends_an_old_token(side: Side) -> object:
    await side.says()
    token = await side.token()
    await side.later(60)
    return await ret(side.sends(context_token=token))


async def looks_at_the_phone(side: Side) -> object:
    await side.says()
    return sorted(await side.sends(text="a longer text")), await side.shown()


async def sends_to_a_closed_window(side: Side) -> object:
    return await side.sends()


async def sends_and_reads_the_id(side: Side) -> object:
    await side.says()
    answer = await side.sends()
    return type(answer.get("message_id"))


async def reads_fields(side: Side) -> object:
    await side.says()
    return sorted((await side.polls())[0])


async def reads_two(side: Side) -> object:
    await side.says()
    await side.says()
    return len(await side.polls())


async def posts_two_kilobytes(side: Side) -> object:
    return (await side.bot.begin("getconfig", {"extra": "x" * 2000}).answer()).status


async def asks_thrice(side: Side) -> object:
    return [(await side.bot.begin("getconfig", {}).answer()).status for _ in range(3)]


async def connects_twice(side: Side) -> object:
    """Return what a second connection is told while a first one is open."""
    listener = Listener.bind("127.0.0.1:0")
    await listener.start(ProtocolApp(side.house.gateway), admission=side.house.gateway.admission)
    try:
        _, first = await asyncio.open_connection("127.0.0.1", listener.port)
        reader, second = await asyncio.open_connection("127.0.0.1", listener.port)
        second.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status = (await reader.read())[:12]
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()
        return status
    finally:
        await listener.aclose(grace=1)


async def sends_items(side: Side) -> object:
    await side.says()
    return [await ret(side.sends(item_list=items)) for items in ([TEXT, TEXT], [TEXT, VOICE], [TEXT])]


async def sends_and_polls_unannounced(side: Side) -> object:
    await side.says()
    answer = await side.bot.poll("")
    return (
        answer["ret"],
        await ret(side.sends()),
        await side.house.gateway.transcript(side.bot.bot_id, side.person)
        and (await side.shown() if answer["ret"] == 0 else None),
    )


async def polls_later(side: Side, seconds: float = 60) -> object:
    await side.says()
    await side.later(seconds)
    answer = await side.bot.poll("")
    return answer["ret"], len(answer.get("msgs", []))


async def polls_twice_at_once(side: Side) -> object:
    await side.house.gateway.freeze_clock(frozen=True)
    first = side.bot.begin_poll("")
    await side.house.held(side.bot)
    second = side.bot.begin_poll("")
    await asyncio.sleep(0)
    await side.house.until(lambda: len(_bot(side).holds) != 1 or first.task.done() or second.task.done())
    await side.says()
    await side.house.until(lambda: first.task.done() or second.task.done())
    await side.later(11)
    answers = [await one.answer() for one in (first, second)]
    return [(one.status, one.json.get("ret"), len(one.json.get("msgs", []))) for one in answers]


def _bot(side: Side) -> Any:
    return side.house.gateway._bots._bots[side.bot.bot_id]


async def polls_the_same_again(side: Side) -> object:
    await side.says()
    return [len(await side.polls()) for _ in range(2)]


async def polls_on(side: Side) -> object:
    await side.house.gateway.freeze_clock(frozen=True)
    await side.says()
    await side.polls()
    await side.later(2)
    poll = side.bot.begin_poll()
    await side.is_held(poll)
    return len((await poll.answer()).json["msgs"])


async def fails_a_poll(side: Side) -> object:
    await side.house.gateway.freeze_clock(frozen=True)
    return await side.is_held(side.bot.begin("getupdates", raw=b"["))


async def polls_in_vain(side: Side) -> object:
    await side.house.gateway.freeze_clock(frozen=True)
    return await side.is_held(side.bot.begin_poll(""))


async def reads_the_suggestion(side: Side) -> object:
    return (await side.bot.poll("")).get("longpolling_timeout_ms")


async def polls_with_any_cursor(side: Side) -> object:
    return (await side.bot.poll("made up"))["ret"]


async def types_wrong_digits(side: Side) -> object:
    return (await side.house.status(await side.code(), "0"))["status"]


async def counts_digits(side: Side) -> object:
    code = await side.house.gateway.code(await side.code())
    return len(code.verify_code or "")


async def asks_for_its_code_again(side: Side) -> object:
    await side.house.gateway.freeze_clock(frozen=True)
    qrcode = await side.code()
    await side.house.status(qrcode)
    return await side.is_held(side.house.begin_status(qrcode))


async def scans(side: Side) -> object:
    return (await side.house.status(await side.code()))["status"]


async def brings_an_unknown_token(side: Side) -> object:
    body = {"local_token_list": ["nobody@im.bot:secret"]}
    return (await side.bot.caller.call("POST", "/ilink/bot/get_bot_qrcode", body)).json["ret"]


async def asks_for_an_old_code(side: Side) -> object:
    qrcode = await side.house.qrcode()
    await side.later(60)
    return (await side.house.status(qrcode))["status"]


async def sends_after(side: Side, *sends: dict[str, Any]) -> object:
    await side.says()
    return [await ret(side.sends(**fields)) for fields in sends]


async def sends_later(side: Side) -> object:
    await side.says()
    await side.later(60)
    return await ret(side.sends())


async def quotes(side: Side) -> object:
    message_id = await side.says("alpha beta gamma beta delta beta end")
    quoted = Quote(message_id=message_id, partial="beta delta beta")
    await side.house.gateway.post_message(side.person, side.bot.bot_id, text="this?", quote=quoted)
    reference = (await side.polls())[1]["item_list"][0]["ref_msg"]
    return sorted(reference), reference.get("message_item", {}).get("type"), reference["partial_text"]["endindex"]


async def shows_an_item(side: Side, item: dict[str, Any]) -> object:
    await side.says()
    await side.sends(item_list=[item])
    return (await side.shown())[0]


async def sends_an_id_twice(side: Side) -> object:
    await side.says()
    first, second = [(await side.sends(client_id="c-1"))["message_id"] for _ in range(2)]
    return first == second


async def idles(side: Side) -> object:
    await side.later(60)
    before = (await side.bot.poll(""))["ret"]
    await side.bot.call("msg/notifystart", {})
    return before, (await side.bot.poll(""))["ret"]


async def types(side: Side) -> object:
    await side.says()
    ticket = (await side.bot.call("getconfig", {"ilink_user_id": side.person}))["typing_ticket"]
    typing = {"ilink_user_id": side.person, "typing_ticket": ticket, "status": 1}
    await side.bot.call("sendtyping", typing)
    await side.later(15)
    return side.house.gateway.typing(side.bot.bot_id, side.person).typing, await ret(
        side.bot.call("sendtyping", typing)
    )


async def asks_to_upload(side: Side) -> object:
    answer = await side.bot.call("getuploadurl", upload(side.person))
    return sorted(name for name, value in answer.items() if value)


async def watches(side: Side) -> object:
    from recordings import video

    async def film() -> AsyncIterator[bytes]:
        yield video()

    await side.house.gateway.post_media(side.person, side.bot.bot_id, "video", film())
    return (await side.polls())[0]["item_list"][0]["video_item"]["play_length"]


async def receives_a_file(side: Side) -> object:
    """Return what a bot is told of a file that the person sends; what a person may send has a measure too."""
    try:
        await side.house.gateway.post_media(side.person, side.bot.bot_id, "file", pieces(), name="a.txt")
    except InvalidRequestError as error:
        return str(error)
    return sorted((await side.polls())[0]["item_list"][0]["file_item"]["media"])


async def pieces() -> AsyncIterator[bytes]:
    yield PLAIN


async def looks_at_the_window(side: Side) -> object:
    """Return what an operator is shown of the window, after as many sends as are left over."""
    await side.says()
    await side.sends()
    (window,) = (await side.house.gateway.mailbox(side.bot.bot_id)).windows
    return window.closes_at - window.last_inbound_at, window.sends_left, window.is_open


_REFUSED = {"text": "far too long a text"}
_SENT = {"text": "hi"}

FACTS: dict[str, list[Fact]] = {
    "auth.require_headers": [Fact("-14", without_header)],
    "bind.owner_only": [Fact(True, strangers_write)],
    "bind.revoke_delay_s": [Fact(60, signs_in_again), Fact(60, signs_in_elsewhere)],
    "bind.single": [Fact(False, signs_in_again)],
    "cdn.keep_s": [Fact(10, lambda side: fetches_later(side, 700))],
    "cdn.max_bytes": [Fact(15, uploads_twice), Fact(13, receives_a_file)],
    "cdn.require_taskid": [Fact(True, fetches_later)],
    "cdn.single_use": [Fact(False, uploads_twice)],
    "cdn.ttl_s": [Fact(10, fetches_later)],
    "cdn.verify": [Fact("none", uploads_other_bytes), Fact("full", uploads_other_bytes)],
    "config.return_context_token": [Fact(True, asks_for_a_ticket)],
    "context.missing": [Fact("-2", sends_without_token), Fact("drop", sends_without_token)],
    "context.mode": [Fact(mode, sends_many_tokens) for mode in ("require", "strict_latest", "one_time")],
    "context.ttl_s": [Fact(10, sends_an_old_token, {"context.mode": "require"})],
    "deliver.delay_s": [Fact(60, looks_at_the_phone)],
    "deliver.drop_silently": [Fact(True, looks_at_the_phone)],
    "errors.errmsg_style": [Fact(style, sends_to_a_closed_window) for style in ("empty", "unknown_error")],
    "errors.slot": [Fact(slot, sends_to_a_closed_window) for slot in ("errcode", "both")],
    "groups.enabled": [Fact(True, reads_fields)],
    "history.keep_s": [Fact(2 * 86_400, remembers)],
    "ids.send_as": [Fact(form, sends_and_reads_the_id) for form in ("string", "omit")],
    "limits.batch_bytes": [Fact(1, reads_two)],
    "limits.batch_messages": [Fact(1, reads_two)],
    "limits.body_bytes": [Fact(1024, posts_two_kilobytes)],
    "limits.connections": [Fact(1, connects_twice)],
    "limits.items": [Fact(limit, sends_items) for limit in ("no_text_with_voice", "one")],
    "limits.requests": [Fact("2/1000", asks_thrice)],
    "limits.text_bytes": [Fact(3, looks_at_the_phone)],
    "limits.text_truncate": [Fact(3, looks_at_the_phone)],
    "notify.required": [Fact(policy, sends_and_polls_unannounced) for policy in ("drop", "-14")],
    "poll.backlog_s": [Fact(10, polls_later)],
    "poll.conflict": [
        Fact(how, polls_twice_at_once, {"poll.hold_ms": 10_000}) for how in ("split", "http403", "stale")
    ],
    "poll.consume_on_send": [Fact(True, polls_the_same_again)],
    "poll.duplicate_rate": [Fact(1, polls_on)],
    "poll.error_delay_ms": [Fact(5000, fails_a_poll)],
    "poll.hold_ms": [Fact(5000, polls_in_vain)],
    "poll.suggest_ms": [Fact(0, reads_the_suggestion)],
    "poll.unknown_cursor": [Fact("-14", polls_with_any_cursor)],
    "qr.code_attempts": [Fact(1, types_wrong_digits, {"qr.require_code": True})],
    "qr.code_len": [Fact(4, counts_digits, {"qr.require_code": True})],
    "qr.hold_ms": [Fact(0, asks_for_its_code_again)],
    "qr.require_code": [Fact(True, scans)],
    "qr.stale_token": [Fact("-3", brings_an_unknown_token)],
    "qr.ttl_s": [Fact(10, asks_for_an_old_code)],
    "quota.count_rejected": [
        Fact(
            True,
            lambda side: sends_after(side, _REFUSED, _REFUSED, _SENT),
            {"limits.text_bytes": 3, **allowance},
        )
        for allowance in ({"quota.per_inbound": 2}, {"quota.rate": "2/300"})
    ],
    "quota.count_tool_items": [
        Fact(False, lambda side: sends_after(side, {"item_list": [TOOL]}, _SENT), {"quota.per_inbound": 1})
    ],
    "quota.per_inbound": [Fact(0, lambda side: sends_after(side, _SENT)), Fact(1, looks_at_the_window)],
    "quota.rate": [Fact("1/300", lambda side: sends_after(side, _SENT, _SENT))],
    "quota.window_s": [Fact(10, sends_later), Fact(10, looks_at_the_window)],
    "quote.endindex": [Fact("relative", quotes)],
    "quote.style": [Fact(style, quotes) for style in ("embedded", "type8", "type0")],
    "render.tool_items": [Fact(True, lambda side: shows_an_item(side, TOOL))],
    "render.voice": [Fact(True, lambda side: shows_an_item(side, VOICE))],
    "send.client_id_idempotent": [Fact(False, sends_an_id_twice)],
    "session.idle_s": [Fact(10, idles)],
    "session.revive_by_notify": [Fact(False, idles, {"session.idle_s": 10})],
    "token.ttl_s": [Fact(10, polls_later)],
    "typing.shown_s": [Fact(5, types)],
    "typing.ticket_ttl_s": [Fact(10, types)],
    "upload.forms": [*(Fact(forms, asks_to_upload) for forms in ("full", "param")), Fact("param", receives_a_file)],
    "video.play_length_unit": [Fact("milliseconds", watches)],
}
"""Every knob, and at least every choice of those that have choices."""
