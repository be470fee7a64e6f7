"""A parity run: a scripted list of exchanges on any iLink server, beside what the gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ilink.cassettes.errand import Errand, Hand
from ilink.cassettes.steps import STEPS, Step
from ilink.errors import IlinkError
from ilink.transport.seam import Transport
from ilink.wire.endpoints import CDN_BASE_URL, DEFAULT_BASE_URL

__all__ = ["Outcome", "run_parity"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one step.

    Attributes:
        name: What was tried.
        question: The open question of the protocol notes that it answers, such as `Q5`; an empty text for none.
        expected: What the gateway does with its default knobs.
        seen: What this server did.
    """

    name: str
    question: str
    expected: str
    seen: str

    @property
    def is_as_expected(self) -> bool:
        """Whether the server does as the gateway does."""
        return self.seen == self.expected


async def run_parity(
    transport: Transport,
    hand: Hand,
    *,
    random_id: str,
    base_url: str = DEFAULT_BASE_URL,
    cdn_url: str = CDN_BASE_URL,
    pause: float = 0.0,
    patience: float = 8.0,
    spends: bool = False,
) -> AsyncGenerator[Outcome, None]:
    """Sign in, receive, send, type and move media, step by step, and yield what came of each.

    Nothing of it is more than a handful of calls, but it is a real login: on WeChat the account's bot is replaced by a
    new one, and the person gets a few messages that say `parity`.

    Args:
        transport: The way to the server.
        hand: Who scans and writes.
        random_id: A word that no other run has used, for client ids and file keys.
        base_url: The server.
        cdn_url: Its media.
        pause: Seconds between two steps; WeChat dislikes haste.
        patience: Seconds after which a held poll counts as one with nothing new.
        spends: Whether to send until it is refused, which uses up what may be sent until the person writes again.
    """
    errand = Errand(
        transport=transport,
        hand=hand,
        base_url=base_url.rstrip("/"),
        cdn_url=cdn_url.rstrip("/"),
        patience=patience,
        random_id=random_id,
    )
    for step in STEPS:
        if not step.spends or spends:
            yield await _run(step, errand)
            await asyncio.sleep(pause)


async def _run(step: Step, errand: Errand) -> Outcome:
    try:
        seen = await step.run(errand)
    except IlinkError as error:
        seen = f"{type(error).__name__}: {error}"
    return Outcome(step.name, step.question, step.expected, seen)
