"""The jobs of one account: they are planned, handed to their lanes when they are due, and run."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ilink.bot.clock import Clock
from ilink.bot.conversation_results import KeepsResults, Results
from ilink.bot.error_text import error_text
from ilink.bot.handled import Handled
from ilink.bot.job_turn import JobTurn
from ilink.bot.jobs import Job, JobDefinition, JobFunction, Jobs
from ilink.bot.planning import planning_for
from ilink.bot.settings import Policies
from ilink.bot.turn import Outlet
from ilink.errors import ConfigError, HandlerError
from ilink.flows.schedule import Once
from ilink.storage.agenda import Agenda, Due, Posting, StoredJob
from ilink.storage.journal import Letter
from ilink.wire.ids import AccountId, UserId

__all__ = ["JOB_MARK", "JobKeeper"]

_log = logging.getLogger(__name__)

JOB_MARK: Final = "job:"
"""What the identity of an update begins with that says that a job is due."""

_LATE_MS: Final = 60_000
"""How late a moment may come without having been missed."""


class _Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What an update says that stands for a due job."""

    job: str
    handler: str
    moment_ms: int
    data: Any = None


_decoder: Final = msgspec.json.Decoder(_Moment)


class JobKeeper:
    """Keeps the jobs of one account.

    Args:
        account: The account.
        owner: Who scanned; None when that is not known.
        jobs: The jobs of the program.
        agenda: Where they are planned.
        outlet: What a run needs of the bot around it.
        results: Where results of what is done once are kept.
        policies: How long a run may take.
        clock: The machine's clock: jobs follow it also when somebody sets it.
    """

    def __init__(
        self,
        account: AccountId,
        *,
        owner: UserId | None,
        jobs: Jobs,
        agenda: Agenda,
        outlet: Outlet,
        results: KeepsResults,
        policies: Policies,
        clock: Clock,
    ) -> None:
        self._account = account
        self._owner = owner
        self._jobs = jobs
        self._agenda = agenda
        self._outlet = outlet
        self._results = results
        self._policies = policies
        self._clock = clock
        self._unknown: set[str] = set()

    async def open(self) -> None:
        """Plan what the program declares: what is new, and what has another plan than before.

        Raises:
            StoreError: That could not be read or stored.
        """
        stored = {job.name: job for job in await self._agenda.read_jobs()}
        for definition in self._jobs:
            if definition.plan is not None:
                await self._plan(definition, stored.get(definition.name))
        for job in stored.values():
            known = self._jobs.find(job.name)
            if job.is_declared and job.next_ms is not None and (known is None or known.plan is None):
                _log.info("the job %s is not declared any more, so it is not done any more", job.name)
                await self._agenda.put_job(msgspec.structs.replace(job, next_ms=None))

    async def post_due(self) -> list[Letter]:
        """Put an update into the lane of every job that is due, and return these."""
        now_ms = self._clock.now_ms()
        posted: list[Letter] = []
        for job in await self._agenda.read_jobs():
            if job.next_ms is not None and job.next_ms <= now_ms:
                letter = await self._fire(job, job.next_ms, now_ms)
                posted += [] if letter is None else [letter]
        return posted

    async def next_due(self) -> int | None:
        """Return when the next job is due; None for never."""
        due = [
            job.next_ms
            for job in await self._agenda.read_jobs()
            if job.next_ms is not None and self._jobs.find(job.handler) is not None
        ]
        return min(due, default=None)

    async def schedule(self, handler: str, at_ms: int, *, key: str, data: object, is_replacing: bool) -> bool:
        """Plan a job; see `Bot.schedule`."""
        if self._jobs.find(handler) is None:
            message = f"there is no job called {handler!r}; declare a function with @bot.job()"
            raise ConfigError(message)
        try:
            encoded = msgspec.json.encode(data)
        except (TypeError, ValueError) as error:
            message = f"the data of the job {handler} cannot be kept as JSON: {error}"
            raise ConfigError(message) from error
        plan = Once(at_ms=at_ms)
        job = StoredJob(name=f"{handler}/{key}", handler=handler, plan=plan.text, data=encoded, next_ms=at_ms)
        if not is_replacing:
            return await self._agenda.add_job(job)
        await self._agenda.put_job(job)
        return True

    async def unschedule(self, handler: str, key: str) -> bool:
        """Take a job off the agenda; see `Bot.unschedule`."""
        return await self._agenda.remove_job(f"{handler}/{key}")

    async def run(self, letter: Letter) -> Handled:
        """Run a job for one moment; return what follows from it."""
        moment = _decoder.decode(letter.raw)
        definition = self._jobs.find(moment.handler)
        if definition is None:
            message = f"the job {moment.handler} was due and its function is gone; declare it again, or drop this"
            raise HandlerError(message, handler=moment.handler)
        turn = JobTurn(self._account, letter, self._outlet, self._policies, Results(letter.identity, self._results))
        job = Job(
            moment.job,
            account=self._account,
            user=letter.user or None,
            moment=datetime.fromtimestamp(moment.moment_ms / 1000, UTC),
            data=moment.data,
            attempt=letter.attempts + letter.interrupted + 1,
            turn=turn,
        )
        try:
            with planning_for(f"{self._account}\0{letter.identity}"):
                async with asyncio.timeout(definition.seconds or self._policies.handler_seconds):
                    if (function := await self._function(definition, job)) is not None:
                        await function(job)
        except Exception as error:
            message = f"the job {job.name} of {job.moment:%Y-%m-%d %H:%M:%S} UTC failed: {error_text(error)}"
            raise HandlerError(message, handler=definition.name) from error
        return Handled(drafts=turn.drafts)

    async def _function(self, definition: JobDefinition, job: Job) -> JobFunction | None:
        """Return what is called: the job, or what stands in for it when its user cannot be written to."""
        instead = definition.if_closed
        if instead == "wait" or job.user is None:
            return definition.function
        forecast = await job.can_send()
        if forecast.can_send:
            return definition.function
        _log.info("the job %s finds the window closed: %s", job.name, forecast.why)
        return instead if callable(instead) else None

    async def _plan(self, definition: JobDefinition, stored: StoredJob | None) -> None:
        plan = definition.plan
        assert plan is not None
        is_known = stored is not None and stored.plan == plan.text
        if stored is not None and is_known and (stored.next_ms is not None or isinstance(plan, Once)):
            return
        next_ms = plan.first(self._clock.now_ms())
        if next_ms is None:
            _log.warning("the job %s (%s) was to be done at a time that is over", definition.name, definition.place)
        job = StoredJob(
            name=definition.name,
            handler=definition.name,
            plan=plan.text,
            next_ms=next_ms,
            last_ms=None if stored is None else stored.last_ms,
            is_declared=True,
        )
        await self._agenda.put_job(job)

    async def _fire(self, job: StoredJob, due_ms: int, now_ms: int) -> Letter | None:
        definition = self._jobs.find(job.handler)
        if definition is None:
            if job.name not in self._unknown:
                self._unknown.add(job.name)
                _log.error("the job %s is due and its function %s is gone; it waits", job.name, job.handler)
            return None
        is_late = now_ms - due_ms > _LATE_MS
        is_skipped = is_late and definition.missed == "skip"
        if is_late:
            _log.info(
                "the job %s comes %.0f s late%s", job.name, (now_ms - due_ms) / 1000, ", and is skipped" * is_skipped
            )
        plan = definition.plan if job.is_declared else None
        due = Due(
            name=job.name,
            due_ms=due_ms,
            next_ms=None if plan is None else plan.following(due_ms, now_ms),
            posting=None if is_skipped else self._posting(job, definition, due_ms),
        )
        return await self._agenda.fire(due, now_ms=now_ms)

    def _posting(self, job: StoredJob, definition: JobDefinition, due_ms: int) -> Posting:
        said = _Moment(job=job.name, handler=job.handler, moment_ms=due_ms, data=msgspec.Raw(job.data))
        return Posting(
            identity=f"{JOB_MARK}{job.name}:{due_ms}",
            conversation=f"j:{job.name}",
            user=(self._owner or UserId("")) if definition.to == "owner" else UserId(definition.to),
            raw=msgspec.json.encode(said),
        )
