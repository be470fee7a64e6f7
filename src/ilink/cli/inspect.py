"""`ilink inspect`: what an opaque text is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from ilink.cli.options import Json
from ilink.cli.output import answer_json, out
from ilink.cli.words import say
from ilink.errors import ConfigError, DecryptionError, MediaError
from ilink.gateway.cursors import describe_cursor
from ilink.messages.media import read_reference
from ilink.wire.cipher import decrypt
from ilink.wire.keys import MediaKey, read_key
from ilink.wire.mime import SNIFF_BYTES, mime_type
from ilink.wire.models import MessageItem

__all__ = ["inspect"]


def inspect(
    what: Annotated[str | None, Parameter(help=say("inspect.what"))] = None,
    *,
    decrypt_file: Annotated[Path | None, Parameter(name="--decrypt", help=say("inspect.decrypt"))] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help=say("inspect.output"))] = None,
    json: Json = False,
) -> int:
    """Say what a text is, never what is secret in it."""
    text = (sys.stdin.read() if what is None else what).strip()
    known: dict[str, object] | None
    if decrypt_file is not None:
        known = _decrypt(_key_in(text), decrypt_file, output)
    else:
        known = _about_cursor(text) or _about_key(text) or _about_item(text)
    if known is None:
        raise ConfigError(say("inspect.unknown"))
    if json:
        answer_json(known)
    else:
        out().print(say(f"inspect.{known['is']}", **known), markup=False)
    return 0


def _about_cursor(text: str) -> dict[str, object] | None:
    parts = describe_cursor(text)
    return None if parts is None else {"is": "cursor", "bot": parts[0], "generation": parts[1], "seq": parts[2]}


def _about_key(text: str) -> dict[str, object] | None:
    try:
        _, form = read_key(text)
    except DecryptionError:
        return None
    return {"is": "key", "form": form.value}


def _about_item(text: str) -> dict[str, object] | None:
    item = _read_item(text)
    reference = None if item is None else read_reference(item)
    if reference is None:
        return None
    try:
        key = "none" if reference.key is None else read_key(reference.key_texts[0])[1].value
    except DecryptionError:
        key = "unreadable"
    pointers = [name for name, value in (("param", reference.param), ("full_url", reference.full_url)) if value]
    return {
        "is": "media",
        "kind": reference.kind.value,
        "name": reference.name,
        "size": reference.size,
        "md5": reference.md5,
        "key": key,
        "reference": "+".join(pointers) or "none",
    }


def _key_in(text: str) -> MediaKey:
    """Return the key that a text is, or that the file of an item has."""
    item = _read_item(text)
    reference = None if item is None else read_reference(item)
    if reference is not None and reference.key is not None:
        return reference.key
    return read_key(text)[0]


def _read_item(text: str) -> MessageItem | None:
    try:
        return msgspec.json.decode(text.encode(), type=MessageItem)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _decrypt(key: MediaKey, source: Path, target: Path | None) -> dict[str, object]:
    target = target or source.with_suffix(".plain")
    try:
        plain = decrypt(key, source.read_bytes())
        with target.open("xb") as file:
            file.write(plain)
    except FileExistsError as error:
        message = f"{target} exists already; say where to write with --output"
        raise ConfigError(message) from error
    except OSError as error:
        message = f"cannot decrypt {source} to {target}: {error.strerror or error}"
        raise MediaError(message) from error
    return {"is": "decrypted", "bytes": len(plain), "mime": mime_type(plain[:SNIFF_BYTES]), "path": str(target)}
