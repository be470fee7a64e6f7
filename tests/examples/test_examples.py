"""Every example is short, does what it shows on the gateway, and is clean for both type checkers."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from ilink import Bot
from ilink.cli.run import find_bot
from ilink.testing import LocalGateway

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


@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["basedpyright"]], ids=["mypy", "basedpyright"])
def test_examples_are_clean_for_type_checkers(checker: list[str]) -> None:
    command = [str(Path(sys.executable).with_name(checker[0])), *checker[1:], *map(str, sorted(EXAMPLES.glob("*.py")))]
    run = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, timeout=55, check=False)
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
        assert await alice.hears(timeout=20) == "Forty-two."
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
