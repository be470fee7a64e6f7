"""What all processes of a gateway must have alike: knobs, time, faults, and which state there is at all."""

from __future__ import annotations

from collections.abc import Callable

from ilink.gateway.faults import FaultBook
from ilink.gateway.ids import IdSource
from ilink.gateway.settings import Settings
from ilink.gateway.state import GatewayState
from ilink.gateway.timekeeping import Timekeeping

__all__ = ["Joint"]


class Joint:
    """Puts what was changed here before the others, and takes up what they changed.

    Each change raises a number in the store, so that a process which no hint reached sees that it is behind. Two
    changes of the same thing at the same moment end with one of them.

    Args:
        state: What the rules share.
        settings: The knobs.
        time: The clock.
        faults: What is made to fail.
        forget: Forgets what is kept in memory of a state that is no more.
    """

    def __init__(
        self,
        state: GatewayState,
        *,
        settings: Settings,
        time: Timekeeping,
        faults: FaultBook,
        forget: Callable[[], None],
    ) -> None:
        self._state = state
        self._settings = settings
        self._time = time
        self._faults = faults
        self._forget = forget
        self._version = ""
        self._resets = ""

    async def open(self) -> None:
        """Take up what is stored when the gateway opens."""
        if self._state.peers.is_shared:
            meta = await self._state.store.meta()
            self._version, self._resets = meta.get("version", ""), meta.get("resets", "")
            self._time.take_up(meta)
            self._faults.take_up(meta.get("faults", "[]"))

    async def tell(self, *, is_reset: bool = False) -> None:
        """Let the others take up what was changed here and is stored."""
        if not self._state.peers.is_shared:
            return
        store = self._state.store
        await store.put_meta({"faults": self._faults.stored})
        if is_reset:
            self._resets = str(await store.count_up("resets"))
        version = await store.count_up("version")
        is_next = version == int(self._version or -1) + 1
        self._version = str(version) if is_next else ""  # else somebody's change is still to be taken up
        self._state.peers.tell("state")

    async def catch_up(self) -> None:
        """Take up what others changed, if they did.

        Raises:
            StoreError: The store could not be asked.
        """
        if not self._state.peers.is_shared:
            return
        meta = await self._state.store.meta()
        version = meta.get("version", "")
        if version == self._version:
            return
        if meta.get("resets", "") != self._resets:
            await self._begin_anew(meta.get("seed", ""))
            self._resets = meta.get("resets", "")
        self._state.cursor_key = bytes.fromhex(meta["cursor_key"])
        self._settings.take_up(meta)
        self._time.take_up(meta)
        self._faults.take_up(meta.get("faults", "[]"))
        self._version = version

    async def _begin_anew(self, seed: str) -> None:
        self._state.waiting.release()
        self._forget()
        incarnation = await self._state.store.count_up("incarnation")
        self._state.ids = IdSource(int(seed) if seed else None, incarnation=incarnation)
