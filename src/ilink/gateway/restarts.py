"""Beginning anew: with nothing, or with a scene in the place of what there was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ilink.gateway.bots import Bots
from ilink.gateway.ids import IdSource
from ilink.gateway.knobs import Knobs
from ilink.gateway.media import MediaRoom
from ilink.gateway.scene_file import Scene
from ilink.gateway.scenes import Scenes
from ilink.gateway.settings import Settings
from ilink.gateway.state import GatewayState
from ilink.gateway.timekeeping import Timekeeping

__all__ = ["Restarts"]


class Restarts:
    """Puts another state in the place of a gateway's.

    Args:
        state: What the rules share.
        bots: The bots.
        media: The blobs.
        scenes: The way between the store and a file.
        settings: The knobs.
        time: The clock.
        forget: Forgets what is kept in memory of a state that is no more.
    """

    def __init__(
        self,
        state: GatewayState,
        *,
        bots: Bots,
        media: MediaRoom,
        scenes: Scenes,
        settings: Settings,
        time: Timekeeping,
        forget: Callable[[], None],
    ) -> None:
        self._state = state
        self._bots = bots
        self._media = media
        self._scenes = scenes
        self._settings = settings
        self._time = time
        self._forget = forget

    async def reset(self, seed: int | None, *, now: datetime | None) -> None:
        """Forget everything; see `Gateway.reset`."""
        self._time.check(now)
        self._state.waiting.release()
        self._bots.forget()
        await self._state.store.clear()
        await self._media.clear()
        await self._begin(IdSource(seed), incarnation=0)
        await self._settings.drop()
        await self._time.begin(now)
        self._forget()
        self._state.publish("reset", {"seed": seed})

    async def load(self, scene: Scene) -> None:
        """Put a scene in the place of everything; see `Gateway.load_scene`."""
        Knobs().change(profile=scene.profile or None, knobs=scene.knobs)
        old = await self._media.names()
        incarnation = int((await self._state.store.meta()).get("incarnation", "0")) + 1
        state, overrides = await self._scenes.prepare(scene)
        self._state.waiting.release()
        self._bots.forget()
        await self._state.store.restore(state)
        await self._media.drop(old)
        # Ids are drawn anew: with a seed the old ones would come again, and the scene may hold them.
        await self._begin(IdSource(self._state.ids.seed, incarnation=incarnation), incarnation=incarnation)
        await self._settings.put(overrides)
        self._forget()
        if scene.profile or scene.knobs:
            await self._settings.change(profile=scene.profile or None, knobs=scene.knobs)
        newest_ms = max((entry.at_ms for entry in state.entries), default=0)
        if newest_ms > self._state.clock.now_ms():
            await self._time.advance((newest_ms - self._state.clock.now_ms()) / 1000)
        self._state.publish("reset", {"seed": self._state.ids.seed})

    async def _begin(self, ids: IdSource, *, incarnation: int) -> None:
        """Draw from another source of ids from now on; cursors from before are foreign."""
        self._state.ids = ids
        self._state.cursor_key = ids.draw("cursor", 32)
        await self._state.store.put_meta(
            {
                "seed": "" if ids.seed is None else str(ids.seed),
                "incarnation": str(incarnation),
                "cursor_key": self._state.cursor_key.hex(),
            }
        )
