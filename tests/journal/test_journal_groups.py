"""What is asked of a journal at about the same time: stored together, in order, and answered whatever happens."""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import Any

import pytest

from ilink.errors import StoreError
from ilink.storage.journal import Completed, OutboxState, Outcome
from ilink.storage.journal_groups import Addition, Completion, Group, Groups, Settlement, Stored
from ilink.wire.ids import UserId


class Store:
    """Takes groups, and is done with them when a test says so."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.under_way: list[Future[Stored]] = []
        self.is_slow = True
        self.error: StoreError | None = None

    def __call__(self, group: Group) -> Future[Stored]:
        if self.error is not None:
            raise self.error
        self.groups.append(group)
        future: Future[Stored] = asyncio.get_running_loop().create_future()
        self.under_way.append(future)
        if not self.is_slow:
            self.finish()
        return future

    def finish(self) -> None:
        group = self.groups[-1]
        completed = [Completed(is_accepted=True, outgoing=()) for _ in group.completions]
        self.under_way[-1].set_result(Stored(completed, [[] for _ in group.additions]))

    def sizes(self) -> list[tuple[int, int, int]]:
        return [(len(group.completions), len(group.additions), len(group.settlements)) for group in self.groups]


def completion(sequence: int = 1) -> Completion:
    return Completion(((sequence, 0),), (), None, 0, None, None, None)


def settlement() -> Settlement:
    return Settlement(Outcome(out_sequence=1, user=UserId("u"), state=OutboxState.ACCEPTED), 0)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def store() -> Store:
    return Store()


async def test_what_is_asked_for_in_one_turn_is_one_group_and_what_comes_meanwhile_the_next(store: Store) -> None:
    async with Groups(store) as groups:
        first: list[Future[Any]] = [
            groups.complete(completion(1)),
            groups.add(Addition((), 0)),
            groups.complete(completion(2)),
        ]
        await turns()
        later = [groups.complete(completion(3)), groups.complete(completion(4))]
        await turns()
        assert store.sizes() == [(2, 1, 0)]
        assert not any(answer.done() for answer in first)
        store.finish()
        await turns()
        assert all(answer.done() for answer in first)
        assert store.sizes() == [(2, 1, 0), (2, 0, 0)]
        store.finish()
        await asyncio.gather(*later)


async def test_an_outcome_waits_for_others_and_no_reply_waits_for_it(store: Store) -> None:
    store.is_slow = False
    async with Groups(store) as groups:
        outcomes = [groups.settle(settlement())]
        await groups.complete(completion())
        assert store.sizes() == [(1, 0, 0)]
        outcomes.append(groups.settle(settlement()))
        await asyncio.gather(*outcomes)
        assert store.sizes() == [(1, 0, 0), (0, 0, 2)]


async def test_an_outcome_that_has_waited_long_enough_is_stored_behind_the_group_under_way(store: Store) -> None:
    async with Groups(store) as groups:
        groups.complete(completion())
        outcome = groups.settle(settlement())
        await asyncio.sleep(0.05)  # it lingers for less
        assert store.sizes() == [(1, 0, 0)]
        store.is_slow = False
        store.finish()
        async with asyncio.timeout(10):
            await outcome
        assert store.sizes() == [(1, 0, 0), (0, 0, 1)]


async def test_closing_stores_what_waits_and_lingers(store: Store) -> None:
    store.is_slow = False
    async with Groups(store) as groups:
        asked: list[Future[Any]] = [groups.settle(settlement()), groups.complete(completion())]
    assert all(answer.done() and answer.exception() is None for answer in asked)
    with pytest.raises(StoreError, match="closed"):
        await groups.complete(completion())


async def test_closing_waits_for_the_group_under_way_and_stores_the_next(store: Store) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        async with Groups(store) as groups:
            first = groups.complete(completion(1))
            await turns()
            second = groups.complete(completion(2))

            async def go_on() -> None:
                await turns()
                assert not second.done()
                store.is_slow = False
                store.finish()

            tasks.create_task(go_on())
        assert first.done()
        assert second.done()


async def test_what_follows_a_group_that_failed_fails_too_and_later_groups_are_stored(store: Store) -> None:
    async with Groups(store) as groups:
        asked: list[Future[Any]] = [groups.complete(completion(1))]
        await turns()
        asked += [groups.complete(completion(2)), groups.settle(settlement())]
        store.under_way[-1].set_exception(StoreError("the disk is full"))
        for answer in asked:
            with pytest.raises(StoreError, match="full"):
                await answer
        store.is_slow = False
        assert (await groups.complete(completion(3))).is_accepted


async def test_a_store_that_does_not_even_begin_fails_what_was_asked_for(store: Store) -> None:
    store.error = StoreError("the database is closed")
    async with Groups(store) as groups:
        with pytest.raises(StoreError, match="the database is closed"):
            await groups.complete(completion())


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_whoever_closes_it_gets_what_broke_the_store_and_nobody_waits_for_ever(
    store: Store, *, is_cancelled: bool
) -> None:
    async def work() -> None:
        async with Groups(store) as groups:
            asked = groups.complete(completion(1))
            await turns()
            if is_cancelled:
                store.under_way[-1].cancel()
            else:
                store.under_way[-1].set_exception(AssertionError("a mistake of ours"))
            with pytest.raises(StoreError, match="closed"):
                await asked
            with pytest.raises(StoreError, match="closed"):
                await groups.complete(completion(2))

    with pytest.raises(asyncio.CancelledError if is_cancelled else AssertionError):
        await work()
