"""`ilink cassette` from the outside: recording, serving, comparing, and the list of steps with a person at a phone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ilink.cli.app import run

pytestmark = pytest.mark.timeout(180)  # processes start, and a machine may be busy


@contextmanager
def running(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command until its block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "ilink", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "300", "LANG": "en_US.UTF-8", **environ},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupted(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=45)
    assert process.returncode == 0, said
    return said


def url_in(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+(?=[ ,.]|$|/c2c)", "".join(_until_ready(process)))
    assert found
    return found[0]


def _until_ready(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stderr is not None
    for line in process.stderr:
        yield line.partition("ILINK_BASE_URL=")[2] or line
        if "Ctrl-C" in line:
            return


@pytest.fixture
def gateway() -> Iterator[dict[str, str]]:
    with running("gateway", "--ready-json", "--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0") as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.fixture
def cassette(gateway: dict[str, str], tmp_path: Path) -> Path:
    """A recording of one login code."""
    file = tmp_path / "run.cassette"
    options = ("--base-url", gateway["api_url"], "--cdn-url", gateway["cdn_url"])
    with running("cassette", "record", str(file), *options) as process:
        asked = get(f"{url_in(process)}/ilink/bot/get_bot_qrcode?bot_type=3")
        said = interrupted(process)
    assert "1 exchanges kept" in said
    assert str(asked["qrcode"]) not in file.read_text()
    return file


def test_what_was_recorded_is_served_and_told_when_it_is_asked_otherwise(cassette: Path) -> None:
    with running("cassette", "replay", str(cassette)) as process:
        url = url_in(process)
        assert get(f"{url}/ilink/bot/get_bot_qrcode?bot_type=3")["ret"] == 0
        assert "no more get_bot_qrcode" in str(get(f"{url}/ilink/bot/get_bot_qrcode")["errmsg"])
        assert "get_bot_qrcode: the cassette has no more" in interrupted(process)


def test_a_comparison_is_told_to_people_and_to_programs(cassette: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cassette", "compare", str(cassette)]) == 0
    assert "1 exchanges played, 0 left out, 0 differences" in capsys.readouterr().err
    cassette.write_text(cassette.read_text().replace('"ret":0', '"ret":-1'))
    assert run(["cassette", "compare", str(cassette), "--json"]) == 1
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert (difference["where"], difference["recorded"], difference["ours"]) == ("ret", "-1", "0")
    assert run(["cassette", "compare", str(cassette), "--knob", "poll.hold_ms=5", "--profile", "strict"]) == 1
    assert "get_bot_qrcode ret" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["{file}", "--knob", "poll.hold_ms"], "NAME=VALUE"),
        (["{file}", "--knob", "poll.hold=5"], "did you mean"),
        (["{file}", "--knob", "context.missing=-3"], "allowed is one of"),
        (["{file}", "--profile", "wild"], "allowed are observed"),
        (["{file}.no"], "cannot read"),
    ],
)
def test_what_is_wrong_is_said(
    cassette: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert run(["cassette", "compare", *(text.format(file=cassette) for text in arguments)]) == 2
    assert named in " ".join(capsys.readouterr().err.split())


def test_the_steps_are_tried_with_a_person_at_the_keyboard(gateway: dict[str, str], tmp_path: Path) -> None:
    options = ["--base-url", gateway["api_url"], "--cdn-url", gateway["cdn_url"], "--pause", "0", "--json"]
    options += ["--record", str(tmp_path / "parity.cassette")]
    with running("cassette", "parity", *options) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        code = get(f"{gateway['control_url']}/_sim/wait?qr=1&timeout=10")
        person = post(gateway, "/_sim/people", {"name": "alice"})
        bound = post(gateway, f"/_sim/qr/{code['qrcode']}/confirm", {"user_id": person["user_id"]})
        for line in process.stderr:
            if "write to the bot: one" in line:
                break
        post(gateway, f"/_sim/people/{person['user_id']}/messages", {"bot_id": bound["bot_id"], "text": "one"})
        answer, _ = process.communicate("\n", timeout=60)
    outcomes = json.loads(answer)
    assert [one["name"] for one in outcomes if one["seen"] != one["expected"]] == []
    assert process.returncode == 0
    assert len((tmp_path / "parity.cassette").read_text().splitlines()) >= len(outcomes)


def post(gateway: dict[str, str], path: str, body: dict[str, object]) -> dict[str, object]:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(gateway["control_url"] + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())
