"""What a CDN remembers of its blobs, in an embedded database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from ilink.storage.sqlite import Database

__all__ = ["MediaFacts", "MediaRecord", "MediaRecords"]


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


_SELECT: Final = (
    "SELECT media_id, param, ticket, bot, media_type, aes_key, cipher_bytes, name, created_ms,"
    " plain_bytes, sha256, md5, mime, problem FROM media"
)
_INSERT: Final = "INSERT INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class MediaRecords:
    """The records of one CDN; open them with `async with`. Every method is one unit of work and raises StoreError.

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
        facts = _columns(record.facts)
        values = (
            record.media_id,
            record.param,
            record.ticket,
            record.bot,
            record.media_type,
            record.aes_key,
            record.cipher_bytes,
            record.name,
            record.created_ms,
            *facts,
        )

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
                (*_columns(facts), media_id),
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
        return None if row is None else _record(row)


_Columns = tuple[int | None, str | None, str | None, str | None, str | None]


def _columns(facts: MediaFacts | None) -> _Columns:
    if facts is None:
        return (None, None, None, None, None)
    return (facts.plain_bytes, facts.sha256, facts.md5, facts.mime, facts.problem)


def _record(
    row: tuple[str, str, str | None, int, int, str, int, str, int, int | None, str, str, str, str | None],
) -> MediaRecord:
    media_id, param, ticket, bot, media_type, aes_key, cipher_bytes, name, created_ms, plain_bytes = row[:10]
    sha256, md5, mime, problem = row[10:]
    facts = None
    if plain_bytes is not None:
        facts = MediaFacts(plain_bytes=plain_bytes, sha256=sha256, md5=md5, mime=mime, problem=problem)
    return MediaRecord(
        media_id=media_id,
        param=param,
        ticket=ticket,
        bot=bot,
        media_type=media_type,
        aes_key=aes_key,
        cipher_bytes=cipher_bytes,
        name=name,
        created_ms=created_ms,
        facts=facts,
    )
