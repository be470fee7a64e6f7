"""What every journal does, whatever it is kept in."""

from __future__ import annotations

import asyncio

import pytest
from journal_house import BOT, OpenJournal, arrival, draft
from msgspec.structs import replace

from ilink.flows.window import WINDOW_MS
from ilink.storage.journal import (
    Arrival,
    InboxState,
    Ingested,
    Journal,
    OutboxState,
    Outcome,
    Outgoing,
    WindowEvent,
)
from ilink.wire.ids import AccountId, ClientId, Cursor, MessageId, UserId

ALICE = UserId("alice")


async def ingest(journal: Journal, *arrivals: Arrival, cursor: str = "c1", generation: int = 1) -> Ingested:
    return await journal.ingest(arrivals, cursor=Cursor(cursor), generation=generation, hint_ms=None, now_ms=1_000)


async def store(journal: Journal, *arrivals: Arrival) -> list[int]:
    sequences = (await ingest(journal, *arrivals)).sequences
    return [sequence for sequence in sequences if sequence is not None]


async def identities(journal: Journal, conversation: str = "u:alice") -> list[str]:
    return [letter.identity for letter in await journal.read_waiting(conversation)]


def accepted(out_sequence: int, user: UserId = ALICE) -> Outcome:
    return Outcome(
        out_sequence=out_sequence,
        user=user,
        state=OutboxState.ACCEPTED,
        event=WindowEvent.ACCEPTED,
        message_id=MessageId("9"),
    )


def limited_until(message: Outgoing, retry_after_ms: int) -> Outcome:
    return Outcome(
        out_sequence=message.out_sequence,
        user=ALICE,
        state=OutboxState.WAITING,
        event=WindowEvent.LIMITED,
        retry_after_ms=retry_after_ms,
    )


class TestClock:
    async def outgoing(self, journal: Journal) -> Outgoing:
        (message,) = await journal.read_outgoing("u:alice")
        return message

    @pytest.mark.parametrize(("gap_ms", "expires_ms"), [(500, 5_500), (-500, 5_000)])
    async def test_a_clock_that_was_set_moves_what_waits_when_the_next_process_begins(
        self, journal: Journal, open_journal: OpenJournal, gap_ms: int, expires_ms: int
    ) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="no", due_ms=3_000, now_ms=1_000)
        await journal.enqueue([replace(draft("c1"), expires_ms=5_000)], now_ms=1_000)
        await journal.settle(limited_until(await self.outgoing(journal), 60_000), now_ms=1_000)
        await journal.note_clock_gap(gap_ms)
        assert (await self.outgoing(journal)).draft.expires_ms == 5_000
        async with open_journal(BOT) as newer:
            await newer.adopt()
            assert (await self.outgoing(newer)).draft.expires_ms == expires_ms
            assert [letter.due_ms for letter in await newer.read_waiting("u:alice")] == [3_000 + gap_ms]
            window = (await newer.read_windows([ALICE]))[ALICE]
            assert (window.heard_ms, window.paused_until_ms) == (1_000 + gap_ms, 61_000 + gap_ms)
        async with open_journal(BOT) as third:
            await third.adopt()
            assert (await self.outgoing(third)).draft.expires_ms == expires_ms

    @pytest.mark.parametrize("gap_ms", [10_000_000, -10_000_000])
    async def test_a_clock_that_was_set_moves_when_a_closed_window_is_tried_again(
        self, journal: Journal, open_journal: OpenJournal, gap_ms: int
    ) -> None:
        await store(journal, arrival("m:1"), arrival("m:2", "bob"))
        await journal.enqueue([draft("c1")], now_ms=1_000)
        refusal = Outcome(
            out_sequence=(await self.outgoing(journal)).out_sequence,
            user=ALICE,
            state=OutboxState.WAITING,
            event=WindowEvent.REFUSED,
        )
        await journal.settle(refusal, now_ms=1_000)
        probe_ms = (await journal.read_windows([ALICE]))[ALICE].probe_ms
        assert probe_ms > 1_000
        await journal.note_clock_gap(gap_ms)
        async with open_journal(BOT) as newer:
            await newer.adopt()
            windows = await newer.read_windows([ALICE, UserId("bob")])
            assert windows[ALICE].probe_ms == probe_ms + gap_ms
            assert windows[UserId("bob")].probe_ms == 0


class TestIngest:
    async def test_a_batch_is_kept_in_order_with_its_bytes(self, journal: Journal) -> None:
        first, second = await store(journal, arrival("m:1", raw=b"one"), arrival("m:2", raw=b"\xfftwo"))
        assert first < second
        assert [letter.raw for letter in await journal.read_waiting("u:alice")] == [b"one", b"\xfftwo"]

    async def test_a_known_identity_is_not_stored_again(self, journal: Journal) -> None:
        await store(journal, arrival("m:1"))
        again = await ingest(journal, arrival("m:1"), arrival("m:2"))
        assert again.sequences[0] is None
        assert await identities(journal) == ["m:1", "m:2"]
        assert (await journal.count()).duplicates == 1

    async def test_an_identity_twice_in_one_batch_is_stored_once(self, journal: Journal) -> None:
        result = await ingest(journal, arrival("m:1"), arrival("m:1"))
        assert [sequence is None for sequence in result.sequences] == [False, True]
        assert (await journal.count()).duplicates == 1

    async def test_what_another_process_stored_in_between_is_told_by_conversation(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        await journal.adopt()
        await store(journal, arrival("m:1"))
        async with open_journal(BOT) as newer:
            await newer.adopt()
            assert (await ingest(newer, arrival("m:1"))).foreign == ()
            await store(journal, arrival("m:2"), replace(arrival("m:3"), conversation="u:bob"))
            assert (await ingest(newer, arrival("m:4"))).foreign == ("u:alice", "u:bob")
            assert (await ingest(newer, arrival("m:5"))).foreign == ()
            await store(journal, arrival("m:6"))
            assert (await ingest(newer, arrival("m:6"))).foreign == ("u:alice",)
            assert (await ingest(newer)).foreign == ()

    async def test_a_completed_update_still_recognises_its_duplicate(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.complete(sequence, 0, drafts=[], state=None, now_ms=1)
        assert (await ingest(journal, arrival("m:1"))).sequences == (None,)
        assert await identities(journal) == []

    async def test_a_duplicate_brings_the_newer_context_token(self, journal: Journal) -> None:
        await store(journal, arrival("m:1", token="old"))
        await ingest(journal, arrival("m:1", token="new"))
        token = await journal.read_context_token(ALICE)
        assert token is not None
        assert token.reveal() == "new"

    async def test_a_late_duplicate_does_not_bring_back_an_older_context_token(self, journal: Journal) -> None:
        first = arrival("m:1", raw=b'{"context_token": "old"}', token="old")
        await store(journal, first)
        await store(journal, arrival("m:2", token="new"))
        again = await ingest(journal, first, arrival("m:3"))
        assert again.outdated == {0}
        token = await journal.read_context_token(ALICE)
        assert token is not None
        assert token.reveal() == "new"

    async def test_what_says_the_same_under_another_id_is_stored_marked_and_counted(self, journal: Journal) -> None:
        await store(journal, arrival("m:1"))
        twin = replace(arrival("m:2"), resembles="m:1")
        dropped = replace(arrival("m:3", state=InboxState.IGNORED), resembles="m:1")
        await store(journal, twin, dropped)
        assert [letter.resembles for letter in await journal.read_waiting("u:alice")] == [None, "m:1"]
        assert (await ingest(journal, twin, dropped)).sequences == (None, None)
        counts = await journal.count()
        assert (counts.duplicates, counts.suspects, counts.suspects_dropped) == (2, 1, 1)

    async def test_what_came_last_can_be_read_whatever_became_of_it(self, journal: Journal) -> None:
        first, *_ = await store(journal, arrival("m:1"), arrival("m:2", state=InboxState.IGNORED), arrival("m:3"))
        await journal.complete(first, 0, drafts=[], state=None, now_ms=1_000)
        recent = await journal.read_recent(since_ms=1_000)
        assert [letter.identity for letter in recent] == ["m:1", "m:2", "m:3"]
        assert [letter.identity for letter in await journal.read_recent(since_ms=1_000, limit=2)] == ["m:2", "m:3"]
        assert await journal.read_recent(since_ms=1_001) == []

    async def test_a_message_without_token_keeps_the_known_one(self, journal: Journal) -> None:
        await store(journal, arrival("m:1", token="old"), arrival("m:2"))
        token = await journal.read_context_token(ALICE)
        assert token is not None
        assert token.reveal() == "old"

    async def test_what_is_dead_or_ignored_at_once_is_stored_and_not_waiting(self, journal: Journal) -> None:
        await store(journal, arrival("m:1", state=InboxState.DEAD), arrival("m:2", state=InboxState.IGNORED))
        assert await identities(journal) == []
        assert [letter.identity for letter in await journal.read_dead()] == ["m:1"]

    async def test_the_cursor_of_an_older_login_does_not_move_and_its_updates_are_kept(self, journal: Journal) -> None:
        result = await ingest(journal, arrival("m:1"), generation=7)
        assert not result.has_moved
        assert await identities(journal) == ["m:1"]

    async def test_a_large_batch_is_one_batch(self, journal: Journal) -> None:
        sequences = await store(journal, *(arrival(f"m:{number}", f"user{number % 3}") for number in range(1000)))
        assert sequences == sorted(sequences)
        assert len(set(sequences)) == 1000

    async def test_accounts_do_not_see_each_other(self, journal: Journal, open_journal: OpenJournal) -> None:
        (sequence,) = await store(journal, arrival("m:1", token="ours"))
        async with open_journal("other@im.bot") as other:
            await other.adopt()
            assert await other.read_waiting("u:alice") == []
            assert await other.waiting_conversations() == []
            assert await other.read_letter(sequence) is None
            assert await other.read_context_token(ALICE) is None
            assert await other.read_windows([ALICE]) == {}
            assert not (await other.complete(sequence, 0, drafts=[], state=None, now_ms=1)).is_accepted
            assert await other.fail(sequence, 0, error="no", due_ms=None, now_ms=1) is None
            assert (await ingest(other, arrival("m:1"))).sequences[0] is not None
        assert await identities(journal) == ["m:1"]


class TestCompletion:
    async def test_success_and_replies_become_true_together(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        completed = await journal.complete(
            sequence, 0, drafts=[draft("a", cause=sequence), draft("b", cause=sequence)], state=b"s", now_ms=1
        )
        assert completed.is_accepted
        assert [message.draft.client_id for message in completed.outgoing] == ["a", "b"]
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["a", "b"]
        assert await journal.read_state("u:alice") == b"s"
        assert await identities(journal) == []

    async def test_a_second_completion_changes_nothing(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        answers = await asyncio.gather(
            journal.complete(sequence, 0, drafts=[draft("a")], state=b"1", now_ms=1),
            journal.complete(sequence, 0, drafts=[draft("b")], state=b"2", now_ms=1),
        )
        third = await journal.complete(sequence, 0, drafts=[draft("c")], state=b"3", now_ms=1)
        assert [answer.is_accepted for answer in (*answers, third)] == [True, False, False]
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["a"]
        assert await journal.read_state("u:alice") == b"1"

    async def test_several_updates_are_done_together(self, journal: Journal) -> None:
        first, second, third = await store(journal, arrival("m:1"), arrival("m:2"), arrival("m:3"))
        completed = await journal.complete(
            first, 0, drafts=[draft("a")], state=None, now_ms=1, others=[(second, 0), (third, 0)]
        )
        assert completed.is_accepted
        assert await identities(journal) == []
        letters = [await journal.read_letter(sequence) for sequence in (first, second, third)]
        assert [letter.state for letter in letters if letter] == [InboxState.DONE] * 3

    async def test_of_several_updates_all_are_done_or_none(self, journal: Journal) -> None:
        first, second = await store(journal, arrival("m:1"), arrival("m:2"))
        await journal.fail(second, 0, error="broken", due_ms=5, now_ms=1)
        together, alone = await asyncio.gather(
            journal.complete(first, 0, drafts=[draft("a")], state=b"1", now_ms=1, others=[(second, 0)]),
            journal.complete(first, 0, drafts=[draft("b")], state=b"2", now_ms=1),
        )
        assert (together.is_accepted, alone.is_accepted) == (False, True)
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["b"]
        assert await journal.read_state("u:alice") == b"2"
        assert await identities(journal) == ["m:2"]

    async def test_a_fresh_run_completes_beside_an_outdated_one_of_the_same_update(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="broken", due_ms=5, now_ms=1)
        answers = await asyncio.gather(
            journal.complete(sequence, 0, drafts=[draft("stale")], state=None, now_ms=1),
            journal.complete(sequence, 1, drafts=[draft("fresh")], state=None, now_ms=1),
        )
        assert [answer.is_accepted for answer in answers] == [False, True]

    async def test_what_nobody_wants_is_kept_with_the_reason(self, journal: Journal) -> None:
        first, second = await store(journal, arrival("m:1"), arrival("m:2"))
        completed = await journal.complete(
            first, 0, drafts=[], state=None, now_ms=1, others=[(second, 0)], ignored="a newer one came"
        )
        assert completed.is_accepted
        assert await identities(journal) == []
        for sequence in (first, second):
            letter = await journal.read_letter(sequence)
            assert letter is not None
            assert (letter.state, letter.error) == (InboxState.IGNORED, "a newer one came")
        again = await journal.complete(first, 0, drafts=[draft("a")], state=None, now_ms=1)
        assert not again.is_accepted
        assert (await ingest(journal, arrival("m:1"))).sequences == (None,)

    async def test_an_older_run_cannot_complete(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        letter = await journal.fail(sequence, 0, error="broken", due_ms=5, now_ms=1)
        assert letter is not None
        stale = await journal.complete(sequence, 0, drafts=[draft("stale")], state=None, now_ms=1)
        fresh = await journal.complete(sequence, letter.claim, drafts=[draft("fresh")], state=None, now_ms=1)
        assert (stale.is_accepted, fresh.is_accepted) == (False, True)
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["fresh"]

    async def test_a_process_that_was_taken_over_from_completes_nothing(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        async with open_journal(BOT) as heir:
            await heir.adopt()
            late = await journal.complete(sequence, 0, drafts=[draft("late")], state=None, now_ms=1)
            assert not late.is_accepted
            assert await journal.fail(sequence, 0, error="late", due_ms=None, now_ms=1) is None
            rescued = await ingest(journal, arrival("m:2"), cursor="late")
            assert not rescued.has_moved
            assert (await heir.complete(sequence, 0, drafts=[], state=None, now_ms=1)).is_accepted
            assert await identities(heir) == ["m:2"]

    async def test_a_process_that_was_taken_over_from_can_tell(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        assert await journal.is_ours()
        async with open_journal(BOT) as newer:
            await newer.adopt()
            assert await newer.is_ours()
        assert not await journal.is_ours()

    async def test_a_process_that_was_taken_over_from_stores_what_it_heard_without_moving_the_cursor(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        async with open_journal(BOT) as newer:
            await newer.adopt()
            late = await ingest(journal, arrival("m:1"), cursor="old")
            assert not late.has_moved
            assert await identities(newer) == ["m:1"]
            assert (await ingest(newer, cursor="new")).has_moved

    async def test_a_known_client_id_is_not_stored_again(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.enqueue([draft("a"), draft("c")], now_ms=1)
        completed = await journal.complete(
            sequence, 0, drafts=[draft("a"), draft("b"), draft("c"), draft("d")], state=None, now_ms=1
        )
        assert [message.draft.client_id for message in completed.outgoing] == ["b", "d"]
        waiting = await journal.read_outgoing("u:alice")
        assert [message.draft.client_id for message in waiting] == ["a", "c", "b", "d"]

    async def test_many_completions_at_once_keep_the_order_of_their_replies(self, journal: Journal) -> None:
        sequences = await store(journal, *(arrival(f"m:{number}") for number in range(300)))
        await asyncio.gather(
            *(
                journal.complete(sequence, 0, drafts=[draft(f"r{number}")], state=None, now_ms=1)
                for number, sequence in enumerate(sequences)
            )
        )
        waiting = await journal.read_outgoing("u:alice", limit=1000)
        assert [message.draft.client_id for message in waiting] == [f"r{number}" for number in range(300)]

    async def test_what_is_added_follows_what_was_completed_before(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        completing = journal.complete(sequence, 0, drafts=[draft("first")], state=None, now_ms=1)
        await journal.enqueue([draft("second")], now_ms=1)
        await completing
        waiting = await journal.read_outgoing("u:alice")
        assert [message.draft.client_id for message in waiting] == ["first", "second"]


class TestFailure:
    async def test_a_failed_update_waits_with_its_error(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="ValueError: no", due_ms=77, now_ms=1)
        (letter,) = await journal.read_waiting("u:alice")
        assert (letter.attempts, letter.due_ms, letter.error) == (1, 77, "ValueError: no")

    async def test_a_dead_letter_can_be_replayed(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="no", due_ms=None, now_ms=1)
        (letter,) = await journal.read_dead()
        assert (letter.sequence, letter.attempts, letter.error) == (sequence, 1, "no")
        assert await identities(journal) == []
        assert await journal.replay([sequence, 4711]) == ["u:alice"]
        (again,) = await journal.read_waiting("u:alice")
        assert (again.attempts, again.due_ms) == (0, 0)
        assert await journal.read_dead() == []

    async def test_a_dropped_letter_still_recognises_its_duplicate(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="no", due_ms=None, now_ms=1)
        assert await journal.drop([sequence, 4711]) == 1
        assert await journal.read_dead() == []
        assert await journal.replay([sequence]) == []
        assert (await ingest(journal, arrival("m:1"))).sequences == (None,)

    async def test_several_updates_are_given_up_together(self, journal: Journal) -> None:
        first, second, third = await store(journal, arrival("m:1"), arrival("m:2"), arrival("m:3"))
        await journal.fail(first, 0, error="not yet", due_ms=5, now_ms=1, others=[(second, 0)])
        assert await identities(journal) == ["m:1", "m:2", "m:3"]
        assert await journal.fail(first, 0, error="stale", due_ms=None, now_ms=1, others=[(third, 0)]) is None
        await journal.fail(first, 1, error="no", due_ms=None, now_ms=1, others=[(second, 0)])
        assert await identities(journal) == ["m:3"]
        assert [(letter.identity, letter.error) for letter in await journal.read_dead()] == [
            ("m:1", "no"),
            ("m:2", "no"),
        ]

    async def test_a_parked_letter_stays_the_first_of_its_conversation(self, journal: Journal) -> None:
        first, _ = await store(journal, arrival("m:1"), arrival("m:2"))
        letter = await journal.fail(first, 0, error="no", due_ms=None, now_ms=1, is_parked=True)
        assert letter is not None
        assert letter.is_parked
        assert [letter.is_parked for letter in await journal.read_waiting("u:alice")] == [True, False]
        assert [letter.identity for letter in await journal.read_dead()] == ["m:1"]
        counts = await journal.count()
        assert (counts.waiting, counts.dead, counts.parked) == (2, 0, 1)

    async def test_a_parked_letter_is_replayed_like_a_dead_one(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="no", due_ms=None, now_ms=1, is_parked=True)
        assert await journal.replay([sequence]) == ["u:alice"]
        (letter,) = await journal.read_waiting("u:alice")
        assert (letter.is_parked, letter.attempts) == (False, 0)
        assert not (await journal.complete(sequence, 1, drafts=[], state=None, now_ms=1)).is_accepted
        assert (await journal.complete(sequence, letter.claim, drafts=[], state=None, now_ms=1)).is_accepted
        assert (await journal.count()).parked == 0

    async def test_a_parked_letter_is_dropped_like_a_dead_one(self, journal: Journal) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.fail(sequence, 0, error="no", due_ms=None, now_ms=1, is_parked=True)
        assert await journal.drop([sequence]) == 1
        assert await identities(journal) == []
        assert await journal.read_dead() == []
        assert await journal.replay([sequence]) == []

    async def test_after_a_death_the_first_of_each_conversation_counts_as_interrupted(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        await store(journal, arrival("m:1"), arrival("m:2"), arrival("m:3", "bob"))
        async with open_journal(BOT) as heir:
            assert (await heir.adopt()).was_open
            counts = [
                letter.interrupted for user in ("alice", "bob") for letter in await heir.read_waiting(f"u:{user}")
            ]
            assert counts == [1, 0, 1]

    async def test_only_what_was_marked_as_running_is_interrupted_again(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        poison, innocent = await store(journal, arrival("m:1"), arrival("m:2", "bob"))
        async with open_journal(BOT) as second:
            await second.adopt()
            await second.mark_running(poison, 0)
        async with open_journal(BOT) as third:
            await third.adopt()
            for sequence, interrupted in ((poison, 2), (innocent, 1)):
                letter = await third.read_letter(sequence)
                assert letter is not None
                assert letter.interrupted == interrupted

    async def test_a_journal_that_was_given_back_interrupted_nothing(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        await store(journal, arrival("m:1"))
        await journal.release()
        async with open_journal(BOT) as heir:
            adopted = await heir.adopt()
            assert (adopted.epoch, adopted.was_open) == (2, False)
            (letter,) = await heir.read_waiting("u:alice")
            assert letter.interrupted == 0


class TestOutbox:
    async def test_what_is_sent_waits_no_more_and_is_remembered(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        await journal.settle(accepted(message.out_sequence), now_ms=2)
        assert await journal.read_outgoing("u:alice") == []
        sent = await journal.read_sent(ClientId("a"))
        assert sent is not None
        assert (sent.state, sent.message_id, sent.attempts) == (OutboxState.ACCEPTED, "9", 1)

    async def test_what_was_refused_for_now_still_waits(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        outcome = Outcome(
            out_sequence=message.out_sequence,
            user=ALICE,
            state=OutboxState.WAITING,
            event=WindowEvent.REFUSED,
            code=-2,
            reason="prepare failed",
        )
        await journal.settle(outcome, now_ms=2)
        (waiting,) = await journal.read_outgoing("u:alice")
        assert (waiting.attempts, waiting.code, waiting.reason) == (1, -2, "prepare failed")
        assert (await journal.read_windows([ALICE]))[ALICE].is_closed

    async def test_the_last_word_stays(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        await journal.settle(accepted(message.out_sequence), now_ms=2)
        late = Outcome(out_sequence=message.out_sequence, user=ALICE, state=OutboxState.WAITING)
        await journal.settle(late, now_ms=3)
        assert await journal.read_outgoing("u:alice") == []

    async def test_outcomes_of_one_moment_are_all_counted(self, journal: Journal) -> None:
        messages = await journal.enqueue([draft(f"d{number}") for number in range(5)], now_ms=1)
        await asyncio.gather(*(journal.settle(accepted(message.out_sequence), now_ms=2) for message in messages))
        assert (await journal.read_windows([ALICE]))[ALICE].sent == 5

    async def test_a_message_of_the_user_opens_the_window(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        refused = Outcome(
            out_sequence=message.out_sequence, user=ALICE, state=OutboxState.WAITING, event=WindowEvent.REFUSED
        )
        await journal.settle(refused, now_ms=2)
        await store(journal, arrival("m:1"))
        window = (await journal.read_windows([ALICE]))[ALICE]
        assert (window.heard_ms, window.sent, window.is_closed) == (1_000, 0, False)

    async def test_a_duplicate_opens_no_window(self, journal: Journal) -> None:
        await store(journal, arrival("m:1"))
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        await journal.settle(accepted(message.out_sequence), now_ms=2)
        await ingest(journal, arrival("m:1"))
        assert (await journal.read_windows([ALICE]))[ALICE].sent == 1


class TestPages:
    async def test_conversations_come_in_pages(self, journal: Journal) -> None:
        await store(journal, *(arrival(f"m:{number}", f"user{number % 10}") for number in range(50)))
        first = await journal.waiting_conversations(limit=4)
        second = await journal.waiting_conversations(after=first[-1], limit=100)
        assert first + second == [f"u:user{number}" for number in range(10)]

    async def test_letters_come_in_pages(self, journal: Journal) -> None:
        await store(journal, *(arrival(f"m:{number}") for number in range(7)))
        first = await journal.read_waiting("u:alice", limit=3)
        second = await journal.read_waiting("u:alice", after=first[-1].sequence, limit=10)
        assert [letter.identity for letter in (*first, *second)] == [f"m:{number}" for number in range(7)]

    async def test_outgoing_conversations_are_those_with_something_to_send(self, journal: Journal) -> None:
        messages = await journal.enqueue([draft("a", "alice"), draft("b", "bob")], now_ms=1)
        await journal.settle(accepted(messages[0].out_sequence), now_ms=2)
        assert await journal.outgoing_conversations() == ["u:bob"]


class TestKeeping:
    async def test_pruning_forgets_what_is_finished_and_nothing_else(self, journal: Journal) -> None:
        done, _, dead = await store(journal, arrival("m:1"), arrival("m:2"), arrival("m:3"))
        await journal.complete(done, 0, drafts=[draft("a")], state=None, now_ms=1_000)
        await journal.fail(dead, 0, error="no", due_ms=None, now_ms=1_000)
        messages = await journal.enqueue([draft("b")], now_ms=1_000)
        await journal.settle(accepted(messages[0].out_sequence), now_ms=1_000)
        assert await journal.prune(1_000) == 0
        assert await journal.prune(7 * WINDOW_MS) == 2
        counts = await journal.count()
        assert (counts.waiting, counts.dead, counts.outgoing) == (1, 1, 1)

    async def test_an_heir_finishes_what_another_account_began(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        (sequence,) = await store(journal, arrival("m:1"))
        await journal.enqueue([draft("a")], now_ms=1)
        async with open_journal("new@im.bot") as heir:
            await heir.inherit(AccountId(BOT))
            await heir.adopt()
            assert [letter.sequence for letter in await heir.read_waiting("u:alice")] == [sequence]
            assert [message.draft.client_id for message in await heir.read_outgoing("u:alice")] == ["a"]
        assert (await journal.count()).waiting == 0

    async def test_records_do_not_show_what_people_wrote(self, journal: Journal) -> None:
        await store(journal, arrival("m:1", raw=b"my secret"))
        assert "secret" not in repr(await journal.read_waiting("u:alice"))


async def test_a_closed_journal_refuses_what_comes_too_late(open_journal: OpenJournal) -> None:
    from ilink import StoreError

    async with open_journal(BOT) as journal:
        await journal.adopt()
        (sequence,) = await store(journal, arrival("m:1"))
    with pytest.raises(StoreError):
        await journal.complete(sequence, 0, drafts=[], state=None, now_ms=1)
