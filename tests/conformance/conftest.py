from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import DOCUMENT, PICTURE, Running
from keyboard import Control
from peer_house import installed, numbers, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.conformance)
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with serving(tmp_path_factory.mktemp("gateway")) as control:
        yield control


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A gateway that is reached by Tencent's own addresses."""
    options = ("--tls", "--vendor-urls", "--proxy-listen", "127.0.0.1:0")
    with serving(tmp_path_factory.mktemp("vendor"), *options) as control:
        yield control


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """A gateway that is reached by HTTPS, at an address and at `localhost`: a redirect leads from one to the other."""
    with serving(tmp_path_factory.mktemp("secure"), "--tls") as control:
        yield control


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clients keep their state, with a picture and a document to send."""
    folder = tmp_path_factory.mktemp("clients")
    folder.joinpath("picture.png").write_bytes(PICTURE)
    folder.joinpath("document.txt").write_bytes(DOCUMENT)
    return folder


@pytest.fixture(scope="session")
def fleet(gateway: Control, home: Path) -> Iterator[Callable[[str], Running]]:
    """Clients that are signed in, each started when it is first asked for."""
    running: dict[str, Running] = {}

    def get(name: str) -> Running:
        if name not in running:
            peer = installed(name)
            running[name] = Running(peer, gateway, home / name)
            running[name].sign_in()
        return running[name]

    yield get
    for client in running.values():
        client.stop()


@pytest.fixture
def newcomer(gateway: Control, home: Path) -> Iterator[Callable[[str], Running]]:
    """A client of the test's own that has never run."""
    started: list[Running] = []

    def get(name: str) -> Running:
        started.append(Running(installed(name), gateway, home / f"{name}-newcomer-{next(numbers)}"))
        return started[-1]

    yield get
    for client in started:
        client.stop()


@pytest.fixture
def led(vendor: Control, home: Path) -> Iterator[Callable[[str], Running]]:
    """A client that a proxy leads to the gateway from Tencent's own addresses."""
    started: list[Running] = []

    def get(name: str) -> Running:
        environ = {
            "HTTPS_PROXY": vendor.info["proxy_url"],
            "NODE_USE_ENV_PROXY": "1",
            "NODE_EXTRA_CA_CERTS": vendor.info["authority"],
            "SSL_CERT_FILE": vendor.info["authority"],
            # What the drivers of clients without fixed hosts would be told.
            "ILINK_BASE_URL": "https://ilinkai.weixin.qq.com",
            "ILINK_CDN_URL": "https://novac2c.cdn.weixin.qq.com/c2c",
        }
        started.append(Running(installed(name), vendor, home / f"{name}-led-{next(numbers)}", **environ))
        return started[-1]

    yield get
    for client in started:
        client.stop()


@pytest.fixture
def trusting(secure: Control, home: Path) -> Iterator[Callable[[str], Running]]:
    """A client that trusts the authority of a gateway with HTTPS."""
    started: list[Running] = []

    def get(name: str) -> Running:
        trust = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        environ = dict.fromkeys(trust, secure.info["authority"])
        started.append(Running(installed(name), secure, home / f"{name}-trusting-{next(numbers)}", **environ))
        return started[-1]

    yield get
    for client in started:
        client.stop()
