"""What a fuzzer feeds: each target takes bytes, and raises when something happens that must not.

They know nothing of a fuzzer. Secrets that a fuzzer could never guess stand in the bytes as `{T}` for the bot's token,
`{P}` for a person, `{Q}` for a login code that waits for digits, `{U}` for a permission to upload, `{R}` for a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from ilink.wire.cipher import encrypt
from ilink.wire.endpoints import ENDPOINTS
from tests.fuzz import wire_target
from tests.fuzz.house import FILEKEY, KEY, PLAIN, House

__all__ = ["TARGETS", "Target"]

Run = Callable[[bytes], None]

_LOGIN: Final = ("/ilink/bot/get_bot_qrcode", "/ilink/bot/get_qrcode_status")
_ENDPOINTS: Final = tuple("/" + endpoint.path for endpoint in ENDPOINTS.values() if endpoint.has_token)
_METHODS: Final = ("GET", "POST", "PUT", "HEAD")
_BEARERS: Final = ("Bearer {T}", "Bearer {T}x", "bearer {T}", "{T}", "")


class Target:
    """One thing to fuzz.

    Attributes:
        seeds: Inputs that reach far, from which a fuzzer makes others.
        open: Returns what runs it, for as long as it is open.
    """

    def __init__(self, seeds: tuple[bytes, ...], open: Callable[[], AbstractContextManager[Run]]) -> None:  # noqa: A002
        self.seeds = seeds
        self.open = open


def _login(house: House, data: bytes) -> None:
    """First byte: endpoint and method; then the query to the end of the line; then the body."""
    choice, query, body = _line(house, data)
    house.request(_METHODS[choice // 2 % 4], _LOGIN[choice % 2], query, body=body)


def _protocol(house: House, data: bytes) -> None:
    """First byte: endpoint; second: whose token; then the body."""
    if len(data) < 2:
        return
    bearer = house.filled(_BEARERS[data[1] % len(_BEARERS)].encode()).decode()
    headers = {"authorization": bearer, "authorizationtype": "ilink_bot_token"}
    house.request("POST", _ENDPOINTS[data[0] % len(_ENDPOINTS)], headers=headers, body=house.filled(data[2:]))


def _cdn(house: House, data: bytes) -> None:
    """First byte: what is done; then the query to the end of the line; a range to the end of the next; the body."""
    choice, query, rest = _line(house, data)
    wanted, _, body = rest.partition(b"\n")
    path = ("/c2c/upload", "/c2c/download", "/c2c//upload/", "/c2c")[choice % 4]
    headers = {"range": wanted.decode("latin-1")} if wanted else {}
    house.request(_METHODS[choice // 4 % 4], path, query, headers, body)


def _line(house: House, data: bytes) -> tuple[int, bytes, bytes]:
    line, _, rest = house.filled(data[1:]).partition(b"\n")
    return data[0] if data else 0, line, rest


def _in_house(target: Callable[[House, bytes], None]) -> Callable[[], AbstractContextManager[Run]]:
    @contextmanager
    def opened() -> Iterator[Run]:
        with House() as house:
            yield lambda data: target(house, data)
            house.renew()

    return opened


_SEND: Final = b'{"msg":{"from_user_id":"","to_user_id":"{P}","client_id":"c1","message_type":2,"message_state":2,'
_ITEMS: Final = (
    b'[{"type":1,"text_item":{"text":"hi"}}]',
    b'[{"type":2,"image_item":{"media":{"encrypt_query_param":"{R}","aes_key":"MDAx","encrypt_type":1},"mid_size":1}}]',
    b'[{"type":1,"text_item":{"text":"a"},"ref_msg":{"svr_id":7,"partial_text":{"start":"a","end":"b"}}}]',
)
_UPLOAD: Final = (
    b'{"filekey":"%s","media_type":1,"to_user_id":"{P}","rawsize":18,"rawfilemd5":"%s","filesize":32,'
    b'"no_need_thumb":true,"aeskey":"%s"}' % (FILEKEY.encode(), b"0" * 32, b"0" * 32)
)
_BODIES: Final = {
    "getupdates": (b'{"get_updates_buf":""}', b'{"get_updates_buf":"eHg=","base_info":{"channel_version":"2.4.9"}}'),
    "sendmessage": tuple(_SEND + b'"context_token":"x","item_list":' + items + b"}}" for items in _ITEMS),
    "getconfig": (b'{"ilink_user_id":"{P}","context_token":"x"}',),
    "sendtyping": (b'{"ilink_user_id":"{P}","typing_ticket":"x","status":1}',),
    "getuploadurl": (_UPLOAD,),
}
_PROTOCOL_SEEDS: Final = tuple(
    bytes([number, 0]) + body
    for number, path in enumerate(_ENDPOINTS)
    for body in _BODIES.get(path.rpartition("/")[2], (b"{}",))
)
_LOGIN_SEEDS: Final = (
    b"\x00bot_type=3\n",
    b'\x02bot_type=3\n{"local_token_list":["{T}","x"]}',
    b"\x01qrcode={Q}\n",
    b"\x01qrcode={Q}&verify_code=123456\n",
    b"\x01qrcode={Q}&verify_code=000000&qrcode=x\n",
)
_CDN_SEEDS: Final = (
    b"\x04encrypted_query_param={U}&filekey=" + FILEKEY.encode() + b"\n\n" + encrypt(KEY, PLAIN),
    b"\x04encrypted_query_param={U}&filekey=x\n\nx",
    b"\x01encrypted_query_param={R}\n\n",
    b"\x01encrypted_query_param={R}&taskid=1\nbytes=3-9\n",
    b"\x0dencrypted_query_param={R}\nbytes=-5\n",
)

TARGETS: Final = {
    "wire": Target(wire_target.SEEDS, lambda: nullcontext(wire_target.run)),
    "login": Target(_LOGIN_SEEDS, _in_house(_login)),
    "protocol": Target(_PROTOCOL_SEEDS, _in_house(_protocol)),
    "cdn": Target(_CDN_SEEDS, _in_house(_cdn)),
}
