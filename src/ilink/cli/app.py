"""The commands by name, each loaded when it is called, and what happens to their errors."""

from __future__ import annotations

import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError, Group

from ilink.cli.output import errors
from ilink.cli.words import say
from ilink.errors import ConfigError, IlinkError

__all__ = ["build_app", "run"]

_COMMANDS = {
    "demo": "demo",
    "new": "new",
    "dev": "dev",
    "gateway": "gateway",
    "login": "login",
    "run": "run",
    "fleet": "fleet",
    "send": "send",
    "listen": "listen",
    "inspect": "inspect",
    "doctor": "doctor",
    "load": "load",
    "cassette": "cassette",
    "journal": "journal",
    "accounts": "accounts",
    "logout": "accounts",
    "keys": "keys",
}
"""Every command, and the module below `ilink.cli` that holds it."""


def build_app() -> App:
    """Return the command line with every command registered by name, none of them loaded."""
    app = App(
        name="ilink",
        help=say("ilink.help"),
        version=f"ilink {version('ilink')}",
        version_flags=["--version", "-V"],
        console=None,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        help_epilogue=say("ilink.more"),
        group_commands=Group(say("ilink.commands")),
        group_parameters=Group(say("ilink.options")),
        group_arguments=Group(say("ilink.arguments")),
    )
    app["--help"].help = say("ilink.show_help")
    app["--version"].help = say("ilink.show_version")
    for place, (name, module) in enumerate(_COMMANDS.items()):
        app.command(f"ilink.cli.{module}:{name}", name=name, help=say(f"{name}.help"), sort_key=place)
    return app


def run(arguments: list[str]) -> int:
    """Run one command and return the exit code.

    0 is success, 2 a wrong argument or setting, 130 an interrupt; what else a command returns is in its help. An error
    is one line on standard error, never a traceback.
    """
    try:
        result: object = build_app()(arguments)
    except CycloptsError as error:
        _complain(str(error).strip())
        return 2
    except ConfigError as error:
        _complain(str(error))
        return 2
    except IlinkError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return result if isinstance(result, int) else 0


def _complain(message: str) -> None:
    errors().print(f"[bold red]{say('error')}[/] ", end="")
    errors().print(message, markup=False)
