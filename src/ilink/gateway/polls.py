"""getupdates: what a poll acknowledges, what it gets, and how it waits (protocol §8.4, architecture §3.3)."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from ilink.gateway.bots import Bot, Bots, FreshMail
from ilink.gateway.cursors import Position, read_cursor, write_cursor
from ilink.gateway.holds import Ending, Hold
from ilink.gateway.refusals import Reply, stale
from ilink.gateway.state import GatewayState
from ilink.storage.gateway import MailRecord
from ilink.wire.ids import Cursor
from ilink.wire.models import Answer, UpdatesAnswer

__all__ = ["Polls"]

_CONFLICT_SECONDS: Final = 10.0
_FREE_CONFLICTS: Final = 3
"""So many conflicts in that time are answered at once; further losers are held back, or two pollers would spin."""
_DAMPING_SECONDS: Final = 3.0
_REPEAT_AFTER: Final = 1.0
"""When a duplicate comes: about a second later (observed: ocw#239)."""


class Polls:
    """The polls of all bots."""

    def __init__(self, state: GatewayState, bots: Bots) -> None:
        self._state = state
        self._bots = bots

    async def poll(self, bot: Bot, cursor: str, hold: Hold) -> Reply:
        """Acknowledge what the cursor says, and return what comes after it, waiting for it if need be."""
        knobs = self._state.knobs_about(bot)
        conflict = knobs.choice("poll.conflict")
        if bot.holds and conflict == "http403":
            return Reply(body=Answer(ret=-1, errmsg="another poll is held"), status=403, findings=("two_pollers",))
        position = self._position(bot, cursor)
        findings = _findings(position, bot)
        if position.verdict not in ("valid", "empty") and knobs.choice("poll.unknown_cursor") == "-14":
            return stale(knobs, findings=(f"cursor_{position.verdict}",))
        bot.last_poll_ms = self._state.clock.now_ms()
        if position.seq > bot.acked_seq:
            await self._store_acknowledged(bot, position.seq)
        if bot.holds and conflict != "split":
            findings = (*findings, "two_pollers")
            self._release_older(bot, stale_for_loser=conflict == "stale")
        self._announce(bot)
        return await self._wait_for_mail(bot, position, hold, findings)

    def give_way(self, bot: Bot) -> None:
        """End the polls of a bot that another process holds a newer one of, as the knob says."""
        bot.is_announced = False
        conflict = self._state.knobs_about(bot).choice("poll.conflict")
        if bot.holds and conflict != "split":
            self._release_older(bot, stale_for_loser=conflict == "stale")

    def _announce(self, bot: Bot) -> None:
        """Tell the other processes that the newest poll of a bot is here, unless they know from an earlier one."""
        if not bot.is_announced:
            bot.is_announced = True
            self._state.peers.tell("poll", bot.number)

    def deliver(self, bot: Bot, mail: FreshMail) -> None:
        """Note that a message is in the mailbox and wake whoever waits for it."""
        self._state.peers.tell("mail", f"{bot.number} {mail.record.seq}")
        bot.head_seq = max(bot.head_seq, mail.record.seq)
        bot.keep_fresh(mail)
        self._wake(bot)

    async def _wait_for_mail(self, bot: Bot, position: Position, hold: Hold, findings: tuple[str, ...]) -> Reply:
        """Hold a poll until there is mail for it.

        The poll is registered before the mailbox is looked at, so that no message can come between the two unnoticed,
        and the token is looked at once more, because it may have died while the acknowledgement was stored.
        """
        start = bot.acked_seq
        bot.holds = (*bot.holds, hold)
        if self._bots.why_stale(bot) is not None:
            hold.end(Ending.REVOKED)
        ending: Ending | None = None
        is_held = False
        try:
            while ending is None:
                batch, start = await self._read(bot, start, is_new=position.verdict != "valid")
                if batch and hold.ending in (None, Ending.NEWS):
                    return self._hand_out(bot, batch, findings)
                if not is_held:
                    is_held = True
                    self._tell_progress(bot)
                ending = await self._state.waiting.wait(hold, self._state.knobs_about(bot).whole("poll.hold_ms") / 1000)
                if ending is Ending.NEWS:
                    hold.begin_again()
                    ending = None
        finally:
            bot.holds = tuple(other for other in bot.holds if other is not hold)
            hold.close()
            self._tell_progress(bot)
        return await self._end_empty(bot, start, ending, findings)

    def _position(self, bot: Bot, cursor: str) -> Position:
        """Read a cursor; one that is ahead of the mailbox is from data that a restored backup does not have."""
        if bot.cursor is not None and bot.cursor[0] == bot.generation and bot.cursor[2] == cursor:
            position = Position("valid", bot.cursor[1])
        else:
            position = read_cursor(self._state.cursor_key, cursor, bot=bot.number, generation=bot.generation)
        return Position("old_generation") if position.seq > bot.head_seq else position

    async def _read(self, bot: Bot, start: int, *, is_new: bool) -> tuple[list[MailRecord], int]:
        """Return the messages after a seq, and where to go on when there are none that are young enough."""
        knobs = self._state.knobs_about(bot)
        is_split = knobs.choice("poll.conflict") == "split"
        start = max(start, bot.handed_seq) if is_split else start
        batch, bot.repeats = bot.repeats, []
        head = bot.head_seq
        if head <= start:
            return batch, start
        oldest = self._state.clock.now_ms() - knobs.whole("poll.backlog_s") * 1000 if is_new else 0
        mail = bot.read_fresh(start, not_before_ms=oldest)
        if mail is None or len(mail) > 1:  # more than one may be more than fits
            mail = await self._state.store.read_mail(
                bot.number,
                after_seq=start,
                not_before_ms=oldest,
                most=knobs.whole("limits.batch_messages"),
                most_bytes=knobs.whole("limits.batch_bytes"),
            )
        if is_split:  # another poll may have been given them meanwhile
            mail = [record for record in mail if record.seq > bot.handed_seq]
            return batch + mail, start
        return batch + mail, start if mail else head

    def _hand_out(self, bot: Bot, batch: list[MailRecord], findings: tuple[str, ...]) -> Reply:
        knobs = self._state.knobs_about(bot)
        newest = max(record.seq for record in batch)
        for record in batch:
            if record.seq > bot.handed_seq and self._state.ids.chance(
                "duplicate", knobs.seconds("poll.duplicate_rate")
            ):
                self._repeat_later(bot, record)
        bot.handed_seq = max(bot.handed_seq, newest)
        seq = max(bot.acked_seq, newest)
        reply = Reply(body=self._answer(bot, [Raw(record.wire) for record in batch], seq), findings=findings)
        if knobs.flag("poll.consume_on_send"):

            async def consume() -> None:
                await self._acknowledge(bot, seq)

            reply.on_sent = consume
        self._state.peers.tell("read", f"{bot.number} {bot.handed_seq} {bot.acked_seq}")
        return reply

    def _repeat_later(self, bot: Bot, record: MailRecord) -> None:
        def repeat() -> None:
            bot.repeats.append(record)
            self._wake(bot)

        self._state.clock.after(_REPEAT_AFTER, repeat)

    async def _end_empty(self, bot: Bot, start: int, ending: Ending, findings: tuple[str, ...]) -> Reply:
        if ending is Ending.REVOKED:
            return stale(self._state.knobs_about(bot), why=self._bots.why_stale(bot) or "another poll took over")
        if ending is Ending.RELEASED:
            await self._state.waiting.delay(self._damping(bot))
        return Reply(body=self._answer(bot, [], max(start, bot.acked_seq)), findings=findings)

    def _answer(self, bot: Bot, msgs: list[Raw], seq: int) -> UpdatesAnswer:
        answer = UpdatesAnswer(ret=0, msgs=msgs, get_updates_buf=self._cursor(bot, seq))
        suggestion = self._state.knobs_about(bot).whole("poll.suggest_ms")
        if suggestion:
            answer.longpolling_timeout_ms = suggestion
        return answer

    def _cursor(self, bot: Bot, seq: int) -> Cursor:
        if bot.cursor is not None and bot.cursor[:2] == (bot.generation, seq):
            return bot.cursor[2]
        cursor = write_cursor(self._state.cursor_key, bot=bot.number, generation=bot.generation, seq=seq)
        bot.cursor = (bot.generation, seq, cursor)
        return cursor

    async def _acknowledge(self, bot: Bot, seq: int) -> None:
        if seq > bot.acked_seq:
            await self._store_acknowledged(bot, seq)
            self._tell_progress(bot)

    async def _store_acknowledged(self, bot: Bot, seq: int) -> None:
        bot.acked_seq = seq
        bot.fresh = tuple(mail for mail in bot.fresh if mail.record.seq > seq)
        bot.handed_seq = max(bot.handed_seq, seq)
        await self._state.store.advance(bot.progress)

    def _tell_progress(self, bot: Bot) -> None:
        """Say how far a bot has read, from which states in transcripts follow, and how many polls of it wait."""
        data: dict[str, object] = {
            "bot_id": bot.bot_id,
            "handed_seq": bot.handed_seq,
            "acked_seq": bot.acked_seq,
            "waiting_polls": len(bot.holds),
        }
        self._state.publish("bot", data)

    def _release_older(self, bot: Bot, *, stale_for_loser: bool) -> None:
        now = self._state.clock.now()
        bot.conflicts = (*(moment for moment in bot.conflicts if moment > now - _CONFLICT_SECONDS), now)
        bot.end_holds(Ending.REVOKED if stale_for_loser else Ending.RELEASED)

    def _damping(self, bot: Bot) -> float:
        """Return how long a loser's answer is held back."""
        recent = [moment for moment in bot.conflicts if moment > self._state.clock.now() - _CONFLICT_SECONDS]
        return min(_DAMPING_SECONDS, max(0.0, float(len(recent) - _FREE_CONFLICTS)))

    def _wake(self, bot: Bot) -> None:
        """Wake the polls of a bot: all of them, or the one that waits longest where the stream is split."""
        if self._state.knobs_about(bot).choice("poll.conflict") != "split":
            bot.end_holds(Ending.NEWS)
            return
        for hold in bot.holds:
            if hold.ending is None:
                hold.end(Ending.NEWS)
                return


def _findings(position: Position, bot: Bot) -> tuple[str, ...]:
    if position.verdict in ("foreign", "old_generation", "unreadable"):
        return (f"cursor_{position.verdict}",)
    if position.verdict == "valid" and position.seq < bot.acked_seq:
        return ("cursor_reused",)
    if position.verdict == "empty" and bot.acked_seq > 0:
        return ("cursor_lost",)
    return ()
