"""What all tests share: generated examples are the same in every run, and many more when time is no matter."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile("long" if os.environ.get("ILINK_LONG_TESTS") else "fixed")
