"""The pytest plugin that comes with the package; its fixtures need pytest-asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from importlib.util import find_spec

import pytest

from ilink.testing.gateway import LocalGateway

__all__ = ["ilink_gateway", "pytest_runtest_makereport"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show in the report of a failed test what happened on its gateway."""
    report = yield
    if call.when == "call" and report.failed and isinstance(item, pytest.Function):
        gateway = item.funcargs.get("ilink_gateway")
        if isinstance(gateway, LocalGateway):
            report.sections += [(f"ilink {name}", text) for name, text in gateway.describe().items()]
    return report


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
