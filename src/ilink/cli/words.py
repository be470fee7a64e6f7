"""What the command line says, in the reader's language."""

from __future__ import annotations

from typing import Final

from ilink.client.words import Words

__all__ = ["say"]

say: Final = Words("ilink.cli")
"""Returns a text of the command line by its key."""
