"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ilink.bot.store import StorePlace, find_place
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.storage.postgres_url import is_postgres_url

__all__ = ["AccountName", "BaseUrl", "DataFolder", "DatabaseUrl", "Json", "place_of"]

DataFolder = Annotated[Path | None, Parameter(name="--data", help=say("data"))]
DatabaseUrl = Annotated[str | None, Parameter(name="--database-url", help=say("run.database_url"))]
BaseUrl = Annotated[str | None, Parameter(name="--base-url", help=say("base_url"))]
AccountName = Annotated[str | None, Parameter(name="--account", help=say("account"))]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help=say("json"))]


def place_of(data: Path | None, database_url: str | None) -> StorePlace:
    """Return the store that a command is about: the database or folder that is named, else what the environment says.

    Raises:
        ConfigError: Both are named, or the address is none of a database.
    """
    if database_url is None:
        return find_place(data)
    if data is not None:
        raise ConfigError(say("data.both"))
    if not is_postgres_url(database_url):
        raise ConfigError(say("database_url.unknown"))
    return find_place(database_url)
