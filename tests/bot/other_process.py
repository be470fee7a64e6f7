"""A process that says something through a bot it does not run: `other_process.py FOLDER USER TEXT WAIT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ilink import Bot


def main() -> None:
    folder, user, text, wait = sys.argv[1:]
    bot = Bot(data=Path(folder), environ={})
    receipt = asyncio.run(bot.send(user, text, wait=float(wait)))
    print(type(receipt).__name__, flush=True)


if __name__ == "__main__":
    main()
