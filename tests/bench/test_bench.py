"""The benchmark measures what it says, in small: without the peers, and not for its figures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from bench.echo import Contestant, measure_on_gateway, measure_on_stub
from bench.media import measure_media
from bench.polls import measure_polls
from bench.processes import BenchError, start, start_gateway, start_stub
from bench.sends import measure_sends

from bench import echo, polls, report, sends

pytestmark = pytest.mark.timeout(120)

OURS = [
    Contestant("limit", [sys.executable, "-m", "bench.drivers.raw"], "stores nothing"),
    Contestant("ilink.Bot", [sys.executable, "-m", "bench.drivers.ilink_bot"], "journal on"),
]
BROKEN = Contestant("broken", [sys.executable, "-c", "raise SystemExit('out of order')"], "")


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "_WINDOW_SECONDS", 0.1)
    monkeypatch.setattr(echo, "_SINGLE", 5)
    monkeypatch.setattr(sends, "SECONDS", 0.2)
    monkeypatch.setattr(polls, "_IDLE_SECONDS", 0.2)


async def test_bots_echo_on_both_servers_and_a_broken_one_is_told_apart() -> None:
    on_stub = await measure_on_stub([*OURS, BROKEN], 1)
    for contestant in OURS:
        assert on_stub[contestant.name].error == ""
        assert on_stub[contestant.name].rate > 0
        assert 0 < on_stub[contestant.name].delay(0.5) <= on_stub[contestant.name].delay(0.99)
    assert "out of order" in on_stub["broken"].error
    on_gateway = await measure_on_gateway(OURS, 1, on_stub)
    assert {figures.error for figures in on_gateway.values()} == {""}
    table = report.echo_table("Echo", report.echo_rows([*OURS, BROKEN], on_stub))
    assert [line.split("  ")[0] for line in table.splitlines()[3:]] == ["limit", "ilink.Bot", "broken"]


async def test_a_crowd_is_answered_while_every_handler_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "_CROWD", 50)
    monkeypatch.setattr(echo, "_WAIT_SECONDS", 0.2)
    figures = await echo.measure_waiting(1)
    assert figures.people == 50
    assert figures.seconds > figures.handler_seconds == 0.2
    assert report.wait_line(figures).startswith("50 people write at once, each handler waits 0.2 s: all have")


@pytest.mark.parametrize("open_server", [start_stub, start_gateway])
async def test_polls_are_held_and_woken_and_sends_are_counted(open_server: object, tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        few, more = await measure_polls(server, [10, 30])
        sent = await measure_sends(server)
    assert (few.polls, more.polls) == (10, 30)
    assert 0 < few.wake_one <= few.wake_one_p99
    assert few.wake_all > 0
    assert few.idle_cpu is not None or sys.platform != "linux"
    assert sent.rate > 0


@pytest.mark.skipif(sys.platform != "linux", reason="memory and time are read from /proc")
async def test_large_files_are_timed_beside_what_limits_them(capsys: pytest.CaptureFixture[str]) -> None:
    figures = await measure_media(2, 1, beside_peers=False)
    ours = figures["ours"]
    assert isinstance(ours, dict)
    assert list(ours) == ["md5", "upload", "raw", "download", "checked"]
    assert all(one["seconds"] > 0 for one in ours.values())
    assert "upload / MD5 alone" in capsys.readouterr().out


async def test_a_program_that_says_nothing_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('noise'); print('why', file=sys.stderr)"
    async with start([sys.executable, "-c", code], scratch=tmp_path) as program:
        with pytest.raises(BenchError, match="ended before it said 'ready': why"):
            await program.hear("ready")


async def test_a_program_is_ended_with_its_block(tmp_path: Path) -> None:
    async with start([sys.executable, "-c", "import time; print('up'); time.sleep(600)"], scratch=tmp_path) as program:
        await program.hear("up")
        pid = program.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
