"""Blobs as objects of an S3-compatible store, or of any other that obstore knows."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from ilink.errors import ConfigError, StoreError
from ilink.storage.blobs import BlobReader, BlobWriter, MissingBlobError, check_blob_name
from ilink.storage.files import BATCH_BYTES, Bytes, finished

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, GetResult, ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["SCHEMES", "ObjectBlobs", "open_objects"]

SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "abfs", "abfss", "memory"})
"""What addresses of object stores begin with."""

_AT: Final = "ilink-at"
"""The attribute that holds when an object counts as written."""

_PART_BYTES: Final = 5 << 20
"""The least that S3 takes as a part of an upload, but for the last (official)."""

_PARTS: Final = 2
"""Parts on their way at the same time; with the one that gathers, they bound what a writer holds."""

_RETRIES: Final = 3
_RETRY_TIME: Final = timedelta(seconds=30)


def open_objects(url: str) -> ObjectBlobs:
    """Return the blobs below an address such as `s3://bucket/folder`.

    Keys, region and endpoint come from the environment, by the names that the store's own tools use:
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`. An endpoint that begins with
    `http://` is taken as one of a machine nearby.

    Raises:
        ConfigError: It is no address of an object store, it names no bucket, or it cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        message = f"{_shown(url)} is no address of an object store: it begins with one of {', '.join(sorted(SCHEMES))}"
        raise ConfigError(message)
    if parts.username or parts.password:
        message = (
            f"{_shown(url)} has keys in it; leave them out and set them in the environment (AWS_ACCESS_KEY_ID, ...)"
        )
        raise ConfigError(message)
    if not parts.netloc and parts.scheme != "memory":
        message = f"{_shown(url)} names no bucket; write {parts.scheme}://bucket/folder"
        raise ConfigError(message)
    if parts.scheme == "memory":
        return ObjectBlobs(from_url(url), place=url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    try:
        store = from_url(
            url,
            client_options={"allow_http": endpoint.startswith("http://")},
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIME},
        )
    except (BaseError, ValueError) as error:
        message = f"{_shown(url)} cannot be used as a store of objects: {_first_line(error)}"
        raise ConfigError(message) from error
    return ObjectBlobs(store, place=_shown(url))


class ObjectBlobs:
    """Blobs as objects; several processes may share them. See `BlobStore`.

    An object appears whole, or not at all: that is what such stores promise (official, S3). A process that dies while
    it writes leaves parts nobody sees; a rule of the bucket that aborts unfinished uploads removes them.

    Args:
        store: The open store.
        place: How it is named in errors.
    """

    def __init__(self, store: ObjectStore, *, place: str) -> None:
        self._store = store
        self._place = place

    async def check(self) -> None:
        """Look whether the store answers, lets us in and has the bucket.

        Raises:
            StoreError: It does not.
        """
        with self.translated("be looked into"):
            async for _ in _pages(self._store, prefix="00/"):
                return

    @asynccontextmanager
    async def create(self, name: str, *, at: float) -> AsyncGenerator[BlobWriter, None]:
        """See `BlobStore.create`. Holds at most three parts of 5 MiB."""
        writer = _ObjectWriter(
            self,
            obstore.open_writer_async(
                self._store,
                _key(name),
                attributes={_AT: repr(at)},
                buffer_size=_PART_BYTES,
                max_concurrency=_PARTS,
            ),
        )
        try:
            yield writer
        finally:
            await writer.discard()

    @asynccontextmanager
    async def open(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[BlobReader, None]:
        """See `BlobStore.open`. The bytes come in one answer, so a replaced object is read as it was."""
        with self.translated(f"give the blob {name}"):
            yield await self._open(_key(name), start, end)

    async def delete(self, name: str) -> None:
        """See `BlobStore.delete`."""
        with self.translated(f"delete the blob {name}"):
            try:
                await obstore.delete_async(self._store, _key(name))
            except FileNotFoundError:
                return

    async def list_before(self, moment: float) -> list[str]:
        """See `BlobStore.list_before`."""
        with self.translated("list old blobs"):
            return [_name(key) async for key in self._older(moment)]

    async def delete_before(self, moment: float) -> list[str]:
        """See `BlobStore.delete_before`."""
        old: list[str] = []
        with self.translated("delete old blobs"):
            async for key in self._older(moment):
                await obstore.delete_async(self._store, key)
                old.append(_name(key))
        return old

    async def _older(self, moment: float) -> AsyncGenerator[str, None]:
        """Go through the keys of old objects.

        None is old before the store's own clock has passed the moment too, so that only those need to be asked for
        their age.
        """
        async for page in _pages(self._store):
            for found in page:
                if found["last_modified"].timestamp() < moment and await self._age(found["path"]) < moment:
                    yield found["path"]

    async def _open(self, key: str, start: int, end: int | None) -> BlobReader:
        if start == 0 and end is None:
            found = await obstore.get_async(self._store, key)
            return _ObjectReader(self, found, size=found.meta["size"])
        size = (await obstore.head_async(self._store, key))["size"]
        end = size if end is None else min(end, size)
        if start >= end:
            return _ObjectReader(self, None, size=size)
        return _ObjectReader(
            self, await obstore.get_async(self._store, key, options={"range": (start, end)}), size=size
        )

    async def _age(self, key: str) -> float:
        found = await obstore.get_async(self._store, key, options={"head": True})
        return float(found.attributes.get(_AT, found.meta["last_modified"].timestamp()))

    @contextmanager
    def translated(self, what: str) -> Generator[None]:
        """Let what the store raises come out as StoreError that says what it could not do."""
        try:
            yield
        except FileNotFoundError as error:
            message = f"{self._place} cannot {what}: there is no blob of that name, or no such bucket"
            raise MissingBlobError(message) from error
        except (BaseError, OSError) as error:
            message = f"{self._place} cannot {what}: {_first_line(error)}"
            raise StoreError(message) from error


class _ObjectWriter:
    def __init__(self, blobs: ObjectBlobs, file: AsyncWritableFile) -> None:
        self._blobs = blobs
        self._file = file
        self._size = 0
        self._is_over = False

    async def write(self, chunk: Bytes) -> None:
        self._size += len(chunk)
        with self._blobs.translated("take a blob"):
            await self._file.write(chunk)

    async def commit(self) -> int:
        self._is_over = True
        with self._blobs.translated("take a blob"):
            await finished(self._file.close())
        return self._size

    async def discard(self) -> None:
        if not self._is_over:
            self._is_over = True
            with self._blobs.translated("forget a blob"):
                # With an exception the file takes back what it has uploaded; without one it would complete it.
                leaving = self._file.__aexit__(StoreError, StoreError("not committed"), None)  # pyright: ignore[reportUnknownMemberType]
                await finished(leaving)


class _ObjectReader:
    def __init__(self, blobs: ObjectBlobs, found: GetResult | None, *, size: int) -> None:
        self._blobs = blobs
        self._found = found
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        if self._found is None:
            return
        with self._blobs.translated("give a blob to its end"):
            async for chunk in self._found.stream(min_chunk_size=BATCH_BYTES):
                yield bytes(chunk)


def _pages(store: ObjectStore, *, prefix: str | None = None) -> AsyncIterable[Sequence[ObjectMeta]]:
    return obstore.list(store, prefix)  # pyright: ignore[reportUnknownMemberType]  # of pages in another form


def _key(name: str) -> str:
    check_blob_name(name)
    return f"{name[:2].lower()}/{name}"


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
