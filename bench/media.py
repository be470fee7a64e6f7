"""Measures moving one large file through our client and gateway, beside what MD5 alone reaches and beside two peers.

python -m bench.media               1 GiB, and 100 MiB beside the peers; about a minute
python -m bench.media --mib 100     a smaller file
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.machine import cpu_seconds, describe, fast_run
from bench.peers import PeerUnavailableError, install
from bench.people import Bot, add_person, sign_in
from bench.processes import BenchError, Gateway, Program, start, start_gateway
from bench.rawhttp import Pool

__all__ = ["measure_media"]

_TASKS: Final = ("md5", "upload", "raw", "download", "checked")
_PEERS: Final = {"wechatbot-sdk": "wechatbot_media.py", "weilink": "weilink_media.py"}
_DRIVERS: Final = Path(__file__).parent / "drivers"
_SECONDS: Final = 600.0
_PEER_MIB: Final = 100

Figures = dict[str, float]


async def measure_media(mib: int, rounds: int, *, beside_peers: bool = True) -> dict[str, object]:
    """Measure, print the tables, and return the figures."""
    with tempfile.TemporaryDirectory(prefix="ilink-bench-") as folder:
        scratch = Path(folder)
        async with start_gateway(scratch / "gateway") as gateway:
            await _set_limits(gateway)
            large = _write(scratch / "large.bin", mib)
            ours = await _measure_ours(gateway, large, rounds)
            _print_ours(ours, mib)
            large.unlink()
            peers = await _measure_peers(gateway, scratch) if beside_peers else {}
    return {"MiB": mib, "ours": ours, "beside peers": peers}


async def _measure_ours(gateway: Gateway, path: Path, rounds: int) -> dict[str, Figures]:
    taken: dict[str, list[Figures]] = {task: [] for task in _TASKS}
    async with _our_client(gateway, path) as program:
        for _ in range(rounds):
            for task in _TASKS:
                taken[task].append(await _run(program, task, gateway))
    return {task: _middle(figures) for task, figures in taken.items()}


@asynccontextmanager
async def _our_client(gateway: Gateway, path: Path) -> AsyncIterator[Program]:
    async with Pool(gateway.api_url, 1) as api, Pool(gateway.control_url, 1) as control:
        bot: Bot = await sign_in(api, control, "alice")
    environ = {
        "ILINK_BASE_URL": gateway.api_url,
        "ILINK_CDN_URL": f"{gateway.api_url}/c2c",
        "BOT_ID": bot.bot_id,
        "BOT_TOKEN": bot.token,
        "OWNER": bot.owner,
        "SEND_FILE": str(path),
    }
    command = [sys.executable, "-m", "bench.drivers.media_client"]
    async with start(command, scratch=path.parent / "client", environ=environ) as program:
        await program.hear("READY")
        yield program


async def _run(program: Program, task: str, gateway: Gateway) -> Figures:
    _reset_peak(gateway.pid)
    before, cpu = _memory(gateway.pid, "VmRSS"), cpu_seconds(gateway.pid) or 0.0
    program.say(task)
    figures: Figures = json.loads((await program.hear("DONE", seconds=_SECONDS)).removeprefix("DONE "))
    figures["gateway memory"] = _memory(gateway.pid, "VmHWM") - before
    figures["gateway cpu"] = (cpu_seconds(gateway.pid) or 0.0) - cpu
    return figures


async def _measure_peers(gateway: Gateway, scratch: Path) -> dict[str, Figures]:
    path = _write(scratch / "peer.bin", _PEER_MIB)
    figures: dict[str, Figures] = {}
    async with _our_client(gateway, path) as program:
        await _run(program, "upload", gateway)
        figures["ilink"] = await _run(program, "upload", gateway)
    for name, driver in _PEERS.items():
        try:
            peer = await asyncio.to_thread(install, name)
            command = [str(peer.program), str(_DRIVERS / driver)]
            figures[name] = await _measure_peer(gateway, scratch / name, command, path)
        except (PeerUnavailableError, BenchError) as error:
            print(f"{name} takes no part: {error}", flush=True)
    print(f"\n{_PEER_MIB} MiB up      seconds   cpu s   extra memory MiB")
    for name, one in figures.items():
        print(f"{name:18}{one['seconds']:8.2f}{one['cpu']:8.2f}{one['memory'] / 2**20:12.1f}")
    return figures


async def _measure_peer(gateway: Gateway, scratch: Path, command: list[str], path: Path) -> Figures:
    state = scratch / "state"
    state.mkdir(parents=True)
    environ = {
        "ILINK_BASE_URL": gateway.api_url,
        "ILINK_CDN_URL": f"{gateway.api_url}/c2c",
        "STATE_DIR": str(state),
        "SEND_FILE": str(path),
    }
    async with Pool(gateway.control_url, 1) as control, start(command, scratch=scratch, environ=environ) as program:
        line = await program.hear("QRCODE")
        code = re.findall(r"[0-9a-f]{32}", line)[-1]
        user = await add_person(control, "peer")
        body = json.dumps({"user_id": user}).encode()
        bot = json.loads(await control.call("POST", f"/_sim/qr/{code}/confirm", body))["bot_id"]
        await program.hear("LOGGED_IN")
        message = json.dumps({"bot_id": bot, "text": "!file"}).encode()
        await control.call("POST", f"/_sim/people/{user}/messages", message)
        return json.loads((await program.hear("DONE", seconds=_SECONDS)).removeprefix("DONE "))


async def _set_limits(gateway: Gateway) -> None:
    knobs = {"cdn.max_bytes": 4 << 30, "cdn.single_use": False, "quota.per_inbound": 1_000_000}
    async with Pool(gateway.control_url, 1) as control:
        await control.call("PUT", "/_sim/config", json.dumps({"knobs": knobs}).encode())


def _print_ours(figures: dict[str, Figures], mib: int) -> None:
    def speed(task: str) -> float:
        return mib / figures[task]["seconds"]

    names = {
        "md5": "MD5 alone, one core",
        "upload": "upload: MD5, then encrypt and send",
        "raw": "download to disk, not decrypted",
        "download": "download to disk, decrypted",
        "checked": "the same, MD5 checked too",
    }
    print(f"\nLarge files, on {describe()}")
    print(f"{mib} MiB                                   MiB/s   cpu s: client  gateway   extra MiB: client  gateway")
    for task, name in names.items():
        one = figures[task]
        client, gateway = one["memory"] / 2**20, one["gateway memory"] / 2**20
        print(f"{name:38}{speed(task):9.0f}{one['cpu']:16.2f}{one['gateway cpu']:9.2f}{client:20.1f}{gateway:9.1f}")
    print(
        f"upload / MD5 alone            {speed('upload') / speed('md5'):.2f}   at least 0.65 is wanted, 0.8 the limit"
    )
    print(f"decrypted / not decrypted     {speed('download') / speed('raw'):.2f}   at least 0.8 is wanted")


def _middle(figures: list[Figures]) -> Figures:
    """Return the medians of times, and the largest memory."""
    return {
        name: (max if "memory" in name else statistics.median)([one[name] for one in figures]) for name in figures[0]
    }


def _write(path: Path, mib: int) -> Path:
    block = bytes(range(256)) * 4096
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
    return path


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.media", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the file for our own figures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("build/bench-media.json"), help="where the figures go")
    options = parser.parse_args()
    result: dict[str, object] = {"machine": describe()}
    print(f"On {describe()}. Read the figures as ratios: they were taken in turn on one machine.", flush=True)
    try:
        fast_run(_measure(options.mib, options.rounds, result))
    except BenchError as error:
        parser.exit(1, f"the measurement ended early: {error}\n")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1))


async def _measure(mib: int, rounds: int, result: dict[str, object]) -> None:
    result.update(await measure_media(mib, rounds))


if __name__ == "__main__":
    main()
