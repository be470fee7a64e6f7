"""Large files move in bounded memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ilink.gateway.memory import keep_freed_memory

MOVE = """
import asyncio, hashlib, pathlib, sys, tempfile
from ilink.client.media import MediaClient
from ilink.client.answers import UploadPermission
from ilink.gateway.cdn import CdnApp
from ilink.messages.media import MediaKind
from ilink.testing import LocalGateway
from ilink.client.client import Client
from ilink.wire.accounts import Account
from ilink.wire.ids import AccountId, Secret

MIB = 96

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024

async def main(folder):
    path = folder / "large"
    with path.open("wb") as file:
        for n in range(MIB):
            file.write(bytes([n]) * (1 << 20))
    async with LocalGateway(knobs={"cdn.max_bytes": 1 << 30}) as gateway:
        alice = await gateway.person("alice")
        async with Client(base_url=gateway.api_url, cdn_url=gateway.cdn_url) as nobody:
            code = await nobody.get_qr_code()
            await alice.befriend(code.qrcode)
            report = await nobody.get_login_status(code.qrcode)
        account = Account(
            account_id=AccountId(report.account_id), token=Secret(report.token), base_url=gateway.api_url)
        async with Client(account, cdn_url=gateway.cdn_url) as client:
            media = MediaClient(client)
            small = await media.upload(b"warm", to=alice.user_id)
            await media.download(small.reference, folder / "warm")
            before = peak()
            uploaded = await media.upload(path, MediaKind.FILE, to=alice.user_id, max_bytes=1 << 30)
            await media.download(uploaded.reference, folder / "back", max_bytes=1 << 30)
            print(peak() - before)
    assert hashlib.md5((folder / "back").read_bytes()).hexdigest() == uploaded.md5

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(pathlib.Path(folder)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak of a process's memory")
def test_client_and_gateway_in_one_process_stay_within_their_two_bounds() -> None:
    run = subprocess.run([sys.executable, "-c", MOVE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) <= 32


def test_memory_setting_is_safe_to_ask_for() -> None:
    assert keep_freed_memory() in (True, False)
