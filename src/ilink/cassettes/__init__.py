"""Recording real exchanges without their secrets, serving them again, and comparing them with the gateway.

A cassette is a file of JSON lines: a label, then one line per exchange. `Recorder` makes one as a transparent proxy,
`Replayer` serves one to a client, and `compare` plays its client's side against a gateway and says where the answers
differ. `run_parity` makes a scripted list of exchanges on any server.
"""

from __future__ import annotations

from ilink.cassettes.compare import Comparison, Difference
from ilink.cassettes.parity import Outcome, run_parity
from ilink.cassettes.player import compare
from ilink.cassettes.recorder import Recorder
from ilink.cassettes.replayer import Miss, Replayer
from ilink.cassettes.tape import Cassette, read_cassette

__all__ = [
    "Cassette",
    "Comparison",
    "Difference",
    "Miss",
    "Outcome",
    "Recorder",
    "Replayer",
    "compare",
    "read_cassette",
    "run_parity",
]
