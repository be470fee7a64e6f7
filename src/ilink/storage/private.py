"""Files and folders that nobody but their owner can read, from their first moment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ilink.errors import StoreError

__all__ = ["create_private_file", "make_private_folder", "replace_private_file"]


def make_private_folder(folder: Path) -> Path:
    """Make a folder with mode 0700, parents too; an existing folder is left as it is.

    Raises:
        StoreError: It cannot be made, or something else is in its place.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make the folder {folder}: {error.strerror}; choose another with the data option"
        raise StoreError(message) from error
    return folder


def create_private_file(path: Path) -> None:
    """Create an empty file with mode 0600 unless it exists; mode and existence are one step."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        message = f"cannot create {path}: {error.strerror}"
        raise StoreError(message) from error


def replace_private_file(path: Path, content: bytes) -> None:
    """Replace a file's content in one step: readers see the old or the new one, never a part, also after a crash."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        message = f"cannot write {path}: {error.strerror}"
        raise StoreError(message) from error
