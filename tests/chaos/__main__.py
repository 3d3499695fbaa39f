"""Chaos: web and worker processes are killed while people ask, and everything is counted in the end.

`python -m tests.chaos --seed 1 --events 5000 --kills 200` prints one table, and fails if anything was lost,
doubled or out of order.
"""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from tests.chaos.report import Options, Report
from tests.chaos.storm import storm
from tests.chaos.talks import SHARES, Kind


async def _until_told(storming: Coroutine[Any, Any, Report]) -> Report:
    """SIGTERM ends it too, and leaves no process behind."""
    task = asyncio.ensure_future(storming)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _share(word: str) -> tuple[Kind, int]:
    """`edit=20`. Raises ValueError."""
    name, _, number = word.partition("=")
    if name not in SHARES:
        raise ValueError(name)
    return cast("Kind", name), int(number)


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--stops", type=int, default=None, help="default: one for 10 kills")
    parser.add_argument("--restarts", type=int, default=None, help="of Redis; default: one for 25 kills")
    parser.add_argument("--outages", type=int, default=None, help="of Redis; default: one for 25 kills")
    parser.add_argument(
        "--platforms", type=int, default=None, help="outages of them; default: one for 10 kills"
    )
    parser.add_argument("--refusals", type=float, default=0.2, help="share of threads that refuse for good")
    parser.add_argument("--web", type=int, default=2)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--talks", type=int, default=24, help="conversations at once")
    parser.add_argument("--lease-s", type=float, default=2.0)
    parser.add_argument("--faults", type=float, default=0.15, help="chance of a fault with each act")
    shares = ", ".join(f"{kind} {share}" for kind, share in SHARES.items())
    parser.add_argument(
        "--share",
        type=_share,
        action="append",
        default=[],
        metavar="KIND=NUMBER",
        help=f"how often an act of this kind is done where it can be; default: {shares}",
    )
    parser.add_argument("--fsync", choices=("always", "everysec"), default="always")
    parser.add_argument("--logs", type=Path, default=None, help="where to keep the processes' logs")
    given = parser.parse_args()
    options = Options(
        seed=given.seed,
        events=given.events,
        kills=given.kills,
        stops=given.kills // 10 if given.stops is None else given.stops,
        restarts=given.kills // 25 if given.restarts is None else given.restarts,
        outages=given.kills // 25 if given.outages is None else given.outages,
        platforms=given.kills // 10 if given.platforms is None else given.platforms,
        refusals=given.refusals,
        web=given.web,
        workers=given.workers,
        talks=given.talks,
        lease_s=given.lease_s,
        faults=given.faults,
        fsync=given.fsync,
        shares={**SHARES, **dict(given.share)},
    )
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # who asks the simulators dies a lot
    if given.logs is not None:
        given.logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(_until_told(storm(options, given.logs or Path(folder))))
    print(report.table(), flush=True)
    for line in report.failures():
        print(line, file=sys.stderr)
    return 1 if report.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
