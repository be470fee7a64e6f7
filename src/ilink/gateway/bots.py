"""The bots: who they belong to, whether their token works, and how far they have read."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ilink.gateway.clock import as_datetime
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.looks import Looks
from ilink.gateway.problems import ConflictError, UnknownThingError
from ilink.gateway.state import GatewayState
from ilink.gateway.views import BotView
from ilink.storage.files import finished
from ilink.storage.gateway import BotRecord, BotState, CodeRecord, MailRecord, Progress
from ilink.wire.ids import Cursor, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Bot", "Bots", "FreshMail", "token_of"]

_FIRST_GENERATION: Final = 1
_NO_NUMBER: Final = 0
_FRESH: Final = 8
_FRESH_BYTES: Final = 4096
_LOOKED_AT: Final = 1000
"""How many bots one question to the store is about at most."""
"""How many messages of a bot, and of which size, are kept in memory besides the store."""


@dataclass(frozen=True, slots=True)
class FreshMail:
    """A message that was stored a moment ago."""

    at_ms: int
    record: MailRecord


class Bot:
    """A bot in memory: the stored facts, and who waits for its mail now.

    Its `cursor` is the newest that it was given, after its generation and seq: nearly always the next that it sends.
    """

    __slots__ = (
        "acked_seq",
        "bot_id",
        "conflicts",
        "created_ms",
        "cursor",
        "fresh",
        "generation",
        "handed_seq",
        "head_seq",
        "holds",
        "is_announced",
        "is_asleep",
        "is_notified",
        "last_call_ms",
        "last_poll_ms",
        "number",
        "owner_user_id",
        "repeats",
        "revoke_ms",
        "state",
        "token_hash",
    )

    def __init__(self, record: BotRecord, *, now_ms: int) -> None:
        self.number = record.number
        self.bot_id = record.bot_id
        self.owner_user_id = record.owner_user_id
        self.state: BotState = record.state
        self.generation = record.generation
        self.created_ms = record.created_ms
        self.token_hash = record.token_hash
        self.revoke_ms = record.revoke_ms
        self.head_seq = record.head_seq
        self.handed_seq = record.handed_seq
        self.acked_seq = record.acked_seq
        self.last_poll_ms = record.last_poll_ms
        self.is_notified = record.is_notified
        self.last_call_ms = now_ms
        self.is_asleep = False
        self.is_announced = False
        self.cursor: tuple[int, int, Cursor] | None = None
        self.holds: tuple[Hold, ...] = ()
        self.conflicts: tuple[float, ...] = ()
        self.repeats: list[MailRecord] = []
        self.fresh: tuple[FreshMail, ...] = ()

    def take_up(self, record: BotRecord) -> None:
        """Take up what other processes stored; how far it has read never goes back."""
        self.state = record.state
        self.generation = record.generation
        self.is_notified = record.is_notified
        self.acked_seq = max(self.acked_seq, record.acked_seq)
        self.handed_seq = max(self.handed_seq, record.handed_seq)
        if record.last_poll_ms is not None:
            self.last_poll_ms = max(self.last_poll_ms or 0, record.last_poll_ms)
        self.note_head(record.head_seq)

    def note_head(self, seq: int) -> None:
        """Note that the mailbox reaches up to here, and wake whoever waits for what is new."""
        if seq > self.head_seq:
            self.head_seq = seq
            self.end_holds(Ending.NEWS)

    def keep_fresh(self, mail: FreshMail) -> None:
        """Keep a message in memory for the poll that waits for it, which saves that poll a look into the store."""
        is_next = bool(self.fresh) and self.fresh[-1].record.seq + 1 == mail.record.seq
        kept = (*self.fresh[1 - _FRESH :], mail) if is_next else (mail,)
        self.fresh = kept if len(mail.record.wire) <= _FRESH_BYTES else ()

    def read_fresh(self, after_seq: int, *, not_before_ms: int) -> list[MailRecord] | None:
        """Return everything after a seq if all of it is in memory, else None."""
        if not self.fresh or self.fresh[0].record.seq > after_seq + 1 or self.fresh[-1].record.seq != self.head_seq:
            return None
        return [mail.record for mail in self.fresh if mail.record.seq > after_seq and mail.at_ms >= not_before_ms]

    @property
    def progress(self) -> Progress:
        """How far it has read, for the store."""
        return Progress(
            bot=self.number, handed_seq=self.handed_seq, acked_seq=self.acked_seq, last_poll_ms=self.last_poll_ms
        )

    def end_holds(self, ending: Ending) -> None:
        """End every poll of it that is held."""
        for hold in self.holds:
            hold.end(ending)


class Bots:
    """Every bot that was asked for since the start, and the rules of binding."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self._looks = Looks(state.store)
        self._bots: dict[str, Bot] = {}
        self._by_number: dict[int, Bot] = {}

    def forget(self) -> None:
        """Forget everything in memory, before and after the store is cleared.

        What is under way for a forgotten bot must not reach the new one that gets its number in the store.
        """
        for bot in self._bots.values():
            bot.number = _NO_NUMBER
        self._bots.clear()
        self._by_number.clear()

    def remembered(self, bot_id: str) -> Bot | None:
        """Return a bot that is in memory, which saves those who call thousands a second a coroutine each.

        None where other processes may have changed it.
        """
        return None if self._state.peers.is_shared else self._bots.get(bot_id)

    async def find(self, bot_id: str) -> Bot | None:
        """Return a bot, from memory or the store."""
        bot = self._bots.get(bot_id)
        if bot is not None:
            return bot if not self._state.peers.is_shared or await self._refresh(bot) else None
        record = await self._state.store.bot(bot_id)
        return None if record is None else self._keep(record)

    async def get(self, bot_id: str) -> Bot:
        """Return a bot.

        Raises:
            UnknownThingError: There is none.
        """
        bot = await self.find(bot_id)
        if bot is None:
            raise UnknownThingError("bot", bot_id)
        return bot

    async def numbered(self, number: int) -> Bot | None:
        """Return the bot that has a number in the store, or None."""
        bot = self._by_number.get(number)
        if bot is None:
            await self.all()
            bot = self._by_number.get(number)
        return bot

    async def all(self) -> list[Bot]:
        """Return all bots, oldest first."""
        return [self._keep(record) for record in await self._state.store.bots()]

    async def by_token(self, token: str) -> Bot | None:
        """Return the bot whose token this is, whether it still works or not; compared in constant time."""
        bot_id, colon, _ = token.rpartition(":")
        if not colon:
            return None
        bot = None if self._state.peers.is_shared else self._bots.get(bot_id)
        bot = bot or await self.find(bot_id)
        if bot is None or not hmac.compare_digest(_hash(token), bot.token_hash):
            return None
        return bot

    def known(self, number: int) -> Bot | None:
        """Return the bot that has a number in the store, if it is in memory."""
        return self._by_number.get(number)

    def number_of(self, bot_id: str) -> int | None:
        """Return the number in the store of a bot that is in memory."""
        bot = self._bots.get(bot_id)
        return None if bot is None else bot.number

    @property
    def waited_for(self) -> list[int]:
        """The numbers of the bots of which polls are held here."""
        return [bot.number for bot in self._bots.values() if bot.holds]

    async def look_again(self, numbers: Iterable[int]) -> None:
        """Take up what other processes did to bots that are in memory, and wake whoever waits for that.

        Raises:
            StoreError: The store could not be asked.
        """
        known = [number for number in numbers if number in self._by_number]
        for start in range(0, len(known), _LOOKED_AT):
            wanted = known[start : start + _LOOKED_AT]
            records = {record.number: record for record in await self._state.store.bots_numbered(wanted)}
            for number in wanted:
                bot = self._by_number.get(number)
                if bot is not None:
                    self._take_up(bot, records.get(number))

    async def _refresh(self, bot: Bot) -> bool:
        """Take up what is stored of a bot that is in memory; False when it is no more."""
        return self._take_up(bot, await self._looks.look(bot.number))

    def _take_up(self, bot: Bot, record: BotRecord | None) -> bool:
        if record is None or record.bot_id != bot.bot_id:
            # Everything was cleared meanwhile, and its number may be another bot's.
            self._bots.pop(bot.bot_id, None)
            if self._by_number.get(bot.number) is bot:
                del self._by_number[bot.number]
            bot.number = _NO_NUMBER
            bot.end_holds(Ending.REVOKED)
            return False
        bot.take_up(record)
        if record.revoke_ms is not None and record.revoke_ms != bot.revoke_ms:
            bot.revoke_ms = record.revoke_ms
            self._revoke_at(bot, record.revoke_ms)
        if bot.state == "expired":
            bot.end_holds(Ending.REVOKED)
        return True

    def why_stale(self, bot: Bot) -> str | None:
        """Say why a bot's token does not work, or None when it does."""
        now_ms = self._state.clock.now_ms()
        if bot.state == "expired":
            return "the bot was expired"
        if bot.revoke_ms is not None and now_ms >= bot.revoke_ms:
            return "a newer login of the owner replaced the bot"
        ttl = self._state.knobs_about(bot).number("token.ttl_s")
        if ttl is not None and now_ms >= bot.created_ms + ttl * 1000:
            return "the token is older than token.ttl_s"
        return None

    async def live_ones(self, owner_user_id: str) -> list[Bot]:
        """Return the bots of a person whose tokens work."""
        records = await self._state.store.live_bots(owner_user_id)
        return [bot for bot in map(self._keep, records) if self.why_stale(bot) is None]

    async def bind(self, code: CodeRecord, owner_user_id: str) -> Bot | None:
        """Make the bot of a confirmed code, and let the owner's earlier ones die; None when the code has one by now."""
        now_ms = self._state.clock.now_ms()
        bot_id = self._state.ids.bot()
        record = BotRecord(
            number=0,
            bot_id=bot_id,
            owner_user_id=owner_user_id,
            state="live",
            generation=_FIRST_GENERATION,
            created_ms=now_ms,
            token_hash=_hash(token_of(bot_id, code.secret).reveal()),
            revoke_ms=None,
            head_seq=0,
            handed_seq=0,
            acked_seq=0,
            last_poll_ms=None,
            is_notified=False,
        )
        knobs = self._state.knobs.about(_NO_NUMBER, owner_user_id)
        revoke_ms = now_ms + int(knobs.seconds("bind.revoke_delay_s") * 1000) if knobs.flag("bind.single") else None
        confirmed = replace(code, bot_id=bot_id)
        bound = await self._state.store.bind(record, confirmed, revoke_others_ms=revoke_ms)
        if bound is None:
            return None
        bot = self._keep(replace(record, number=bound.number))
        if revoke_ms is not None:
            for replaced_id in bound.replaced:
                self._replace(replaced_id, revoke_ms)
        self._tell(bot)
        return bot

    async def expire(self, bot_id: str) -> None:
        """Make a bot's token stale, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
        """
        bot = await self.get(bot_id)

        async def expire() -> None:
            await self._state.store.expire_bot(bot_id)
            bot.state = "expired"
            bot.end_holds(Ending.REVOKED)
            self._tell(bot)

        await finished(expire())  # cancelled in between, the token would work until the next start

    async def rebind(self, bot_id: str) -> None:
        """Let a bot's owner sign in somewhere else: its token dies as after a newer binding, held polls included.

        Raises:
            UnknownThingError: There is no such bot.
            ConflictError: Its token is dead already.
        """
        bot = await self.get(bot_id)
        if bot.state != "live":
            message = f"the bot {bot_id} is {bot.state} already"
            raise ConflictError(message)
        knobs = self._state.knobs.about(_NO_NUMBER, bot.owner_user_id)
        revoke_ms = self._state.clock.now_ms() + int(knobs.seconds("bind.revoke_delay_s") * 1000)

        async def replace_it() -> None:
            await self._state.store.replace_bot(bot_id, revoke_ms=revoke_ms)
            self._replace(bot_id, revoke_ms)

        await finished(replace_it())

    async def rotate(self, bot_id: str) -> None:
        """Begin a new generation of a bot's stream: cursors from before stop counting.

        Raises:
            UnknownThingError: There is no such bot.
        """
        bot = await self.get(bot_id)

        async def rotate() -> None:
            bot.generation = await self._state.store.start_generation(bot_id)
            self._tell(bot)

        await finished(rotate())

    async def set_notified(self, bot: Bot, *, is_notified: bool) -> None:
        """Note that notifystart or notifystop came."""
        await self._state.store.set_notified(bot.number, is_notified=is_notified)
        bot.is_notified = is_notified
        if is_notified and self._state.knobs_about(bot).flag("session.revive_by_notify"):
            bot.is_asleep = False
        self._tell(bot)

    def touch(self, bot: Bot) -> None:
        """Note a call of a bot, and that it slept too long if it did."""
        now_ms = self._state.clock.now_ms()
        idle = self._state.knobs_about(bot).number("session.idle_s")
        if idle is None:
            bot.is_asleep = False
        elif now_ms - bot.last_call_ms > idle * 1000:
            bot.is_asleep = True
        bot.last_call_ms = now_ms

    async def store_progress(self) -> None:
        """Store how far every bot has read: what was handed out since the last acknowledgement is known only here."""
        for bot in self._bots.values():
            if bot.handed_seq > bot.acked_seq or bot.last_poll_ms is not None:
                await self._state.store.advance(bot.progress)

    def view(self, bot: Bot) -> BotView:
        """Return what is shown of a bot."""
        state = bot.state
        if state == "live" and self.why_stale(bot) is not None:
            state = "expired"
        return BotView(
            bot_id=bot.bot_id,
            owner_user_id=bot.owner_user_id,
            state=state,
            generation=bot.generation,
            last_poll_at=None if bot.last_poll_ms is None else as_datetime(bot.last_poll_ms),
            waiting_polls=len(bot.holds),
            head_seq=bot.head_seq,
            handed_seq=max(bot.handed_seq, bot.acked_seq),
            acked_seq=bot.acked_seq,
            is_notified=bot.is_notified,
        )

    def _keep(self, record: BotRecord) -> Bot:
        """Return the bot in memory, which is newer than any record; two who ask at once get the same."""
        bot = self._bots.get(record.bot_id)
        if bot is None:
            bot = self._bots[record.bot_id] = self._by_number[record.number] = Bot(
                record, now_ms=self._state.clock.now_ms()
            )
            if bot.revoke_ms is not None:
                self._revoke_at(bot, bot.revoke_ms)
        elif self._state.peers.is_shared:
            self._take_up(bot, record)
        return bot

    def _replace(self, bot_id: str, revoke_ms: int) -> None:
        self._state.peers.tell("replaced", bot_id)
        bot = self._bots.get(bot_id)
        if bot is not None:
            bot.state = "replaced"
            bot.revoke_ms = revoke_ms
            self._revoke_at(bot, revoke_ms)
            self._tell(bot)

    def _revoke_at(self, bot: Bot, revoke_ms: int) -> None:
        if self._state.clock.now_ms() >= revoke_ms:
            bot.end_holds(Ending.REVOKED)
        else:
            self._state.clock.at(revoke_ms / 1000, lambda: bot.end_holds(Ending.REVOKED))

    def _tell(self, bot: Bot) -> None:
        data: dict[str, object] = {"bot_id": bot.bot_id, "owner_user_id": bot.owner_user_id, "state": bot.state}
        self._state.publish("bot", data)
        self._state.peers.tell("bot", bot.number)


def token_of(bot_id: str, secret: bytes) -> Secret:
    """Return a bot's token, `<bot id>:<secret>` (peer: ilink-hub).

    It follows from the code's secret, so that `confirmed` can be repeated while the token itself is stored nowhere.
    """
    digest = hmac.digest(secret, bot_id.encode(), hashlib.sha256)
    return Secret(f"{bot_id}:{base64.urlsafe_b64encode(digest).decode().rstrip('=')}")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
