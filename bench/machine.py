"""What a measurement needs of the machine: file descriptors, the fast loop, a process's time and memory."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Coroutine
from pathlib import Path

__all__ = ["cpu_seconds", "describe", "fast_run", "memory_bytes", "raise_file_limit"]


def raise_file_limit() -> int:
    """Raise the number of open files to what the system allows this process, and return it."""
    try:
        import resource
    except ImportError:
        return 512
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def fast_run(main: Coroutine[object, object, None]) -> None:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time a process has used, all threads; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int | None:
    """Return the memory a process has resident; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), None)


def describe() -> str:
    """Return what the figures were measured on, and how busy it is with other work."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores{load}, {platform.system()} {platform.machine()}, Python {sys.version.split()[0]}"
