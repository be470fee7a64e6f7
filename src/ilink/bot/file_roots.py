"""Which files of this machine may be sent: those below some folders, when such are named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ilink.errors import ForbiddenFileError
from ilink.messages.media import UploadSource

__all__ = ["check_source"]


def check_source(source: UploadSource, roots: Sequence[Path | str] | None) -> UploadSource:
    """Return what is to be sent, a path with all its links followed; what is no path is the program's own doing.

    Args:
        source: What is to be sent.
        roots: The folders it has to lie in, if it is a path; None for anywhere.

    Raises:
        ForbiddenFileError: It lies elsewhere, or a link on its way leads elsewhere.
    """
    if roots is None or not isinstance(source, str | os.PathLike):
        return source
    path = Path(source)
    real = Path(os.path.realpath(path))  # the file is opened by this name, so that a link cannot be turned meanwhile
    if any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        return real
    folders = ", ".join(str(root) for root in roots) or "no folder at all"
    message = f"{path} is not sent: it is not in {folders}, where `Policies.file_roots` lets files be sent from"
    raise ForbiddenFileError(message)
