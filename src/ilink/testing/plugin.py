"""The pytest plugin that comes with the package; its fixture of a gateway needs pytest-asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from importlib.util import find_spec
from typing import Final

import pytest

from ilink.testing.gateway import LocalGateway
from ilink.testing.network import forbid_network

__all__ = [
    "ilink_gateway",
    "ilink_no_network",
    "pytest_addoption",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
]

_OPTION: Final = "ilink_forbid_network"
_ATTEMPTS: Final = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch, for one run and for all runs of a project."""
    words = "make every connection beyond this machine fail, and the tests that try one"
    parser.getgroup("ilink").addoption(
        "--ilink-forbid-network", action="store_true", default=False, dest=_OPTION, help=words
    )
    parser.addini(_OPTION, words, type="bool", default=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Forbid the network around each test with its fixtures, if the switch says so."""
    if not (item.config.getoption(_OPTION) or item.config.getini(_OPTION)):
        return (yield)
    with forbid_network() as attempts:
        item.stash[_ATTEMPTS] = attempts
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show in the report of a failed test what happened on its gateway; fail one that tried a forbidden network."""
    report = yield
    if call.when == "call" and report.passed and (tried := item.stash.get(_ATTEMPTS, None)):
        report.outcome = "failed"
        report.longrepr = f"this test tried to reach beyond this machine: {', '.join(dict.fromkeys(tried))}"
    if report.failed and isinstance(item, pytest.Function):
        gateway = item.funcargs.get("ilink_gateway")
        if isinstance(gateway, LocalGateway) and gateway.is_open:
            report.sections += [(f"ilink {name}", text) for name, text in gateway.describe().items()]
    return report


@pytest.fixture
def ilink_no_network() -> Generator[None, None, None]:
    """Make every connection beyond this machine fail for one test, and the test too if it swallows that."""
    with forbid_network() as attempts:
        yield
    if attempts:
        pytest.fail(
            f"this test tried to reach beyond this machine: {', '.join(dict.fromkeys(attempts))}", pytrace=False
        )


if find_spec("pytest_asyncio") is not None:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def ilink_gateway() -> AsyncIterator[LocalGateway]:  # pyright: ignore[reportRedeclaration]  # one or the other
        """A gateway for this test alone, in its own process and event loop."""
        async with LocalGateway() as gateway:
            yield gateway

else:  # the package does not depend on it, and a plugin that fails to load would stop every test run

    @pytest.fixture
    def ilink_gateway() -> AsyncIterator[LocalGateway]:
        """Say what is missing."""
        message = (
            "the fixture ilink_gateway needs pytest-asyncio; install it, or open ilink.testing.LocalGateway itself"
        )
        raise pytest.UsageError(message)
