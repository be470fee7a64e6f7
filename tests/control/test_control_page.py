"""The page's files: served as what they are, and able to run nothing else."""

from __future__ import annotations

from importlib import resources

import pytest


async def test_the_page_is_served_at_the_root(api) -> None:
    answer = await api.get("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.raw == (resources.files("ilink.phone") / "index.html").read_bytes()


async def test_nothing_but_the_page_itself_may_run(api) -> None:
    headers = (await api.get("/")).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/locales/en.json", "application/json"),
    ],
)
async def test_files_have_the_types_that_browsers_insist_on(api, path, kind) -> None:
    answer = await api.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_is_sent_once(api) -> None:
    first = await api.get("/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = await api.get("/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.raw) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/__init__.py",
        "/__pycache__/x.pyc",
        "/../cli/locales/en.json",
        "/%2e%2e/cli/locales/en.json",
        "/..%2fcli/locales/en.json",
        "/vendor/../../cli/locales/en.json",
        "/%2e%2e%5ccli%5clocales%5cen.json",
        "/vendor",
        "/styles/",
        "/index.html%00.js",
        "/nothing.js",
        "/.hidden.js",
        "//etc/hosts.txt",
    ],
)
async def test_nothing_else_of_the_disk_is_served(server, path) -> None:
    answer = await raw_get(server, path)
    assert answer.startswith(b"HTTP/1.1 404 ")


async def raw_get(server, path: str) -> bytes:
    """Ask without a client that would tidy the path up."""
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.info.control_url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(45):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
