"""Fuzzes one target: `python -m tests.fuzz wire --seconds 600 --corpus ~/corpus/wire`.

It goes on until the time is over or something goes wrong; then it says what, keeps the input in a file named
`crash-…`, and ends with an error. `python -m tests.fuzz wire --again crash-…` runs that input alone, without a fuzzer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

TARGETS = ("wire", "login", "protocol", "cdn")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="how long, 60 by default")
    parser.add_argument("--corpus", type=Path, help="where inputs that reach new code are kept for the next run")
    parser.add_argument("--again", type=Path, help="run the input in this file, and nothing else")
    options = parser.parse_args()
    if options.again is not None:
        _again(options.target, options.again.read_bytes())
    else:
        _fuzz(options.target, options.seconds, options.corpus)


def _again(name: str, data: bytes) -> None:
    from tests.fuzz.targets import TARGETS as TABLE

    with TABLE[name].open() as run:
        run(data)


def _fuzz(name: str, seconds: int, corpus: Path | None) -> None:
    import atheris

    # Before anything of ours is loaded: only what is loaded in here tells the fuzzer which way it went.
    with atheris.instrument_imports(include=["ilink"]):
        from tests.fuzz.targets import TARGETS as TABLE
    target = TABLE[name]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) if corpus is None else corpus
        kept.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target.seeds):
            (kept / f"seed-{number}").write_bytes(seed)
        with target.open() as run:
            limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=30", "-rss_limit_mb=1024"]
            atheris.Setup([sys.argv[0], *limits, str(kept)], run)
            atheris.Fuzz()


if __name__ == "__main__":
    main()
