"""The part of an account's work that polls: what comes is stored, and handed on to whoever handles it."""

from __future__ import annotations

from collections.abc import Callable

from ilink.bot.intake import Intake, Taken
from ilink.bot.parts.materials import Materials
from ilink.bot.poller import Poller
from ilink.client.answers import Batch
from ilink.storage.accounts import StoredAccount

__all__ = ["open_poller"]


async def open_poller(
    stored: StoredAccount,
    made_with: Materials,
    *,
    on_taken: Callable[[Taken], None],
    on_answer: Callable[[Batch], None],
) -> Poller:
    """Make what polls for an account, from where the last process stopped.

    Args:
        stored: The account.
        made_with: What its work is made with.
        on_taken: Called with what a batch brought, once it is stored.
        on_answer: Called for every poll that was answered.

    Raises:
        StoreError: It cannot be read where that was.
    """
    intake = Intake(
        made_with.journal,
        owner=stored.account.owner_id,
        access=made_with.access,
        policies=made_with.policies,
        clock=made_with.clock,
        backlog=made_with.backlog,
        on_incident=made_with.hooks.note_incident,
    )
    await intake.recall()
    return Poller(
        await made_with.accounts.position(stored.account.account_id),
        intake=intake,
        journal=made_with.journal,
        clock=made_with.clock,
        random=made_with.random,
        last_seconds=made_with.policies.last_poll_seconds,
        on_taken=on_taken,
        on_answer=on_answer,
        on_incident=made_with.hooks.note_incident,
    )
