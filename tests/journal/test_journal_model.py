"""The journal beside a small model of it, over random sequences of what a bot does with it."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from journal_house import BOT, OpenJournal, arrival, draft, postgres_journals, sqlite_journals
from msgspec.structs import replace

from ilink.flows.window import Window, heard
from ilink.storage.journal import (
    Arrival,
    Completed,
    InboxState,
    Journal,
    OutboxState,
    Outcome,
    Outgoing,
    WindowEvent,
    after_outcome,
)
from ilink.wire.codec import encode
from ilink.wire.ids import ClientId, Cursor, MessageId, UserId

pytestmark = pytest.mark.timeout(240)  # thousands of steps

USERS = ("alice", "bob")
TOKENS = ("", "old", "new")
STEP = 20 * 60_000
"""Milliseconds between two things that happen: windows close, and closed ones are tried again."""
TEACHES = {
    OutboxState.ACCEPTED: (WindowEvent.ACCEPTED,),
    OutboxState.UNCONFIRMED: (WindowEvent.ACCEPTED,),
    OutboxState.WAITING: (WindowEvent.NOTHING, WindowEvent.REFUSED, WindowEvent.LIMITED),
}
KINDS = ("plain", "plain", "twin", "dropped twin")
users = st.sampled_from(USERS)
names = st.integers(0, 9).map(lambda number: f"m:{number}")


@dataclass
class Update:
    identity: str
    user: str
    sequence: int
    claim: int = 0
    attempts: int = 0
    interrupted: int = 0
    is_running: bool = False
    state: InboxState = InboxState.WAITING
    is_parked: bool = False
    received: int = 0
    resembles: str | None = None
    first_token: str | None = None

    @property
    def may_run(self) -> bool:
        return self.state is InboxState.WAITING and not self.is_parked

    @property
    def is_given_up(self) -> bool:
        return self.state is InboxState.DEAD or self.is_parked


@dataclass
class Message:
    user: str
    state: OutboxState = OutboxState.WAITING
    is_doubtful: bool = False
    attempts: int = 0
    item: bytes = b"{}"
    finished: int | None = None

    @property
    def is_waiting(self) -> bool:
        return not self.state.is_final


@dataclass
class Model:
    updates: list[Update] = field(default_factory=list)
    outbox: dict[str, Message] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    gap_ms: int = 0
    duplicates: int = 0
    suspects: int = 0
    suspects_dropped: int = 0
    cursor: str = ""
    is_open: bool = False

    def sending(self, user: str) -> list[tuple[str, Message]]:
        return [(name, one) for name, one in self.outbox.items() if one.user == user and one.is_waiting]

    def move_times(self) -> None:
        """Move what is known of windows to the times of a clock that was set."""
        for user, window in self.windows.items():
            heard_ms = None if window.heard_ms is None else window.heard_ms + self.gap_ms
            probe_ms = window.probe_ms + self.gap_ms if window.probe_ms else 0
            paused_ms = window.paused_until_ms + self.gap_ms
            self.windows[user] = replace(window, heard_ms=heard_ms, paused_until_ms=paused_ms, probe_ms=probe_ms)
        self.gap_ms = 0

    def waiting(self, user: str | None = None) -> list[Update]:
        return [
            update
            for update in self.updates
            if update.state is InboxState.WAITING and (user is None or update.user == user)
        ]


class JournalMachine(RuleBasedStateMachine):
    keeps_days: ClassVar[bool] = False
    """Whether updates of the same day are forgotten together; all that happens here happens on one day."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.house = AsyncExitStack()
        self.process = AsyncExitStack()
        self.model = Model()
        self.number = 0
        self.open_journal: OpenJournal
        self.journal: Journal
        self.stale: Journal | None = None
        self.stale_process = AsyncExitStack()

    @initialize()
    def begin(self) -> None:
        self.open_journal = self.runner.run(self.house.enter_async_context(self._journals()))
        self._start()

    def _journals(self) -> AbstractAsyncContextManager[OpenJournal]:
        return sqlite_journals(Path(self.folder.name))

    def teardown(self) -> None:
        self.runner.run(self.stale_process.aclose())
        self.runner.run(self.process.aclose())
        self.runner.run(self.house.aclose())
        self.runner.close()
        self.folder.cleanup()

    @property
    def now_ms(self) -> int:
        return self.number * STEP

    def _start(self) -> None:
        """Begin a process: what the last one left open may have been running when it died."""
        self.journal = self.runner.run(self.process.enter_async_context(self.open_journal(BOT)))
        adopted = self.runner.run(self.journal.adopt())
        assert adopted.was_open == self.model.is_open
        if self.model.gap_ms:
            self.model.move_times()
        if self.model.is_open:
            for user in USERS:
                for first in self.model.waiting(user)[:1]:
                    if first.interrupted == 0 or first.is_running:
                        first.interrupted += 1
                        first.is_running = False
                for _, message in self.model.sending(user)[:1]:
                    message.is_doubtful = True
        self.model.is_open = True

    @rule(
        batch=st.lists(st.tuples(names, users, st.sampled_from(TOKENS), st.sampled_from(KINDS)), max_size=6),
        is_late=st.booleans(),
        is_older_login=st.booleans(),
    )
    def ingest(self, batch: list[tuple[str, str, str, str]], is_late: bool, is_older_login: bool) -> None:
        """Store a batch, also as a process that was taken over from: what it heard counts, its cursor does not."""
        self.number += 1
        is_late = is_late and self.stale is not None
        journal = self.stale if is_late and self.stale is not None else self.journal
        arrivals = [self._arrival(n, *one) for n, one in enumerate(batch)]
        cursor = f"c{self.number}"
        generation = 0 if is_older_login else 1
        result = self.runner.run(
            journal.ingest(arrivals, cursor=Cursor(cursor), generation=generation, hint_ms=None, now_ms=self.now_ms)
        )
        assert result.has_moved == (not is_late and not is_older_login)
        if result.has_moved:
            self.model.cursor = cursor
        before = {update.identity: update for update in self.model.updates}
        known = set(before)
        openings: dict[str, int] = {}
        for place, (one, sequence) in enumerate(zip(arrivals, result.sequences, strict=True)):
            token = None if one.context_token is None else one.context_token.reveal()
            first = before.get(one.identity)
            is_outdated = first is not None and token is not None and token == first.first_token
            assert (place in result.outdated) == is_outdated
            if token is not None and not is_outdated:
                self.model.tokens[one.user] = token
            assert (sequence is None) == (one.identity in known)
            if sequence is None:
                self.model.duplicates += 1
            else:
                known.add(one.identity)
                self._add(one, sequence, token)
                if one.opens:
                    openings[one.user] = openings.get(one.user, 0) + 1
        for user, messages in openings.items():
            window = self.model.windows.get(user, Window())
            self.model.windows[user] = heard(window, self.now_ms, messages=messages)

    def _arrival(self, place: int, name: str, user: str, token: str, kind: str) -> Arrival:
        text = {"": None, "old": "old"}.get(token, f"t{self.number}-{place}")
        one = arrival(
            f"{name}:{user}", user, token=text, raw=b"{}" if text is None else encode({"context_token": text})
        )
        if kind == "plain":
            return one
        state = InboxState.IGNORED if kind == "dropped twin" else InboxState.WAITING
        return replace(one, resembles="m:0", state=state, opens=kind != "dropped twin")

    def _add(self, one: Arrival, sequence: int, token: str | None) -> None:
        self.model.updates.append(
            Update(
                one.identity,
                one.user,
                sequence,
                state=one.state,
                received=self.now_ms,
                resembles=one.resembles,
                first_token=token,
            )
        )
        if one.resembles is not None:
            self.model.suspects += one.state is InboxState.WAITING
            self.model.suspects_dropped += one.state is InboxState.IGNORED

    @rule(data=st.data(), what=st.sampled_from(["complete", "fail"]))
    def act_after_the_end(self, data: st.DataObject, what: str) -> None:
        """Whoever was taken over from finishes nothing, however right the rest is."""
        waiting = self.model.waiting()
        if self.stale is None or not waiting:
            return
        assert not self.runner.run(self.stale.is_ours())
        update = data.draw(st.sampled_from(waiting))
        if what == "complete":
            answer = self.runner.run(self._complete_by(self.stale, update))
            assert not answer.is_accepted
            assert answer.outgoing == ()
        else:
            work = self.stale.fail(update.sequence, update.claim, error="no", due_ms=None, now_ms=self.now_ms)
            assert self.runner.run(work) is None

    async def _complete_by(self, journal: Journal, update: Update) -> Completed:
        drafts = [draft(f"late {update.identity}", update.user)]
        return await journal.complete(update.sequence, update.claim, drafts=drafts, state=b"late", now_ms=self.now_ms)

    @rule(age=st.integers(0, 8))
    def prune(self, age: int) -> None:
        before = (self.number - age) * STEP
        updates = [
            update
            for update in self.model.updates
            if update.state in (InboxState.DONE, InboxState.IGNORED)
            and update.received < before
            and not self.keeps_days
        ]
        messages = [
            name for name, one in self.model.outbox.items() if one.finished is not None and one.finished < before
        ]
        assert self.runner.run(self.journal.prune(before)) == len(updates) + len(messages)
        self.model.updates = [update for update in self.model.updates if not any(update is one for one in updates)]
        for name in messages:
            del self.model.outbox[name]

    @rule(gap_ms=st.integers(-20 * STEP, STEP), is_last=st.booleans())
    def note_a_clock_that_was_set(self, gap_ms: int, is_last: bool) -> None:
        """It moves times, and nothing else: what waits, waits."""
        self.model.gap_ms = min(gap_ms, 0)
        self.runner.run(self.journal.note_clock_gap(self.model.gap_ms))
        if is_last:
            self.start_anew(is_orderly=True)

    @rule(data=st.data(), is_stale=st.booleans(), replies=st.integers(0, 3), has_state=st.booleans())
    def complete(self, data: st.DataObject, is_stale: bool, replies: int, has_state: bool) -> None:
        if not self.model.updates:
            return
        update = data.draw(st.sampled_from(self.model.updates))
        claim = update.claim - 1 if is_stale else update.claim
        drafts = [draft(f"{update.identity}/{n}", update.user) for n in range(replies)]
        state = f"{self.number}".encode() if has_state else None
        answer = self.runner.run(self._complete(update.sequence, claim, drafts, state))
        assert answer.is_accepted == (update.may_run and not is_stale)
        if answer.is_accepted:
            update.state = InboxState.DONE
            fresh = [one for one in drafts if one.client_id not in self.model.outbox]
            assert [message.draft.client_id for message in answer.outgoing] == [one.client_id for one in fresh]
            self.model.outbox.update((one.client_id, Message(update.user)) for one in fresh)
            if state is not None:
                self.model.states[update.user] = state

    @rule(data=st.data(), is_stale=st.booleans(), is_ignored=st.booleans())
    def complete_several(self, data: st.DataObject, is_stale: bool, is_ignored: bool) -> None:
        if len(self.model.updates) < 2:
            return
        chosen = data.draw(st.lists(st.sampled_from(self.model.updates), min_size=2, max_size=4, unique_by=id))
        runs = [(update.sequence, update.claim) for update in chosen]
        if is_stale:
            runs[-1] = (runs[-1][0], runs[-1][1] - 1)
        answer = self.runner.run(self._complete_several(runs, "not wanted" if is_ignored else None))
        assert answer.is_accepted == (not is_stale and all(update.may_run for update in chosen))
        if answer.is_accepted:
            for update in chosen:
                update.state = InboxState.IGNORED if is_ignored else InboxState.DONE

    async def _complete_several(self, runs: list[tuple[int, int]], ignored: str | None):
        (sequence, claim), *others = runs
        return await self.journal.complete(
            sequence, claim, drafts=[], state=None, now_ms=self.now_ms, others=others, ignored=ignored
        )

    async def _complete(self, sequence: int, claim: int, drafts: list, state: bytes | None):
        return await self.journal.complete(sequence, claim, drafts=drafts, state=state, now_ms=self.now_ms)

    @rule(data=st.data(), is_last=st.booleans(), is_stale=st.booleans(), parks=st.booleans())
    def fail(self, data: st.DataObject, is_last: bool, is_stale: bool, parks: bool) -> None:
        if not self.model.updates:
            return
        update = data.draw(st.sampled_from(self.model.updates))
        others = data.draw(st.lists(st.sampled_from(self.model.updates), max_size=2, unique_by=id))
        others = [other for other in others if other is not update]
        claim = update.claim + 1 if is_stale else update.claim
        letter = self.runner.run(
            self.journal.fail(
                update.sequence,
                claim,
                error="no",
                due_ms=None if is_last else 9,
                now_ms=self.now_ms,
                others=[(other.sequence, other.claim) for other in others],
                is_parked=is_last and parks,
            )
        )
        assert (letter is not None) == (update.may_run and not is_stale)
        if letter is not None:
            update.claim, update.attempts, update.is_running = update.claim + 1, update.attempts + 1, False
            update.is_parked = is_last and parks
            is_dead = is_last and not parks
            for dead in [update, *others] if is_dead else []:
                if dead.may_run:
                    dead.state, dead.is_running = InboxState.DEAD, False
                    dead.claim += dead is not update
            assert (letter.claim, letter.attempts) == (update.claim, update.attempts)

    @rule(data=st.data())
    def mark_running(self, data: st.DataObject) -> None:
        if waiting := self.model.waiting():
            update = data.draw(st.sampled_from(waiting))
            self.runner.run(self.journal.mark_running(update.sequence, update.claim))
            update.is_running = True

    @rule(data=st.data(), is_drop=st.booleans())
    def decide_on_a_dead_letter(self, data: st.DataObject, is_drop: bool) -> None:
        if not self.model.updates:
            return
        update = data.draw(st.sampled_from(self.model.updates))
        is_dead = update.is_given_up
        if is_drop:
            assert self.runner.run(self.journal.drop([update.sequence])) == int(is_dead)
            update.state = InboxState.IGNORED if is_dead else update.state
            update.is_parked = False
        else:
            woken = self.runner.run(self.journal.replay([update.sequence]))
            assert woken == ([f"u:{update.user}"] if is_dead else [])
            if is_dead:
                update.state, update.attempts, update.interrupted = InboxState.WAITING, 0, 0
                update.is_parked = False
                update.claim += 1

    @rule(user=users, name=st.integers(0, 9))
    def enqueue(self, user: str, name: int) -> None:
        client_id = f"push-{user}-{name}"
        added = self.runner.run(self._enqueue(client_id, user))
        assert [message.draft.client_id for message in added] == [client_id] * (client_id not in self.model.outbox)
        self.model.outbox.setdefault(client_id, Message(user))

    async def _enqueue(self, client_id: str, user: str):
        return await self.journal.enqueue([draft(client_id, user)], now_ms=self.now_ms)

    @rule(
        user=users,
        state=st.sampled_from(OutboxState),
        is_doubtful=st.booleans(),
        is_stale=st.booleans(),
        retry_after_ms=st.sampled_from([None, STEP // 2, 5 * STEP]),
        data=st.data(),
    )
    def send_first(
        self,
        user: str,
        state: OutboxState,
        is_doubtful: bool,
        is_stale: bool,
        retry_after_ms: int | None,
        data: st.DataObject,
    ) -> None:
        """Tell what became of the first message, perhaps from a process that was taken over from."""
        page = self.runner.run(self.journal.read_outgoing(f"u:{user}", limit=1))
        journal = self.stale if is_stale else self.journal
        if not page or journal is None:
            return
        event = data.draw(st.sampled_from(TEACHES.get(state, (WindowEvent.NOTHING,))))
        self._tell(journal, page[0], state, event, retry_after_ms=retry_after_ms, is_doubtful=is_doubtful)

    def _tell(
        self,
        journal: Journal,
        first: Outgoing,
        state: OutboxState,
        event: WindowEvent,
        *,
        retry_after_ms: int | None,
        is_doubtful: bool = False,
    ) -> None:
        user = first.draft.user
        outcome = Outcome(
            out_sequence=first.out_sequence,
            user=user,
            state=state,
            event=event,
            retry_after_ms=retry_after_ms,
            message_id=MessageId("1"),
            is_doubtful=is_doubtful,
        )
        self.runner.run(self._settle(journal, outcome))
        if journal is self.stale and not state.is_final:
            return
        message = self.model.outbox[first.draft.client_id]
        message.state, message.attempts = state, message.attempts + 1
        message.is_doubtful = message.is_doubtful or is_doubtful
        if event is not WindowEvent.NOTHING:
            window = self.model.windows.get(user, Window())
            self.model.windows[user] = after_outcome(window, outcome, self.now_ms)

    @rule(
        user=users,
        event=st.sampled_from([WindowEvent.REFUSED, WindowEvent.LIMITED]),
        retry_after_ms=st.sampled_from([None, STEP // 2, 5 * STEP]),
    )
    def be_refused(self, user: str, event: WindowEvent, retry_after_ms: int | None) -> None:
        """Keep a message that the server refuses for now, and learn from that."""
        self.enqueue(user=user, name=0)
        page = self.runner.run(self.journal.read_outgoing(f"u:{user}", limit=1))
        if page:
            self._tell(self.journal, page[0], OutboxState.WAITING, event, retry_after_ms=retry_after_ms)

    @rule(data=st.data(), is_retry=st.booleans(), is_stale=st.booleans())
    def decide(self, data: st.DataObject, is_retry: bool, is_stale: bool) -> None:
        journal = self.stale if is_stale else self.journal
        if not self.model.outbox or journal is None:
            return
        name = data.draw(st.sampled_from(sorted(self.model.outbox)))
        message = self.model.outbox[name]
        decided = self.runner.run(journal.decide(ClientId(name), is_retry=is_retry, now_ms=self.now_ms))
        assert (decided is not None) == (message.state is OutboxState.ASKED)
        if decided is not None:
            message.state = OutboxState.WAITING if is_retry else OutboxState.UNKNOWN
            message.is_doubtful = True
            assert decided.state is message.state

    @rule(user=users)
    def upload_first(self, user: str) -> None:
        page = self.runner.run(self.journal.read_outgoing(f"u:{user}", limit=1))
        if page:
            item = f"item {self.number}".encode()
            self.runner.run(self.journal.attach(page[0].out_sequence, item, now_ms=self.now_ms))
            self.model.outbox[page[0].draft.client_id].item = item

    @rule()
    def be_taken_over(self) -> None:
        """Another process takes the journal over while this one lives on."""
        self.runner.run(self.stale_process.aclose())
        self.stale, self.stale_process, self.process = self.journal, self.process, AsyncExitStack()
        self._start()

    async def _settle(self, journal: Journal, outcome: Outcome) -> None:
        await journal.settle(outcome, now_ms=self.now_ms)

    @rule(is_orderly=st.booleans())
    def start_anew(self, is_orderly: bool) -> None:
        if is_orderly:
            self.runner.run(self.journal.release())
            self.model.is_open = False
        self.runner.run(self.process.aclose())
        self._start()

    @invariant()
    def messages_are_finished_once(self) -> None:
        for message in self.model.outbox.values():
            if message.state.is_final and message.finished is None:
                message.finished = self.now_ms

    @invariant()
    def waiting_updates_are_those_of_the_model_in_order(self) -> None:
        for user in USERS:
            letters = self.runner.run(self.journal.read_waiting(f"u:{user}", limit=1000))
            expected = [
                (one.sequence, one.identity, one.claim, one.attempts, one.interrupted, one.resembles)
                for one in self.model.waiting(user)
            ]
            actual = [
                (one.sequence, one.identity, one.claim, one.attempts, one.interrupted, one.resembles) for one in letters
            ]
            assert actual == expected

    @invariant()
    def outgoing_messages_are_those_of_the_model_in_order(self) -> None:
        for user in USERS:
            page = self.runner.run(self.journal.read_outgoing(f"u:{user}", limit=1000))
            expected = [
                (name, one.state, one.is_doubtful, one.attempts, one.item) for name, one in self.model.sending(user)
            ]
            actual = [(one.draft.client_id, one.state, one.is_doubtful, one.attempts, one.draft.item) for one in page]
            assert actual == expected

    @invariant()
    def the_rest_agrees(self) -> None:
        counts = self.runner.run(self.journal.count())
        given_up = [update for update in self.model.updates if update.is_given_up]
        assert [letter.sequence for letter in self.runner.run(self.journal.read_dead(limit=1000))] == [
            update.sequence for update in given_up
        ]
        parked = sum(update.is_parked for update in given_up)
        assert (counts.waiting, counts.dead, counts.parked, counts.duplicates) == (
            len(self.model.waiting()),
            len(given_up) - parked,
            parked,
            self.model.duplicates,
        )
        assert (counts.suspects, counts.suspects_dropped) == (self.model.suspects, self.model.suspects_dropped)
        assert self.runner.run(self.journal.is_ours())
        recent = self.runner.run(self.journal.read_recent(since_ms=self.now_ms))
        assert [letter.sequence for letter in recent] == [
            update.sequence for update in self.model.updates if update.received >= self.now_ms
        ]
        windows = self.runner.run(self.journal.read_windows([UserId(user) for user in USERS]))
        assert windows == self.model.windows
        for user in USERS:
            token = self.runner.run(self.journal.read_context_token(UserId(user)))
            assert (None if token is None else token.reveal()) == self.model.tokens.get(user)
            assert self.runner.run(self.journal.read_state(f"u:{user}")) == self.model.states.get(user)

    @invariant()
    def whoever_looks_from_beside_sees_the_same(self) -> None:
        journal, model, run = self.journal, self.model, self.runner.run
        waiting = {f"u:{update.user}" for update in model.waiting()}
        assert run(journal.waiting_conversations()) == sorted(waiting)
        assert [letter.sequence for letter in run(journal.read_arrived(0, limit=1000))] == [
            update.sequence for update in model.waiting()
        ]
        arrived, _ = run(journal.find_arrived(0))
        assert set(arrived) == {(f"u:{update.user}", update.user) for update in model.updates}
        unsent = {f"u:{user}" for user in USERS if model.sending(user)}
        assert run(journal.outgoing_conversations()) == sorted(unsent)
        enqueued, _ = run(journal.find_enqueued(0))
        assert set(enqueued) == {
            f"u:{message.user}" for message in model.outbox.values() if message.state is OutboxState.WAITING
        }
        for state in OutboxState:
            page = run(journal.read_outbox([state], limit=1000))
            assert [message.draft.client_id for message in page] == [
                name for name, message in model.outbox.items() if message.state is state
            ]
        names = [ClientId(name) for name in model.outbox]
        for name, found in zip(names, run(_read_all(journal, names)), strict=True):
            assert found is not None
            assert (found.state, found.is_doubtful) == (model.outbox[name].state, model.outbox[name].is_doubtful)


async def _read_all(journal: Journal, names: list[ClientId]) -> list[Outgoing | None]:
    return [await journal.read_sent(name) for name in names]


class PostgresJournalMachine(JournalMachine):
    url: ClassVar[str]
    keeps_days = True

    def _journals(self) -> AbstractAsyncContextManager[OpenJournal]:
        return postgres_journals(self.url)


_SETTINGS = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))

TestJournalModel = JournalMachine.TestCase
TestJournalModel.settings = _SETTINGS


def test_the_journal_in_postgresql_does_what_the_model_does(journals_url: str) -> None:
    PostgresJournalMachine.url = journals_url
    run_state_machine_as_test(PostgresJournalMachine, settings=settings(_SETTINGS, max_examples=12))
