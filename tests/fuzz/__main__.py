"""`make fuzz`: more requests than the tests send, from another seed each time.

python -m tests.fuzz --requests 200000 --seed 7
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.bombardment import bombard
from tests.fuzz.target import listening, running


async def fuzz(requests: int, seed: int, folder: Path) -> int:
    """Send them all; how many were not answered as they should be."""
    began_s = time.monotonic()
    async with listening() as complaints, running(folder) as target:
        faults = await bombard(target, complaints, requests, seed)
        well = await target.is_well()
    for fault in faults:
        print(fault)
    spent_s = time.monotonic() - began_s
    print(f"seed {seed}: {sum(target.statuses.values())} answers in {spent_s:.0f} s, {len(faults)} faults")
    print("  ".join(f"{status}: {count}" for status, count in sorted(target.statuses.items())))
    return len(faults) + (not well)


def main() -> None:
    """Exits with 1 where there were faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(bool(asyncio.run(fuzz(given.requests, given.seed, Path(folder)))))


if __name__ == "__main__":
    main()
