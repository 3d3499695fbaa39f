"""Results of evaluations: the table, the comparison with the previous run, and storage."""

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
"""Stored runs; older ones are deleted."""


class Result(Frozen):
    """One answer to one case. `failures` describes the failed checks; empty: it passed.

    `deployment` is the requested one, "" if that was left to the template; `judged` is the usage of grading,
    in addition to the answer's `usage`. `cause` is the error of a deployment, for operators: it may name hosts.
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
    cause: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Identifies the result within its run and across runs."""
        return self.case, self.template, self.deployment


class Run(Frozen):
    """One evaluation of some files of cases.

    `published`: with the active templates instead of those in the files. `author` started it in the studio.
    """

    at: datetime
    files: tuple[str, ...]
    results: tuple[Result, ...]
    published: bool = False
    author: str = ""

    @property
    def id(self) -> str:
        """The start time, which is also the file name."""
        return f"{self.at:%Y%m%dT%H%M%S.%f}"

    @property
    def passed(self) -> int:
        """The number of answers that passed."""
        return sum(not result.failures for result in self.results)


class SummaryRow(Frozen):
    """A row of the table: one template on one deployment. `usd` is None if a price is unknown."""

    template: str
    deployment: str
    passed: int
    total: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    median_s: float


class RunComparison(Frozen):
    """How a run differs from an earlier one, in the results that both have."""

    at: datetime
    broken: tuple[Result, ...]
    mended: tuple[Result, ...]
    shared: int
    passed_before: int
    passed_now: int


def total(results: Sequence[Result]) -> SummaryRow:
    return _row("", "", results)


def table(results: Sequence[Result]) -> list[SummaryRow]:
    """A row per template and deployment, in the order of the results."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.template, result.deployment), []).append(result)
    return [_row(template, deployment, group) for (template, deployment), group in groups.items()]


def _row(template: str, deployment: str, group: Sequence[Result]) -> SummaryRow:
    calls = [usage for result in group for usage in (*result.usage, *result.judged)]
    prices = [usage.usd for usage in calls]
    known = [price for price in prices if price is not None]
    served = sorted({one.deployment for result in group for one in result.usage if one.answers})
    return SummaryRow(
        template=template,
        deployment=deployment or ", ".join(served) or "none",
        passed=sum(not result.failures for result in group),
        total=len(group),
        input_tokens=sum(usage.input_tokens for usage in calls),
        output_tokens=sum(usage.output_tokens for usage in calls),
        usd=sum(known) if len(known) == len(prices) else None,
        median_s=median(result.seconds for result in group),
    )


def compare(run: Run, last: Run | None) -> RunComparison | None:
    """What changed since the last run; None without one, or if the two have no result in common."""
    before = {result.key: result for result in last.results} if last else {}
    both = [(result, before[result.key]) for result in run.results if result.key in before]
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


# ------------------------------------------------------------------ storage


class RunStore:
    """Runs as JSON files in a folder, named after their start time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Run] = {}  # a stored run never changes

    def save(self, run: Run) -> Path:
        """Store a run and delete the oldest beyond MOST_RUNS. Raises ConfigError if that fails."""
        path = self._folder / f"{run.id}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
            for old in self._paths()[:-MOST_RUNS]:
                old.unlink()
        except OSError as error:
            raise ConfigError(f"Can't write {path}: {error.strerror}") from None
        return path

    def runs(self) -> list[Run]:
        """All stored runs that can be read, newest first."""
        paths = self._paths()
        self._read = {path.stem: self._read[path.stem] for path in paths if path.stem in self._read}
        for path in paths:
            if path.stem not in self._read:
                try:
                    self._read[path.stem] = msgspec.json.decode(path.read_bytes(), type=Run)
                except (OSError, msgspec.MsgspecError):
                    continue  # incomplete, or from another version
        return [self._read[path.stem] for path in reversed(paths) if path.stem in self._read]

    def last(self, run: Run) -> Run | None:
        """The newest earlier run of the same files, preferably one with all results of this run."""
        keys = {result.key for result in run.results}
        earlier = [stored for stored in self.runs() if stored.files == run.files and stored.at < run.at]
        complete = (stored for stored in earlier if keys <= {result.key for result in stored.results})
        return next(complete, earlier[0] if earlier else None)

    def _paths(self) -> list[Path]:
        return sorted(
            path for path in self._folder.glob("*.json") if re.fullmatch(r"\d{8}T[\d.]+", path.stem)
        )
