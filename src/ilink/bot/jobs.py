"""What a bot does by the clock: functions of the application, when they are due, and what they get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Final, Literal, TypeVar, get_args

from ilink.bot.routing.handlers import async_signature
from ilink.bot.routing.places import Place
from ilink.errors import ConfigError
from ilink.flows.schedule import Daily, Every, Once, Plan, read_time, read_zone, to_ms
from ilink.flows.window import Forecast
from ilink.messages.media import MediaKind, UploadSource
from ilink.messages.receipts import Receipt
from ilink.wire.ids import AccountId, UserId, normalize_user_id

if TYPE_CHECKING:
    from ilink.bot.job_turn import JobTurn

__all__ = ["IfClosed", "Job", "JobDefinition", "JobFunction", "Jobs", "Missed", "moment_of"]

T = TypeVar("T")

Missed = Literal["run", "skip"]
"""What becomes of a job that was due while nobody was there to do it: it is done once, late; or not."""

IfClosed = Literal["wait", "skip"]
"""What becomes of a job whose user cannot be written to now: it is done, and what it says waits until they write; or
it is left out this time."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Job:
    """One time that something is due. What it says is stored together with its success, and sent then.

    Attributes:
        name: Which job.
        account: The bot it is done for: with several accounts it is done for each.
        user: Whom it concerns: the `to` it was declared with, by default the owner; None when there is none.
        moment: When it was due, aware, in UTC.
        data: What `Bot.schedule` was given; None for a declared job.
        attempt: Which run this is, from 1; above 1 an earlier one failed or was cut off.
    """

    def __init__(
        self,
        name: str,
        *,
        account: AccountId,
        user: UserId | None,
        moment: datetime,
        data: object,
        attempt: int,
        turn: JobTurn,
    ) -> None:
        self.name = name
        self.account = account
        self.user = user
        self.moment = moment
        self.data = data
        self.attempt = attempt
        self._turn = turn

    @property
    def key(self) -> str:
        """The same for every run for this moment, to make effects outside of the bot idempotent."""
        return f"{self.account}:{self.name}:{to_ms(self.moment)}"

    async def send(self, text: str, *, to: str | None = None, wait: float | None = None) -> Receipt:
        """Say something, to `user` or to somebody else.

        Without `wait` it is stored and sent together with the success of the job: a job that fails or is cut off has
        said nothing, and one that runs again says nothing twice. With `wait` it is sent at once.

        Raises:
            ConfigError: The text is blank, or there is nobody to send it to.
        """
        return await self._turn.send(self._to(to), text, wait=wait)

    async def send_media(
        self,
        source: UploadSource,
        kind: MediaKind | None = None,
        *,
        to: str | None = None,
        caption: str = "",
        name: str = "",
        wait: float | None = None,
    ) -> Receipt:
        """Send a file, as `send` sends a text; see `Message.reply_media`."""
        return await self._turn.send_media(self._to(to), source, kind, caption=caption, name=name, wait=wait)

    async def can_send(self, user: str | None = None) -> Forecast:
        """Tell what will probably happen to a message to `user`, or to somebody else; see `Bot.can_send`."""
        return await self._turn.forecast(self._to(user))

    async def once(self, name: str, function: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
        """Call a function once for this moment, however often the job is run; see `Context.once`."""
        return await self._turn.once(name, function)

    def _to(self, user: str | None) -> UserId:
        found = self.user if user is None else normalize_user_id(user)
        if found is None:
            message = f"the job {self.name} has nobody to write to: the account has no known owner; give it to="
            raise ConfigError(message)
        return found


JobFunction = Callable[[Job], Awaitable[object]]
J = TypeVar("J", bound=JobFunction)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition:
    """A function that is called by the clock.

    Attributes:
        name: Names it.
        function: What is called.
        plan: When; None for one that only `Bot.schedule` plans.
        place: Where it was written.
        to: Whom it concerns: "owner", or a user id.
        missed: What becomes of a moment nobody was there for.
        if_closed: What happens when that user cannot be written to: a word, or what is called instead.
        seconds: How long one run may take; None for `Policies.handler_seconds`.
    """

    name: str
    function: JobFunction
    plan: Plan | None
    place: Place
    to: str
    missed: Missed
    if_closed: IfClosed | JobFunction
    seconds: float | None


class Jobs:
    """The jobs of a bot, by their names."""

    def __init__(self) -> None:
        self._by_name: dict[str, JobDefinition] = {}

    def add(
        self,
        function: JobFunction,
        plan: Plan | None,
        *,
        name: str,
        to: str,
        missed: Missed,
        if_closed: IfClosed | JobFunction,
        seconds: float | None,
    ) -> None:
        """Add a job.

        Raises:
            ConfigError: There is one of this name, it is no `async def` that takes a `Job`, or a setting means nothing;
                the message names the place.
        """
        signature = async_signature(function, what="job", leading=1, takes="the job")
        name = name or getattr(function, "__name__", "")
        if not name or "/" in name:
            raise signature.refuse(f"is called {name!r}; give it a name= without a slash")
        if (other := self._by_name.get(name)) is not None:
            raise signature.refuse(f"is called {name!r}, as {other.place} is; give one of them another name=")
        if missed not in get_args(Missed):
            raise signature.refuse(f'has missed={missed!r}, which means nothing; use "run" or "skip"')
        if callable(if_closed):
            async_signature(if_closed, what="hook for a closed window", leading=1, takes="the job")
        elif if_closed not in get_args(IfClosed):
            raise signature.refuse(f'has if_closed={if_closed!r}; use "wait", "skip" or an `async def` function')
        if seconds is not None and seconds <= 0:
            raise signature.refuse(f"has seconds={seconds}, which leaves it no time")
        self._by_name[name] = JobDefinition(
            name=name,
            function=function,
            plan=plan,
            place=signature.place,
            to=to if to == "owner" else normalize_user_id(to),
            missed=missed,
            if_closed=if_closed,
            seconds=seconds,
        )

    def find(self, name: str) -> JobDefinition | None:
        """Return a job; None for an unknown one."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[JobDefinition]:
        return iter(self._by_name.values())

    def __bool__(self) -> bool:
        return bool(self._by_name)


class DeclaresJobs:
    """What declares the jobs of a bot."""

    def __init__(self) -> None:
        self._jobs = Jobs()

    def every(
        self,
        *,
        seconds: float = 0.0,
        minutes: float = 0.0,
        hours: float = 0.0,
        days: float = 0.0,
        name: str = "",
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | JobFunction = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[J], J]:
        """Decorate a function that is called again and again: `@bot.every(minutes=30)`.

        The first time is one interval after the bot has run first, and the times stay where they are when it is started
        again. Times that were missed are done once, not one by one.

        Args:
            seconds: How far apart, together with the next three; at least a second.
            minutes: Likewise.
            hours: Likewise.
            days: Likewise.
            name: Names the job in the store; by default the function's name. One that is renamed is a new one.
            to: Whom it concerns: "owner", or a user id.
            missed: What becomes of a moment nobody was there for: "run", it is done once, late; or "skip".
            if_closed: What happens when that user cannot be written to now (see `Bot.can_send`): "wait", it is done,
                and what it says waits until they write; "skip"; or an `async def` function that is called instead.
            run_seconds: How long one run may take; None for `Policies.handler_seconds`.

        Raises:
            ConfigError: The times or the function cannot be used; the message says why.
        """
        plan = Every(seconds=seconds + 60 * minutes + 3600 * hours + 86_400 * days)
        return self._declare(plan, name=name, to=to, missed=missed, if_closed=if_closed, seconds=run_seconds)

    def daily(
        self,
        at: str | time,
        *,
        tz: str | tzinfo | None = None,
        on: str = "",
        name: str = "",
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | JobFunction = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[J], J]:
        """Decorate a function that is called every day: `@bot.daily("08:00", tz="Asia/Shanghai")`.

        Clocks that are changed for summer or winter change nothing: every day has this time once.

        Args:
            at: The time of day.
            tz: Where that is the time, such as `Europe/Berlin`; None for the zone of this machine.
            on: On which days, such as `mon,fri` or `mon-fri`; empty for all.
            name: As for `every`.
            to: As for `every`.
            missed: As for `every`.
            if_closed: As for `every`.
            run_seconds: As for `every`.

        Raises:
            ConfigError: The time, the zone or the function cannot be used; the message says why.
        """
        plan = Daily(at=read_time(at), zone=read_zone(tz), weekdays=_read_days(on))
        return self._declare(plan, name=name, to=to, missed=missed, if_closed=if_closed, seconds=run_seconds)

    def at(
        self,
        moment: datetime,
        *,
        name: str = "",
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | JobFunction = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[J], J]:
        """Decorate a function that is called once: `@bot.at(datetime(2027, 1, 1, tzinfo=UTC))`.

        A moment that is over when the bot sees it for the first time is left out, with a warning in the log.

        Args:
            moment: When; it has a time zone.
            name: As for `every`.
            to: As for `every`.
            missed: As for `every`.
            if_closed: As for `every`.
            run_seconds: As for `every`.

        Raises:
            ConfigError: The moment has no zone, or the function cannot be used.
        """
        plan = Once(at_ms=to_ms(moment))
        return self._declare(plan, name=name, to=to, missed=missed, if_closed=if_closed, seconds=run_seconds)

    def job(
        self,
        name: str = "",
        *,
        to: str = "owner",
        missed: Missed = "run",
        if_closed: IfClosed | JobFunction = "wait",
        run_seconds: float | None = None,
    ) -> Callable[[J], J]:
        """Decorate a function that `Bot.schedule` plans: `@bot.job()`, and later `await bot.schedule("remind", …)`.

        Args:
            name: As for `every`.
            to: Whom it concerns, unless `schedule` says otherwise.
            missed: As for `every`.
            if_closed: As for `every`.
            run_seconds: As for `every`.

        Raises:
            ConfigError: The function cannot be used.
        """
        return self._declare(None, name=name, to=to, missed=missed, if_closed=if_closed, seconds=run_seconds)

    def _declare(
        self,
        plan: Plan | None,
        *,
        name: str,
        to: str,
        missed: Missed,
        if_closed: IfClosed | JobFunction,
        seconds: float | None,
    ) -> Callable[[J], J]:
        def decorate(function: J) -> J:
            self._jobs.add(function, plan, name=name, to=to, missed=missed, if_closed=if_closed, seconds=seconds)
            return function

        return decorate


def moment_of(at: datetime | None, in_: float | timedelta | None, now_ms: int) -> int:
    """Return the moment that `Bot.schedule` is told, in milliseconds since 1970.

    Raises:
        ConfigError: It is told none, or two, or one without a time zone.
    """
    if (at is None) == (in_ is None):
        message = "say when, either with at= or with in_="
        raise ConfigError(message)
    if at is not None:
        return to_ms(at)
    seconds = in_.total_seconds() if isinstance(in_, timedelta) else in_ or 0.0
    return now_ms + max(0, int(seconds * 1000))


def _read_days(on: str) -> frozenset[int]:
    """Return the weekdays that a text names.

    Raises:
        ConfigError: It names something else.
    """
    days: set[int] = set()
    for part in filter(None, on.replace(" ", "").casefold().split(",")):
        first, dash, last = part.partition("-")
        try:
            begin, end = _DAYS.index(first), _DAYS.index(last if dash else first)
        except ValueError as error:
            message = f"on={on!r} names no weekdays; use {', '.join(_DAYS)}, or mon-fri"
            raise ConfigError(message) from error
        days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(days)
