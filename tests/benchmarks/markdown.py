"""What every surface does with hostile texts, and for how long the event loop waits meanwhile.

`python -m tests.benchmarks.markdown [--size 500000] [--only WORDS]` prints, for each text of
`tests.support.hostile_texts` and each surface, the milliseconds of work in all and, in a second pass, the longest wait
of a task that only wants its turn. A stream gets an update for every 3,000 characters.
"""

import argparse
import asyncio
import time

from bot.app import capacity
from tests.support.hostile_texts import HOSTILE, SURFACES


class Heartbeat:
    """A task that only wants its turn: `longest_ms` is how long it had to wait for it."""

    def __init__(self) -> None:
        self.longest_ms = 0.0

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - before) * 1000)


async def measure(surface: str, text: str) -> tuple[float, float]:
    """Milliseconds of work in all, and of the longest wait."""
    began = time.perf_counter()
    await SURFACES[surface](text)
    took = time.perf_counter() - began
    heart = Heartbeat()
    beating = asyncio.create_task(heart.beat())
    await asyncio.sleep(0)
    heart.longest_ms = 0.0
    await SURFACES[surface](f"{text}.")  # a text that nothing is remembered of
    await asyncio.sleep(0)
    beating.cancel()
    return took * 1000, heart.longest_ms


async def run(size: int, only: str) -> None:
    """Print the table."""
    print(f"{size} characters each; ms in all / ms of the longest wait\n")
    print(f"| text | {' | '.join(SURFACES)} |\n|---|{'---:|' * len(SURFACES)}")
    worst = dict.fromkeys(SURFACES, (0.0, 0.0))
    for name, build in HOSTILE.items():
        if only not in name:
            continue
        text = build(size)
        cells: list[str] = []
        for surface in SURFACES:
            took, longest = await measure(surface, text)
            worst[surface] = max(worst[surface][0], took), max(worst[surface][1], longest)
            cells.append(f"{took:.0f} / {longest:.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"| **most** | {' | '.join(f'{took:.0f} / {wait:.0f}' for took, wait in worst.values())} |")


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=500_000)
    parser.add_argument("--only", default="", help="words in the name of a text")
    given = parser.parse_args()
    capacity.freeze_startup_objects()  # as the bot does
    asyncio.run(run(given.size, given.only))


if __name__ == "__main__":
    main()
