"""Which function handles which message, what it gets, and what goes around it."""

from __future__ import annotations

from ilink.bot.routing import filters
from ilink.bot.routing.filters import Filter, KindFilter
from ilink.bot.routing.injection import Invocation
from ilink.bot.routing.registered import Middleware, Next
from ilink.bot.routing.router import Router

__all__ = ["Filter", "Invocation", "KindFilter", "Middleware", "Next", "Router", "filters"]
