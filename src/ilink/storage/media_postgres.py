"""What a CDN remembers of its blobs, in the gateway's PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from ilink.storage.gateway_postgres_rows import stored_text
from ilink.storage.media import MEDIA_COLUMNS, MediaFacts, MediaRecord, facts_values, media_values, read_media
from ilink.storage.postgres import PostgresDatabase

__all__ = ["PostgresMediaRecords"]

_SELECT: Final = f"SELECT {MEDIA_COLUMNS} FROM media"  # noqa: S608  # of constants
_ADD: Final = (
    f"INSERT INTO media ({MEDIA_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"  # noqa: S608
    " ON CONFLICT (ticket) DO UPDATE SET "
    + ", ".join(f"{column.strip()} = excluded.{column.strip()}" for column in MEDIA_COLUMNS.split(","))
)
_SET_FACTS: Final = (
    "UPDATE media SET plain_bytes = $1, sha256 = $2, md5 = $3, mime = $4, problem = $5 WHERE media_id = $6"
)


class PostgresMediaRecords:
    """The records in an open database of the schema "gateway"; whoever opened that closes it."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Leave the database open."""

    async def add(self, record: MediaRecord) -> None:
        """Store a record; one of the same ticket is replaced, because an upload may be repeated."""
        values = (stored_text(value) if isinstance(value, str) else value for value in media_values(record))
        await self._database.execute(_ADD, *values)

    async def get(self, media_id: str) -> MediaRecord | None:
        """Return a record by its name."""
        return await self._one(" WHERE media_id = $1", media_id)

    async def find(self, param: str) -> MediaRecord | None:
        """Return the record that is downloaded by a reference."""
        return await self._one(" WHERE param = $1", param)

    async def find_by_ticket(self, ticket: str) -> MediaRecord | None:
        """Return the record that was uploaded with a permission."""
        return await self._one(" WHERE ticket = $1", ticket)

    async def set_facts(self, media_id: str, facts: MediaFacts) -> None:
        """Note what was found out about the plain bytes."""
        await self._database.execute(_SET_FACTS, *facts_values(facts), media_id)

    async def delete_before(self, moment_ms: int) -> list[str]:
        """Forget what was stored before a moment, and return the names."""
        rows = await self._database.write("DELETE FROM media WHERE created_ms < $1 RETURNING media_id", moment_ms)
        return [row[0] for row in rows]

    async def names(self) -> set[str]:
        """Return all names."""
        return {row[0] for row in await self._database.read("SELECT media_id FROM media")}

    async def delete(self, media_ids: Iterable[str]) -> None:
        """Forget some; a name that is none is no error."""
        await self._database.execute("DELETE FROM media WHERE media_id = ANY ($1::text[])", list(media_ids))

    async def clear(self) -> list[str]:
        """Forget everything, and return the names."""
        rows = await self._database.write("DELETE FROM media RETURNING media_id")
        return [row[0] for row in rows]

    async def _one(self, where: str, value: str) -> MediaRecord | None:
        row = await self._database.read_row(_SELECT + where, stored_text(value))
        return None if row is None else read_media(row)
