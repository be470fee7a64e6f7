"""Log records as lines of JSON, each with the account and the conversation it is about."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

from ilink.bot.crew import account_at_work
from ilink.bot.observing import conversation_at_hand

__all__ = ["JsonLines"]

_EXTRAS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; whatever else is in one was given with `extra`."""


class JsonLines(logging.Formatter):
    """Makes one line of a record.

    It holds `at` (UTC, RFC 3339), `level`, `logger` and `message`; `account` and `conversation` where it is about one,
    `error` with the traceback where there was one, and what was given with `extra`.

        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())

    Texts of people and secrets are no part of what this package logs.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (account := account_at_work()) is not None:
            line["account"] = account
        if (conversation := conversation_at_hand.get()) is not None:
            line["conversation"] = conversation
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        line.update((name, value) for name, value in record.__dict__.items() if name not in _EXTRAS)
        return json.dumps(line, ensure_ascii=False, default=str)
