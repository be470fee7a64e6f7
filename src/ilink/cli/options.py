"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ilink.cli.words import say

__all__ = ["AccountName", "BaseUrl", "DataFolder", "Json"]

DataFolder = Annotated[Path | None, Parameter(name="--data", help=say("data"))]
BaseUrl = Annotated[str | None, Parameter(name="--base-url", help=say("base_url"))]
AccountName = Annotated[str | None, Parameter(name="--account", help=say("account"))]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help=say("json"))]
