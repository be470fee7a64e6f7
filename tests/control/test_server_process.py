"""The gateway as a process of its own: ready line, data folder, signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

LAUNCHER = """
import json, sys
from pathlib import Path
from ilink.errors import IlinkError
from ilink.gateway.server import ServerOptions, run
options = json.loads(sys.argv[1])
if "data" in options:
    options["data"] = Path(options["data"])
try:
    sys.exit(run(ServerOptions(ready_json=True, **options)))
except IlinkError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""


class Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ready: dict = {}

    async def stop(self, number: int = signal.SIGTERM) -> tuple[int, bytes, bytes]:
        """Send a signal; return the exit code and what else was printed on both streams."""
        self.process.send_signal(number)
        return await self.end()

    async def end(self) -> tuple[int, bytes, bytes]:
        async with asyncio.timeout(45):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out, err


@asynccontextmanager
async def started(*, is_ready: bool = True, **options):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LAUNCHER,
        json.dumps(options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Process(process)
    try:
        if is_ready:
            async with asyncio.timeout(45):
                running.ready = json.loads(await process.stdout.readline())
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_the_ready_line_is_as_the_contract_says() -> None:
    async with started() as gateway:
        ready = gateway.ready
        assert list(ready) == ["version", "api_url", "cdn_url", "control_url", "phone_url", "control_key", "pid"]
        assert ready["pid"] == gateway.process.pid
        assert ready["control_key"] is None
        assert ready["cdn_url"] == ready["api_url"] + "/c2c"
        assert ready["phone_url"] == ready["control_url"] + "/"
        code, out, err = await gateway.stop()
        assert (code, out, err) == (0, b"", b"")


async def test_when_the_line_is_out_both_listeners_answer(session) -> None:
    async with started(control_key="k-of-this-test") as gateway:
        headers = {"authorization": "Bearer k-of-this-test"}
        async with session.get(gateway.ready["control_url"] + "/_sim/info", headers=headers) as answer:
            assert await answer.json() == gateway.ready
        async with session.get(gateway.ready["api_url"] + "/ilink/bot/get_bot_qrcode?bot_type=3") as answer:
            assert (await answer.json(content_type=None))["ret"] == 0
        assert (await gateway.stop(signal.SIGINT))[0] == 0


async def test_a_second_process_on_the_folder_names_the_first(tmp_path: Path) -> None:
    async with started(data=str(tmp_path / "state")) as first:
        async with started(is_ready=False, data=str(tmp_path / "state")) as second:
            code, out, err = await second.end()
        assert (code, out) == (1, b"")
        assert f"pid {first.process.pid}".encode() in err
        assert str(tmp_path / "state").encode() in err
        assert (await first.stop())[0] == 0
    async with started(data=str(tmp_path / "state")) as third:
        assert (await third.stop())[0] == 0


async def test_a_control_address_beyond_loopback_needs_a_key() -> None:
    async with started(is_ready=False, control_listen="0.0.0.0:0") as gateway:
        code, out, err = await gateway.end()
    assert (code, out) == (1, b"")
    assert b"without a key" in err
    assert b"Traceback" not in err


async def test_the_temporary_state_goes_with_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with started() as gateway:
        assert list(tmp_path.iterdir())
        assert (await gateway.stop())[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
async def test_the_data_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    async with started(data=str(folder)) as gateway:
        modes = {path.name: path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())}
        assert set(modes.values()) == {0}, modes
        assert (await gateway.stop())[0] == 0


async def test_sigterm_answers_the_open_poll_and_keeps_every_message(session, tmp_path: Path) -> None:
    data = str(tmp_path / "state")
    async with started(data=data) as gateway:
        control, api = gateway.ready["control_url"], gateway.ready["api_url"]
        token, bot_id, user_id = await sign_in(session, control, api)
        polling = asyncio.ensure_future(poll(session, api, token, ""))
        await wait_for_poll(session, control)
        code, _, err = await gateway.stop()
        answer = await polling
        assert (answer["ret"], answer["msgs"]) == (0, [])
        assert (code, err) == (0, b"")
    async with started(data=data) as gateway:
        control, api = gateway.ready["control_url"], gateway.ready["api_url"]
        body = {"bot_id": bot_id, "text": "kept"}
        async with session.post(f"{control}/_sim/people/{user_id}/messages", json=body) as said:
            message_id = (await said.json())["message_id"]
        assert (await gateway.stop())[0] == 0
    async with started(data=data) as gateway:
        answer = await poll(session, gateway.ready["api_url"], token, answer["get_updates_buf"])
        assert [str(message["message_id"]) for message in answer["msgs"]] == [message_id]
        assert (await gateway.stop())[0] == 0


async def test_a_wait_and_a_stream_end_with_the_process(session) -> None:
    async with started() as gateway:
        control, api = gateway.ready["control_url"], gateway.ready["api_url"]
        _, bot_id, user_id = await sign_in(session, control, api)
        stream = await session.get(f"{control}/_sim/events")
        await stream.content.readline()
        query = {"bot_id": bot_id, "user_id": user_id, "timeout": "300"}
        waiting = asyncio.ensure_future(session.get(f"{control}/_sim/wait", params=query))
        await asyncio.sleep(0)
        code, _, err = await gateway.stop()
        assert (code, err) == (0, b"")
        await stream.read()
        with suppress(aiohttp.ClientConnectionError):  # it had not arrived yet when the listener closed
            assert (await (await waiting).json()) == {"messages": []}


async def sign_in(session, control: str, api: str) -> tuple[str, str, str]:
    async with session.post(f"{control}/_sim/people", json={"name": "alice"}) as answer:
        user_id = (await answer.json())["user_id"]
    async with session.get(f"{api}/ilink/bot/get_bot_qrcode?bot_type=3") as answer:
        qrcode = (await answer.json(content_type=None))["qrcode"]
    async with session.post(f"{control}/_sim/qr/{qrcode}/confirm", json={"user_id": user_id}) as answer:
        bot_id = (await answer.json())["bot_id"]
    async with session.get(f"{api}/ilink/bot/get_qrcode_status", params={"qrcode": qrcode}) as answer:
        return (await answer.json(content_type=None))["bot_token"], bot_id, user_id


async def poll(session, api: str, token: str, cursor: str) -> dict:
    headers = {"Authorization": f"Bearer {token}", "AuthorizationType": "ilink_bot_token"}
    async with session.post(f"{api}/ilink/bot/getupdates", json={"get_updates_buf": cursor}, headers=headers) as answer:
        assert answer.status == 200
        return await answer.json(content_type=None)


async def wait_for_poll(session, control: str) -> None:
    async with asyncio.timeout(45):
        while True:
            async with session.get(f"{control}/_sim/bots") as answer:
                if (await answer.json())["bots"][0]["waiting_polls"]:
                    return
            await asyncio.sleep(0.01)
