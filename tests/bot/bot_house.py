"""A bot's house for tests: a server in memory that keeps account of what it handed out and took, and a hasty clock."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import pytest

from ilink.bot import Bot, Policies
from ilink.bot.clock import WallClock
from ilink.client.answers import Batch, TypingConfig
from ilink.errors import IlinkError
from ilink.flows.polling import Backoff
from ilink.messages.outgoing import OutgoingMessage, SendReceipt
from ilink.storage.accounts import Accounts, StoredAccount
from ilink.wire.accounts import Account
from ilink.wire.codec import encode
from ilink.wire.ids import AccountId, Cursor, MessageId, Secret, UserId
from ilink.wire.models import given

OWNER = UserId("owner@im.wechat")
ACCOUNT = Account(account_id=AccountId("bot@im.bot"), token=Secret("t0ken"), base_url="http://x", owner_id=OWNER)
AT_ONCE = Backoff(first=0.001, ceiling=0.002, floor=0.0)
FAST = Policies(handler_backoff=AT_ONCE, send_backoff=AT_ONCE, stop_seconds=2.0)


class HastyClock(WallClock):
    """A clock whose pauses last a thousandth, so that nothing sleeps for time.

    `ahead_ms` is time that passes while the machine sleeps, `late` is time that passes while the program stands still,
    and `set_ms` is how far somebody sets the time of day.
    """

    def __init__(self) -> None:
        self.ahead_ms = 0
        self.set_ms = 0
        self.late = 0.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms + self.set_ms + int(self.late * 1000)

    def uptime(self) -> float:
        return super().uptime() + self.ahead_ms / 1000 + self.late

    def monotonic(self) -> float:
        return super().monotonic() + self.late

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds / 1000)


async def sign_in(accounts: Accounts) -> StoredAccount:
    return await accounts.put(ACCOUNT)


@asynccontextmanager
async def running(bot: Bot, *, login: Any = sign_in) -> AsyncIterator[Bot]:
    """Run a bot for as long as the block lasts, and stop it in order."""
    begun = asyncio.Event()
    bot.on_state(lambda _state: begun.set())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bot.serve(login=login))
        try:
            await begun.wait()
            yield bot
        finally:
            bot.stop()
            await asyncio.wait([task])


def text_update(number: int, user: str, text: str, **more: object) -> bytes:
    """An update as the server hands it out."""
    update: dict[str, object] = {
        "message_id": 7_500_000_000_000_000_000 + number,
        "from_user_id": user,
        "to_user_id": "bot@im.bot",
        "create_time_ms": 1_790_000_000_000 + number,
        "message_type": 1,
        "message_state": 2,
        "context_token": f"token-{number}",
        "item_list": [{"type": 1, "text_item": {"text": text}}],
    }
    update.update(more)
    return encode({name: value for name, value in update.items() if value is not None})


class Server:
    """Holds what people said until it is polled for; hands a message out once, as the real server does."""

    def __init__(self) -> None:
        self.mail: deque[bytes] = deque()
        self.sent: list[OutgoingMessage] = []
        self.by_client_id: Counter[str] = Counter()
        self.texts: dict[str, list[str]] = defaultdict(list)
        self.typing: list[tuple[str, bool]] = []
        self.polls: list[Cursor] = []
        self.notified: list[str] = []
        self.poll_errors: deque[IlinkError] = deque()
        self.send_faults: deque[IlinkError | None] = deque()
        self.fault_for: Callable[[OutgoingMessage], IlinkError | None] = lambda _message: None
        self.confirms = True
        self.batch = 20
        self.empties = 0
        self.moves_while_empty = False
        self.number = 0
        self.cursor = 0
        self.sending = 0
        self.most_sending = 0
        self._changed = asyncio.Event()

    def open(self, _stored: StoredAccount) -> AbstractAsyncContextManager[Connection]:
        return Connection(self)

    def says(self, user: str, text: str, **more: object) -> bytes:
        self.number += 1
        update = text_update(self.number, user, text, **more)
        self.hands_out(update)
        return update

    def hands_out(self, *updates: bytes) -> None:
        self.mail.extend(updates)
        self.change()

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true; it is looked at whenever something happens here."""
        async with asyncio.timeout(45):
            while not condition():
                await self._changed.wait()

    async def until_slept(self, clock: HastyClock, seconds: float, *, below: float = math.inf) -> None:
        """Wait until something has paused for so long at least; a bot at rest pauses for 3, 5, 30 and 60 s itself."""
        await self._until_seen(lambda: any(seconds <= slept < below for slept in clock.slept))

    async def until_logged(self, caplog: pytest.LogCaptureFixture, words: str) -> None:
        """Wait until the log says something."""
        await self._until_seen(lambda: words in caplog.text)

    async def _until_seen(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  # neither a clock nor a log tells anybody
                await asyncio.sleep(0.001)

    def heard(self, user: str) -> list[str]:
        return self.texts[user]


class Connection:
    """The client of one bot."""

    media: Any = None

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return

    async def get_updates(self, cursor: Cursor, *, hint_ms: int | None = None) -> Batch:
        server = self._server
        server.polls.append(cursor)
        server.change()
        if server.poll_errors:
            raise server.poll_errors.popleft()
        while not server.mail:
            if server.empties:
                server.empties -= 1
                await asyncio.sleep(0)
                if server.moves_while_empty:
                    server.cursor += 1
                    return Batch(updates=(), cursor=Cursor(f"cursor-{server.cursor}"), hint_ms=hint_ms)
                return Batch(updates=(), cursor=cursor, hint_ms=hint_ms, is_cut=True)
            await server._changed.wait()
            if server.poll_errors:
                raise server.poll_errors.popleft()
        updates = [server.mail.popleft() for _ in range(min(server.batch, len(server.mail)))]
        server.cursor += 1
        return Batch(updates=tuple(updates), cursor=Cursor(f"cursor-{server.cursor}"), hint_ms=35_000)

    async def send_message(self, message: OutgoingMessage) -> SendReceipt:
        server = self._server
        server.sending += 1
        server.most_sending = max(server.most_sending, server.sending)
        try:
            await asyncio.sleep(0)
            fault = server.send_faults.popleft() if server.send_faults else server.fault_for(message)
            if fault is not None:
                server.change()
                raise fault
            server.sent.append(message)
            server.by_client_id[message.client_id] += 1
            text = given(message.item.text_item, None)
            server.texts[message.to].append("" if text is None else given(text.text, ""))
            server.change()
            number = MessageId(str(9_000 + len(server.sent))) if server.confirms else None
            return SendReceipt(client_id=message.client_id, message_id=number)
        finally:
            server.sending -= 1

    async def get_config(self, user_id: UserId, *, context_token: Secret | None = None) -> TypingConfig:
        return TypingConfig(typing_ticket=Secret(f"ticket-{user_id}"))

    async def send_typing(self, user_id: UserId, typing_ticket: Secret, *, is_typing: bool = True) -> None:
        self._server.typing.append((user_id, is_typing))
        self._server.change()

    async def notify_start(self) -> None:
        self._server.notified.append("start")

    async def notify_stop(self) -> None:
        self._server.notified.append("stop")


def words(messages: Sequence[OutgoingMessage]) -> list[str]:
    return [given(given(message.item.text_item, None).text, "") for message in messages]  # type: ignore[union-attr]
