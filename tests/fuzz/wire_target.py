"""Hostile bytes for everything that reads what comes over the wire, below any endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ilink.errors import DecryptionError, IlinkError, MediaError, RemoteProtocolError
from ilink.wire import models
from ilink.wire.cipher import BLOCK_BYTES, Decryptor, Encryptor
from ilink.wire.codec import decode, decode_object, encode
from ilink.wire.hosts import HostPolicy
from ilink.wire.keys import KEY_BYTES, MediaKey, read_key
from ilink.wire.mime import mime_type
from ilink.wire.quotes import find_quote, quoted_message_id, select_quoted_text
from ilink.wire.redact import excerpt, redact, redact_headers, redact_url
from ilink.wire.results import read_result
from ilink.wire.silk import silk_seconds

__all__ = ["SEEDS", "run"]

_KEY: Final = MediaKey(bytes(range(KEY_BYTES)))
_MODELS: Final = tuple(
    found
    for name in models.__all__
    if isinstance(found := getattr(models, name), type) and issubclass(found, models.WireModel)
)


def _read_models(data: bytes) -> None:
    """Whatever is read is written again, and reads as the same."""
    model = _MODELS[data[0] % len(_MODELS)] if data else models.WeixinMessage
    try:
        read = decode(data[1:], model)
    except RemoteProtocolError:
        return
    again = encode(read.value)
    assert encode(decode(again, model).value) == again
    if isinstance(read.value, models.Answer):
        error = read_result("sendmessage", read.value)
        assert error is None or isinstance(error, IlinkError)
    if isinstance(read.value, models.WeixinMessage):
        _read_quote(read.value)


def _read_quote(message: models.WeixinMessage) -> None:
    quote = find_quote(models.given(message.item_list, []))
    if quote is None:
        return
    quoted_message_id(quote)
    partial = models.given(quote.partial_text, None)
    if partial is not None:
        select_quoted_text("some words that were quoted, some words", partial)


def _redact(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert excerpt(data).isprintable()
    redact_url(text)
    redact_headers({text[:20]: text})
    HostPolicy("https://gateway.test").allows(text)
    try:
        encode(redact(decode_object(data)))  # type: ignore[arg-type]
    except RemoteProtocolError:
        return


def _read_key(data: bytes) -> None:
    try:
        key, form = read_key(data.decode("latin-1"))
    except DecryptionError:
        return
    assert read_key(key.spell(form)) == (key, form)


def _encrypt(data: bytes) -> None:
    """What is cut anywhere on its way in comes out whole; what is not ours is refused or harmless."""
    step = data[0] + 1 if data else 1
    encryptor, decryptor = Encryptor(_KEY), Decryptor(_KEY)
    secret = b"".join(bytes(encryptor.update(data[at : at + step])) for at in range(0, len(data), step))
    secret += bytes(encryptor.finish())
    assert len(secret) % BLOCK_BYTES == 0
    plain = b"".join(bytes(decryptor.update(secret[at : at + step])) for at in range(0, len(secret), step))
    assert plain + bytes(decryptor.finish()) == data
    hostile = Decryptor(_KEY)
    hostile.update(data)
    try:
        hostile.finish()
    except DecryptionError:
        return


def _look_at_file(data: bytes) -> None:
    mime_type(data, data[:12].decode("latin-1"))
    try:
        assert silk_seconds(data) >= 0
    except MediaError:
        return


_READERS: Final[tuple[Callable[[bytes], None], ...]] = (_read_models, _redact, _read_key, _encrypt, _look_at_file)


def run(data: bytes) -> None:
    """Give bytes to the reader that the first of them names."""
    if data:
        _READERS[data[0] % len(_READERS)](data[1:])


def _seeds() -> list[bytes]:
    messages = [
        b'{"msg":{"to_user_id":"a@im.wechat","client_id":"c","item_list":[{"type":1,"text_item":{"text":"hi"}}]}}',
        b'{"item_list":[{"type":3,"ref_msg":{"svr_id":1,"partial_text":{"start":"some","end":"words","endindex":1}}}]}',
        b'{"ret":-14,"errcode":-14,"errmsg":"session timeout"}',
        b'{"ret":0,"msgs":[{"seq":1,"message_id":18446744073709551615}],"get_updates_buf":"eA=="}',
        b'{"item_list":null,"create_time_ms":"1","seq":1e400}',
    ]
    names = [model.__name__ for model in _MODELS]
    wanted = ("SendMessageRequest", "WeixinMessage", "Answer", "UpdatesAnswer", "WeixinMessage")
    return [
        *(bytes([0, names.index(name)]) + message for name, message in zip(wanted, messages, strict=True)),
        *(b"\x01" + message for message in messages),
        b"\x01https://user:pass@gateway.test:443/c2c/download?encrypted_query_param=abc#x",
        b"\x0200112233445566778899aabbccddeeff",
        b"\x02MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=",
        b"\x03\x05" + bytes(40),
        b"\x04\x02#!SILK_V3\x04\x00abcd\xff\xff",
        b"\x04\x89PNG\r\n\x1a\n",
    ]


SEEDS: Final = tuple(_seeds())
