"""A real disk that a test can fill, for the tables of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from ilink.testing.engines import PostgresEngine


async def admin(engine: PostgresEngine, *statements: str) -> None:
    """Do something as the server's operator."""
    connection = await asyncpg.connect(engine.url().partition("?")[0])
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


class SmallDisk:
    """A disk of four megabytes that a server may write to."""

    def __init__(self, folder: Path, engine: PostgresEngine) -> None:
        self._engine = engine
        self._space = folder / "space"
        self._filler = folder / "filler"
        self._space.mkdir()
        owner = (engine.data / "PG_VERSION").stat()
        os.chown(self._space, owner.st_uid, owner.st_gid)
        folder.chmod(0o755)

    async def take_tables(self) -> None:
        """Let all tables lie here from now on."""
        space = f"CREATE TABLESPACE small LOCATION '{self._space}'"
        await admin(self._engine, space, "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE small NOWAIT")

    def fill(self) -> None:
        """Leave no room at all."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        """Leave room again."""
        self._filler.unlink()


@contextmanager
def small_disk_for(engine: PostgresEngine) -> Iterator[SmallDisk]:
    """Mount a disk for a server, which is stopped at the end; the test is skipped where nothing can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="ilink-disk-"))
    mount = shutil.which("mount")
    try:
        if (
            mount is None
            or os.geteuid() != 0
            or subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False).returncode
        ):
            pytest.skip("a real disk that fills up needs the right to mount one")
        try:
            yield SmallDisk(folder, engine)
        finally:
            engine.stop(at_once=True)
            subprocess.run(["umount", folder], check=True)
    finally:
        folder.rmdir()
