"""What the tests of media share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.objects import S3, s3

from ilink.storage.object_blobs import ObjectBlobs, open_objects
from ilink.transport.http import HttpTransport

__all__ = ["s3"]


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport() as opened:
        yield opened


@pytest.fixture
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; they must be gone in the end."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def s3_blobs(s3: S3) -> ObjectBlobs:
    """The blobs in it."""
    return open_objects(s3.url)
