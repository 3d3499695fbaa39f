"""Parley beside the floor program, many conversations at once, and one: `make bench`.

`python -m tests.benchmarks` takes about two minutes. At the end it prints the round trips to Redis of a turn, and how
close estimates of tokens are. The floor and Parley run in turn, so that a machine that is busy with something else
slows both. What else is measured has a command of its own:

- `tests.benchmarks.turns`: one such run, with its load and its pace as options
- `tests.benchmarks.workers`: how throughput grows with worker processes
- `tests.benchmarks.open_conversations`: what a thousand conversations add to the memory
- `tests.benchmarks.idle`: how soon an idle worker wakes, and what it costs
- `tests.benchmarks.prefix`: what a long conversation costs, by what the provider's cache finds
- `tests.benchmarks.waiting`: who is answered when sixty people come to a deployment that accepts six requests per 20 s
- `tests.benchmarks.fairness`: how long one question waits beside 300 of another tenant, or in another channel
- `tests.benchmarks.token_faults`: what becomes of messages while the token of their workspace can't be used
- `tests.benchmarks.tokens`: how close estimates of tokens are, by kind of text and language
- `tests.benchmarks.stream_parse`: what reading one streamed answer costs
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.benchmarks import tokens
from tests.benchmarks.turns import Measured, measure, milliseconds, parser
from tests.support import round_trips, servers

FLOOR = [sys.executable, "-m", "tests.benchmarks.floor"]
ROUNDS = 3


def options(*words: str, bot: list[str] | None = None) -> argparse.Namespace:
    """The options of one run."""
    parsed = parser().parse_args(list(words))
    if bot is not None:
        parsed.bot = bot
    return parsed


def table(title: str, columns: dict[str, Measured]) -> None:
    """Print runs beside each other."""
    rows = {name: measured.rows() for name, measured in columns.items()}
    print(f"\n{title}\n\n| | {' | '.join(rows)} |\n|---|{'---|' * len(rows)}")
    for figure in next(iter(rows.values())):
        print(f"| {figure} | {' | '.join(one[figure] for one in rows.values())} |", flush=True)


async def main() -> None:
    """Run everything."""
    pairs = [
        (await measure(options("--seconds", "8", bot=FLOOR)), await measure(options("--seconds", "8")))
        for _ in range(ROUNDS)
    ]
    middle = sorted(pairs, key=lambda pair: pair[1].cpu_ms / pair[0].cpu_ms)[ROUNDS // 2]
    table("16 conversations at once, 50 chunks, no waiting", {"floor": middle[0], "Parley": middle[1]})
    cpu = statistics.median(parley.cpu_ms / floor.cpu_ms for floor, parley in pairs)
    speed = statistics.median(parley.per_second / floor.per_second for floor, parley in pairs)
    print(f"\nParley / floor, median of {ROUNDS} pairs: CPU per turn {cpu:.2f}, turns per second {speed:.2f}")
    slow = ("--conversations", "128", "--seconds", "15", "--chunks", "100", "--interval-ms", "20")
    starts = {"begun one after another": "3", "begun in one instant": "0"}
    many = {
        name: await measure(options(*slow, "--first-ms", "500", "--spread", spread))
        for name, spread in starts.items()
    }
    table("128 conversations at once, 0.5 s to the first token, 100 chunks 20 ms apart", many)
    for name, measured in many.items():
        added = milliseconds([second - 0.5 for second in measured.load.first_s])
        print(f"\nAdded to the first text, {name}: {added} ms (median, p99)")
    one = await measure(options("--conversations", "1", "--seconds", "6"))
    table("one conversation", {"Parley": one})
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "redis.sock")
        with servers.running(servers.Server(Path(folder), "--unixsocket", str(socket))):
            trips = await round_trips.of_one_turn(f"unix://{socket}")
    print(f"\nRound trips to Redis of one turn: {len(trips)} ({', '.join(trips)})")
    tokens.main()


uvloop.run(main())
