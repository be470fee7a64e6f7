"""Bots that are killed while their messages overtake, restart, drop or merge, carry files, or come from elsewhere.

The bar is what the journal knows: whatever is in it is answered once, or was left out for a reason that is written
down, and then nothing was said about it. How often they are killed is in `ILINK_CRASH_KILLS`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
from crash_bot import FILE_POINTS, POINTS
from crash_stores import CrashStore
from test_bot_crash import IS_LONG, PATIENCE, SEED, TIMED, OpenStore, Talk, open_store, plan_of, talking, victim

__all__ = ["open_store"]

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1800 if IS_LONG else 300)]

KILLS = int(os.environ.get("ILINK_CRASH_KILLS", "100" if IS_LONG else "20"))
LEFT_OUT = ("took its place", "it came while message", "cancelled it")
TWIN = "it says the same as"


Stored = dict[str, list[tuple[int, str]]]
"""The texts that are stored, in order, with the state and the error of each time."""


async def stored_in(store: CrashStore) -> Stored:
    found: Stored = {}
    for raw, state, error in await store.rows("SELECT raw, state, error FROM inbox ORDER BY seq"):
        text = msgspec.json.decode(raw)["item_list"][0]["text_item"]["text"]
        found.setdefault(text, []).append((state, error or ""))
    return found


async def is_at_rest(store: CrashStore) -> bool:
    (left,) = await store.rows(
        "SELECT (SELECT count(*) FROM inbox WHERE state = 0) + (SELECT count(*) FROM outbox WHERE state IN (0, 6, 7))"
    )
    return left == (0,)


async def says_of(store: CrashStore) -> list[str]:
    """The texts in the outbox that no message caused."""
    rows = await store.rows("SELECT item FROM outbox WHERE cause_seq IS NULL ORDER BY out_seq")
    return [msgspec.json.decode(item)["text_item"]["text"] for (item,) in rows]


async def shown(talk: Talk, name: str) -> list[str]:
    """What a person was shown, files by their names."""
    person = next(person for person in talk.people if person.name == name)
    assert talk.people[0].bot_id is not None
    page = await talk.gateway.rules.transcript(talk.people[0].bot_id, person.user_id, limit=100_000)
    entries = [entry for entry in page if entry.direction == "out" and entry.state == "shown"]
    return [str(entry.items[0].text or entry.items[0].file_name) for entry in entries]


async def write(talk: Talk, kinds: str, count: int) -> None:
    for _ in range(count):
        person = talk.random.choice(talk.people[:4])
        text = f"{talk.random.choice(kinds)}-{person.name}-{len(talk.said[person.name])}"
        talk.said[person.name].append(text)
        await person.says(text, bot_id=talk.people[0].bot_id)
        if talk.random.random() < 0.5:
            await asyncio.sleep(talk.random.random() * 0.03)


async def play(
    tmp_path: Path,
    store: CrashStore,
    variant: str,
    points: Sequence[str],
    *,
    kinds: str,
    kills: int = KILLS,
    may_lose: bool = False,
    elsewhere: bool = False,
    seconds: float = PATIENCE,
) -> list[str]:
    """Kill a bot again and again, let the last one finish, and return the complaints."""
    random = Random(SEED)
    sent: dict[str, int] = {}
    async with (
        talking(store, seed=SEED, allowance=10_000) as talk,
        victim(store, talk.gateway.api_url, tmp_path / "log") as process,
        victim(store, talk.gateway.api_url, tmp_path / "log of the other") as other,
    ):
        if may_lose:
            await talk.gateway.rules.configure(knobs={"poll.consume_on_send": True})
        for number, (point, count) in enumerate(plan_of(random, kills, points)):
            pid = await process.start(variant, point, count, SEED * 1000 + number)
            going_on = asyncio.create_task(write(talk, kinds, random.randrange(4, 12)))
            if elsewhere:
                sent[f"elsewhere-{number}"] = await say(other, talk, f"elsewhere-{number}", random, store)
            lasts = (random.uniform(0.05, 0.4) if point == TIMED else 1.0) * store.pace
            code = await process.end_within(lasts, pid, served=point != TIMED)
            assert code == -signal.SIGKILL, (tmp_path / "log").read_text()[-3000:]
            await going_on
        await process.start(variant, TIMED, 1, SEED)
        texts = {text for said in talk.said.values() for text in said}
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.3)
            # Looked at in this order: what is stored between the two looks does not rest yet.
            if (may_lose or texts <= (await stored_in(store)).keys()) and await is_at_rest(store):
                break
        code = await process.terminate()
        answers = {name: await shown(talk, name) for name in talk.said}
        complaints = [] if code == 0 else [f"ended with {code}"]
        stored, says = await stored_in(store), await says_of(store)
        if not await is_at_rest(store):
            complaints.append("something still waits")
        if not may_lose:
            complaints += [f"never stored: {text}" for text in sorted(texts - stored.keys())]
        for name in talk.said:
            mine = {text: rows for text, rows in stored.items() if text.split("-")[1] == name}
            mine_said = [text for text in answers[name] if not text.startswith("elsewhere")]
            complaints += about(mine, mine_said, may_lose=may_lose)
        said = Counter(text for texts in answers.values() for text in texts if text.startswith("elsewhere"))
        complaints += [f"said {said[text]} times: {text}" for text in says if said[text] != 1]
        complaints += [f"said, and never stored: {text}" for text in said if text not in says]
        complaints += [f"lost: {text}" for text, code in sent.items() if code == 0 and said[text] != 1]
    return complaints


async def say(other, talk: Talk, text: str, random: Random, store: CrashStore) -> int:
    """Let another process store a message, and die at its commit, before it, after it, or not at all."""
    point = random.choice([*store.points[-2:], TIMED])
    pid = await other.start(f"say {talk.people[0].user_id} {text}", point, random.randrange(1, 3), 0)
    return await other.end_within(10.0, pid)


def about(stored: Stored, answers: list[str], *, may_lose: bool) -> list[str]:
    """Return what is wrong about one person: texts as they were stored, and what was answered."""
    found: list[str] = []
    named = [part for answer in answers for part in answer.removeprefix("re ").removeprefix("before ").split("+")]
    times = Counter(named)
    for text, rows in stored.items():
        finished = [(state, error) for state, error in rows if not error.startswith(TWIN)]
        wanted = sum(state == 1 for state, _ in finished) * (2 if any(a.startswith("before ") for a in answers) else 1)
        if any(state not in (1, 3) for state, _ in finished):
            found.append(f"given up: {text} {rows}")
        if any(state == 3 and not any(reason in error for reason in LEFT_OUT) for state, error in finished):
            found.append(f"left out without a reason: {text} {rows}")
        if times[text] != wanted:
            found.append(f"answered {times[text]} times, not {wanted}: {text} {rows}")
    # In the order in which they came: what a server hands out once, and again by chance, may come late.
    places = {text: place if may_lose else int(text.split("-")[2]) for place, text in enumerate(stored)}
    spoken = [text for text in dict.fromkeys(named) if text in places]
    for group in (*(tuple(kind) for kind in {text[0] for text in stored}), ("q", "r", "d", "m", "f")):
        order = [places[text] for text in spoken if text.startswith(group)]
        if order != sorted(order):
            ways = [
                next(place for place, one in enumerate(stored) if one == text)
                for text in spoken
                if text.startswith(group)
            ]
            found.append(f"out of order: {group} {order}, which {'is' if ways == sorted(ways) else 'is not'} as stored")
    return found


async def test_messages_that_overtake_restart_drop_and_merge_keep_their_promises_when_a_bot_is_killed(
    tmp_path: Path, open_store: OpenStore
) -> None:
    store = open_store(tmp_path / "data")
    complaints = await play(tmp_path, store, "policies", (*POINTS, *store.points), kinds="qrdms")
    assert complaints == [], f"{complaints}\n{(tmp_path / 'log').read_text()[-3000:]}"


async def test_the_check_finds_messages_that_were_left_out_and_count_as_handled(
    tmp_path: Path, open_store: OpenStore
) -> None:
    store = open_store(tmp_path / "data")
    complaints = await play(tmp_path, store, "unsaid", POINTS, kinds="rs", kills=6, seconds=10)
    assert any("answered 0 times, not 1" in complaint for complaint in complaints)


async def test_files_arrive_once_when_a_bot_is_killed_around_upload_and_attachment(
    tmp_path: Path, open_store: OpenStore
) -> None:
    store = open_store(tmp_path / "data")
    complaints = await play(tmp_path, store, "files", FILE_POINTS, kinds="f", kills=KILLS // 2)
    assert complaints == [], f"{complaints}\n{(tmp_path / 'log').read_text()[-3000:]}"


async def test_what_another_process_stored_is_said_once_whoever_dies(tmp_path: Path, open_store: OpenStore) -> None:
    store = open_store(tmp_path / "data")
    complaints = await play(
        tmp_path, store, "sound", (*POINTS, *store.points), kinds="q", kills=KILLS // 2, elsewhere=True
    )
    assert complaints == [], f"{complaints}\n{(tmp_path / 'log').read_text()[-3000:]}"


async def test_nothing_that_was_stored_is_lost_though_the_server_hands_out_once(
    tmp_path: Path, open_store: OpenStore
) -> None:
    """What an answer brought and nobody stored is gone with such a server; what was stored is not."""
    store = open_store(tmp_path / "data")
    complaints = await play(tmp_path, store, "sound", (*POINTS, *store.points), kinds="q", may_lose=True)
    assert complaints == [], f"{complaints}\n{(tmp_path / 'log').read_text()[-3000:]}"
