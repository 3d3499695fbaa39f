"""How often people get what they mean: `python -m tests.intent` prints the confusion tables (minutes).

It ends with 1 if anything harmful happened, if less than 98 % of the sentences led to what they mean, if an option of a
picture was lost, or if less than 95 % of the messages after a picture were understood.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from msgspec.structs import replace

from tests.intent.hold import AT_ONCE, hold_all
from tests.intent.pictures import (
    broken_picture_limits,
    change_all,
    picture_table,
    request_all,
    wrong_pictures,
)
from tests.intent.report import broken_limits, misfires, tables, unexplained_pictures
from tests.intent.sentences import ANSWER, after_pictures, picture_requests, sentences
from tests.intent.stage import measurement


def options() -> argparse.Namespace:
    """What a run may be told."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--every", type=int, default=1, help="only each so-manieth sentence")
    words.add_argument("--first", type=int, default=0, help="begin with this one, counted from 0")
    words.add_argument("--surface", action="append", help="only this surface; may be repeated")
    words.add_argument("--at-once", type=int, default=AT_ONCE)
    words.add_argument("--misfires", type=Path, help="a file for every sentence that went wrong")
    words.add_argument("--without-tools", action="store_true", help="the model refuses tools")
    return words.parse_args()


async def main(chosen: argparse.Namespace) -> int:
    """Measure, print, judge."""
    if chosen.without_tools:
        return await without_tools(chosen)
    async with measurement() as town:
        surfaces = chosen.surface or list(town.surfaces)
        held = await hold_all(town, sentences()[chosen.first :: chosen.every], surfaces, chosen.at_once)
        unexpected = unexplained_pictures(held, len(town.model.drawn))
        requests = picture_requests()[chosen.first :: chosen.every]
        drawn = await request_all(town, requests, surfaces)
        drawn += await request_all(town, requests, surfaces, "command")
        changes = await change_all(town, after_pictures()[chosen.first :: chosen.every], surfaces)
        invalid = sorted(set(town.model.invalid))
    print("\n".join([*tables(held), "", "### Pictures", "", *picture_table(drawn, changes)]))
    keep(chosen.misfires, [*misfires(held), *wrong_pictures(drawn, changes)])
    return judge([*broken_limits(held), *unexpected, *broken_picture_limits(drawn, changes), *invalid])


async def without_tools(chosen: argparse.Namespace) -> int:
    """The same sentences where the model has no tools: it can explain, and the commands work."""
    explained = [each if each.exact else replace(each, also=(*each.also, ANSWER)) for each in sentences()]
    async with measurement(tools=False) as town:
        surfaces = chosen.surface or list(town.surfaces)
        held = await hold_all(town, explained[chosen.first :: chosen.every], surfaces, chosen.at_once)
        unexpected = unexplained_pictures(held, len(town.model.drawn))
    print("\n".join(tables(held)))
    keep(chosen.misfires, misfires(held))
    return judge([*broken_limits(held), *unexpected])


def keep(path: Path | None, lines: Iterable[str]) -> None:
    """Write lines to a file, if there is one."""
    if path is not None:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def judge(problems: Sequence[str]) -> int:
    """Print the problems; the exit code."""
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


async def until_told(work: Coroutine[Any, Any, int]) -> int:
    """The same, but SIGTERM ends the bot, too."""
    task = asyncio.create_task(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(uvloop.run(until_told(main(options()))))
