"""A bot that is killed, `crash_bot.py FOLDER BASE_URL DATABASE_URL`.

It forks one bot process for each line on standard input, and says how it ended.

A line is `VARIANT,POINT,COUNT,SEED`: the bot kills itself when it comes to the named point for the COUNT-th time, or
waits to be killed when the point is `never`. A point is one of POINTS, or of those of its store, or an await
point: where a task of the bot went to sleep, or woke up. With `record` the bot writes down the await points it comes
through. With `stop at ` before it the bot stops itself there instead, as SIGSTOP does.

The variants other than `sound` are broken on purpose. With `unlocked ` before it, the bot does not care for the lock of
its account, so that two of them can have one journal; and its handlers begin only when there is a file `go`. The
variants `policies` and `files` have other handlers: some whose messages go through their lanes in every way there is,
and one that answers with a file. `unsaid` is like `policies`, and broken. `say USER TEXT` runs no bot: it stores one
message in the outbox of the one that runs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any

from crash_stores import CrashStore, store_at

import ilink.bot.bot
import ilink.bot.rounds
import ilink.bot.store
import ilink.bot.turn
import ilink.storage.sqlite
import ilink.transport.http  # loaded before the fork, so that a bot starts in milliseconds
from ilink import Bot, Client, LanePolicy, Message, OutcomeUnknownError, Policies, filters
from ilink.bot.lane_endings import Endings
from ilink.bot.outbox.files import OutgoingFiles
from ilink.flows.polling import Backoff
from ilink.storage.accounts import StoredAccount

HASTE = Backoff(first=0.02, ceiling=0.05, floor=0.0)
POINTS = (
    "polled",
    "before ingest",
    "after ingest",
    "handling",
    "before complete",
    "after complete",
    "before send",
    "after send",
    "after settle",
    "adopted",
)
FILE_POINTS = ("before upload", "before attach", "after attach", "before send", "after send", "after settle")

_WATCHED = ("/ilink/bot/", "/ilink/storage/", "/ilink/client/")
"""Where the await points of ingest, handle, complete and send are."""
_PASSAGES = ("postgres:read", "postgres:write", "postgres:execute", "journal_postgres:_surely")
"""What everybody calls on the way to the database, and what says nothing of who does."""


class Doom:
    """Kills the process at a point."""

    def __init__(self, point: str, count: int) -> None:
        self.signal = signal.SIGSTOP if point.startswith("stop at ") else signal.SIGKILL
        self.point = point.removeprefix("stop at ")
        self.left = count
        self.passed: set[str] = set()

    @property
    def watches_tasks(self) -> bool:
        return self.point == "record" or ":" in self.point

    def at(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                if self.signal == signal.SIGSTOP:
                    time.sleep(0.2)  # the thread that writes finishes: who stops within a transaction keeps the lock
                os.kill(os.getpid(), self.signal)

    def step(self, work: Any, change: str) -> None:
        """Note that a task goes to sleep or wakes up."""
        if (place := await_point(work)) is not None:
            self.passed.add(f"{place} {change}")
            self.at(f"{place} {change}")


def await_point(work: Any) -> str | None:
    """Where a task waits: the innermost lines of ours that lead there, so that one call has a point for each caller."""
    lines = [line for line in _lines(work) if line is not None and not line.startswith(_PASSAGES)]
    return " > ".join(lines[-3:]) or None


def _lines(work: Any) -> Iterator[str | None]:
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None)
        if frame is not None and any(part in frame.f_code.co_filename for part in _WATCHED):
            yield f"{Path(frame.f_code.co_filename).stem}:{frame.f_code.co_name}:{frame.f_lineno}"
        work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None)


def watched_loop(doom: Doom) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes an event loop whose tasks tell whenever they go to sleep or wake up."""

    @types.coroutine
    def stepwise(work: Any) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            if getattr(work, "cr_await", None) is not None:
                doom.step(work, "woke")
            try:
                sleeping = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                return end.value
            doom.step(work, "slept")
            value = error = None
            try:
                value = yield sleeping
            except BaseException as thrown:  # handed on  # noqa: BLE001
                error = thrown

    async def whole(work: Coroutine[Any, Any, Any]) -> Any:
        return await stepwise(work)

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(whole(work), loop=loop, **options)

    def open_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(make)  # type: ignore[arg-type]
        return loop

    return open_loop


def doomed_client(doom: Doom, random: Random) -> type[Client]:
    class DoomedClient(Client):
        async def get_updates(self, *arguments: Any, **options: Any) -> Any:
            batch = await super().get_updates(*arguments, **options)
            if batch.updates:
                doom.at("polled")
            return batch

        async def send_message(self, *arguments: Any, **options: Any) -> Any:
            doom.at("before send")
            receipt = await super().send_message(*arguments, **options)
            doom.at("after send")
            if random.random() < 0.1:
                raise OutcomeUnknownError("the connection was reset after the request was written")
            return receipt

    return DoomedClient


def answer_by_policies(bot: Bot, doom: Doom, random: Random) -> None:
    """Let the first letter of a text decide how it goes through its lane."""

    async def take(message: Message) -> str:
        doom.at("handling")
        if random.random() < 0.05:
            raise ValueError("a bad moment")
        await asyncio.sleep(random.random() * 0.02)
        return "re " + "+".join(one.text for one in message.merged)

    for letter, policy in (
        ("q", None),
        ("r", LanePolicy(mode="restart")),
        ("d", LanePolicy(mode="drop")),
        ("m", LanePolicy(mode="merge", merge_seconds=0.02, merge_most_seconds=0.2, merge_most_messages=4)),
        ("s", LanePolicy(overtakes=True, cancels_running=True)),
    ):

        @bot.on_text(filters.startswith(letter), policy=policy)
        async def answer(message: Message) -> None:
            await message.reply(await take(message))


def count_as_handled() -> None:
    """Let messages that are left out count as handled."""
    true_finish = Endings.finish

    def finish(self: Any, lane: Any, letters: Any, handled: Any, *, ignored: str | None = None) -> bool:
        return true_finish(self, lane, letters, handled)

    Endings.finish = finish  # type: ignore[method-assign]


def answer_with_files(bot: Bot, doom: Doom) -> None:
    true_upload = OutgoingFiles.upload

    async def upload(self: OutgoingFiles, *arguments: Any) -> bytes:
        doom.at("before upload")
        return await true_upload(self, *arguments)

    OutgoingFiles.upload = upload  # type: ignore[method-assign]

    @bot.on_text()
    async def answer(message: Message) -> None:
        data = b"%PDF-1.7 " + message.text.encode() * 1000
        await message.reply_media(data, caption=f"before {message.text}", name=f"re {message.text}")


def say(store: CrashStore, user: str, text: str, *, doom: Doom) -> None:
    """Store a message in the outbox of the bot that runs, and die on the way or not."""
    store.doom(doom.at, variant="sound", around_transactions=True)
    asyncio.run(Bot(data=store.url or store.folder, environ=store.place.environ).send(user, text, wait=0.0))


def run(store: CrashStore, base_url: str, *, variant: str, point: str, count: int, seed: int) -> None:
    random = Random(seed)
    doom = Doom(point, count)
    folder = store.folder
    if variant.startswith("say "):
        say(store, *variant.split(" ")[1:], doom=doom)
        return
    # Short work is committed in the event loop or in a thread, whichever disk this is; who waits is seen in a thread.
    ilink.storage.sqlite._QUICK = 0.0 if doom.watches_tasks or seed % 2 else 60.0
    client = doomed_client(doom, random)
    is_unlocked = variant.startswith("unlocked ")
    variant = variant.removeprefix("unlocked ")
    store.doom(doom.at, variant=variant, around_transactions=point in store.points)
    if doom.watches_tasks:
        ilink.bot.bot.loop_factory = lambda: watched_loop(doom)
    if is_unlocked:
        store.unlock()
        ilink.bot.rounds._SWEEP = 1.0  # what the other one still heard is found soon

    def open_client(stored: StoredAccount) -> AbstractAsyncContextManager[Any]:
        return client(stored.account, base_url=base_url, random=random)

    if variant == "fresh_ids":
        true_names = ilink.bot.turn.drafts_of

        def fresh(*arguments: Any, **options: Any) -> Any:
            options["name"] = lambda _part: os.urandom(8).hex()
            return true_names(*arguments, **options)

        ilink.bot.turn.drafts_of = fresh

    bot = Bot(
        allow="anyone",
        data=store.url or folder,
        environ=store.place.environ,
        base_url=base_url,
        open_client=open_client,
        random=random,
        # Handlers fail by chance and answers get lost, so that some message would be given up in thousands.
        policies=Policies(
            handler_backoff=HASTE, send_backoff=HASTE, interruptions=10_000, attempts=10_000, send_attempts=10_000
        ),
    )

    if variant in ("policies", "unsaid"):
        answer_by_policies(bot, doom, random)
    elif variant == "files":
        answer_with_files(bot, doom)
    if variant == "unsaid":
        count_as_handled()

    async def answer(message: Message) -> None:
        while is_unlocked and not (folder / "go").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        doom.at("handling")
        if message.text.startswith("go on"):
            return
        if message.text.endswith("7"):
            await message.reply(f"got {message.text}", wait=0)
        if random.random() < 0.1:
            raise ValueError("a bad moment")
        await asyncio.sleep(random.random() * 0.003)
        await message.reply(f"re {message.text}")

    if variant not in ("policies", "unsaid", "files"):
        bot.on_text()(answer)
    # Who is told to stop before it listens would not end in order: the signal waits until it does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    bot.on_state(tell_that_it_serves())
    bot.run()
    if point == "record":
        (folder / "points").write_text("\n".join(sorted(doom.passed)))


def tell_that_it_serves() -> Callable[[object], None]:
    """Return what tells once that a bot works, and lets the signal to stop come through from then on."""
    lines = iter(["serving 0\n"])

    def tell(_state: object) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.write(1, next(lines, "").encode())

    return tell


def main() -> None:
    folder, base_url, url = sys.argv[1:]
    store = store_at(Path(folder), url)
    for line in sys.stdin:
        variant, point, count, seed = line.rsplit(",", 3)
        child = os.fork()
        if child == 0:
            try:
                print("started", os.getpid(), flush=True)  # its own word, so that it comes before all others
                run(store, base_url, variant=variant, point=point, count=int(count), seed=int(seed))
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                sys.stderr.flush()
                os._exit(0 if sys.exc_info()[0] is None else 1)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
