"""What an evaluation found: results, the table over them, and how they compare with the last run."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

import msgspec

from bot.domain.errors import ConfigError
from bot.domain.events import Frozen
from bot.domain.turns import Usage

MOST_RUNS = 100
"""How many runs are kept; older ones are deleted."""


class Result(Frozen):
    """One answer to one case. `failures` are what is wrong with it, in words; none: it passed.

    `deployment` is the one that was wished for, "" for the template's own wish; `judged` is what grading
    cost, apart from the answer's `usage`.
    """

    case: str
    template: str
    version: str
    deployment: str
    question: str
    answer: str
    failures: tuple[str, ...]
    seconds: float
    usage: tuple[Usage, ...] = ()
    judged: tuple[Usage, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the other results of its run, and finds it in another run."""
        return self.case, self.template, self.deployment


class Run(Frozen):
    """One evaluation of some files of cases.

    `published` is whether the templates were those in use, not only the files; `author` is who started it
    in the studio.
    """

    at: datetime
    files: tuple[str, ...]
    results: tuple[Result, ...]
    published: bool = False
    author: str = ""

    @property
    def id(self) -> str:
        """Its time, as its file is named."""
        return f"{self.at:%Y%m%dT%H%M%S.%f}"

    @property
    def passed(self) -> int:
        """How many answers had nothing wrong with them."""
        return sum(not one.failures for one in self.results)


class SummaryRow(Frozen):
    """A line of the table: one template on one deployment. `usd` is `None` where a price is unknown."""

    template: str
    deployment: str
    passed: int
    total: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    median_s: float


class RunComparison(Frozen):
    """How a run differs from an earlier one, over the results that both have."""

    at: datetime
    broken: tuple[Result, ...]
    mended: tuple[Result, ...]
    shared: int
    passed_before: int
    passed_now: int


def total(results: Sequence[Result]) -> SummaryRow:
    """One row over all results."""
    return _row("", "", results)


def table(results: Sequence[Result]) -> list[SummaryRow]:
    """A row for each template on each deployment, in the order of the results."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.template, result.deployment), []).append(result)
    return [_row(template, deployment, group) for (template, deployment), group in groups.items()]


def _row(template: str, deployment: str, group: Sequence[Result]) -> SummaryRow:
    calls = [usage for result in group for usage in (*result.usage, *result.judged)]
    prices = [usage.usd for usage in calls]
    known = [price for price in prices if price is not None]
    served = sorted({usage.deployment for result in group for usage in result.usage})
    return SummaryRow(
        template=template,
        deployment=deployment or ", ".join(served) or "none",
        passed=sum(not one.failures for one in group),
        total=len(group),
        input_tokens=sum(usage.input_tokens for usage in calls),
        output_tokens=sum(usage.output_tokens for usage in calls),
        usd=sum(known) if len(known) == len(prices) else None,
        median_s=median(one.seconds for one in group),
    )


def compare(run: Run, last: Run | None) -> RunComparison | None:
    """What changed since the last run; None without one, or when the two have no result in common."""
    before = {one.key: one for one in last.results} if last else {}
    both = [(one, before[one.key]) for one in run.results if one.key in before]
    if last is None or not both:
        return None
    return RunComparison(
        at=last.at,
        broken=tuple(now for now, then in both if now.failures and not then.failures),
        mended=tuple(now for now, then in both if then.failures and not now.failures),
        shared=len(both),
        passed_before=sum(not then.failures for _, then in both),
        passed_now=sum(not now.failures for now, _ in both),
    )


# ------------------------------------------------------------------ keeping


class RunStore:
    """The runs of a folder, a JSON file each, named with their time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Run] = {}  # a kept run never changes

    def keep(self, run: Run) -> Path:
        """Write a run down. Raises ConfigError when the folder can't be written."""
        path = self._folder / f"{run.id}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
            for old in self._paths()[:-MOST_RUNS]:
                old.unlink()
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}") from None
        return path

    def runs(self) -> list[Run]:
        """Every kept run that can be read, newest first."""
        paths = self._paths()
        self._read = {path.stem: self._read[path.stem] for path in paths if path.stem in self._read}
        for path in paths:
            if path.stem not in self._read:
                try:
                    self._read[path.stem] = msgspec.json.decode(path.read_bytes(), type=Run)
                except (OSError, msgspec.MsgspecError):
                    continue  # half written, or of another version
        return [self._read[path.stem] for path in reversed(paths) if path.stem in self._read]

    def last(self, run: Run) -> Run | None:
        """The newest run before this one of the same files that has every result of it, else the newest."""
        keys = {one.key for one in run.results}
        earlier = [kept for kept in self.runs() if kept.files == run.files and kept.at < run.at]
        whole = (kept for kept in earlier if keys <= {one.key for one in kept.results})
        return next(whole, earlier[0] if earlier else None)

    def _paths(self) -> list[Path]:
        return sorted(one for one in self._folder.glob("*.json") if re.fullmatch(r"\d{8}T[\d.]+", one.stem))
