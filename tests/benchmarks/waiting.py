"""Sixty people at once at one deployment that accepts six requests per 20 s, and says so in each of five ways.

    python -m tests.benchmarks.waiting              twenty times faster, about a quarter of a minute
    python -m tests.benchmarks.waiting --scale 1    in real time, about three and a half minutes

The people come within a second, in a known order, through the gateways of two processes and their queue in Redis. The
window is fixed, as Azure's is. An inversion is a pair of people who had to wait, of whom the later one was accepted
first.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import uvloop

from bot.llm.routing import attempts, turn_queue
from bot.storage.usage import cooldowns
from tests.simulators.azure import AzureSimulator
from tests.simulators.limited import SAYS
from tests.support import servers
from tests.support.crowd import PEOPLE, WINDOW_S, Outcome, crowd, ideal_s


async def run(scale: float) -> dict[str, Outcome]:
    """All ways at the same time, each at a deployment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        with servers.running(servers.Server(Path(folder), "--unixsocket", str(socket))):
            async with AzureSimulator() as azure:
                ran = await asyncio.gather(*(crowd(says, azure, f"unix://{socket}", scale) for says in SAYS))
    return dict(zip(SAYS, ran, strict=True))


def table(outcomes: dict[str, Outcome], scale: float) -> None:
    """Print a row for each way."""
    print("\n| the refusal says | answered | pairs out of order | refusals | seconds | ideal |")
    print("|---|---|---|---|---|---|")
    for says, one in outcomes.items():
        answered = f"{len(set(one.accepted))} of {PEOPLE}"
        seconds = f"{one.seconds:.1f} | {ideal_s(WINDOW_S * scale):.1f}"
        print(f"| {says} | {answered} | {one.inversions} | {one.refused} | {seconds} |")


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description="Many people at a busy deployment.")
    options.add_argument("--scale", type=float, default=0.05, help="of time; 1 is real time")
    scale = options.parse_args().scale
    for module, name in ((attempts, "TURN_S"), (cooldowns, "FASTER_S"), (turn_queue, "FASTER_S")):
        setattr(module, name, getattr(module, name) * scale)
    table(uvloop.run(run(scale)), scale)


if __name__ == "__main__":
    main()
