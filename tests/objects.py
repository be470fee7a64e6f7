"""A store that speaks S3, for tests: moto's server on a free port."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "ilink-test"
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "key-of-a-test",
    "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
    "AWS_REGION": "us-east-1",
}


class S3:
    """The server, and what it holds."""

    def __init__(self) -> None:
        self._server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"s3://{BUCKET}/media"

    def reset(self) -> None:
        """Forget everything, and make an empty bucket."""
        self._call("POST", "/moto-api/reset")
        self._call("PUT", f"/{BUCKET}")

    def names(self) -> list[str]:
        """The names of all objects."""
        return self._texts(f"/{BUCKET}?list-type=2", "Contents", "Key")

    def unfinished(self) -> int:
        """How many uploads in parts were begun and neither completed nor taken back."""
        return len(self._texts(f"/{BUCKET}?uploads", "Upload", "Key"))

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _texts(self, path: str, row: str, field: str) -> list[str]:
        tree = ET.fromstring(self._call("GET", path))
        found = [entry.find(f"{{*}}{field}") for entry in tree.iterfind(f"{{*}}{row}")]
        return [entry.text or "" for entry in found if entry is not None]

    def _call(self, method: str, path: str) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.endpoint + path, method=method)) as answer:
            content: bytes = answer.read()
            return content


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A store that speaks S3, with an empty bucket, and an environment that leads to it."""
    server = S3()
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    server.reset()
    yield server
    server.stop()
