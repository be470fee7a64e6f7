"""A server that speaks just enough iLink to be measured against, and does nothing else: the limit of this machine.

Raw asyncio and httptools, no framework, nothing stored. Every login is confirmed at once. The calls under `/bench` make
load and answer when it was carried away; those under `/_sim` are those of the gateway's control API, so that one
load generator drives both.

    python -m bench.stub            prints its URL on the first line, then serves until it is killed
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import httptools
import msgspec

from bench.machine import fast_run, raise_file_limit

__all__ = ["Stub"]

_USERS: Final = [b"o9cq80BenchBenchBenchBench%02d@im.wechat" % n for n in range(1_000)]
_FEW: Final = 20
"""A batch of twenty is one message of each of them, so that no conversation's allowance is touched."""
_BETWEEN_SECONDS: Final = 0.02
"""From a reply to the next single message."""
_OK: Final = b'{"ret":0}'
_EMPTY: Final = b'{"ret":0,"msgs":[],"get_updates_buf":"Y3Vyc29y"}'
_MESSAGE: Final = (
    b'{"seq":%d,"message_id":%d,"from_user_id":"%s","to_user_id":"%s@im.bot","client_id":"c-%d",'
    b'"create_time_ms":1790000000123,"update_time_ms":1790000000123,"session_id":"s","message_type":1,"message_state":2,'
    b'"context_token":"AARzJWAFAAABAAAAAAAx%d","item_list":[{"type":1,"create_time_ms":1790000000123,'
    b'"is_completed":true,"text_item":{"text":"message number %d"}}]}'
)


class Envelope(msgspec.Struct):
    """What is read of a request: the text of a sent item, or the fields of a command."""

    msg: SentMessage | None = None
    count: int = 0
    batch: int = 20
    people: int = _FEW
    bot_id: str = ""
    messages: list[WrittenMessage] = []


class WrittenMessage(msgspec.Struct):
    bot_id: str


class SentMessage(msgspec.Struct):
    item_list: list[SentItem] = []


class SentItem(msgspec.Struct):
    text_item: SentText | None = None


class SentText(msgspec.Struct):
    text: str = ""


_decode = msgspec.json.Decoder(Envelope).decode


@dataclass(slots=True)
class Mailbox:
    """What waits for one bot, and the poll that waits for it."""

    name: bytes
    pending: deque[bytes] = field(default_factory=deque)
    poll: Connection | None = None
    batch: int = 20


@dataclass(slots=True)
class Window:
    """One measurement under way: answered when `left` sends have come."""

    asked_by: Connection
    left: int
    began: int
    one_at_a_time: bool
    handed_out: int = 0
    delays: list[int] = field(default_factory=list)


class Stub:
    """The state of the server; one thread, no await."""

    def __init__(self) -> None:
        self.mailboxes: dict[bytes, Mailbox] = {}
        self.latest: Mailbox | None = None
        self.window: Window | None = None
        self.numbers = itertools.count(1)
        self.ids = itertools.count(7_512_000_000_000_000_000)
        self.url = b""

    def answer(self, caller: Connection, path: bytes, query: bytes, token: bytes, body: bytes) -> None:
        call = path.rpartition(b"/")[2]
        match call:
            case b"sendmessage":
                caller.reply(b'{"ret":0,"message_id":%d}' % next(self.ids))
                self.count_send(body)
            case b"getupdates":
                self.poll(caller, self.mailboxes.get(token))
            case b"get_bot_qrcode":
                code = b"%032x" % next(self.numbers)
                caller.reply(b'{"ret":0,"qrcode":"%s","qrcode_img_content":"https://h/q/%s"}' % (code, code))
            case b"get_qrcode_status":
                self.sign_in(caller, query.partition(b"qrcode=")[2].partition(b"&")[0])
            case b"getconfig":
                caller.reply(b'{"ret":0,"typing_ticket":"AARTBK8F"}')
            case b"echo" | b"latency":
                self.begin(caller, _decode(body), one_at_a_time=call == b"latency")
            case b"messages":
                self.write(caller, _decode(body))
            case b"confirm":
                caller.reply(b'{"bot_id":"%s@im.bot"}' % path.split(b"/")[-2])
            case b"people":
                caller.reply(b'{"user_id":"%s"}' % _USERS[0], status=b"201 Created")
            case _:
                caller.reply(_OK)

    def sign_in(self, caller: Connection, code: bytes) -> None:
        token = code + b"@im.bot:secret"
        self.latest = self.mailboxes.setdefault(token, Mailbox(code))
        caller.reply(
            b'{"ret":0,"status":"confirmed","bot_token":"%s","ilink_bot_id":"%s@im.bot","ilink_user_id":"%s","baseurl":"%s"}'
            % (token, code, _USERS[0], self.url)
        )

    def poll(self, caller: Connection, mailbox: Mailbox | None) -> None:
        if mailbox is None:
            caller.reply(b'{"ret":-14,"errcode":-14,"errmsg":"session timeout"}')
            return
        if mailbox.poll is not None and mailbox.poll is not caller:
            mailbox.poll.reply(_EMPTY)
        mailbox.poll = caller
        caller.polls = mailbox
        if mailbox.pending:
            self.hand_out(mailbox)

    def hand_out(self, mailbox: Mailbox) -> None:
        caller, mailbox.poll = mailbox.poll, None
        if caller is None:
            return
        caller.polls = None
        pending = mailbox.pending
        batch = [pending.popleft() for _ in range(min(mailbox.batch, len(pending)))]
        caller.reply(b'{"ret":0,"msgs":[%s],"get_updates_buf":"Y3Vyc29y"}' % b",".join(batch))
        if self.window is not None:
            self.window.handed_out = time.perf_counter_ns()

    def write(self, caller: Connection, command: Envelope) -> None:
        for bot_id in [one.bot_id for one in command.messages] or [command.bot_id]:
            self.queue(self.mailboxes[bot_id.removesuffix("@im.bot").encode() + b"@im.bot:secret"], 1)
        caller.reply(b'{"message_id":"1","seq":1}', status=b"201 Created")

    def queue(self, mailbox: Mailbox, count: int, *, people: int = _FEW) -> None:
        for _ in range(count):
            n = next(self.numbers)
            mailbox.pending.append(_MESSAGE % (n, next(self.ids), _USERS[n % people], mailbox.name, n, n, n))
        if mailbox.poll is not None:
            self.hand_out(mailbox)

    def begin(self, caller: Connection, command: Envelope, *, one_at_a_time: bool) -> None:
        assert self.latest is not None
        self.window = Window(caller, command.count, time.perf_counter_ns(), one_at_a_time)
        self.latest.batch = command.batch
        self.queue(self.latest, 1 if one_at_a_time else command.count, people=command.people)

    def count_send(self, body: bytes) -> None:
        window = self.window
        if window is None or b"message number" not in body:
            return
        window.left -= 1
        now = time.perf_counter_ns()
        if window.one_at_a_time:
            window.delays.append(now - window.handed_out)
        if window.left == 0:
            self.window = None
            answer = {"seconds": (now - window.began) / 1e9, "delays": [delay / 1e9 for delay in window.delays]}
            window.asked_by.reply(msgspec.json.encode(answer))
        elif window.one_at_a_time and self.latest is not None:
            # A bot may still be at what follows a send; a message that found it there would not be a single one.
            asyncio.get_running_loop().call_later(_BETWEEN_SECONDS, self.queue, self.latest, 1)


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection."""

    __slots__ = ("body", "parser", "polls", "stub", "token", "transport", "url")

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.parser = httptools.HttpRequestParser(self)
        self.polls: Mailbox | None = None
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.polls is not None and self.polls.poll is self:
            self.polls.poll = None

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url = b""
        self.token = b""
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self.token = value.removeprefix(b"Bearer ")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        self.stub.answer(self, path, query, self.token, self.body)

    def reply(self, body: bytes, *, status: bytes = b"200 OK") -> None:
        self.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        )


async def serve() -> None:
    """Serve on a free port of the loopback, and say which."""
    stub = Stub()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stub), "127.0.0.1", 0, backlog=4096)
    stub.url = b"http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    sys.stdout.write(stub.url.decode() + "\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    raise_file_limit()
    fast_run(serve())
