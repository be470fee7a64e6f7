"""The gateway's control API as a person at the keyboard would use it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from urllib.parse import urlencode

SECONDS = 20.0


class Control:
    """Calls to one gateway.

    Attributes:
        info: Its ready line.
    """

    def __init__(self, info: dict[str, str]) -> None:
        self.info = info

    def get(self, path: str, **query: object) -> dict:
        """Ask for something."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, body: dict) -> dict:
        """Have something done."""
        return self._call("POST", path, body)

    def download(self, media_id: str) -> bytes:
        """Return the plain bytes of a picture or file."""
        with urllib.request.urlopen(f"{self.info['control_url']}/_sim/media/{media_id}") as answer:
            return answer.read()

    def _call(self, method: str, path: str, body: dict | None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.info["control_url"] + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=SECONDS + 10) as answer:
            raw = answer.read()
            return json.loads(raw) if raw else {}

    def add_person(self, name: str) -> str:
        """Make a person and return their user id."""
        return self.post("/_sim/people", {"name": name})["user_id"]

    def codes(self) -> set[str]:
        """Return all login codes there are."""
        return {code["qrcode"] for code in self.get("/_sim/qr")["codes"]}

    def status(self, code: str) -> str:
        """Return how a login code is doing."""
        return next(each["status"] for each in self.get("/_sim/qr")["codes"] if each["qrcode"] == code)

    def wait_for_code(self, known: set[str]) -> str:
        """Return a code that was not there before, as soon as there is one; clients that went away left theirs."""
        wait_until(lambda: not self.codes() <= known, "a new code")
        newest = self.get("/_sim/wait", qr=1, timeout=SECONDS)["qrcode"]
        assert newest not in known
        return newest

    def say(self, person: str, bot_id: str, text: str) -> int:
        """Let a person write; returns how many messages the bot had sent before."""
        sent = self.sent(person, bot_id)
        self.post(f"/_sim/people/{person}/messages", {"bot_id": bot_id, "text": text})
        return sent[-1]["n"] if sent else 0

    def upload(self, person: str, bot_id: str, kind: str, name: str, data: bytes) -> None:
        """Let a person send a picture or file."""
        border = "a-border-that-occurs-in-no-file"
        fields = "".join(
            f'--{border}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in (("bot_id", bot_id), ("kind", kind))
        )
        head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = f"{fields}{head}".encode() + data + f"\r\n--{border}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
        url = f"{self.info['control_url']}/_sim/people/{person}/messages"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=SECONDS) as answer:
            answer.read()

    def sent(self, person: str, bot_id: str) -> list[dict]:
        """Return what the bot has sent to the person, refused ones too."""
        messages = self.get(f"/_sim/chats/{bot_id}/{person}/transcript")["messages"]
        return [entry for entry in messages if entry["direction"] == "out"]

    def hear(self, person: str, bot_id: str, after: int) -> dict:
        """Return the next message the bot sends."""
        chat = {"bot_id": bot_id, "user_id": person, "after": after, "direction": "out"}
        messages = self.get("/_sim/wait", **chat, count=1, timeout=SECONDS)["messages"]
        assert messages, f"no answer within {SECONDS:.0f} s"
        return messages[0]

    def is_typing(self, person: str, bot_id: str) -> bool:
        """Whether the phone shows that the bot types."""
        return self.get(f"/_sim/chats/{bot_id}/{person}/typing")["typing"]

    def polls(self, bot_id: str) -> list[dict]:
        """Return the bot's polls that were answered, oldest first."""
        entries = self.get("/_sim/wire", bot_id=bot_id, endpoint="getupdates")["entries"]
        return [entry for entry in entries if entry["response"] is not None]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Ask again and again until a condition holds."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, f"not within {SECONDS:.0f} s: {what}"
        time.sleep(0.05)
