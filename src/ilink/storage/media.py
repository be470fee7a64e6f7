"""What a CDN remembers of its blobs: the seam, and the embedded database behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, Self

from ilink.storage.gateway_records import Row
from ilink.storage.sqlite import Database

__all__ = [
    "MEDIA_COLUMNS",
    "MediaFacts",
    "MediaRecord",
    "MediaRecords",
    "SqliteMediaRecords",
    "facts_values",
    "media_values",
    "read_media",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What is known of the plain bytes of a blob.

    Attributes:
        plain_bytes: How many there are.
        sha256: Their SHA-256 in hexadecimal.
        md5: Their MD5 in hexadecimal.
        mime: Their content type.
        problem: Why they are not what was announced, or None.
    """

    plain_bytes: int
    sha256: str
    md5: str
    mime: str
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecord:
    """One encrypted blob.

    Attributes:
        media_id: Its name, also in the store of blobs.
        param: The reference to download by.
        ticket: The permission it was uploaded with; None for what a person sent.
        bot: The number of the bot it belongs to.
        media_type: What it was announced as.
        aes_key: Its key in hexadecimal.
        cipher_bytes: How many bytes the blob has.
        name: Its file name, or an empty text.
        created_ms: When it was stored, by the gateway's clock.
        facts: What is known of its plain bytes; None until somebody asks.
    """

    media_id: str
    param: str
    ticket: str | None
    bot: int
    media_type: int
    aes_key: str
    cipher_bytes: int
    name: str
    created_ms: int
    facts: MediaFacts | None = None


class MediaRecords(Protocol):
    """The records of one CDN. Every method is one unit of work and raises StoreError."""

    async def __aenter__(self) -> Self:
        """Make them ready."""
        ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Finish what was asked for."""
        ...

    async def add(self, record: MediaRecord) -> None:
        """Store a record; one of the same ticket is replaced, because an upload may be repeated."""
        ...

    async def get(self, media_id: str) -> MediaRecord | None:
        """Return a record by its name."""
        ...

    async def find(self, param: str) -> MediaRecord | None:
        """Return the record that is downloaded by a reference."""
        ...

    async def find_by_ticket(self, ticket: str) -> MediaRecord | None:
        """Return the record that was uploaded with a permission."""
        ...

    async def set_facts(self, media_id: str, facts: MediaFacts) -> None:
        """Note what was found out about the plain bytes."""
        ...

    async def delete_before(self, moment_ms: int) -> list[str]:
        """Forget what was stored before a moment, and return the names."""
        ...

    async def names(self) -> set[str]:
        """Return all names."""
        ...

    async def delete(self, media_ids: Iterable[str]) -> None:
        """Forget some; a name that is none is no error."""
        ...

    async def clear(self) -> list[str]:
        """Forget everything, and return the names."""
        ...


MEDIA_COLUMNS: Final = (
    "media_id, param, ticket, bot, media_type, aes_key, cipher_bytes, name, created_ms,"
    " plain_bytes, sha256, md5, mime, problem"
)
_SELECT: Final = f"SELECT {MEDIA_COLUMNS} FROM media"  # noqa: S608  # of constants
_INSERT: Final = "INSERT INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SqliteMediaRecords:
    """The records in a file of their own; open them with `async with`.

    Args:
        path: The file.
        synchronous: "FULL" survives a power cut; "NORMAL" the death of the process; "OFF" is for tests.
    """

    def __init__(self, path: Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL") -> None:
        self._database = Database(path, schema="media", synchronous=synchronous)

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._database.aclose()

    async def add(self, record: MediaRecord) -> None:
        """Store a record; one of the same ticket is replaced, because an upload may be repeated."""
        values = media_values(record)

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM media WHERE ticket = ?", (record.ticket,))
            db.execute(_INSERT, values)

        await self._database.write(work)

    async def get(self, media_id: str) -> MediaRecord | None:
        """Return a record by its name."""
        return await self._one(" WHERE media_id = ?", media_id)

    async def find(self, param: str) -> MediaRecord | None:
        """Return the record that is downloaded by a reference."""
        return await self._one(" WHERE param = ?", param)

    async def find_by_ticket(self, ticket: str) -> MediaRecord | None:
        """Return the record that was uploaded with a permission."""
        return await self._one(" WHERE ticket = ?", ticket)

    async def set_facts(self, media_id: str, facts: MediaFacts) -> None:
        """Note what was found out about the plain bytes."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE media SET plain_bytes = ?, sha256 = ?, md5 = ?, mime = ?, problem = ? WHERE media_id = ?",
                (*facts_values(facts), media_id),
            )

        await self._database.write(work)

    async def delete_before(self, moment_ms: int) -> list[str]:
        """Forget what was stored before a moment, and return the names."""

        def work(db: sqlite3.Connection) -> list[str]:
            old = db.execute("SELECT media_id FROM media WHERE created_ms < ?", (moment_ms,)).fetchall()
            db.execute("DELETE FROM media WHERE created_ms < ?", (moment_ms,))
            return [media_id for (media_id,) in old]

        return await self._database.write(work)

    async def names(self) -> set[str]:
        """Return all names."""
        return {
            name
            for (name,) in await self._database.read(lambda db: db.execute("SELECT media_id FROM media").fetchall())
        }

    async def delete(self, media_ids: Iterable[str]) -> None:
        """Forget some; a name that is none is no error."""
        rows = [(media_id,) for media_id in media_ids]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM media WHERE media_id = ?", rows)

        await self._database.write(work)

    async def clear(self) -> list[str]:
        """Forget everything, and return the names."""
        return await self.delete_before(1 << 62)

    async def _one(self, where: str, value: str) -> MediaRecord | None:
        row = await self._database.read(lambda db: db.execute(_SELECT + where, (value,)).fetchone())
        return None if row is None else read_media(row)


_Columns = tuple[int | None, str | None, str | None, str | None, str | None]


def facts_values(facts: MediaFacts | None) -> _Columns:
    """Return the last five of the values of `MEDIA_COLUMNS`."""
    if facts is None:
        return (None, None, None, None, None)
    return (facts.plain_bytes, facts.sha256, facts.md5, facts.mime, facts.problem)


def media_values(record: MediaRecord) -> tuple[object, ...]:
    """Return the values of `MEDIA_COLUMNS`."""
    return (
        record.media_id,
        record.param,
        record.ticket,
        record.bot,
        record.media_type,
        record.aes_key,
        record.cipher_bytes,
        record.name,
        record.created_ms,
        *facts_values(record.facts),
    )


def read_media(row: Row) -> MediaRecord:
    """Return a row of `MEDIA_COLUMNS` as a value."""
    facts = None
    if row[9] is not None:
        facts = MediaFacts(plain_bytes=row[9], sha256=row[10], md5=row[11], mime=row[12], problem=row[13])
    return MediaRecord(
        media_id=row[0],
        param=row[1],
        ticket=row[2],
        bot=row[3],
        media_type=row[4],
        aes_key=row[5],
        cipher_bytes=row[6],
        name=row[7],
        created_ms=row[8],
        facts=facts,
    )
