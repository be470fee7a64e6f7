"""Other people's clients: which there are, what each can do, and a running one."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.peers import InstalledPeer
from keyboard import Control

DRIVERS = Path(__file__).parent / "drivers"
SECONDS = 30.0
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
DOCUMENT = "第一行\nthe second line\n".encode() * 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client.

    Attributes:
        name: As in its registry.
        keeps_account: Whether it signs in once and goes on after a restart.
        media: Whether it sends and receives files, receives them only, or does neither.
        types: Whether it can show that it types.
        when_stale: What it does when its token stopped working.
    """

    name: str
    keeps_account: bool
    when_stale: Literal["signs in again", "waits", "ends"]
    media: Literal["both", "in", "none"] = "both"
    types: bool = True


CLIENTS = {
    client.name: client
    for client in (
        Client(name="openclaw-weixin", keeps_account=True, when_stale="waits"),
        Client(name="wechatbot-sdk", keeps_account=True, when_stale="signs in again"),
        Client(name="weilink", keeps_account=True, when_stale="ends"),
        Client(name="openilink-sdk-python", keeps_account=False, when_stale="waits"),
        Client(name="wechat-link", keeps_account=False, when_stale="waits"),
        Client(name="wechat-clawbot", keeps_account=False, when_stale="waits"),
        Client(name="wechat-clawbot-sdk", keeps_account=False, when_stale="waits"),
        Client(name="weixin-channel-sdk", keeps_account=True, when_stale="waits"),
        Client(name="weixin-bot-sdk", keeps_account=True, when_stale="signs in again", media="none"),
        Client(name="nonebot-adapter-wxclaw", keeps_account=True, when_stale="waits"),
        Client(name="nonebot-adapter-claweixin", keeps_account=True, when_stale="waits"),
        Client(name="weixin-ilink", keeps_account=True, when_stale="waits"),
        Client(name="easywechatpy", keeps_account=True, when_stale="ends", media="none"),
        Client(name="ilink-bot-server", keeps_account=True, when_stale="waits", media="in"),
        Client(name="ides-adapter-weixin", keeps_account=True, when_stale="waits", media="none", types=False),
    )
}


class Running:
    """A client's process, driven by its driver; `environ` is added to what the driver is told."""

    def __init__(self, peer: InstalledPeer, control: Control, folder: Path, **environ: str) -> None:
        self._peer = peer
        self.name = peer.peer.name
        self._control = control
        self._folder = folder
        self._environ = environ
        self._pieces: queue.Queue[bytes] = queue.Queue()
        self._said = b""
        self._process: subprocess.Popen[str] | None = None
        self.person = ""
        self.bot_id = ""
        self.received = folder / "received"

    def start(self, **environ: str) -> None:
        """Start the process; what it prints is read as it comes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pieces, self._said = queue.Queue(), b""
        with self._folder.joinpath("stderr.txt").open("ab") as errors:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment() | environ,
            )
        threading.Thread(target=self._read, args=(self._process, self._pieces), daemon=True).start()

    def _command(self) -> list[str]:
        if self._peer.peer.kind == "node":
            return [str(self._peer.program), "--no-warnings", str(DRIVERS / "openclaw_weixin/drive.mjs")]
        return [str(self._peer.program), "-u", str(DRIVERS / f"drive_{self._peer.peer.name.replace('-', '_')}.py")]

    def _environment(self) -> dict[str, str]:
        files = self._folder.parent
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT", "TEMP") if name in os.environ},
            "HOME": str(self._folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "ILINK_BASE_URL": self._control.info["api_url"],
            "ILINK_CDN_URL": self._control.info["cdn_url"],
            "STATE_DIR": str(self._folder),
            "PICTURE": str(files / "picture.png"),
            "DOCUMENT": str(files / "document.txt"),
            "RECEIVED": str(self.received),
            "PLUGIN": str(self._peer.folder),
            **self._environ,
        }

    @staticmethod
    def _read(process: subprocess.Popen[bytes], pieces: queue.Queue[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            while piece := os.read(process.stdout.fileno(), 65_536):
                pieces.put(piece)
        pieces.put(b"")

    def hear(self, words: str) -> None:
        """Wait until the driver or its client prints these words, after those heard before."""
        until = time.monotonic() + SECONDS
        while words.encode() not in self._said:
            try:
                piece = self._pieces.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                piece = b""
            if not piece:
                message = f"{self._peer.peer.name} did not say {words!r} but {self._said!r}: {self.last_words()}"
                raise AssertionError(message)
            self._said += piece
        self._said = self._said.partition(words.encode())[2]

    def type(self, line: str) -> None:
        """Type a line at its terminal."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def sign_in(self) -> None:
        """Start, and let a new person scan and confirm the code it shows."""
        known = self._control.codes()
        self.start()
        self.hear("QRCODE")
        self.confirm(self._control.wait_for_code(known))

    def confirm(self, code: str) -> None:
        """Let a new person scan and confirm a code, and wait until the client has its account."""
        self.person = self._control.add_person(f"{self._peer.peer.name}-{self._folder.name}")
        self._control.post(f"/_sim/qr/{code}/scan", {"user_id": self.person})
        self.bot_id = self._control.post(f"/_sim/qr/{code}/confirm", {})["bot_id"]
        self.hear("SIGNED_IN")

    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def wait_ended(self) -> bool:
        """Wait for the process to end by itself; whether it did."""
        assert self._process is not None
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End the process, without asking if it does not listen."""
        if self._process is None:
            return
        self._process.terminate()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Return the end of what the process wrote to standard error."""
        return self._folder.joinpath("stderr.txt").read_text("utf-8", "replace")[-2000:]
