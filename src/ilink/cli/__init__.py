"""The `ilink` command: parse, call the library, print."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before the command line library is loaded, so that it is instant.
        from importlib.metadata import version

        sys.stdout.write(f"ilink {version('ilink')}\n")
        return
    from ilink.cli.app import run

    sys.exit(run(sys.argv[1:]))
