"""Crowds of people who write to a bot at a rate, to see how it and what is behind it bear that.

    plan = LoadPlan(pattern="burst", people=50, rate=20, seconds=30)
    report = await run_load("http://127.0.0.1:7711", plan, transport=transport)
    assert report.answered == report.sent and report.percentile(0.95) < 1.0

The crowd lives on a gateway and goes in through its control API, so the bot may run anywhere and be written in
anything. What is written, by whom and when follows from the seed; the answers and their times do not.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ilink.errors import ConfigError, TransportError
from ilink.transport.seam import Request, Response, Transport

__all__ = ["LoadPlan", "LoadReport", "Utterance", "run_load"]

Pattern = Literal["normal", "burst", "spam", "media"]

MOST_PEOPLE: Final = 10_000
MOST_MESSAGES: Final = 100_000
MOST_SECONDS: Final = 3600.0
_BURST_SECONDS: Final = 5.0
"""From one burst to the next."""
_PICTURE_BYTES: Final = (10_000, 1_000_000)
_AT_A_TIME: Final = 100
"""Messages that are on their way into the gateway; more wait, and come late."""
_CALL_SECONDS: Final = 30.0
_LISTEN_SECONDS: Final = 30.0
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_BORDER: Final = "a-border-that-occurs-in-no-picture"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What a crowd does.

    Attributes:
        pattern: `normal`: everybody now and then, at random. `burst`: the same number, all at once every five seconds.
            `spam`: one person writes everything. `media`: as normal, and every second message is a picture.
        people: How many there are, 10,000 at most.
        rate: Messages a second of all of them together.
        seconds: For how long they write, an hour at most; 100,000 messages at most.
        patience: Seconds that answers are waited for after the last message.
        seed: What the choice of people, moments and pictures follows from.
    """

    pattern: Pattern = "normal"
    people: int = 10
    rate: float = 5.0
    seconds: float = 10.0
    patience: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no machine should be asked for by mistake."""
        if not 1 <= self.people <= MOST_PEOPLE:
            message = f"a crowd has 1 to {MOST_PEOPLE} people, not {self.people}"
        elif not (self.rate > 0 and 0 < self.seconds <= MOST_SECONDS):
            message = f"a load has a rate above 0 and takes up to {MOST_SECONDS:.0f} seconds"
        elif self.rate * self.seconds > MOST_MESSAGES:
            message = f"{self.rate:g} messages a second for {self.seconds:g} s are more than {MOST_MESSAGES}"
        elif not 0 <= self.patience <= MOST_SECONDS:
            message = f"patience ends after {MOST_SECONDS:.0f} seconds"
        else:
            return
        raise ConfigError(message)

    def script(self) -> list[Utterance]:
        """Return everything that will be said, in order; the same plan gives the same script."""
        chance = Random(self.seed)  # noqa: S311  # repeatable on purpose
        count = max(1, round(self.rate * self.seconds))
        return [
            Utterance(
                at=moment,
                person=0 if self.pattern == "spam" else chance.randrange(self.people),
                text=f"message {number} of {count}",
                picture_bytes=chance.randint(*_PICTURE_BYTES) if self.pattern == "media" and number % 2 == 0 else 0,
            )
            for number, moment in enumerate(self._moments(chance, count), start=1)
        ]

    def _moments(self, chance: Random, count: int) -> list[float]:
        match self.pattern:
            case "normal" | "media":
                return sorted(chance.uniform(0, self.seconds) for _ in range(count))
            case "burst":
                bursts = max(1, math.ceil(self.seconds / _BURST_SECONDS))
                return [number * bursts // count * _BURST_SECONDS for number in range(count)]
            case "spam":
                return [number / self.rate for number in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One thing that is said.

    Attributes:
        at: Seconds after the beginning.
        person: Who says it, counted from 0.
        text: What.
        picture_bytes: Size of the picture that is sent instead; 0 for a text.
    """

    at: float
    person: int
    text: str
    picture_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of it.

    Attributes:
        sent: Messages that reached the bot's mailbox.
        failed: Messages that did not.
        answered: Of those that were sent, how many an answer came for.
        refused: Sends of the bot that the gateway refused, as WeChat would have.
        seconds: How long it took, waiting for answers included.
        latencies: Seconds from each message's arrival in the mailbox to its answer, in ascending order.
    """

    sent: int
    failed: int
    answered: int
    refused: int
    seconds: float
    latencies: tuple[float, ...] = field(repr=False)

    def percentile(self, share: float) -> float | None:
        """Return the seconds within which a share of the answers came, 0.95 for instance; None without any."""
        if not self.latencies:
            return None
        return self.latencies[min(len(self.latencies) - 1, math.ceil(share * len(self.latencies)) - 1)]


async def run_load(
    control_url: str, plan: LoadPlan, *, transport: Transport, bot_id: str | None = None, control_key: str | None = None
) -> LoadReport:
    """Make a crowd on a gateway, let it write as planned, and report what the bot did.

    An answer is told by order: the n-th message that the bot sends in a chat answers the n-th that came in there. A bot
    that answers one message with several, or none, is measured wrongly.

    Args:
        control_url: The gateway's control API. Its people and messages stay afterwards.
        plan: What the crowd does.
        transport: An open one.
        bot_id: Whom they write to; without it the newest live bot.
        control_key: The key of the control API, if it has one.

    Raises:
        ConfigError: There is no such gateway or bot, or the crowd may not write to it.
    """
    control = _Control(control_url.rstrip("/"), transport, control_key)
    bot = bot_id or await control.newest_bot()
    people = [await control.add_person(f"crowd {number}") for number in range(1, plan.people + 1)]
    return await _Crowd(control, bot, people, plan).run()


class _Crowd:
    """The people of one run, and what they wait for."""

    def __init__(self, control: _Control, bot: str, people: Sequence[str], plan: LoadPlan) -> None:
        self._control = control
        self._bot = bot
        self._plan = plan
        self._people = people
        self._waiting: list[deque[float]] = [deque() for _ in people]
        self._open = asyncio.Semaphore(_AT_A_TIME)
        self._is_quiet = asyncio.Event()
        self._latencies: list[float] = []
        self._sent = self._failed = self._refused = 0
        self._is_over = False

    async def run(self) -> LoadReport:
        loop = asyncio.get_running_loop()
        started = loop.time()
        script = self._plan.script()
        listened = sorted({utterance.person for utterance in script})
        async with asyncio.TaskGroup() as listening:
            ears = [listening.create_task(self._listen(person)) for person in listened]
            async with asyncio.TaskGroup() as speaking:
                for utterance in script:
                    await asyncio.sleep(max(0.0, started + utterance.at - loop.time()))
                    speaking.create_task(self._say(utterance))
            self._is_over = True
            self._look_quiet()
            with suppress(TimeoutError):  # what is not answered by then counts as unanswered
                async with asyncio.timeout(self._plan.patience):
                    await self._is_quiet.wait()
            for ear in ears:
                ear.cancel()
        return LoadReport(
            sent=self._sent,
            failed=self._failed,
            answered=len(self._latencies),
            refused=self._refused,
            seconds=loop.time() - started,
            latencies=tuple(sorted(self._latencies)),
        )

    async def _say(self, utterance: Utterance) -> None:
        async with self._open:
            # Noted before, since the answer may be heard before the gateway's answer to this call is.
            waiting = self._waiting[utterance.person]
            moment = asyncio.get_running_loop().time()
            waiting.append(moment)
            try:
                await self._control.say(self._people[utterance.person], self._bot, utterance)
            except (TransportError, ConfigError):
                self._failed += 1
                with suppress(ValueError):
                    waiting.remove(moment)
            else:
                self._sent += 1

    async def _listen(self, person: int) -> None:
        after = 0
        while True:
            try:
                entries = await self._control.hear(self._people[person], self._bot, after)
            except TransportError:
                await asyncio.sleep(0.5)  # the gateway is away; what it has kept is heard afterwards
                continue
            now = asyncio.get_running_loop().time()
            for entry in entries:
                after = max(after, entry.n)
                self._hear(person, entry, now)

    def _hear(self, person: int, entry: _Entry, now: float) -> None:
        if entry.state == "refused":
            self._refused += 1
        elif self._waiting[person]:
            self._latencies.append(now - self._waiting[person].popleft())
            self._look_quiet()

    def _look_quiet(self) -> None:
        if self._is_over and not any(self._waiting):
            self._is_quiet.set()


class _Entry(msgspec.Struct):
    n: int
    state: str


class _Transcript(msgspec.Struct):
    messages: list[_Entry]


class _Bot(msgspec.Struct):
    bot_id: str
    state: str


class _Bots(msgspec.Struct):
    bots: list[_Bot]


class _Person(msgspec.Struct):
    user_id: str


class _Control:
    """As much of the control API as a crowd needs."""

    def __init__(self, url: str, transport: Transport, key: str | None) -> None:
        self._url = url
        self._transport = transport
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def newest_bot(self) -> str:
        bots = _read(await self._get("/_sim/bots"), _Bots).bots
        live = [bot.bot_id for bot in bots if bot.state == "live"]
        if not live:
            message = f"no bot is signed in on the gateway at {self._url}; sign one in, then put it under load"
            raise ConfigError(message)
        return live[-1]

    async def add_person(self, name: str) -> str:
        body = msgspec.json.encode({"name": name})
        return _read(await self._post("/_sim/people", body, "application/json"), _Person).user_id

    async def say(self, person: str, bot: str, utterance: Utterance) -> None:
        path = f"/_sim/people/{quote(person)}/messages"
        if utterance.picture_bytes:
            kind = f"multipart/form-data; boundary={_BORDER}"
            answer = await self._post(path, _picture_form(bot, utterance), kind)
        else:
            body = msgspec.json.encode({"bot_id": bot, "text": utterance.text})
            answer = await self._post(path, body, "application/json")
        _refuse(answer)

    async def hear(self, person: str, bot: str, after: int) -> list[_Entry]:
        query = {"bot_id": bot, "user_id": person, "after": after, "direction": "out", "timeout": _LISTEN_SECONDS}
        return _read(await self._get(f"/_sim/wait?{urlencode(query)}"), _Transcript).messages

    async def _get(self, path: str) -> Response:
        request = Request(method="GET", url=self._url + path, headers=self._headers)
        return await self._transport.send(request, timeout=_LISTEN_SECONDS + _CALL_SECONDS)

    async def _post(self, path: str, body: bytes, kind: str) -> Response:
        headers = {**self._headers, "Content-Type": kind}
        request = Request(method="POST", url=self._url + path, headers=headers, body=body)
        return await self._transport.send(request, timeout=_CALL_SECONDS)


def _read(answer: Response, model: type[T]) -> T:
    _refuse(answer)
    try:
        return msgspec.json.decode(answer.body, type=model)
    except msgspec.DecodeError as error:
        message = "what answers there is no control API of a gateway"
        raise ConfigError(message) from error


def _refuse(answer: Response) -> None:
    if answer.status >= 300:
        words = answer.body[:300].decode("utf-8", "replace")
        message = f"the gateway refused, HTTP {answer.status}: {words}"
        raise ConfigError(message)


def _picture_form(bot: str, utterance: Utterance) -> bytes:
    """Return a form with a picture of the size that is asked for; it begins as a PNG does and holds nothing."""
    fields = "".join(
        f'--{_BORDER}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("bot_id", bot), ("kind", "image"))
    )
    head = f'--{_BORDER}\r\nContent-Disposition: form-data; name="file"; filename="picture.png"\r\n\r\n'
    picture = _PNG + bytes(utterance.picture_bytes - len(_PNG))
    return f"{fields}{head}".encode() + picture + f"\r\n--{_BORDER}--\r\n".encode()
