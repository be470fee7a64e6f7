"""The help that is written from the commands themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ilink.bot.routing.nearest import close_command
from ilink.bot.routing.rules import Probe
from ilink.bot.words import Language, say

if TYPE_CHECKING:
    from ilink.bot.routing.building import Built

__all__ = ["command_list", "command_manual"]


async def command_list(built: Built, probe: Probe, language: Language) -> str:
    """Return a line for each command that the person who asks may use."""
    lines = [say(language, "command.help.title")]
    for route in built.distinct_commands():
        assert route.command is not None, "only commands are in the table of commands"
        is_open = await route.match_async(probe) is not None
        if is_open:
            lines.append(route.command.line(language))
    return "\n".join(lines)


def command_manual(built: Built, name: str, language: Language) -> str:
    """Return all about one command."""
    wanted = name.lstrip("/\uff0f").casefold()
    route = built.commands.get(wanted)
    if route is not None and route.command is not None:
        return route.command.manual(language)
    close = close_command(built, wanted)
    if close is not None:
        return say(language, "command.unknown", command=f"/{wanted}", close=f"/{close}")
    return say(language, "command.help.none", name=f"/{wanted}", usage=f"/{_help_name(built, language)}")


def _help_name(built: Built, language: Language) -> str:
    return "帮助" if language == "zh-CN" and "帮助" in built.commands else "help"
