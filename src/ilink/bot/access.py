"""Who gets as far as a handler: people the owner lets in, each as often as is all right."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ilink.bot.clock import Clock
from ilink.bot.rates import RateLimiter
from ilink.bot.routing.commands import Call, read_call
from ilink.bot.words import Language, language_of, say
from ilink.errors import ConfigError
from ilink.messages.incoming import Message
from ilink.storage.pairings import GuessesLocked, Pairings
from ilink.wire.ids import UserId, normalize_user_id

__all__ = ["Gate", "Pairing", "new_pairing_code"]

_log = logging.getLogger(__name__)

_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without what is read or heard as something else."""
_CODE_CHARACTERS: Final = 8


def new_pairing_code() -> str:
    """Return a code that cannot be guessed: 40 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_CHARACTERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Whoever writes is listened to once the owner says so: `Bot(allow=Pairing())`.

    A stranger is told a code, once, and nothing else is done for them. The owner sends `/pair CODE` to the bot, or runs
    `ilink accounts pair CODE`; from then on the stranger is listened to, also after a restart, until
    `ilink accounts unpair USER`. What was written before that is not handled.

    Attributes:
        users: Who is listened to anyway, besides the owner.
        code_seconds: How long a code is worth something.
        most_waiting: How many strangers may hold a code at the same time; others get no answer.
        wrong_codes: How many wrong codes the owner may send in a row before none is looked at for a while.
        lock_seconds: For how long.
        commands: What the owner writes, without slash.

    Raises:
        ConfigError: A number is not above zero, or there is no command.
    """

    users: Iterable[str] = ()
    code_seconds: float = 3_600.0
    most_waiting: int = 20
    wrong_codes: int = 5
    lock_seconds: float = 900.0
    commands: tuple[str, ...] = ("pair", "配对")

    def __post_init__(self) -> None:
        """Refuse what lets nobody in."""
        if min(self.code_seconds, self.most_waiting, self.wrong_codes, self.lock_seconds) <= 0 or not self.commands:
            message = "the numbers of a Pairing have to be above zero, and it needs a command"
            raise ConfigError(message)


class Gate:
    """What a message passes before its handler is looked for.

    Args:
        owner: The person who scanned.
        pairing: How strangers are let in; None when that is decided elsewhere.
        pairings: Who was let in.
        limiter: How much one person may say; None for as much as they like.
        language: What is spoken; None for the person's own.
        clock: Source of time.
        new_code: Makes codes.
    """

    def __init__(
        self,
        *,
        owner: UserId | None,
        pairing: Pairing | None,
        pairings: Pairings,
        limiter: RateLimiter | None,
        language: Language | None,
        clock: Clock,
        new_code: Callable[[], str] = new_pairing_code,
    ) -> None:
        self._owner = owner
        self._pairing = pairing
        self._pairings = pairings
        self._limiter = limiter
        self._language: Language | None = language
        self._clock = clock
        self._new_code = new_code
        self._users = frozenset(normalize_user_id(user) for user in (pairing.users if pairing else ()))

    async def admit(self, message: Message) -> bool:
        """Tell whether a message goes on to its handler; if not, what there is to say about it has been said.

        Raises:
            StoreError: It cannot be looked up who was let in.
        """
        return await self._is_slow_enough(message) and (
            self._pairing is None or await self._is_known(message, self._pairing)
        )

    async def _is_slow_enough(self, message: Message) -> bool:
        # A message that is handled again was counted before.
        if self._limiter is None or message.attempt > 1:
            return True
        seconds, must_tell = self._limiter.wait_for(message.user, self._clock.monotonic())
        if not seconds:
            return True
        _log.info("message %d is not handled: %s says too much", message.sequence, message.user)
        if must_tell:
            await self._say(message, "rate.slow", seconds=max(1, round(seconds)))
        return False

    async def _is_known(self, message: Message, pairing: Pairing) -> bool:
        if message.user == self._owner:
            call = read_call(message.text.strip())
            if call is None or call.name not in pairing.commands:
                return True
            await self._approve(message, call, pairing)
            return False
        if message.user in self._users or await self._pairings.is_paired(message.user):
            return True
        await self._ask(message, pairing)
        return False

    async def _ask(self, message: Message, pairing: Pairing) -> None:
        asked = await self._pairings.ask(
            message.user,
            by=message.key,
            new_code=self._new_code,
            now_ms=self._clock.now_ms(),
            lasts_ms=int(pairing.code_seconds * 1000),
            most=pairing.most_waiting,
        )
        if asked is None:
            _log.warning("%s is not told a code: %d people wait already", message.user, pairing.most_waiting)
        elif asked.must_tell:
            _log.info("%s asks to be let in", message.user)
            shown = f"{asked.code[:4]}-{asked.code[4:]}"
            command = f"/{self._command(message, pairing)} {shown}"
            await self._say(
                message, "pairing.asked", code=shown, command=command, minutes=_minutes(pairing.code_seconds)
            )

    async def _approve(self, message: Message, call: Call, pairing: Pairing) -> None:
        if not call.rest:
            command = f"/{self._command(message, pairing)} CODE"
            await self._say(message, "pairing.owner_usage", command=command)
            return
        now_ms = self._clock.now_ms()
        found = await self._pairings.approve(
            call.rest, now_ms=now_ms, wrong_codes=pairing.wrong_codes, lock_ms=int(pairing.lock_seconds * 1000)
        )
        if isinstance(found, GuessesLocked):
            await self._say(message, "pairing.locked", minutes=_minutes((found.until_ms - now_ms) / 1000))
        elif found is None:
            minutes = _minutes(pairing.code_seconds)
            await self._say(message, "pairing.owner_none", code=call.rest, minutes=minutes)
        else:
            _log.info("the owner let %s in", found)
            await self._say(message, "pairing.owner_done", user=found)

    def _command(self, message: Message, pairing: Pairing) -> str:
        is_chinese = self._language_for(message) == "zh-CN"
        fitting = (name for name in pairing.commands if name.isascii() is not is_chinese)
        return next(fitting, pairing.commands[0])

    async def _say(self, message: Message, key: str, **values: object) -> None:
        await message.reply(say(self._language_for(message), key, **values))

    def _language_for(self, message: Message) -> Language:
        return language_of(message.text, setting=self._language)


def _minutes(seconds: float) -> int:
    return max(1, round(seconds / 60))
