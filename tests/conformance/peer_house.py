"""What the tests of other people's clients share: a gateway in a process of its own, and clients that are installed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench.peers import PEERS, InstalledPeer, PeerUnavailableError, install
from keyboard import Control

REQUIRED = "ILINK_REQUIRE_PEERS"
numbers = itertools.count()
failures: dict[str, str] = {}
"""Why clients of a kind could not be had, so that a machine without a network is asked once and not nine times."""


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Control]:
    """Run a gateway in a process of its own, as an operator starts it."""
    command = [sys.executable, "-m", "ilink", "gateway", "--ready-json", *options]
    command += ["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--data", str(folder / "data")]
    with (
        folder.joinpath("stderr.txt").open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        try:
            yield Control(json.loads(process.stdout.readline()))
        finally:
            process.terminate()
        assert process.wait(10) == 0


def installed(name: str) -> InstalledPeer:
    """Return a client that is on this machine; skip the test if it cannot be, or fail it where that is required."""
    kind = PEERS[name].kind
    if kind not in failures:
        try:
            return install(name)
        except PeerUnavailableError as error:
            failures[kind] = f"{name} cannot be installed: {error}"
    reason = failures[kind]
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)
