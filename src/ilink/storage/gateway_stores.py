"""Where a gateway keeps its state: files in a folder for one process, or a PostgreSQL database for any number."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ilink.storage.gateway import GatewayStore
from ilink.storage.gateway_sqlite import SqliteGatewayStore
from ilink.storage.hints import Hints, NoHints
from ilink.storage.media import MediaRecords, SqliteMediaRecords

__all__ = ["GatewayStores", "open_gateway_stores"]

_STATEMENT_SECONDS: Final = 5.0
"""What a statement may take: a client that waits for an answer gives up not long after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStores:
    """Everything a gateway keeps but the bytes of files.

    Attributes:
        gateway: People, bots, messages.
        media: What is known of files.
        hints: How the processes that share these tell each other what is new.
        is_shared: Whether other processes may write too.
    """

    gateway: GatewayStore
    media: MediaRecords
    hints: Hints
    is_shared: bool


@asynccontextmanager
async def open_gateway_stores(
    folder: Path,
    *,
    database_url: str | None = None,
    hints_url: str | None = None,
    synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
) -> AsyncGenerator[GatewayStores]:
    """Open the stores of a gateway; they close when the block ends.

    Args:
        folder: Where files of an embedded database live.
        database_url: `postgresql://...` for a database that several processes share; needs the extra `postgres`.
        hints_url: `nats://...` where hints go instead of through that database; needs the extra `nats`.
        synchronous: Of an embedded database: "FULL" survives a power cut; "NORMAL" the death of the process.

    Raises:
        ConfigError: An address cannot be read, or an extra is missing.
        StoreError: The database or the server for hints cannot be used; the error says why.
    """
    if database_url is None:
        async with SqliteGatewayStore(folder / "gateway.sqlite", synchronous=synchronous) as store:
            media = SqliteMediaRecords(folder / "media.sqlite", synchronous=synchronous)
            yield GatewayStores(gateway=store, media=media, hints=NoHints(), is_shared=False)
        return
    # Loaded here, because the driver comes with an extra.
    from ilink.storage.gateway_postgres import PostgresGatewayStore
    from ilink.storage.hints_postgres import DatabaseHints
    from ilink.storage.media_postgres import PostgresMediaRecords
    from ilink.storage.postgres import PostgresDatabase

    async with (
        PostgresDatabase(database_url, schema="gateway", statement_timeout=_STATEMENT_SECONDS) as database,
        _open_hints(hints_url, DatabaseHints(database), database.channel("hints")) as hints,
    ):
        yield GatewayStores(
            gateway=PostgresGatewayStore(database), media=PostgresMediaRecords(database), hints=hints, is_shared=True
        )


@asynccontextmanager
async def _open_hints(hints_url: str | None, otherwise: Hints, channel: str) -> AsyncGenerator[Hints]:
    if hints_url is None:
        yield otherwise
        return
    from ilink.storage.hints_nats import NatsHints

    async with NatsHints(hints_url, subject=channel) as hints:
        yield hints
