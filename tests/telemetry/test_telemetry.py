"""What a running bot tells: its metrics, its health, its traces and its logs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from tests.gateway.test_poison import sign_in

from ilink import Bot, Message, Policies
from ilink.bot.store import StorePlace, open_store
from ilink.errors import ConfigError
from ilink.storage.sqlite import Database
from ilink.telemetry.logs import JsonLines
from ilink.telemetry.page import Page, serve_page
from ilink.telemetry.traces import Traces
from ilink.telemetry.vitals import Finding, Vitals
from ilink.testing.gateway import LocalGateway

ECHO = """from ilink import Bot, Message

bot = Bot()


@bot.on_text()
async def echo(message: Message) -> None:
    await message.reply(f"You said: {message.text}")
"""


def answering() -> Bot:
    bot = Bot(policies=Policies(attempts=2))

    @bot.on_text()
    async def answer(message: Message) -> None:
        if message.text == "fail":
            raise ValueError("no")
        await message.reply(f"You said: {message.text}")

    return bot


async def read(page: Page, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{page.url}{path}") as answer:
        return answer.status, await answer.text()


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def figure(text: str, name: str) -> float:
    return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")))


async def test_metrics_count_polls_runs_sends_and_refusals(ilink_gateway: LocalGateway) -> None:
    bot = answering()
    page = serve_page(bot, "127.0.0.1:0")
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("one")
    assert await alice.hears() == "You said: one"
    ilink_gateway.fault("sendmessage", ret=-2, errmsg="rate limited", times=1)
    await alice.says("two")
    assert await alice.hears(within=120) == "You said: two"
    await alice.says("fail")
    await alice.says("three")
    assert await alice.hears(within=120) == "You said: three"
    status, text = await read(page, "/metrics")
    assert status == 200
    assert figure(text, "ilink_updates_total") == 4
    assert figure(text, "ilink_polls_total") >= 3
    assert figure(text, 'ilink_sends_total{state="accepted"}') == 3
    assert figure(text, 'ilink_refusals_total{code="-2"}') == 1
    assert figure(text, 'ilink_handler_seconds_count{outcome="done"}') == 3
    assert figure(text, 'ilink_handler_seconds_count{outcome="failed"}') == 2
    assert figure(text, "ilink_message_lag_seconds_count") == 5
    assert figure(text, "ilink_send_delay_seconds_count") == 3
    assert figure(text, 'ilink_inbox_messages{state="dead"}') == 1
    assert figure(text, 'ilink_accounts{state="active"}') == 1
    assert alice.user_id not in text


async def test_health_is_that_polls_are_answered(ilink_gateway: LocalGateway) -> None:
    bot = answering()
    now = 1_000.0
    vitals = Vitals(bot, late_seconds=60.0, now=lambda: now)
    bot.observe(vitals)
    assert vitals.health().is_well  # nothing runs, so nothing is late
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("hi")
    await alice.hears()
    assert vitals.health().words == "1 of 1 accounts are polled"
    now += 61.0
    finding = vitals.health()
    assert (finding.is_well, finding.words) == (False, "1 of 1 accounts had no poll answered for up to 61 s")
    await alice.says("still there?")
    await alice.hears()
    assert vitals.health().is_well


async def test_a_process_that_only_handles_or_sends_is_well_without_polls(ilink_gateway: LocalGateway) -> None:
    bot = answering()
    now = 1_000.0
    vitals = Vitals(bot, polls=False, late_seconds=60.0, now=lambda: now)
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("hi")
    await alice.hears()
    assert vitals.poll_ages() == {}
    now += 600.0
    assert vitals.health() == Finding(True, "this process does not poll; it works for 1 accounts")
    assert vitals.poll_ages() == {}


async def test_ready_is_that_the_store_takes_writes(
    ilink_gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = answering()
    page = serve_page(bot, "127.0.0.1:0")
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("hi")
    await alice.hears()
    assert (await read(page, "/readyz"))[0] == 200
    assert (await read(page, "/healthz"))[0] == 200

    def refuse(database: Any, _connection: Any, group: Any) -> None:
        for job in group:
            job.error = database._translate(sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as broken:
        broken.setattr(Database, "_commit", refuse)
        status, words = await read(page, "/readyz")
        assert status == 503
        assert "disk is full" in words
        assert (await read(page, "/healthz"))[0] == 200
    assert (await read(page, "/readyz"))[0] == 200


def test_an_address_that_is_none_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="no address to listen on"):
        serve_page(answering(), "9464")


@pytest.fixture
def spans() -> Iterator[tuple[InMemorySpanExporter, TracerProvider]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter, provider
    provider.shutdown()


async def test_a_trace_goes_from_a_message_to_its_accepted_answer(
    ilink_gateway: LocalGateway, spans: tuple[InMemorySpanExporter, TracerProvider]
) -> None:
    exporter, provider = spans
    bot = Bot()
    tracer = provider.get_tracer("of the handler")

    @bot.on_text()
    async def answer(message: Message) -> None:
        with tracer.start_as_current_span("thinking"):
            await message.reply(f"You said: {message.text}")

    bot.observe(Traces(provider))
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("one")
    await alice.hears()
    await alice.says("two")
    await alice.hears()
    async with asyncio.timeout(10):
        while len(exporter.get_finished_spans()) < 8:  # noqa: ASYNC110  # an exporter tells nobody
            await asyncio.sleep(0.01)
    found = exporter.get_finished_spans()
    traces = {trace_of(span) for span in found}
    assert len(traces) == 2
    entries = ilink_gateway.rules.wire_log(endpoint="sendmessage")
    requests: list[Any] = [entry.request for entry in entries]
    assert {int(request["msg"]["run_id"].replace("-", ""), 16) for request in requests} == traces
    for trace in traces:
        by_name = {span.name: span for span in found if trace_of(span) == trace}
        assert by_name.keys() == {"ilink.wait", "ilink.handle", "thinking", "ilink.send"}
        assert by_name["thinking"].parent.span_id == by_name["ilink.handle"].context.span_id  # type: ignore[union-attr]
        assert by_name["ilink.send"].attributes["ilink.state"] == "accepted"  # type: ignore[index]
        assert by_name["ilink.wait"].start_time <= by_name["ilink.send"].end_time  # type: ignore[operator]


async def test_a_refused_attempt_is_a_failed_span_of_the_same_trace(
    ilink_gateway: LocalGateway, spans: tuple[InMemorySpanExporter, TracerProvider]
) -> None:
    exporter, provider = spans
    bot = answering()
    bot.observe(Traces(provider))
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    ilink_gateway.fault("sendmessage", ret=-2, errmsg="rate limited", times=1)
    await alice.says("one")
    await alice.hears(within=120)

    def finished() -> list[ReadableSpan]:
        return [span for span in exporter.get_finished_spans() if span.name == "ilink.send"]

    async with asyncio.timeout(30):
        while len(finished()) < 2:  # she hears it before the bot knows that she does  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    sends = finished()
    assert [(span.attributes["ilink.state"], span.status.status_code) for span in sends] == [  # type: ignore[index]
        ("waiting", StatusCode.ERROR),
        ("accepted", StatusCode.UNSET),
    ]
    assert len({trace_of(span) for span in sends}) == 1


async def test_log_lines_name_account_and_conversation(ilink_gateway: LocalGateway) -> None:
    lines: list[dict[str, object]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    handler = Keep()
    handler.setFormatter(JsonLines())
    log = logging.getLogger("ilink.test")
    log.addHandler(handler)
    bot = Bot()

    @bot.on_text()
    async def answer(message: Message) -> None:
        try:
            raise ValueError("no")
        except ValueError:
            log.warning("a %s", "word", extra={"order": 7}, exc_info=True)
        await message.reply("ok")

    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("one")
    await alice.hears()
    log.warning("outside")
    log.removeHandler(handler)
    inside, outside = lines
    assert (inside["level"], inside["logger"], inside["message"]) == ("warning", "ilink.test", "a word")
    assert (inside["order"], inside["account"]) == (7, alice.bot_id)
    assert str(alice.user_id) in str(inside["conversation"])
    assert "ValueError: no" in str(inside["error"])
    assert outside.keys() == {"at", "level", "logger", "message"}


def test_traces_are_an_extra_and_metrics_load_no_tracing() -> None:
    code = "import sys, ilink.telemetry.page, ilink.telemetry.logs; print('opentelemetry' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.timeout(180)  # it starts a process
async def test_ilink_run_serves_metrics_and_writes_json(tmp_path: Path) -> None:
    async with LocalGateway() as gateway:
        alice = await gateway.person("alice")
        async with open_store(StorePlace(folder=tmp_path, environ={})) as store:
            await store.accounts.put(await sign_in(gateway, alice))
        script = tmp_path / "bot.py"
        script.write_text(ECHO)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ilink", "run", str(script), "--log-json", "--metrics-listen", "127.0.0.1:0"),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "ILINK_DATA": str(tmp_path)},
        )
        assert process.stderr is not None
        lines: list[dict[str, object]] = []
        async for raw in process.stderr:
            lines.append(json.loads(raw))
            if "metrics and health" in str(lines[-1]["message"]):
                break
        url = str(lines[-1]["message"]).rpartition(" ")[2]
        await alice.says("hi")
        assert await alice.hears(timeout=60) == "You said: hi"
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
            assert figure(await answer.text(), "ilink_updates_total") == 1
        process.terminate()
        lines += [json.loads(raw) async for raw in process.stderr]
        assert await process.wait() == 0
    assert alice.bot_id in {line.get("account") for line in lines}


async def test_ilink_run_refuses_what_is_no_address(tmp_path: Path) -> None:
    script = tmp_path / "bot.py"
    script.write_text(ECHO)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ilink", "run", str(script), "--metrics-listen", "nowhere"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ILINK_DATA": str(tmp_path)},
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"no address to listen on" in told
    assert b"Traceback" not in told
