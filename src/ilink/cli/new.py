"""`ilink new`: a bot project with a passing test."""

from __future__ import annotations

import re
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ilink.cli.output import out
from ilink.cli.words import say
from ilink.client.words import language
from ilink.errors import ConfigError

__all__ = ["new"]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
_MOST: Final = 64

_FILES: Final = {
    "pyproject.toml": "pyproject.toml.in",
    "bot.py": "bot.py.in",
    "tests/test_bot.py": "test_bot.py.in",
    "README.md": "README.{language}.md.in",
    ".gitignore": "gitignore.in",
}
"""Every file of a project, and the template it is made of."""


def new(folder: Annotated[Path, Parameter(help=say("new.folder"))]) -> int:
    """Make the folder and the files in it."""
    name = folder.name
    if not _NAME.fullmatch(name) or len(name) > _MOST:
        raise ConfigError(say("new.name", name=name))
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise ConfigError(say("new.exists", folder=folder)) from error
    except OSError as error:
        message = f"cannot make the folder {folder}: {error.strerror or error}"
        raise ConfigError(message) from error
    spoken = language()
    for place, template in _FILES.items():
        path = folder / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(_fill(template.format(language=spoken), name, spoken), encoding="utf-8")
    out().print(say("new.done", folder=folder), style="bold green", markup=False)
    out().print(f"\n  cd {folder}\n  ilink dev bot.py\n  python -m pytest\n", markup=False)
    return 0


def _fill(template: str, name: str, spoken: str) -> str:
    """Return a template with the project's name and the bot's words in it."""
    reply = "你说：" if spoken == "zh-CN" else "You said: "
    text = (resources.files("ilink.cli") / "project" / template).read_text(encoding="utf-8")
    return text.replace("@NAME@", name).replace("@REPLY@", reply).replace("@VERSION@", version("ilink"))
