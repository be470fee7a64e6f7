"""The bot: handlers that see every message once, in order, and answers that tell the truth."""

from __future__ import annotations

from ilink.bot.bot import Bot
from ilink.bot.context import Context
from ilink.bot.conversation import ConversationPolicy, Words
from ilink.bot.conversation_forms import question
from ilink.bot.conversation_state import State
from ilink.bot.duplicates import Duplicate, DuplicateKind, OnSuspect
from ilink.bot.incidents import (
    AccountFailed,
    ClockSet,
    Incident,
    LaneParked,
    MachineSlept,
    PollAbandoned,
    PollsShared,
    PollsSlowed,
    ProcessStalled,
    StoreFailed,
    StoreRecovered,
)
from ilink.bot.jobs import Job
from ilink.bot.lane_policy import LanePolicy
from ilink.bot.outbox.outbox import Outbox
from ilink.bot.outbox.postbox import OutboxEntry
from ilink.bot.settings import OnUnknown, Policies
from ilink.bot.states import SessionState

__all__ = [
    "AccountFailed",
    "Bot",
    "ClockSet",
    "Context",
    "ConversationPolicy",
    "Duplicate",
    "DuplicateKind",
    "Incident",
    "Job",
    "LaneParked",
    "LanePolicy",
    "MachineSlept",
    "OnSuspect",
    "OnUnknown",
    "Outbox",
    "OutboxEntry",
    "Policies",
    "PollAbandoned",
    "PollsShared",
    "PollsSlowed",
    "ProcessStalled",
    "SessionState",
    "State",
    "StoreFailed",
    "StoreRecovered",
    "Words",
    "question",
]
