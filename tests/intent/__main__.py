"""How often people get what they mean: `python -m tests.intent` prints the confusion tables (minutes).

It ends with 1 if anything harmful happened, if less than 98 % of the sentences led to what they mean, if an option of a
picture was lost, or if less than 95 % of the messages after a picture were understood.
"""

import argparse
import sys
from pathlib import Path

import uvloop

from tests.intent.hold import AT_ONCE, hold_all
from tests.intent.pictures import (
    broken_picture_limits,
    change_all,
    picture_table,
    request_all,
    wrong_pictures,
)
from tests.intent.report import broken_limits, misfires, tables
from tests.intent.sentences import after_pictures, picture_requests, sentences
from tests.intent.stage import measurement


def options() -> argparse.Namespace:
    """What a run may be told."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--every", type=int, default=1, help="only each so-manieth sentence")
    words.add_argument("--surface", action="append", help="only this surface; may be repeated")
    words.add_argument("--at-once", type=int, default=AT_ONCE)
    words.add_argument("--misfires", type=Path, help="a file for every sentence that went wrong")
    return words.parse_args()


async def main(chosen: argparse.Namespace) -> int:
    """Measure, print, judge."""
    async with measurement() as town:
        surfaces = chosen.surface or list(town.surfaces)
        held = await hold_all(town, sentences()[:: chosen.every], surfaces, chosen.at_once)
        drawn = await request_all(town, picture_requests()[:: chosen.every], surfaces)
        changes = await change_all(town, after_pictures()[:: chosen.every], surfaces)
        invalid = sorted(set(town.model.invalid))
    print("\n".join([*tables(held), "", "### Pictures", "", *picture_table(drawn, changes)]))
    wrong = [*misfires(held), *wrong_pictures(drawn, changes)]
    if chosen.misfires:
        chosen.misfires.write_text("".join(f"{line}\n" for line in wrong), encoding="utf-8")
    problems = [*broken_limits(held), *broken_picture_limits(drawn, changes), *invalid]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(options())))
