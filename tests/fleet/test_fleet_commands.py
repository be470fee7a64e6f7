"""What the command line says of fleets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_house import WORKER, new_session, opened

from ilink.cli.app import run
from ilink.storage.postgres import PostgresDatabase
from ilink.storage.postgres_migrations import migrations
from ilink.storage.slots import LeaseTerms
from ilink.storage.slots_postgres import PostgresSlots

BOT = "from ilink import Bot\nbot = Bot()\n@bot.on_text()\nasync def echo(message): ...\n"


def with_slots(url: str, work: Callable[[PostgresSlots], object]) -> None:
    async def main() -> None:
        async with opened(url) as database:
            await work(PostgresSlots(database))  # type: ignore[misc]

    asyncio.run(main())


async def nothing(_slots: PostgresSlots) -> None:
    return


async def populate(slots: PostgresSlots) -> None:
    one, two = new_session(), new_session()
    await slots.open_session(one, WORKER, ttl=60)
    await slots.claim(one, limit=4000, terms=LeaseTerms())
    await slots.renew(one, ttl=60, report={"polled": 7, "poll_age": 3.2})
    await slots.open_session(two, WORKER, ttl=-1)


def test_an_empty_fleet_says_how_to_start_one(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with_slots(postgres_url, nothing)
    assert run(["fleet", "status", "--database-url", postgres_url]) == 1
    assert "ilink run FILE --workers" in capsys.readouterr().err


def test_looking_at_a_database_without_a_fleet_makes_nothing_there(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run(["fleet", "status", "--database-url", postgres_url]) == 1
        told = " ".join(capsys.readouterr().err.split())
        assert "holds nothing of ilink; mend the database URL, or begin with `ilink run FILE --workers N`" in told


def test_looking_at_an_older_versions_fleet_changes_nothing(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = migrations("local")

    async def make_older() -> None:
        async with PostgresDatabase(postgres_url, steps=steps[:-1]):
            pass

    asyncio.run(make_older())
    for _ in range(2):
        assert run(["fleet", "status", "--database-url", postgres_url]) == 1
        told = capsys.readouterr().err
        assert f"an older version's (schema {steps[-2].number}, this one wants {steps[-1].number})" in " ".join(
            told.split()
        )


def test_a_fleet_is_shown_with_who_is_not_heard_of(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with_slots(postgres_url, populate)
    assert run(["fleet", "status", "--database-url", postgres_url]) == 0
    shown = capsys.readouterr()
    assert "node-1:4242" in shown.out
    assert "4000" in shown.out
    assert "not heard of" in shown.out
    assert "96 of 4096 slots have nobody" in shown.err


def test_a_fleet_is_told_as_json(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with_slots(postgres_url, populate)
    assert run(["fleet", "status", "--json", "--database-url", postgres_url]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["slots"] for one in told["workers"]] == [4000, 0]
    assert told["workers"][0]["report"] == {"polled": 7, "poll_age": 3.2}
    assert told["free_slots"] == 96


def test_an_address_of_something_else_is_told_before_the_bots_file_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ILINK_DATABASE_URL", raising=False)
    (tmp_path / "bot.py").write_text(BOT)
    assert run(["run", str(tmp_path / "bot.py"), "--workers", "2", "--database-url", "mysql://me:hush@db/bots"]) == 2
    told = capsys.readouterr().err
    assert "postgresql://user:password@host:5432/database" in told
    assert "bot.py" not in told
    assert "hush" not in told


def test_workers_want_a_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ILINK_DATABASE_URL", raising=False)
    file = tmp_path / "bot.py"
    file.write_text(BOT, "utf-8")
    assert run(["run", str(file), "--workers", "2"]) == 2
    assert "--database-url" in capsys.readouterr().err


def test_leases_that_cannot_be_kept_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILINK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")
    file = tmp_path / "bot.py"
    file.write_text(BOT, "utf-8")
    assert run(["run", str(file), "--workers", "2", "--lease", "0"]) == 2
    assert "--lease" in capsys.readouterr().err


@pytest.mark.parametrize(("role", "polls"), [("handler", False), ("sender", False), ("poller", True)])
def test_a_process_is_watched_as_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, polls: bool
) -> None:
    watched: list[bool] = []
    monkeypatch.setattr("ilink.telemetry.page.serve_page", lambda *_, polls, **__: watched.append(polls))
    monkeypatch.setattr("ilink.cli.workers.run_workers", lambda *_, **__: 0)
    monkeypatch.setenv("ILINK_DATABASE_URL", "postgresql://db/bots")  # which the command sets, too
    (tmp_path / "bot.py").write_text(BOT)
    arguments = ["--role", role, "--metrics-listen", "127.0.0.1:0", "--database-url", "postgresql://db/bots"]
    assert run(["run", str(tmp_path / "bot.py"), *arguments]) == 0
    assert watched == [polls]
