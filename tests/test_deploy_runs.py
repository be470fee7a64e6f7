"""The very commands that people are given in `deploy/` start, answer where they are asked, and end when told."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from ilink.storage.keys import new_key

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CONTROL_KEY = "0123456789abcdef0123456789abcdef"


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]


def worker_container() -> dict[str, Any]:
    (container,) = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text("utf-8"))["spec"]["template"]["spec"][
        "containers"
    ]
    return container


def free_ports(count: int, *, above: int) -> int:
    """Return the first of some ports in a row that nobody has now."""
    for first in range(above, 60_000, count):
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", first + n)) for n in range(count)):
                return first
    raise AssertionError


class Place:
    """This machine in the place of containers: each port of the files is one that is free here."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.values = {"ILINK_DATABASE_URL": database_url, "ILINK_CONTROL_KEY": CONTROL_KEY, "ILINK_DATA": str(folder)}
        self.values["ILINK_STORE_KEY"] = new_key()
        self._ports: dict[int, int] = {}
        self._next = 20_000 + os.getpid() % 10_000

    def port(self, named: int, *, count: int = 1) -> int:
        if named not in self._ports:
            self._ports[named] = free_ports(count, above=self._next)
            self._next = self._ports[named] + count
        return self._ports[named]

    def environ(self, named: set[str], *, base_url: str | None = None) -> dict[str, str]:
        """Return just the variables that a file sets; the image sets the data folder."""
        bare = {name: value for name, value in os.environ.items() if not name.startswith("ILINK_")}
        values = self.values | ({"ILINK_BASE_URL": base_url} if base_url else {})
        return bare | {name: values[name] for name in named | {"ILINK_DATA"}} | {"HOME": str(self.folder)}

    def command(self, words: list[str], *, ports: int = 1) -> list[str]:
        """Return a command with addresses and folders of this machine."""
        here: list[str] = []
        for word in words:
            if match := re.fullmatch(r"0\.0\.0\.0:(\d+)", word):
                word = f"127.0.0.1:{self.port(int(match[1]), count=ports)}"
            here.append({"/data": str(self.folder), "bot.py": str(ROOT / "examples" / "echo.py")}.get(word, word))
        return [sys.executable, "-m", "ilink", *here]


@asynccontextmanager
async def running(command: list[str], environ: dict[str, str]) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """Run a command, and expect it to end well on the signal that containers are stopped with."""
    process = await asyncio.create_subprocess_exec(*command, env=environ, start_new_session=True)
    try:
        yield process
        assert process.returncode is None, "it is to run until it is told to stop"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def until_well(process: asyncio.subprocess.Process, url: str) -> None:
    """Ask as those do who look after containers, until the answer is 200."""
    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.2)
    raise AssertionError(url)


async def read(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


@pytest.fixture
def place(tmp_path: Path, postgres_url: str) -> Place:
    return Place(tmp_path, postgres_url)


async def test_gateways_and_workers_of_the_compose_file_start_and_are_well(place: Place) -> None:
    gateway, workers = compose()["gateway-1"], compose()["workers"]
    balancer = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    paths = set(re.findall(r"httpchk GET (\S+)", balancer))
    assert paths == {"/readyz"}
    (checked,) = set(re.findall(r"check port (\d+)", balancer))
    serving = place.command(shlex.split(gateway["command"]))
    async with running(serving, place.environ(set(gateway["environment"]))) as first:
        await until_well(first, f"http://127.0.0.1:{place.port(int(checked))}/readyz")
        base_url = f"http://127.0.0.1:{place.port(int(workers['environment']['ILINK_BASE_URL'].rpartition(':')[2]))}"
        words = place.command(shlex.split(workers["command"]), ports=5)
        async with running(words, place.environ(set(workers["environment"]), base_url=base_url)) as fleet:
            for number in range(4):  # each of the workers has a page
                for path in ("/readyz", "/healthz", "/metrics"):
                    await until_well(fleet, f"http://127.0.0.1:{place.port(9464) + number}{path}")


async def test_the_worker_of_kubernetes_starts_and_answers_its_probes(place: Place) -> None:
    container = worker_container()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    words = place.command(container["args"])
    async with running(words, place.environ({one["name"] for one in container["env"]})) as worker:
        for kind in ("readinessProbe", "livenessProbe"):
            probe = container[kind]["httpGet"]
            await until_well(worker, f"http://127.0.0.1:{place.port(ports[probe['port']])}{probe['path']}")
        body = await read(f"http://127.0.0.1:{place.port(ports['metrics'])}/metrics")
        assert 'ilink_inbox_messages{state="waiting"} 0.0' in body, "the journals were counted"


def test_what_is_scraped_is_where_the_metrics_are() -> None:
    spec = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text("utf-8"))["spec"]
    notes = spec["template"]["metadata"]["annotations"]
    (port,) = worker_container()["ports"]
    assert int(notes["prometheus.io/port"]) == port["containerPort"]
    assert f"0.0.0.0:{port['containerPort']}" in worker_container()["args"]
    mounted = {mount["name"] for mount in worker_container()["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
