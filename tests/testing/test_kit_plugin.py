"""The pytest plugin as other projects use it: the switch against the network, reports, and several processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ilink.testing import NetworkForbiddenError, forbid_network
from ilink.testing.network import is_local

pytest_plugins = ["pytester"]

BOT = """
from ilink import Bot, Message

bot = Bot()

@bot.on_text()
async def echo(message: Message) -> None:
    await message.reply(f"You said: {message.text}")

bot.run()
"""

TEST = """
import pytest
from ilink.cli.run import find_bot

@pytest.fixture
def my_bot():
    return find_bot("bot.py")

@pytest.mark.parametrize("number", range(4))
async def test_greets(ilink_gateway, my_bot, number):
    alice = await ilink_gateway.person("alice")
    await alice.befriend(my_bot)
    await alice.says("hi")
    assert await alice.hears() == "You said: hi"
"""


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("bot.localhost", True),
        ("0.0.0.0", True),
        ("", True),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("fe80::1%eth0", False),
        ("localhost.example.com", False),
        ("ilinkai.weixin.qq.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_local(host) is expected


def test_connections_beyond_this_machine_fail_in_all_threads_until_the_block_ends() -> None:
    import socket

    errors: list[BaseException] = []

    def connect() -> None:
        with socket.socket() as opened:
            opened.settimeout(0.01)
            try:
                opened.connect(("192.0.2.1", 9))
            except (NetworkForbiddenError, OSError) as error:
                errors.append(error)

    with forbid_network() as attempts:
        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        with pytest.raises(NetworkForbiddenError, match=r"may not reach example\.com"):
            socket.getaddrinfo("example.com", 80)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened, pytest.raises(NetworkForbiddenError):
            opened.sendto(b"x", ("192.0.2.1", 9))
    assert attempts == ["192.0.2.1", "example.com", "192.0.2.1"]
    connect()
    assert [type(error).__name__ for error in errors] == ["NetworkForbiddenError", type(errors[1]).__name__]
    assert isinstance(errors[1], OSError)


def run(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-q", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.timeout(240)  # two test runs of their own
def test_two_test_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(BOT)
    (tmp_path / "test_bot.py").write_text(TEST)
    with run(tmp_path, "--ilink-forbid-network") as one, run(tmp_path, "--ilink-forbid-network") as other:
        for each in (one, other):
            shown, _ = each.communicate()
            assert "4 passed" in shown, shown


def test_a_test_that_tries_the_network_fails_also_if_it_swallows_the_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import socket
        from contextlib import suppress

        def test_swallows():
            with suppress(Exception):
                socket.create_connection(("192.0.2.1", 9))

        def test_is_told():
            socket.create_connection(("192.0.2.1", 9))

        def test_stays_here(): ...
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", "--ilink-forbid-network")
    result.assert_outcomes(passed=1, failed=2)
    assert "this test tried to reach beyond this machine: 192.0.2.1" in result.stdout.str()
    assert "may not reach 192.0.2.1" in result.stdout.str()


def test_the_switch_is_a_setting_and_a_fixture_too(pytester: pytest.Pytester) -> None:
    body = """
        import socket
        from contextlib import suppress

        def test_it({fixture}):
            with suppress(Exception):
                socket.create_connection(("192.0.2.1", 9), timeout=0.01)
        """
    pytester.makepyfile(test_plain=body.format(fixture=""), test_fixture=body.format(fixture="ilink_no_network"))
    options = ("-p", "no:cacheprovider")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=2, errors=1)
    pytester.makeini("[pytest]\nilink_forbid_network = true")
    pytester.runpytest_subprocess(*options, "test_plain.py").assert_outcomes(failed=1)
