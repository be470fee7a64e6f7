"""The typing indicator never sticks, is shared by the blocks of one user only, and costs nothing when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bot_house import HastyClock

from ilink.bot.typing_indicator import TypingIndicators
from ilink.client.answers import TypingConfig
from ilink.errors import ServerError
from ilink.wire.ids import Secret, UserId

ALICE, BOB = UserId("alice"), UserId("bob")


class Phone:
    """A server that shows typing with tickets that die."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.tickets = 0
        self.failures = 0
        self.has_tickets = True
        self.dead: set[str] = set()
        self.changed = asyncio.Event()

    async def get_config(self, user_id: UserId, *, context_token: Secret | None = None) -> TypingConfig:
        self.tickets += 1
        return TypingConfig(typing_ticket=Secret(f"t{self.tickets}") if self.has_tickets else None)

    async def send_typing(self, user_id: UserId, typing_ticket: Secret, *, is_typing: bool = True) -> None:
        await asyncio.sleep(0)
        self.changed.set()
        if self.failures or typing_ticket.reveal() in self.dead:
            self.failures = max(0, self.failures - 1)
            raise ServerError("not now", endpoint="sendtyping")
        self.calls.append((user_id, typing_ticket.reveal(), is_typing))

    def seen(self, user: UserId) -> list[bool]:
        return [is_typing for who, _, is_typing in self.calls if who == user]

    async def until(self, count: int, user: UserId = ALICE) -> None:
        async with asyncio.timeout(45):
            while len(self.seen(user)) < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def indicators(phone: Phone, clock: HastyClock) -> AsyncIterator[TypingIndicators]:
    async def token(user: UserId) -> None:
        return None

    async with asyncio.TaskGroup() as tasks:
        found = TypingIndicators(lambda: phone, token, clock=clock, tasks=tasks)
        yield found
        assert found._shown == {}  # and the group ends, so no task is left


async def test_it_is_shown_refreshed_and_hidden(clock: HastyClock) -> None:
    phone = Phone()
    async with indicators(phone, clock) as typing, typing.show(ALICE):
        await phone.until(3)
    assert phone.seen(ALICE)[-1] is False
    assert phone.seen(ALICE).count(False) == 1
    assert set(clock.slept) == {5.0}


async def test_blocks_of_one_user_share_it_and_of_others_do_not(clock: HastyClock) -> None:
    phone = Phone()
    async with indicators(phone, clock) as typing, typing.show(ALICE):
        async with typing.show(ALICE), typing.show(BOB):
            await phone.until(1)
            await phone.until(1, BOB)
        assert False not in phone.seen(ALICE)
        assert phone.seen(BOB)[-1] is False
        shown = len(phone.seen(BOB))
        await phone.until(len(phone.seen(ALICE)) + 2)
        assert len(phone.seen(BOB)) == shown
    assert phone.seen(ALICE)[-1] is False


async def test_a_ticket_that_died_is_replaced_and_the_end_is_told(clock: HastyClock) -> None:
    phone = Phone()
    async with indicators(phone, clock) as typing, typing.show(ALICE):
        await phone.until(1)
        phone.dead = {"t1"}
        await phone.until(3)
        phone.dead = {f"t{phone.tickets}"}
    assert phone.calls[-1] == (ALICE, f"t{phone.tickets}", False)


async def test_an_old_ticket_is_not_used_any_more(clock: HastyClock) -> None:
    phone = Phone()
    async with indicators(phone, clock) as typing:
        async with typing.show(ALICE):
            await phone.until(1)
        clock.late += 601
        async with typing.show(ALICE):
            await phone.until(3)
    assert phone.tickets == 2


async def _fail_in(typing: TypingIndicators, phone: Phone, error: type[BaseException]) -> None:
    async with typing.show(ALICE):
        await phone.until(1)
        raise error


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_it_is_hidden_when_the_block_fails_or_is_cancelled(clock: HastyClock, error: type[BaseException]) -> None:
    phone = Phone()
    async with indicators(phone, clock) as typing:
        with pytest.raises(error):
            await _fail_in(typing, phone, error)
    assert phone.seen(ALICE)[-1] is False


async def test_a_second_cancellation_does_not_leave_it_on(clock: HastyClock) -> None:
    phone = Phone()

    async def work(typing: TypingIndicators) -> None:
        async with typing.show(ALICE):
            await asyncio.Event().wait()

    async with indicators(phone, clock) as typing:
        task = asyncio.create_task(work(typing))
        await phone.until(1)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await phone.until(2)
    assert phone.seen(ALICE)[-1] is False


async def test_a_server_that_fails_costs_the_indicator_only(clock: HastyClock) -> None:
    phone = Phone()
    phone.failures = 10_000
    async with indicators(phone, clock) as typing, typing.show(ALICE):
        async with asyncio.timeout(45):
            while len(clock.slept) < 3:  # noqa: ASYNC110  # a clock tells nobody
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
    assert phone.calls == []
    assert len(clock.slept) == 3  # it is left alone after some tries


async def test_without_a_ticket_nothing_is_shown(clock: HastyClock) -> None:
    phone = Phone()
    phone.has_tickets = False
    async with indicators(phone, clock) as typing, typing.show(ALICE):
        await asyncio.sleep(0.01)
    assert phone.calls == []
