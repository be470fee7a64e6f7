"""Knobs, time, scenes, what is shared with other processes, and what was on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ilink.gateway.joint import Joint
from ilink.gateway.keeping import Keeping
from ilink.gateway.restarts import Restarts
from ilink.gateway.scene_file import Scene
from ilink.gateway.scenes import Scenes
from ilink.gateway.settings import Settings
from ilink.gateway.state import GatewayState
from ilink.gateway.timekeeping import Timekeeping
from ilink.gateway.views import ClockView, ConfigView, WireEntry
from ilink.gateway.wire_log import WireLog
from ilink.wire.ids import AccountId, UserId

__all__ = ["MachineRoom"]


class MachineRoom:
    """The part of a gateway that is about itself."""

    _joint: Joint
    _keeping: Keeping
    _restarts: Restarts
    _scenes: Scenes
    _settings: Settings
    _state: GatewayState
    _time: Timekeeping
    _wire: WireLog

    def config(self) -> ConfigView:
        """Return the profile, every knob, and what differs for bots and people."""
        return self._settings.view()

    async def config_of(self, *, bot_id: AccountId | None = None, user_id: UserId | None = None) -> ConfigView:
        """Return the knobs as they are for a bot, for a person, or for what both do with each other.

        Raises:
            UnknownThingError: There is no such bot or person.
        """
        return await self._settings.view_of(bot_id, user_id)

    async def configure(
        self,
        *,
        profile: str | None = None,
        knobs: Mapping[str, object] | None = None,
        bot_id: AccountId | None = None,
        user_id: UserId | None = None,
    ) -> ConfigView:
        """Choose a profile, which sets every knob, and then set single knobs; all or nothing.

        Args:
            profile: A named set of knobs.
            knobs: Single knobs by name.
            bot_id: For this bot only; or
            user_id: for what this person and bots do with each other only. Without either: for the whole gateway,
                where nothing else is set. A person's values come before a bot's, and a bot's before the gateway's.

        Raises:
            KnobError: A name or value is wrong, or a knob cannot be set for a bot or person; nothing was changed.
            InvalidRequestError: Both a bot and a person were given.
            UnknownThingError: There is no such bot or person.
        """
        await self._joint.catch_up()
        view = await self._settings.change(profile=profile, knobs=knobs, bot_id=bot_id, user_id=user_id)
        await self._joint.tell()
        self._state.publish("config", {"bot_id": bot_id, "user_id": user_id})
        return view

    async def drop_config(self, *, bot_id: AccountId | None = None, user_id: UserId | None = None) -> None:
        """Let no knob differ any more for a bot, or for a person, or without either for anybody.

        Raises:
            InvalidRequestError, UnknownThingError: As for `configure`.
        """
        await self._joint.catch_up()
        await self._settings.drop(bot_id=bot_id, user_id=user_id)
        await self._joint.tell()
        self._state.publish("config", {"bot_id": bot_id, "user_id": user_id})

    def clock(self) -> ClockView:
        """Return the gateway's own time."""
        return self._time.view()

    async def advance_clock(self, seconds: float) -> ClockView:
        """Move the time forward; whatever waits for a moment that has come is woken.

        Raises:
            InvalidRequestError: The number is negative or no finite number, or leads beyond the year 9000.
        """
        await self._joint.catch_up()
        view = await self._time.advance(seconds)
        await self._joint.tell()
        await self._keeping.keep()
        return view

    async def freeze_clock(self, *, frozen: bool) -> ClockView:
        """Stop the time, held polls' included, or let it run on from where it stands."""
        await self._joint.catch_up()
        view = await self._time.freeze(frozen=frozen)
        await self._joint.tell()
        return view

    async def reset(self, seed: int | None = None, *, now: datetime | None = None) -> None:
        """Forget people, codes, bots, messages, faults, wire and events; ids, tokens and keys follow from the seed.

        Held polls and waits end first, with what there is. The gateway's knobs stay, and what differed for bots and
        people goes with them. The clock runs and shows real time.

        Args:
            seed: None for unpredictable ones.
            now: Where the clock stands still instead. With a seed and a moment, the same requests in the same order
                get the same answers, byte for byte.

        Raises:
            InvalidRequestError: The moment is before 1970 or after 9000; nothing was forgotten.
        """
        await self._joint.catch_up()
        await self._restarts.reset(seed, now=now)
        await self._joint.tell(is_reset=True)

    async def scene(self) -> Scene:
        """Return people, bots, chats, files and knobs as a scene, which `load_scene` takes again."""
        return await self._scenes.save()

    async def load_scene(self, scene: Scene) -> None:
        """Put a scene in the place of people, codes, bots, messages, faults, wire and events.

        Held polls and waits end first. Knobs are as the scene says; one without any leaves them. Time goes forward to
        the scene's newest message if that is in the future, and never back.

        Raises:
            InvalidRequestError: Something in the scene cannot be, and the message says where; nothing was replaced.
            KnobError: A knob's name or value is wrong; likewise.
        """
        await self._joint.catch_up()
        await self._restarts.load(scene)
        await self._joint.tell(is_reset=True)

    async def share_faults(self) -> None:
        """Let other processes on the same store have the faults that were set or removed here."""
        await self._joint.tell()

    async def catch_up(self) -> None:
        """Take up what other processes on the same store changed of knobs, time and faults."""
        await self._joint.catch_up()

    def wire_log(
        self, *, since: int = 0, bot_id: str | None = None, endpoint: str | None = None, limit: int = 1000
    ) -> list[WireEntry]:
        """Return what is kept of the wire after an id, oldest first, redacted."""
        return self._wire.entries(since=since, bot_id=bot_id, endpoint=endpoint, limit=limit)
