"""Which function handles which message, what it gets, and what goes around it."""

from __future__ import annotations

from ilink.bot.routing.injection import Invocation

__all__ = ["Invocation"]
