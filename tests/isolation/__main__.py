"""`make isolation`: many random operations over nine tenants with equal ids, against an oracle of who may see what.

python -m tests.isolation --operations 20000 --seed 7
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from bot.storage.redis.client import Redis
from tests.isolation import play
from tests.isolation.run import Report
from tests.support import servers
from tests.support.patience import PATIENCE_S


def printed(report: Report, spent_s: float) -> None:
    """The table, then the differences."""
    print(f"{'operation':<18}{'done':>8}{'refused':>9}")
    for kind, count in sorted(report.done.items()):
        print(f"{kind:<18}{count:>8}{report.refused[kind]:>9}")
    print(f"{'all':<18}{report.done.total():>8}{report.refused.total():>9}")
    print(
        f"seed {report.seed}, {spent_s:.0f} s: {report.prompts} prompts checked, {report.summaries} of them for "
        f"summaries; Redis looked through {report.scans} times; {len(report.differences)} differences"
    )
    for difference in report.differences[:50]:
        print(difference)


async def isolation(url: str, operations: int, seed: int) -> int:
    """Run them; the number of differences."""
    began_s = time.monotonic()
    redis = Redis(url, timeout_s=PATIENCE_S)
    try:
        report = await play(redis, operations, seed)
    finally:
        await redis.close()
    printed(report, time.monotonic() - began_s)
    return len(report.differences)


def main() -> None:
    """Exits with 1 where there were differences."""
    parser = argparse.ArgumentParser(prog="python -m tests.isolation")
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        with servers.running(servers.Server(Path(folder), "--unixsocket", str(socket))):
            sys.exit(bool(asyncio.run(isolation(f"unix://{socket}", given.operations, given.seed))))


if __name__ == "__main__":
    main()
