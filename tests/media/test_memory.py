"""Large files move in bounded memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from ilink.gateway.memory import keep_freed_memory
from ilink.process import collecting_seldom

LONG = "ILINK_LONG_TESTS"

MOVE = """
import asyncio, hashlib, pathlib, sys, tempfile
from ilink import Account, Client, MediaKind, Secret, media_references
from ilink.client.media import MediaClient
from ilink.testing import LocalGateway
from ilink.wire.codec import decode
from ilink.wire.ids import Cursor
from ilink.wire.models import WeixinMessage

MIB = int(sys.argv[1])
MOST = 2 << 30

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024

def blocks():
    for number in range(MIB):
        yield number.to_bytes(4, "big") * (1 << 18)

async def chunks():
    for block in blocks():
        yield block

def digest(pieces):
    md5 = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        md5.update(piece)
    return md5.hexdigest()

async def to_person(media, gateway, alice, path):
    uploaded = await media.upload(path, MediaKind.FILE, to=alice.user_id, max_bytes=MOST)
    room = gateway.rules.media
    record = await room.record((await room.find(uploaded.param, has_task=True)).media_id)
    assert record.facts.problem is None
    return record.facts.md5

async def to_bot(client, media, gateway, alice, path):
    bot_id = client.account.account_id
    await gateway.rules.post_media(alice.user_id, bot_id, "file", chunks(), name="large")
    batch = await client.get_updates(Cursor(""))
    (reference,) = media_references(decode(batch.updates[-1], WeixinMessage).value)
    await media.download(reference, path, max_bytes=MOST)
    return reference.md5

async def main(folder):
    path = folder / "large"
    with path.open("wb") as file:
        file.writelines(blocks())
    right = digest(blocks())
    async with LocalGateway(knobs={"cdn.max_bytes": MOST}) as gateway:
        alice = await gateway.person("alice")
        async with Client(base_url=gateway.api_url, cdn_url=gateway.cdn_url) as nobody:
            code = await nobody.get_qr_code()
            await alice.befriend(code.qrcode)
            report = await nobody.get_login_status(code.qrcode)
        account = Account(account_id=report.account_id, token=Secret(report.token), base_url=gateway.api_url)
        async with Client(account, cdn_url=gateway.cdn_url) as client:
            media = MediaClient(client)
            small = await media.upload(b"warm", to=alice.user_id)
            await media.download(small.reference, folder / "warm")
            before = peak()
            assert await to_person(media, gateway, alice, path) == right
            path.unlink()
            assert await to_bot(client, media, gateway, alice, path) == right
            print(peak() - before)
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "md5").hexdigest() == right

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(pathlib.Path(folder)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the peak of a process's memory")
@pytest.mark.parametrize(
    "mib",
    [
        96,
        pytest.param(
            1024,
            marks=[
                pytest.mark.timeout(300),
                pytest.mark.skipif(LONG not in os.environ, reason=f"moves 1 GiB twice: set {LONG}"),
            ],
        ),
    ],
)
def test_client_and_gateway_in_one_process_stay_within_their_two_bounds_both_ways(mib: int) -> None:
    run = subprocess.run([sys.executable, "-c", MOVE, str(mib)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) <= 32


def test_memory_setting_is_safe_to_ask_for() -> None:
    assert keep_freed_memory() in (True, False)


def test_cycles_are_looked_for_seldom_and_still_found_until_the_program_is_done() -> None:
    before = gc.get_threshold()
    with collecting_seldom():
        assert gc.isenabled()
        assert gc.get_threshold() > before
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
