"""A gateway as a process of its own, on a database that others share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ilink.gateway.server import ServerOptions, run

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    sys.exit(run(ServerOptions(ready_json=True, **options | {"data": Path(options["data"])})))
