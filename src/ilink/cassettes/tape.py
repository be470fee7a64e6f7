"""Cassettes as files: a label and takes, one JSON object a line, readable by their owner only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ilink.errors import ConfigError, StoreError

__all__ = ["VERSION", "Cassette", "CassetteWriter", "Label", "Part", "Take", "read_cassette"]

VERSION: Final = 1
"""Of the form of the file; a reader refuses those that are newer."""


class Label(Struct, kw_only=True, frozen=True):
    """The first line of a cassette.

    Attributes:
        ilink_cassette: The version of its form.
        api: The origin that was recorded; `{api}` in the takes.
        cdn: The base of its media; `{cdn}` in the takes.
        recorded_by: Which version of this package made it.
    """

    ilink_cassette: int
    api: str
    cdn: str
    recorded_by: str


class Part(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A request or an answer, without anything that was secret.

    Attributes:
        headers: Names in lower case.
        json: A JSON body.
        bytes: The size of a body that is no JSON.
        sha256: Its hash.
    """

    headers: dict[str, str] = {}
    json: dict[str, object] | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    sha256: str | UnsetType = UNSET


class Take(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One exchange.

    Attributes:
        n: Its number, in the order in which requests came.
        at_ms: When the request came, from the beginning of the recording.
        held_ms: From the request to the end of the answer.
        endpoint: Its short name, `cdn_upload`, `cdn_download`, or `?`.
        method: The HTTP method.
        path: Below the base of the API or of the CDN.
        query: Its fields.
        request: What the client sent.
        status: The HTTP status; 0 where no answer came.
        response: What the server answered.
        end: Whether it was answered, the client left before, or the server could not be reached.
    """

    n: int
    at_ms: int
    held_ms: int
    endpoint: str
    method: str
    path: str
    request: Part
    response: Part
    status: int = 0
    query: dict[str, str] = {}
    end: Literal["answered", "left", "failed"] = "answered"


@dataclass(frozen=True, slots=True)
class Cassette:
    """A recording.

    Attributes:
        label: What was recorded.
        takes: The exchanges, in the order in which their requests came.
    """

    label: Label
    takes: list[Take]


class CassetteWriter:
    """Writes a cassette take by take, so that what was recorded is there whatever happens; open it with `with`.

    Raises:
        ConfigError: The file exists already; a recording is never written over.
        StoreError: It cannot be written.
    """

    def __init__(self, path: Path, *, api: str, cdn: str) -> None:
        self._path = path
        self._label = Label(ilink_cassette=VERSION, api=api, cdn=cdn, recorded_by=version("ilink"))
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        except FileExistsError as error:
            message = f"{self._path} exists already; record into another file"
            raise ConfigError(message) from error
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror}"
            raise StoreError(message) from error
        self._write(self._label)
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)

    def add(self, take: Take) -> None:
        """Write a take.

        Raises:
            StoreError: The disk is full, or fails.
        """
        self._write(take)

    def _write(self, line: Label | Take) -> None:
        try:
            os.write(self._descriptor, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror}"
            raise StoreError(message) from error


def read_cassette(path: Path) -> Cassette:
    """Read a cassette; a last line that was cut in the middle is left out.

    Raises:
        ConfigError: The file cannot be read, is no cassette, or is one of a newer form.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ConfigError(message) from error
    label = _read_label(path, lines[0])
    takes: list[Take] = []
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            takes.append(msgspec.json.decode(line, type=Take))
        except (msgspec.DecodeError, UnicodeError) as error:
            message = f"line {number} of {path} is no take of a cassette: {error}"
            raise ConfigError(message) from error
    return Cassette(label, sorted(takes, key=lambda take: take.n))


def _read_label(path: Path, line: bytes) -> Label:
    try:
        label = msgspec.json.decode(line, type=Label)
    except (msgspec.DecodeError, UnicodeError) as error:
        message = f"{path} is no cassette: its first line has no label ({error})"
        raise ConfigError(message) from error
    if label.ilink_cassette > VERSION:
        message = f"{path} has form {label.ilink_cassette}, this version reads up to {VERSION}: install a newer ilink"
        raise ConfigError(message)
    return label
