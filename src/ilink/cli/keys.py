"""`ilink keys`: what tokens are sealed with in a store."""

from __future__ import annotations

import asyncio

from cyclopts import App

from ilink.bot.store import StorePlace, open_store
from ilink.cli.options import DatabaseUrl, DataFolder, place_of
from ilink.cli.output import out
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.storage.keys import new_key, read_keys

__all__ = ["keys"]

keys = App(name="keys", help=say("keys.help"))


@keys.command(name="new", help=say("keys.new.help"))
def make() -> int:
    """Print a new random key."""
    out().print(new_key(), markup=False, highlight=False)
    return 0


@keys.command(name="rotate", help=say("keys.rotate.help"))
def rotate(*, data: DataFolder = None, database_url: DatabaseUrl = None) -> int:
    """Seal all tokens with the newest key."""
    if (known := read_keys()) is None:
        raise ConfigError(say("keys.none"))
    count = asyncio.run(_reseal(place_of(data, database_url)))
    out().print(say("keys.rotated", count=count, name=known.newest), markup=False)
    return 0


async def _reseal(place: StorePlace) -> int:
    async with open_store(place) as store:
        return await store.reseal()
