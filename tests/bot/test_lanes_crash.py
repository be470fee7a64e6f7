"""A process dies at each thing it asks of its journal, what was decided stays, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lanes_house import HandClock, LanesHouse, at_work, by_first_word, journals

from ilink.bot.lane_policy import LanePolicy
from ilink.storage.journal import InboxState, Letter, Outgoing
from ilink.storage.journal_sqlite import SqliteJournal

PLAN = by_first_word(
    restart=LanePolicy(mode="restart"),
    drop=LanePolicy(mode="drop"),
    merge=LanePolicy(mode="merge", merge_seconds=1.0, merge_most_messages=3),
    stop=LanePolicy(overtakes=True, cancels_running=True),
    peek=LanePolicy(overtakes=True),
)

STORIES = {
    "queue": ["one", "two", "three"],
    "restart": ["restart 1", "restart 2", "other", "restart 3"],
    "drop": ["drop 1", "drop 2", "other", "drop 3"],
    "merge": ["merge 1", "merge 2", "merge 3", "merge 4", "other"],
    "stop": ["one", "two", "stop", "three"],
    "peek": ["one", "peek 1", "two", "peek 2"],
    "fails": ["fail", "merge fail 1", "merge fail 2", "peek fail"],
}


async def live(house: LanesHouse, clock: HandClock, letters: list[Letter]) -> None:
    """Let time go on until everything is finished, or the process is dead."""
    async with asyncio.timeout(45):
        while not house.journal.is_dead and InboxState.WAITING in await house.states(letters):
            clock.advance(1.0)
            await house.rest()


def told(house: LanesHouse) -> None:
    """Handlers take a while, so that they can be cancelled, and some fail at first."""
    seen: Counter[str] = Counter()

    async def handle(text: str, letter: Letter) -> None:
        seen[text] += 1
        for _ in range(5):
            await asyncio.sleep(0)
        if "fail" in text and seen[text] == 1:
            raise ValueError("not yet")

    house.handler = handle


async def outbox(journal: SqliteJournal) -> list[str]:
    page: list[Outgoing] = await journal.read_outgoing("u:a", limit=100)
    return [message.draft.item.decode() for message in page]


def check(story: str, states: list[InboxState], said: list[str]) -> None:
    """What holds however often a process died."""
    texts = STORIES[story]
    words = [word for one in said for word in one.removeprefix("re ").split("+")]
    done = [text for text, state in zip(texts, states, strict=True) if state is InboxState.DONE]
    assert len(words) == len(set(words)), "nothing is answered twice"
    assert sorted(words) == sorted(done), "what is done was answered, what was ignored was not"
    in_lane = [word for word in words if not word.startswith(("stop", "peek"))]
    assert in_lane == [text for text in texts if text in in_lane], "in order"
    match story:
        case "queue" | "merge" | "peek" | "fails":
            assert done == texts
        case "restart":
            assert {"other", "restart 3"} <= set(done)
        case "drop":
            assert {"drop 1", "other"} <= set(done)
        case "stop":
            assert {"stop", "three"} <= set(done)


async def run_story(
    open_journal: Callable[[], Any], story: str, *, die_at: int, is_late: bool
) -> tuple[bool, list[InboxState], list[str]]:
    """Tell a story to a process that dies, and let another one finish; return whether it died and what became of it."""
    clock = HandClock()
    letters: list[Letter] = []
    async with open_journal() as journal:
        journal.die_at, journal.is_late = die_at, is_late
        async with at_work(journal, clock, plan=PLAN) as house:
            told(house)
            for text in STORIES[story]:
                letters += await house.say(text)
                await asyncio.sleep(0)
            await live(house, clock, letters)
        has_died = journal.is_dead
    async with open_journal() as journal, at_work(journal, clock, plan=PLAN) as house:
        told(house)
        await live(house, clock, letters)
        states, said = await house.states(letters), await outbox(journal)
    return has_died, states, said


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
async def test_a_death_at_any_moment_changes_no_promise(tmp_path: Path, story: str, is_late: bool) -> None:
    die_at, has_died = 0, True
    while has_died:
        die_at += 1
        async with journals(tmp_path / str(die_at)) as open_journal:
            has_died, states, said = await run_story(open_journal, story, die_at=die_at, is_late=is_late)
        check(story, states, said)
    assert die_at > 4
