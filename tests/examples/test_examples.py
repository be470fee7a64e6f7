"""Every example is short, does what it shows on the gateway, and is clean for both type checkers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from ilink import Account, AccountId, Bot, Client, Secret, UserId
from ilink.cli.run import find_bot
from ilink.testing import LocalGateway, Person

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Bot:
    return find_bot(str(EXAMPLES / f"{name}.py"))


def picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    return file.getvalue()


def recording() -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24_000)
        sound.writeframes(bytes(48_000))
    return file.getvalue()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["basedpyright"]], ids=["mypy", "basedpyright"])
def test_examples_are_clean_for_type_checkers(checker: list[str]) -> None:
    command = [str(Path(sys.executable).with_name(checker[0])), *checker[1:], *map(str, sorted(EXAMPLES.glob("*.py")))]
    run = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


async def test_echo(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    await alice.befriend(example("echo"))
    await alice.says("hi")
    assert await alice.hears() == "You said: hi"


async def test_pictures(ilink_gateway: LocalGateway) -> None:
    alice = await ilink_gateway.person("alice")
    await alice.befriend(example("pictures"))
    await alice.says("hi")
    assert await alice.hears() == "Send me a picture."
    await alice.sends_image(picture())
    assert await alice.hears() == "It was 40 × 30."
    back = Image.open(BytesIO(await (await alice.receives()).read()))
    assert (back.mode, back.size) == ("L", (40, 30))
    await alice.sends_image(b"no picture at all")
    assert await alice.hears() == "I cannot read this picture."


async def test_voice_notes(ilink_gateway: LocalGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alice = await ilink_gateway.person("alice")
    await alice.befriend(example("voice_notes"))
    await alice.says("/notes")
    assert (await alice.hears()).startswith("There are none yet.")
    await alice.says("/last")
    assert await alice.hears() == "There are none yet."
    await alice.sends_voice(recording(), transcript="buy milk")
    assert await alice.hears() == "Kept: buy milk"
    await alice.says("/笔记")
    assert (await alice.hears()).endswith(": buy milk")
    await alice.says("/last")
    note = await alice.receives()
    assert note.file_name.endswith(".wav")
    assert (await note.read()).startswith(b"RIFF")


@pytest.fixture
async def model() -> AsyncIterator[tuple[str, list[dict[str, object]]]]:
    """An endpoint that speaks as OpenAI's does, and what it was asked."""
    asked: list[dict[str, object]] = []

    async def complete(request: web.Request) -> web.StreamResponse:
        assert request.headers["authorization"] == "Bearer s3cret"
        asked.append(await request.json())
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in ('{"role":"assistant","content":null}', '{"content":"Forty-"}', '{"content":"two."}', "{}"):
            await response.write(f'data: {{"id":"1","choices":[{{"index":0,"delta":{piece}}}]}}\n\n'.encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}/v1", asked
    await runner.cleanup()


async def test_assistant(
    ilink_gateway: LocalGateway, model: tuple[str, list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = model
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    alice = await ilink_gateway.person("alice")
    await alice.befriend(example("assistant"))
    for question in ("What is the answer?", "Sure?"):
        await alice.says(question)
        assert await alice.hears(timeout=45) == "Forty-two."
    assert asked[1]["messages"] == [
        {"role": "user", "content": "What is the answer?"},
        {"role": "assistant", "content": "Forty-two."},
        {"role": "user", "content": "Sure?"},
    ]
    await alice.says("/forget")
    assert await alice.hears() == "What were we talking about?"
    await alice.says("Who are you?")
    await alice.hears()
    assert asked[2]["messages"] == [{"role": "user", "content": "Who are you?"}]


async def test_form_with_a_restart_in_the_middle(ilink_gateway: LocalGateway) -> None:
    bot = example("form")
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("hi")
    assert await alice.hears() == "Say /order to order something, and /cancel to stop."
    await alice.says("/order")
    assert await alice.hears() == "Hello! What is your name?"
    await alice.says("Alice")
    assert (await alice.hears()).startswith("What would you like, Alice?\n1. Tea")
    await ilink_gateway.start(bot).stop()
    await alice.says("coffee")
    ilink_gateway.start(bot)
    assert await alice.hears() == "How many?"
    await alice.says("two")
    assert await alice.hears() != "That is 6 €. All right?"
    await alice.says("两杯")
    assert await alice.hears() == "That is 6 €. All right?"
    await alice.says("好的")
    assert await alice.hears() == "Order 502 is on its way. This is your visit number 1."
    await alice.says("/点单")
    assert (await alice.hears()).startswith("What would you like, Alice?")
    ilink_gateway.assert_no_findings()


async def test_digest(ilink_gateway: LocalGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # At ten in the morning in Shanghai, whenever this test is run.
    now = ilink_gateway.clock.now
    until_two = timedelta(hours=26) - timedelta(hours=now.hour, minutes=now.minute, seconds=now.second)
    await ilink_gateway.clock.advance(seconds=until_two.total_seconds())
    bot = example("digest")
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("/remind 90 call Bob")
    assert await alice.hears() == "I will, in 90 minutes."
    assert "call Bob" in await alice.hears(within=4 * 3600, timeout=45)
    await alice.says("/提醒 30 feed the cat")
    assert await alice.hears() == "I will, in 30 minutes."
    # Both are due while it is down: each is done once when it is back.
    await ilink_gateway.start(bot).stop()
    await ilink_gateway.clock.advance(hours=23, minutes=59)
    ilink_gateway.start(bot)
    heard = {await alice.hears(timeout=45) for _ in range(2)}
    assert {text.partition(":")[0].partition("!")[0] for text in heard} == {"Good morning", "You wanted to be reminded"}
    await ilink_gateway.start(bot).stop()
    ilink_gateway.start(bot)
    await alice.hears_nothing(within=1.0)
    await ilink_gateway.clock.advance(days=2)
    while not (missed := tmp_path / "missed-digests.txt").exists():  # noqa: ASYNC110  # a file tells nobody
        await asyncio.sleep(0.01)
    assert "Nothing happened" in missed.read_text()


async def test_approvals(ilink_gateway: LocalGateway) -> None:
    bot = example("approvals")
    alice = await ilink_gateway.person("alice")
    await alice.befriend(bot)
    await alice.says("/deploy 1.2")
    assert "Where shall 1.2 go?" in await alice.hears()
    await alice.says("prod")
    assert await alice.hears() == "Deploy 1.2 to production?"
    await ilink_gateway.start(bot).stop()
    ilink_gateway.start(bot)
    await alice.says("同意")
    assert await alice.hears() == "1.2 is on production: build 5."
    await alice.says("/发布 1.3")
    await alice.hears()
    await alice.says("1")
    await alice.hears()
    await alice.says("不行")
    assert await alice.hears() == "All right, nothing happens."
    await alice.says("/deploy 1.4")
    await alice.hears()
    await alice.says("2")
    await alice.hears()
    assert await alice.hears(within=4 * 3600, timeout=45) == "Nobody agreed in time; 1.4 stays where it is."


async def test_two_accounts(ilink_gateway: LocalGateway, capsys: pytest.CaptureFixture[str]) -> None:
    bot = example("two_accounts")
    alice, bob = [await ilink_gateway.person(name) for name in ("alice", "bob")]
    first = await alice.befriend(bot)
    await introduced(alice, first, "Mia")
    second = await signed_in(ilink_gateway, bob)
    await bot.add_account(second)
    await introduced(alice, second.account_id, "Miss M.")
    await alice.says("/hello", bot_id=first)
    assert await alice.hears(bot_id=first) == "Welcome, Mia."
    await alice.says(f"/notify nobody {bob.user_id} ring ring", bot_id=first)
    assert "does not work for the account nobody" in await alice.hears(bot_id=first)
    await bob.says("/hello")
    assert await bob.hears() == "Hello! What is your name?"
    await alice.says(f"/notify {second.account_id} {bob.user_id} ring ring", bot_id=first)
    assert await bob.hears() == "ring ring"
    assert await alice.hears(bot_id=first) == "It is on its way."
    await ilink_gateway.start(bot).stop()
    assert f"{second.account_id} is stopped, and has welcomed 1" in capsys.readouterr().out


async def introduced(person: Person, bot_id: AccountId, name: str) -> None:
    await person.says("/hello", bot_id=bot_id)
    assert await person.hears(bot_id=bot_id, timeout=45) == "Hello! What is your name?"
    await person.says(name, bot_id=bot_id)
    assert await person.hears(bot_id=bot_id) == f"Welcome, {name}."


async def signed_in(gateway: LocalGateway, person: Person) -> Account:
    """What `ilink login` gets, in whatever program."""
    async with Client(base_url=gateway.api_url) as client:
        code = await client.get_qr_code()
        await person.befriend(code.qrcode)
        report = await client.get_login_status(code.qrcode)
    return Account(
        account_id=AccountId(report.account_id or ""),
        token=Secret(report.token or ""),
        base_url=gateway.api_url,
        owner_id=UserId(report.owner_id or ""),
    )
