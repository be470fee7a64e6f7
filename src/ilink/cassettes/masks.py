"""Pseudonyms: what may be kept of an exchange, and what stands in the place of the rest.

Nothing is kept unless it is known to be harmless. In the place of everything else stands a made-up value of the same
shape, and the same value always gets the same one, so that equality of ids, tokens and keys can still be seen. They are
counted, not computed, so that nobody can try values until one fits.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec

from ilink.errors import DecryptionError
from ilink.wire.keys import MediaKey, read_key
from ilink.wire.shapes import is_array, is_object

__all__ = ["Pseudonyms", "blob_key"]

_EPOCH_MS: Final = 1_700_000_000_000
"""When every recording begins, so that nothing tells when it was made."""

_ID_BASE: Final = 7_400_000_000_000_000_000
"""Made-up message ids are as large as real ones, above 2^53 (observed: ocw#263)."""

_SMALL: Final = 1_000_000
"""A number below this that nobody has documented is a size, a code or a count."""

_FIELD_NAME: Final = re.compile(r"[a-z][a-z_]{0,31}")
_WORD: Final = re.compile(r"[a-z_]{1,40}")
_VERSION: Final = re.compile(r"([a-z-]{1,24}[/-])?[0-9]{1,4}(\.[0-9]{1,4}){0,3}")
_PRODUCT: Final = re.compile(r"[A-Za-z-]{1,24}(/[0-9]{1,4}(\.[0-9]{1,4}){0,3})?")
_SENTENCE: Final = re.compile(r"[A-Za-z_ ,.'-]{0,80}")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_LEAST_SECRET: Final = 6
_LEAST_DIGITS: Final = 12
"""Characters from which on a value is looked for everywhere, whatever field it came in."""

_KINDS: Final = {
    "bot_token": "token",
    "token": "token",
    "local_token_list": "token",
    "context_token": "context",
    "typing_ticket": "ticket",
    "get_updates_buf": "cursor",
    "sync_buf": "cursor",
    "ilink_bot_id": "id",
    "ilink_user_id": "id",
    "from_user_id": "id",
    "to_user_id": "id",
    "user_id": "id",
    "client_id": "client",
    "message_id": "message",
    "msg_id": "message",
    "svr_id": "message",
    "aes_key": "key",
    "aeskey": "key",
    "encrypt_query_param": "param",
    "encrypted_query_param": "param",
    "upload_param": "param",
    "thumb_upload_param": "param",
    "x-encrypted-param": "param",
    "filekey": "filekey",
    "rawfilemd5": "md5",
    "thumb_rawfilemd5": "md5",
    "md5": "md5",
    "video_md5": "md5",
    "quotemd5": "md5",
    "qrcode": "qrcode",
    "taskid": "task",
    "verify_code": "digits",
    "session_id": "session",
    "group_id": "group",
    "run_id": "run",
    "tool_call_id": "call",
    "x-wechat-uin": "uin",
}
"""What a field holds; the same kind in two fields shares its pseudonyms."""

_URLS: Final = frozenset({"baseurl", "qrcode_img_content", "full_url", "upload_full_url", "url", "redirect_host"})
_TEXTS: Final = frozenset({"text", "title", "file_name", "tool_name", "start", "end"})
_TIMES: Final = frozenset({"create_time_ms", "update_time_ms", "delete_time_ms"})
_NUMBERS: Final = frozenset(
    [
        "ret",
        "errcode",
        "seq",
        "type",
        "message_type",
        "message_state",
        "encrypt_type",
        "encode_type",
        "bits_per_sample",
        "sample_rate",
        "playtime",
        "play_length",
        "mid_size",
        "thumb_size",
        "thumb_height",
        "thumb_width",
        "hd_size",
        "video_size",
        "rawsize",
        "filesize",
        "thumb_rawsize",
        "thumb_filesize",
        "media_type",
        "status",
        "longpolling_timeout_ms",
        "startindex",
        "endindex",
        "size",
        "bot_type",
        "len",
    ]
)
_PLAIN: Final[dict[str, re.Pattern[str]]] = {
    "status": _WORD,
    "errmsg": _SENTENCE,
    "x-error-message": _SENTENCE,
    "channel_version": _VERSION,
    "bot_agent": _PRODUCT,
    "len": _DIGITS,
    "bot_type": _DIGITS,
    "rawsize": _DIGITS,
    "filesize": _DIGITS,
    "x-error-code": re.compile(r"-?[0-9]{1,12}"),
    "content-type": re.compile(r"[a-z/+; =0-9-]{1,60}", re.IGNORECASE),
    "ilink-app-id": re.compile(r"bot|wx_bot_[a-z]{1,16}|"),
    "ilink-app-clientversion": re.compile(r"[0-9]{0,9}"),
    "authorizationtype": re.compile(r"ilink_bot_token|"),
    "content-encoding": _WORD,
}
"""Texts that are kept as they are, where they look like this."""

_KNOWN_NAMES: Final = frozenset({*_KINDS, *_URLS, *_TEXTS, *_TIMES, *_NUMBERS, *_PLAIN})


class Pseudonyms:
    """The pseudonyms of one recording.

    Args:
        api: Everything that the server calls its own address; becomes `{api}`.
        cdn: The base of its media; becomes `{cdn}`.
    """

    def __init__(self, *, api: Iterable[str], cdn: str) -> None:
        self._bases = [(cdn.rstrip("/"), "{cdn}"), *((base.rstrip("/"), "{api}") for base in api)]
        self._given: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._secrets: set[bytes] = set()
        self._first_ms: int | None = None

    def add_api(self, base: str) -> None:
        """Call one more address `{api}`, as a login may hand it out."""
        self._bases.append((base.rstrip("/"), "{api}"))

    def body(self, value: dict[str, object]) -> dict[str, object]:
        """Return a JSON body without anything that was secret."""
        cleaned = self._value("", value)
        assert is_object(cleaned)
        return cleaned

    def headers(self, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return headers, names in lower case; of those that nobody knows only the name."""
        return {self._name(name.lower()): self._header(name.lower(), value) for name, value in headers}

    def query(self, query: str) -> dict[str, str]:
        """Return the fields of a query."""
        fields = (pair.partition("=") for pair in query.split("&") if pair)
        return {
            self._name(unquote(name)): str(self._text(unquote(name), unquote(value).replace(" ", "+")))
            for name, _, value in fields
        }

    def path(self, path: str) -> str:
        """Return a path; of one that nobody knows, how many parts it has."""
        parts = path.strip("/").split("/")
        known = {"ilink", "bot", "msg", "c2c", "upload", "download"}
        return "/" + "/".join(part if part in known or _WORD.fullmatch(part) else "…" for part in parts)

    def scrub(self, line: bytes) -> bytes:
        """Return a line with every secret masked that came in a field where nobody would look for it."""
        for secret in self._secrets:
            if secret in line:
                line = line.replace(secret, b"***")
        return line

    def _value(self, name: str, value: object) -> object:
        if is_object(value):
            return {self._name(key): self._value(key, entry) for key, entry in value.items()}
        if is_array(value):
            return [self._value(name, entry) for entry in value]
        if isinstance(value, str):
            return self._text(name, value)
        if isinstance(value, bool) or value is None:
            return value
        assert isinstance(value, int | float)
        return self._number(name, value)

    def _name(self, name: str) -> str:
        if name in _KNOWN_NAMES or _FIELD_NAME.fullmatch(name) or _FIELD_NAME.fullmatch(name.replace("-", "_")):
            return name
        return self._give("field", name, lambda n: f"field-{n}")

    def _header(self, name: str, value: str) -> str:
        if name == "authorization":
            scheme, blank, token = value.partition(" ")
            return f"{scheme}{blank}{self._text('bot_token', token)}" if scheme.lower() == "bearer" else "***"
        if name in _KINDS or name in _PLAIN:
            return str(self._text(name, value))
        return "***" if value else ""

    def _text(self, name: str, value: str) -> str:
        """Return what stands for a text; an empty one hides nothing."""
        if not value:
            return value
        if name in _KINDS:
            return self._kind(_KINDS[name], value)
        if name in _URLS:
            return self._url(value)
        if name in _TEXTS:
            return self._give("text", value, lambda n: _as_long_as(value, f"text-{n}"))
        pattern = _PLAIN.get(name)
        if pattern is not None and pattern.fullmatch(value):
            return value
        return self._give("string", value, lambda n: f"string-{n}")

    def _number(self, name: str, value: float) -> float:
        if name in _TIMES:
            return self._time(value)
        if _KINDS.get(name) == "message":
            return int(self._kind("message", str(value)))
        if name in _NUMBERS or abs(value) < _SMALL:
            return value
        return int(self._give("number", repr(value), lambda n: str(_SMALL * 1000 + n)))

    def _time(self, value: float) -> float:
        if value <= 0:
            return value
        self._first_ms = int(value) if self._first_ms is None else self._first_ms
        return value - self._first_ms + _EPOCH_MS

    def _kind(self, kind: str, value: str) -> str:
        if kind == "id":
            return self._id(value)
        if kind == "token":
            bot, colon, secret = value.rpartition(":")
            return f"{self._id(bot)}:{self._give('token', secret, _SHAPES['token'])}" if colon else self._id(value)
        if kind == "key":
            return self._key(value)
        if kind == "digits":
            return self._give(kind, value, lambda n: f"{n:0{len(value)}d}")
        return self._give(kind, value, _SHAPES.get(kind, lambda n: f"{kind}-{n}"))

    def _id(self, value: str) -> str:
        """Return an id of the same sort; the sort is in its ending, and so is whether its case is kept."""
        if value.endswith("@im.bot"):
            return self._give("bot", value, lambda n: f"{n:012x}@im.bot")
        if value.endswith("@im.wechat"):
            return self._give("person", value, lambda n: f"o9cq80{n:022d}@im.wechat")
        return self._give("id", value, lambda n: f"id-{n}")

    def _key(self, value: str) -> str:
        try:
            key, form = read_key(value)
        except DecryptionError:
            return self._give("unreadable key", value, lambda n: f"unreadable-key-{n}")
        number = self._give("key", key.raw.hex(), str)
        self._keep_secret(value)
        return blob_key(int(number)).spell(form)

    def _url(self, value: str) -> str:
        for base, symbol in self._bases:
            if base and (value == base or value.startswith((f"{base}/", f"{base}?"))):
                return symbol + self._rest(value[len(base) :])
        try:
            parts = urlsplit(value)
        except ValueError:
            return self._give("string", value, lambda n: f"string-{n}")
        if not parts.scheme:
            return self._give("host", value, lambda n: f"host-{n}.invalid")
        host = self._give("host", parts.netloc, lambda n: f"host-{n}.invalid")
        return f"{parts.scheme}://{host}" + self._rest(value.partition(parts.netloc)[2])

    def _rest(self, rest: str) -> str:
        path, mark, query = rest.partition("?")
        shown = self.path(path) if path.strip("/") else ""
        fields = [(self._name(name), self._text(name, field)) for name, field in parse_qsl(query.replace("+", "%2B"))]
        return shown + (f"?{urlencode(fields)}" if mark else "")

    def _give(self, kind: str, value: str, shape: Callable[[int], str]) -> str:
        given = self._given.get((kind, value))
        if given is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            given = self._given[kind, value] = shape(self._counts[kind])
            self._keep_secret(value)
        return given

    def _keep_secret(self, value: str) -> None:
        """Remember a value to look for it everywhere; one that may as well be a word or a size is none."""
        is_number = value.isdigit() and len(value) < _LEAST_DIGITS
        if len(value) >= _LEAST_SECRET and not is_number and not _FIELD_NAME.fullmatch(value):
            self._secrets.add(msgspec.json.encode(value)[1:-1])


def blob_key(number: int) -> MediaKey:
    """Return the made-up key that stands for the nth one of a recording."""
    return MediaKey(hashlib.md5(f"cassette key {number}".encode(), usedforsecurity=False).digest())


def _hex(kind: str) -> Callable[[int], str]:
    return lambda n: hashlib.md5(f"cassette {kind} {n}".encode(), usedforsecurity=False).hexdigest()


def _base64(kind: str) -> Callable[[int], str]:
    return lambda n: base64.b64encode(f"{kind}-{n:06d}".encode()).decode()


def _as_long_as(value: str, label: str) -> str:
    """Return a label filled up to the bytes of a text, since limits count those; short ones become longer."""
    return label.ljust(len(value.encode("utf-8", "replace")), ".")


_SHAPES: Final[dict[str, Callable[[int], str]]] = {
    "token": lambda n: f"token-{n}",
    "context": lambda n: f"AARzJWAF{n:0128d}",
    "ticket": lambda n: f"AARTBK8F{n:056d}",
    "cursor": _base64("cursor"),
    "param": _base64("param"),
    "uin": lambda n: base64.b64encode(str(n).encode()).decode(),
    "message": lambda n: str(_ID_BASE + n),
    "filekey": _hex("filekey"),
    "md5": _hex("md5"),
    "qrcode": _hex("qrcode"),
}
"""What pseudonyms of a kind look like: as a client expects it, so that a cassette can be served."""
