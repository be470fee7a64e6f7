"""What every journal does with messages on their way out, whatever it is kept in."""

from __future__ import annotations

import asyncio

import pytest
from journal_house import BOT, OpenJournal, arrival, draft
from msgspec.structs import replace

from ilink.flows.window import Gate, gate
from ilink.storage.journal import Draft, Journal, OutboxState, Outcome, Outgoing, OutgoingFile, WindowEvent
from ilink.wire.ids import ClientId, Cursor, MessageId, UserId

ALICE = UserId("alice")
FILE = OutgoingFile(size=5, sha256="ab", kind="image", name="cat.png")
FINAL = [OutboxState.ACCEPTED, OutboxState.UNCONFIRMED, OutboxState.REJECTED, OutboxState.UNKNOWN, OutboxState.EXPIRED]
UNSENT = [OutboxState.WAITING, OutboxState.IN_FLIGHT, OutboxState.ASKED]


def file_draft(name: str, user: str = "alice") -> Draft:
    return replace(draft(name, user), item=b"", file=FILE, run_id="run", expires_ms=99)


def outcome(message: Outgoing, state: OutboxState, **more: object) -> Outcome:
    return Outcome(out_sequence=message.out_sequence, user=message.draft.user, state=state, **more)  # type: ignore[arg-type]


async def stored(journal: Journal, name: str) -> Outgoing:
    found = await journal.read_sent(ClientId(name))
    assert found is not None
    return found


class TestFiles:
    async def test_a_file_is_kept_with_its_message(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([file_draft("a")], now_ms=7)
        assert message.draft.file == FILE
        (again,) = await journal.read_outgoing("u:alice")
        assert again == message
        assert (again.draft.item, again.uploaded_ms, again.created_ms) == (b"", None, 7)

    async def test_what_a_file_became_is_kept(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([file_draft("a")], now_ms=1)
        await journal.attach(message.out_sequence, b"item", now_ms=5)
        (again,) = await journal.read_outgoing("u:alice")
        assert (again.draft.item, again.uploaded_ms, again.draft.file) == (b"item", 5, FILE)

    async def test_what_is_final_takes_no_item(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([file_draft("a")], now_ms=1)
        await journal.settle(outcome(message, OutboxState.REJECTED), now_ms=2)
        await journal.attach(message.out_sequence, b"item", now_ms=5)
        assert (await stored(journal, "a")).uploaded_ms is None

    async def test_files_are_needed_until_their_messages_are_final(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        messages = await journal.enqueue([file_draft("a"), file_draft("b"), file_draft("c"), draft("text")], now_ms=1)
        await journal.settle(outcome(messages[0], OutboxState.ACCEPTED), now_ms=2)
        await journal.settle(outcome(messages[1], OutboxState.ASKED), now_ms=2)
        names = [ClientId(name) for name in ("a", "b", "c", "text", "nothing")]
        assert await journal.find_needed_files(names) == {"b", "c"}
        assert await journal.find_needed_files([]) == set()
        async with open_journal("other@im.bot") as other:
            assert await other.find_needed_files(names) == {"b", "c"}, "the spool is shared by all accounts"


class TestOwnership:
    @pytest.mark.parametrize("state", FINAL)
    async def test_a_last_word_counts_whoever_says_it(
        self, journal: Journal, open_journal: OpenJournal, state: OutboxState
    ) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        async with open_journal(BOT) as heir:
            await heir.adopt()
            await journal.settle(outcome(message, state), now_ms=2)
            assert (await stored(heir, "a")).state is state

    @pytest.mark.parametrize("state", UNSENT)
    async def test_what_happens_to_a_waiting_message_is_said_by_the_owner_alone(
        self, journal: Journal, open_journal: OpenJournal, state: OutboxState
    ) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        async with open_journal(BOT) as heir:
            await heir.adopt()
            await heir.settle(outcome(message, OutboxState.IN_FLIGHT, was_tried=False), now_ms=2)
            late = outcome(message, state, event=WindowEvent.REFUSED, is_doubtful=True, reason="late")
            await journal.settle(late, now_ms=3)
            assert (await stored(heir, "a")).state is OutboxState.IN_FLIGHT
            assert (await stored(heir, "a")).reason is None
            assert await heir.read_windows([ALICE]) == {}

    async def test_anybody_may_put_something_in_and_the_owner_finds_it(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        await journal.enqueue([draft("ours")], now_ms=1)
        _, place = await journal.find_enqueued(0)
        assert await journal.find_enqueued(place) == ([], place)
        async with open_journal(BOT) as stranger:
            await stranger.enqueue([draft("theirs", "bob"), draft("theirs too", "bob"), draft("x", "carol")], now_ms=2)
        conversations, newer = await journal.find_enqueued(place)
        assert sorted(conversations) == ["u:bob", "u:carol"]
        assert newer == place + 3
        assert (await journal.find_enqueued(newer))[0] == []

    async def test_what_is_found_is_what_waits_for_this_account(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        (message,) = await journal.enqueue([draft("sent")], now_ms=1)
        await journal.settle(outcome(message, OutboxState.ACCEPTED), now_ms=2)
        async with open_journal("other@im.bot") as other:
            await other.enqueue([draft("of another", "zoe")], now_ms=1)
        assert (await journal.find_enqueued(0))[0] == []

    async def test_a_known_name_is_not_stored_again_whoever_says_it(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        await journal.enqueue([draft("a")], now_ms=1)
        async with open_journal(BOT) as stranger:
            assert await stranger.enqueue([draft("a")], now_ms=2) == []
        assert len(await journal.read_outgoing("u:alice")) == 1


class TestDoubt:
    async def test_doubt_stays(self, journal: Journal) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        await journal.settle(outcome(message, OutboxState.WAITING, is_doubtful=True), now_ms=2)
        await journal.settle(outcome(message, OutboxState.WAITING), now_ms=3)
        (again,) = await journal.read_outgoing("u:alice")
        assert (again.is_doubtful, again.attempts) == (True, 2)

    async def test_after_a_death_the_first_of_each_conversation_may_have_arrived(
        self, journal: Journal, open_journal: OpenJournal
    ) -> None:
        await journal.enqueue([draft("a1"), draft("a2"), draft("b1", "bob")], now_ms=1)
        async with open_journal(BOT) as heir:
            await heir.adopt()
            doubts = [(await stored(heir, name)).is_doubtful for name in ("a1", "a2", "b1")]
        assert doubts == [True, False, True]

    async def test_after_an_orderly_end_nothing_is_in_doubt(self, journal: Journal, open_journal: OpenJournal) -> None:
        await journal.enqueue([draft("a")], now_ms=1)
        await journal.release()
        async with open_journal(BOT) as heir:
            await heir.adopt()
            assert not (await stored(heir, "a")).is_doubtful


class TestDecisions:
    async def test_a_message_that_is_tried_again_waits_at_its_place(self, journal: Journal) -> None:
        first, _ = await journal.enqueue([draft("a"), draft("b")], now_ms=1)
        await journal.settle(outcome(first, OutboxState.ASKED, reason="no answer"), now_ms=2)
        decided = await journal.decide(ClientId("a"), is_retry=True, now_ms=3)
        assert decided is not None
        assert (decided.state, decided.is_doubtful) == (OutboxState.WAITING, True)
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["a", "b"]

    async def test_a_message_that_is_dropped_is_unknown_for_good(self, journal: Journal) -> None:
        first, _ = await journal.enqueue([draft("a"), draft("b")], now_ms=1)
        await journal.settle(outcome(first, OutboxState.ASKED, reason="no answer"), now_ms=2)
        decided = await journal.decide(ClientId("a"), is_retry=False, now_ms=3)
        assert decided is not None
        assert decided.state is OutboxState.UNKNOWN
        assert decided.reason
        assert [message.draft.client_id for message in await journal.read_outgoing("u:alice")] == ["b"]
        assert await journal.prune(4) == 1

    @pytest.mark.parametrize("state", [state for state in OutboxState if state is not OutboxState.ASKED])
    async def test_only_what_asks_is_decided_about(self, journal: Journal, state: OutboxState) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        await journal.settle(outcome(message, state, reason="so it is"), now_ms=2)
        assert await journal.decide(ClientId("a"), is_retry=True, now_ms=3) is None
        assert await journal.decide(ClientId("a"), is_retry=False, now_ms=3) is None
        assert ((await stored(journal, "a")).state, (await stored(journal, "a")).reason) == (state, "so it is")

    async def test_a_decision_is_for_ones_own_messages(self, journal: Journal, open_journal: OpenJournal) -> None:
        (message,) = await journal.enqueue([draft("a")], now_ms=1)
        await journal.settle(outcome(message, OutboxState.ASKED), now_ms=2)
        async with open_journal("other@im.bot") as other:
            assert await other.decide(ClientId("a"), is_retry=False, now_ms=3) is None
        assert (await stored(journal, "a")).state is OutboxState.ASKED

    async def test_messages_are_found_by_their_states_in_pages(self, journal: Journal) -> None:
        messages = await journal.enqueue([draft(str(number)) for number in range(6)], now_ms=1)
        for message, state in zip(messages, [*FINAL[:2], OutboxState.ASKED, OutboxState.ASKED], strict=False):
            await journal.settle(outcome(message, state), now_ms=2)

        async def names(*states: OutboxState, after: int = 0, limit: int = 100) -> list[str]:
            return [one.draft.client_id for one in await journal.read_outbox(states, after=after, limit=limit)]

        assert await names(OutboxState.ASKED) == ["2", "3"]
        assert await names(OutboxState.WAITING, OutboxState.ASKED) == ["2", "3", "4", "5"]
        assert await names(OutboxState.WAITING, OutboxState.ASKED, limit=3) == ["2", "3", "4"]
        assert await names(OutboxState.ASKED, after=messages[2].out_sequence) == ["3"]
        assert await names(OutboxState.ACCEPTED) == ["0"]


class TestNoticing:
    async def test_ones_own_writes_are_no_news(self, journal: Journal) -> None:
        waiting = asyncio.ensure_future(journal.wait_changed(0))
        await journal.enqueue([draft("ours")], now_ms=1)
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        waiting.cancel()


class TestWindows:
    async def test_probes_are_kept(self, journal: Journal) -> None:
        await journal.ingest([arrival("m:1")], cursor=Cursor("c"), generation=1, hint_ms=None, now_ms=1_000)
        messages = await journal.enqueue([draft("a"), draft("b")], now_ms=1_000)
        await journal.settle(
            outcome(messages[0], OutboxState.ACCEPTED, event=WindowEvent.ACCEPTED, message_id=MessageId("1")),
            now_ms=1_000,
        )
        await journal.settle(outcome(messages[1], OutboxState.WAITING, event=WindowEvent.REFUSED), now_ms=2_000)
        window = (await journal.read_windows([ALICE]))[ALICE]
        assert window.refusals == 1
        assert gate(window, window.probe_ms - 1) is Gate.CLOSED
        assert gate(window, window.probe_ms) is Gate.HALF_OPEN
