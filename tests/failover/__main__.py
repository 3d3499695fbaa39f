"""Failovers under load, with what was lost and what was answered twice.

python -m tests.failover --runs 20 [--replicas 0] [--seed 1]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.failover.run import Deed, Run
from tests.failover.systems import System, by_cluster, by_sentinels

KINDS: list[tuple[str, Callable[[Path], AbstractContextManager[System]], Deed]] = [
    ("sentinels", by_sentinels, "paused"),
    ("cluster", by_cluster, "paused"),
    ("sentinels", by_sentinels, "killed"),
    ("cluster", by_cluster, "killed"),
    ("sentinels", by_sentinels, "gone"),
    ("cluster", by_cluster, "gone"),
]


def main() -> None:
    """Exits with 1 if anything was lost or answered twice, or if a worker ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.failover")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    heads = (
        "seed",
        "Redis",
        "its master is",
        "acknowledged",
        "refused",
        "lost",
        "answered twice",
        "workers ended",
    )
    print(f"| {' | '.join((*heads, 'stream goes on', 's'))} |")
    print("|---:|---|---|---:|---:|---:|---:|---:|---|---:|", flush=True)
    bad = 0
    for seed in range(given.seed, given.seed + given.runs):
        name, system, deed = KINDS[seed % len(KINDS)]
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, system(Path(folder)) as servers:
            outcome = asyncio.run(Run(servers, seed, given.replicas).run(deed))
        counts = [len(outcome.lost), len(outcome.doubled), len(outcome.ended)]
        bad += sum(counts) + (not outcome.streamed)
        cells = [seed, name, deed, len(outcome.acknowledged), outcome.refused, *counts]
        took_s = round(time.monotonic() - began_s)
        print(
            "|", " | ".join(map(str, [*cells, "yes" if outcome.streamed else "no", took_s])), "|", flush=True
        )
        for error in outcome.ended:
            print(error)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
