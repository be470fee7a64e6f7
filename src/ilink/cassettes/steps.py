"""The steps of a parity run: what is tried, which open question it answers, and what the gateway does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ilink.cassettes.errand import Errand, verdict
from ilink.wire.headers import DOWNLOAD_REFERENCE
from ilink.wire.shapes import is_object

__all__ = ["STEPS", "Step"]

_LONG: Final = 16_385
_MADE_UP: Final = "AARzJWAFmade-up"
_MANY: Final = 12
_INBOUND: Final = (
    "client_id context_token create_time_ms from_user_id item_list message_id message_state message_type seq session_id"
    " to_user_id update_time_ms"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to try.

    Attributes:
        name: What it is, in the imperative.
        question: The open question of the protocol notes (§9) that it answers, or an empty text.
        expected: What the gateway does with its default knobs.
        run: Does it, and returns what was seen.
        spends: Whether it uses up what the person's account may send.
    """

    name: str
    question: str
    expected: str
    run: Callable[[Errand], Awaitable[str]]
    spends: bool = False


async def _ask_for_a_code(errand: Errand) -> str:
    answer = await errand.get("get_bot_qrcode?bot_type=3") or {}
    errand.qrcode = str(answer.get("qrcode", ""))
    shown = [name for name in ("qrcode", "qrcode_img_content") if answer.get(name)]
    await errand.hand.scan(str(answer.get("qrcode_img_content", "")), errand.qrcode)
    return f"{verdict(answer)} with {' '.join(shown)}"


async def _sign_in(errand: Errand) -> str:
    answer: dict[str, object] = {}
    for _ in range(60):
        answer = await errand.get(f"get_qrcode_status?qrcode={errand.qrcode}") or {}
        if answer.get("status") == "confirmed":
            break
    errand.token, errand.bot_id = str(answer.get("bot_token", "")), str(answer.get("ilink_bot_id", ""))
    errand.user_id = str(answer.get("ilink_user_id", ""))
    errand.base_url = str(answer.get("baseurl") or errand.base_url).rstrip("/")
    return " ".join(sorted(name for name, value in answer.items() if value or name == "ret"))


async def _shape_of_token(errand: Errand) -> str:
    return "<bot id>:<secret>" if errand.token.startswith(f"{errand.bot_id}:") else "otherwise"


async def _ask_again(errand: Errand) -> str:
    answer = await errand.get(f"get_qrcode_status?qrcode={errand.qrcode}") or {}
    return str(answer.get("status"))


async def _notifystart(errand: Errand) -> str:
    return verdict(await errand.call("msg/notifystart", {}))


async def _config_before(errand: Errand) -> str:
    return verdict(await errand.call("getconfig", {"ilink_user_id": errand.user_id}))


async def _send_before(errand: Errand) -> str:
    return verdict(await errand.send(context_token=None))


async def _receive(errand: Errand) -> str:
    await errand.hand.write("one")
    messages: list[dict[str, object]] = []
    for _ in range(12):
        messages = await errand.poll("")
        if messages:
            break
    newest = messages[-1] if messages else {}
    errand.context_token = str(newest.get("context_token", ""))
    return " ".join(sorted(newest))


async def _replay(errand: Errand) -> str:
    kept = errand.cursor
    messages = await errand.poll("")
    errand.cursor = kept
    return f"{len(messages)} again"


async def _go_on(errand: Errand) -> str:
    return f"{len(await errand.poll(errand.cursor))} again"


async def _config(errand: Errand) -> str:
    answer = await errand.call("getconfig", {"ilink_user_id": errand.user_id}) or {}
    errand.ticket = str(answer.get("typing_ticket", ""))
    return " ".join(sorted(answer))


async def _config_without_person(errand: Errand) -> str:
    return verdict(await errand.call("getconfig", {}))


def _type(ticket: str | None) -> Callable[[Errand], Awaitable[str]]:
    async def run(errand: Errand) -> str:
        body = {"ilink_user_id": errand.user_id, "typing_ticket": ticket or errand.ticket, "status": 1}
        return verdict(await errand.call("sendtyping", body))

    return run


async def _send(errand: Errand) -> str:
    message_id = (answer := await errand.send(client_id="parity-" + errand.random_id)).get("message_id")
    errand.message_id = str(message_id)
    kind = "nothing" if message_id is None else "a number" if isinstance(message_id, int) else "a text"
    return f"{verdict(answer)}, message_id is {kind}"


async def _send_the_same(errand: Errand) -> str:
    answer = await errand.send(client_id="parity-" + errand.random_id)
    is_same = str(answer.get("message_id")) == errand.message_id
    return f"{verdict(answer)}, {'the same' if is_same else 'another'} message_id"


def _send_with(**fields: object) -> Callable[[Errand], Awaitable[str]]:
    async def run(errand: Errand) -> str:
        return verdict(await errand.send(**fields))

    return run


async def _send_to_lower_case(errand: Errand) -> str:
    return verdict(await errand.send(to_user_id=errand.user_id.lower()))


async def _two_items(errand: Errand) -> str:
    item = {"type": 1, "text_item": {"text": "parity"}}
    return verdict(await errand.send(item_list=[item, item]))


async def _ask_to_upload(errand: Errand) -> str:
    body = errand.announce()
    errand.permission = {**(await errand.call("getuploadurl", body) or {}), "filekey": body["filekey"]}
    shown = [name for name in ("upload_full_url", "upload_param") if errand.permission.get(name)]
    return f"{verdict(errand.permission)} with {' '.join(shown) or 'neither'}"


async def _upload_too_much(errand: Errand) -> str:
    answer = await errand.upload(str(errand.permission.get("filekey", "")), extra=bytes(16))
    return f"http={answer.status}"


async def _upload(errand: Errand) -> str:
    answer = await errand.upload(str(errand.permission.get("filekey", "")))
    errand.reference = answer.headers.get(DOWNLOAD_REFERENCE, errand.reference)
    return f"http={answer.status}" + (" with x-encrypted-param" if DOWNLOAD_REFERENCE in answer.headers else "")


async def _send_picture(errand: Errand) -> str:
    return verdict(await errand.send(item_list=errand.picture()))


async def _download(errand: Errand) -> str:
    answer = await errand.download()
    return f"http={answer.status}, {len(answer.body)} bytes"


def _without(*headers: str) -> Callable[[Errand], Awaitable[str]]:
    async def run(errand: Errand) -> str:
        return verdict(await errand.call("getconfig", {"ilink_user_id": errand.user_id}, without=headers))

    return run


async def _wrong_token(errand: Errand) -> str:
    return verdict(await errand.call("getupdates", {"get_updates_buf": ""}, token=f"{errand.bot_id}:made-up"))


async def _spend(errand: Errand) -> str:
    """Send until it is refused; the person writes first, so that the count begins anew."""
    await errand.hand.write("two")
    for _ in range(12):
        messages = [message for message in await errand.poll(errand.cursor) if is_object(message)]
        if messages:
            errand.context_token = str(messages[-1].get("context_token", ""))
            break
    for count in range(_MANY):
        answer = await errand.send()
        if answer.get("ret") or answer.get("errcode"):
            return f"{count} accepted, then {verdict(answer)}"
    return f"{_MANY} accepted"


async def _notifystop(errand: Errand) -> str:
    return verdict(await errand.call("msg/notifystop", {}))


STEPS: Final = (
    Step("ask for a code", "", "ret=0 with qrcode qrcode_img_content", _ask_for_a_code),
    Step("wait for the login", "", "baseurl bot_token ilink_bot_id ilink_user_id ret status", _sign_in),
    Step("look at the token", "Q19", "<bot id>:<secret>", _shape_of_token),
    Step("ask for the status once more", "", "confirmed", _ask_again),
    Step("notifystart", "Q11", "ret=0", _notifystart),
    Step("getconfig before the person wrote", "", "ret=-4 errmsg=GetTypingTicket rpc failed", _config_before),
    Step("send before the person wrote", "Q7", "ret=-2 errmsg=prepare failed", _send_before),
    Step("receive a text with an empty cursor", "Q2", _INBOUND, _receive),
    Step("poll with the old cursor again", "Q1", "1 again", _replay),
    Step("poll with the new cursor", "Q1", "0 again", _go_on),
    Step("getconfig", "Q6", "ret typing_ticket", _config),
    Step("getconfig without a person", "Q7", "ret=-2 errmsg=ilink_user_id required", _config_without_person),
    Step("type", "", "ret=0", _type(None)),
    Step("type with a made-up ticket", "", "ret=-2 errmsg=typing_ticket invalid", _type("made up")),
    Step("send a text", "Q9", "ret=0, message_id is a number", _send),
    Step("send with the same client_id", "Q10", "ret=0, the same message_id", _send_the_same),
    Step("send without a context token", "Q5", "ret=0", _send_with(context_token=None)),
    Step("send with a made-up context token", "Q5", "ret=0", _send_with(context_token=_MADE_UP)),
    Step("send to the user id in lower case", "", "ret=-3 errmsg=invalid arguments", _send_to_lower_case),
    Step(
        "send an unfinished message without items",
        "",
        "ret=-2 errmsg=item_list required",
        _send_with(message_state=1, item_list=[]),
    ),
    Step(
        "send a text of 16,385 bytes",
        "Q27",
        "ret=-2 errmsg=text too long",
        _send_with(item_list=[{"type": 1, "text_item": {"text": "x" * _LONG}}]),
    ),
    Step("send two items", "", "ret=0", _two_items),
    Step("ask to upload", "Q16", "ret=0 with upload_full_url upload_param", _ask_to_upload),
    Step("upload more than announced", "Q30", "http=400", _upload_too_much),
    Step("upload", "Q17", "http=200 with x-encrypted-param", _upload),
    Step("upload with the same permission again", "Q17", "http=400", _upload),
    Step("send the picture", "", "ret=0", _send_picture),
    Step("download the picture", "Q15", "http=200, 16 bytes", _download),
    Step("call without AuthorizationType", "Q12", "ret=0", _without("AuthorizationType")),
    Step("call without the app headers", "Q12", "ret=0", _without("iLink-App-Id", "iLink-App-ClientVersion")),
    Step("poll with a wrong token", "Q8", "ret=-14 errcode=-14 errmsg=session timeout", _wrong_token),
    Step("send until refused", "Q28", "10 accepted, then ret=-2 errmsg=prepare failed", _spend, spends=True),
    Step("notifystop", "", "ret=0", _notifystop),
)
"""The steps in their order; later ones need what earlier ones learned."""
