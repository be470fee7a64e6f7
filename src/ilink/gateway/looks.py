"""Looks into the store at many bots with one question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ilink.errors import StoreError

if TYPE_CHECKING:
    from ilink.storage.gateway import BotRecord, GatewayStore

__all__ = ["Looks"]


class Looks:
    """Asks for bots; whoever asks while a question is on its way shares the next one.

    Args:
        store: Where the bots are.
    """

    def __init__(self, store: GatewayStore) -> None:
        self._store = store
        self._wanted: dict[int, asyncio.Future[BotRecord | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def look(self, number: int) -> BotRecord | None:
        """Return a bot as it is stored now, or None.

        Raises:
            StoreError: The store could not be asked.
        """
        future = self._wanted.get(number)
        if future is None:
            future = self._wanted[number] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                try:
                    records = {record.number: record for record in await self._store.bots_numbered(tuple(wanted))}
                except StoreError as error:
                    for future in wanted.values():
                        future.set_exception(error)
                        future.exception()  # nobody may be left who asked
                else:
                    for number, future in wanted.items():
                        future.set_result(records.get(number))
        finally:
            self._asking = None
