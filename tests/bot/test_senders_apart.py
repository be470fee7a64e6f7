"""A sender in one process, while another one polls: what users wrote is learned from the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bot_house import FAST, Connection, Server
from lanes_house import HandClock, MortalJournal, journals

from ilink.bot.outbox.drafts import drafts_of
from ilink.bot.outbox.files import OutgoingFiles
from ilink.bot.outbox.senders import Senders
from ilink.bot.settings import OnUnknown, Policies
from ilink.errors import StaleTokenError, WindowClosedError
from ilink.flows.window import ALLOWANCE
from ilink.messages.receipts import Deferred, DeferredWhy
from ilink.storage.journal import Arrival, Outcome
from ilink.storage.spool import FolderSpool
from ilink.wire.ids import ClientId, Cursor, Secret, UserId

ALICE = UserId("a")
LANE = "u:a"
STALE = StaleTokenError("-14", endpoint="sendmessage", ret=-14)
CLOSED = WindowClosedError("-2", endpoint="sendmessage", ret=-2, errmsg="prepare failed")


class Post:
    """A sender, the journal that others write to, and the refusals of its token it told of."""

    def __init__(
        self,
        journal: MortalJournal,
        senders: Senders,
        clock: HandClock,
        told: list[StaleTokenError],
        open_journal: Callable[[], AbstractAsyncContextManager[MortalJournal]],
    ) -> None:
        self.journal = journal
        self.senders = senders
        self.told = told
        self._clock = clock
        self._open_journal = open_journal
        self._number = 0

    async def be_taken_over(self) -> None:
        async with self._open_journal() as heir:
            await heir.adopt()

    async def user_writes(self) -> None:
        """Let another process store that alice wrote; nobody is told."""
        self._number += 1
        one = Arrival(
            raw=b"{}",
            identity=f"m:{self._number}",
            conversation=LANE,
            user=ALICE,
            context_token=Secret(f"token-{self._number}"),
        )
        now_ms = self._clock.now_ms()
        await self.journal.ingest(
            [one], cursor=Cursor(f"{self._number}"), generation=1, hint_ms=None, now_ms=now_ms
        )  # fmt: skip

    async def say(self, text: str, *, to: UserId = ALICE) -> ClientId:
        drafts = drafts_of(
            text,
            conversation=f"u:{to}",
            user=to,
            policies=FAST,
            now_ms=self._clock.now_ms(),
            name=lambda _part: f"ilink-{text}",
        )
        self.senders.offer(await self.journal.enqueue(drafts, now_ms=self._clock.now_ms()))
        return drafts[0].client_id

    async def until_waiting(self) -> None:
        """Wait until the lane waits for alice."""
        async with asyncio.timeout(45):
            while (lane := self.senders._scheduler.find(LANE)) is None or lane.pause is None:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.001)


@asynccontextmanager
async def sending(folder: Path, server: Server, policies: Policies = FAST) -> AsyncIterator[Post]:
    clock = HandClock()
    told: list[StaleTokenError] = []
    async with journals(folder) as open_journal, open_journal() as journal, asyncio.TaskGroup() as tasks:
        await journal.adopt()
        senders = Senders(
            journal,
            Connection(server),
            files=OutgoingFiles(journal, FolderSpool(folder / "spool"), clock=clock),
            policies=policies,
            clock=clock,
            random=Random(1),
            tasks=tasks,
            on_stale=told.append,
            on_quiet=lambda _is_quiet: None,
            on_unknown=lambda _message: None,
            is_shared=True,
        )
        senders.start()
        try:
            yield Post(journal, senders, clock, told, open_journal)
            await senders.drain(5)
        finally:
            senders.cancel()


async def test_what_another_process_heard_opens_the_window_at_once(server: Server, tmp_path: Path) -> None:
    async with sending(tmp_path, server) as post:
        await post.user_writes()
        server.send_faults.append(CLOSED)
        await post.say("one")
        await server.until(lambda: not server.send_faults)
        await post.until_waiting()
        assert server.sent == []
        await post.user_writes()
        await post.senders.heard_elsewhere([(LANE, ALICE)])
        await server.until(lambda: server.heard("a") == ["one"])
        assert server.sent[0].context_token is not None
        assert server.sent[0].context_token.reveal() == "token-2"


async def test_what_was_sent_before_another_process_heard_something_is_counted_before_it_is_read_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sending(tmp_path, server) as post:
        await post.user_writes()
        may_store, true_settle = asyncio.Event(), post.journal.settle

        def settle(outcome: Outcome, *, now_ms: int) -> Any:
            async def stored() -> None:
                await may_store.wait()
                await true_settle(outcome, now_ms=now_ms)

            return asyncio.ensure_future(stored())

        monkeypatch.setattr(post.journal, "settle", settle)
        await post.say("one")
        await server.until(lambda: len(server.sent) == 1)
        hearing = asyncio.ensure_future(post.senders.heard_elsewhere([(LANE, ALICE)]))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not hearing.done()
        may_store.set()
        await hearing
        window = await post.senders.ledger.window(ALICE)
        assert (window.sent, window.credit) == (1, ALLOWANCE - 1)


async def test_a_refused_token_is_told_once_and_nothing_is_sent_with_it(server: Server, tmp_path: Path) -> None:
    async with sending(tmp_path, server) as post:
        server.send_faults.append(STALE)
        await post.say("one")
        await post.until_waiting()
        other = await post.say("two", to=UserId("b"))
        receipt = await post.senders.wait_receipt(other, seconds=0.1)
        assert isinstance(receipt, Deferred)
        assert receipt.why is DeferredWhy.ACCOUNT
        assert server.sent == []
        assert post.told == [STALE]
        post.senders.resume(Connection(server))
        await server.until(lambda: len(server.sent) == 2)
    assert (server.heard("a"), server.heard("b")) == (["one"], ["two"])


@pytest.mark.parametrize("policy", [OnUnknown.DROP, OnUnknown.ASK])
async def test_whoever_was_taken_over_from_sends_nothing_that_may_go_out_once_only(
    server: Server, tmp_path: Path, policy: OnUnknown
) -> None:
    async with sending(tmp_path, server, replace(FAST, on_unknown=policy)) as post:
        await post.say("before")
        await server.until(lambda: server.heard("a") == ["before"])
        await post.be_taken_over()
        await post.say("after")  # the heir finds it in the journal
        await post.until_waiting()
        post.senders.cancel()
    assert server.heard("a") == ["before"]
