"""A program in a real terminal: what it prints, and what a person types into it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

ILINK = Path(sys.executable).with_name("ilink")


class Terminal:
    """One program on a pseudo-terminal of its own; a thread reads what it prints."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ILINK_", "LC_", "LANG"))}
        self.process = subprocess.Popen(
            [ILINK, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, "LANG": "en_US.UTF-8", "TERM": "xterm-256color", "COLUMNS": "200", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""
        self._news = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # Linux says so when the other side has closed
                data = b""
            with self._news:
                self.text += data.decode("utf-8", "replace")
                self._is_over = not data
                self._news.notify_all()
            if not data:
                return

    def wait_for(self, pattern: str, *, timeout: float = 60.0) -> re.Match[str]:
        """Wait until the screen shows a pattern."""
        with self._news:
            found = self._news.wait_for(lambda: re.search(pattern, self.text) or self._is_over, timeout)
        match = re.search(pattern, self.text)
        assert match is not None, f"{pattern!r} did not appear ({'ended' if found else 'waited'}):\n{self.text}"
        return match

    def types(self, line: str) -> None:
        """Type a line and press Enter."""
        os.write(self._master, line.encode() + b"\n")

    def presses_control_c(self) -> None:
        """Interrupt the program as its terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait_exit(self, *, timeout: float = 60.0) -> int:
        """Return the exit code once the program has ended."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reader.join(5)
        os.close(self._master)


@contextlib.contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run `ilink` in a terminal."""
    screen = Terminal(*arguments, **environment)
    try:
        yield screen
    finally:
        screen.close()
