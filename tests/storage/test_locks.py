"""A lock holds between processes, names its holder, and dies with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ilink.errors import StoreLockedError
from ilink.storage.locks import ProcessLock
from ilink.storage.private import replace_private_file

HOLD = """
import sys
from pathlib import Path
from ilink.storage.locks import ProcessLock
lock = ProcessLock(Path(sys.argv[1]), subject="the account").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "account.lock"
    with hold(path) as holder:
        with pytest.raises(StoreLockedError, match=f"the account is in use by pid {holder.pid}") as refused:
            ProcessLock(path, subject="the account").acquire()
        assert str(holder.pid) in refused.value.holder
        holder.kill()


def test_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    path = tmp_path / "account.lock"
    with hold(path) as holder:
        holder.kill()
    with ProcessLock(path, subject="the account"):
        pass


def test_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "account.lock", subject="the account")
    for _ in range(2):
        with lock, pytest.raises(StoreLockedError):
            ProcessLock(tmp_path / "account.lock", subject="the account").acquire()
    lock.release()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/opt/bin/ilink", "gateway", "--control-key", "canary"], "(ilink gateway)"),
        (["/opt/bin/ilink", "--control-key=canary", "canary"], "(ilink)"),
        (["bot.py", "--token", "canary"], "(bot.py)"),
        (["bot.py", "canary"], "(bot.py)"),
    ],
)
def test_holder_is_named_without_arguments_that_may_be_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    with ProcessLock(tmp_path / "l", subject="x"), pytest.raises(StoreLockedError) as refused:
        ProcessLock(tmp_path / "l", subject="x").acquire()
    assert name in refused.value.holder
    assert "canary" not in str(refused.value) + refused.value.holder


def test_replaced_file_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    replace_private_file(path, b"one")
    replace_private_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
