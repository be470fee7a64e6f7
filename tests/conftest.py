"""What all tests share: generated examples are the same in every run; `ILINK_EXAMPLES` makes them new and many."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("fresh", deadline=None, max_examples=int(os.environ.get("ILINK_EXAMPLES", "100")))
settings.load_profile("fresh" if "ILINK_EXAMPLES" in os.environ else "fixed")
