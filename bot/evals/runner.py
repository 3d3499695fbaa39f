"""Evaluations in the studio: those that were run, and a new one of what is in use now."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.events import Address, MessageReceived, User, now
from bot.domain.turns import Reply, Turn
from bot.evals import cases, evaluation, results
from bot.evals.evaluation import EvalContext
from bot.evals.results import Result, Run, RunComparison, RunStore, SummaryRow
from bot.storage.usage.charges import Charges

PERSON = User(id="evaluation", tenant="studio", name="Evaluation")
"""Who asks here, for the ledger."""
MOST_ANSWERS = 300
"""Of one run: a slip must not cost a fortune."""
PARALLEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """A run with its sums, its table, and how it differs from the one before."""

    run: Run
    total: SummaryRow
    rows: Sequence[SummaryRow]
    change: RunComparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRunner:
    """One run at a time in a process. `folder` has the files of cases; a run costs what its answers cost."""

    context: EvalContext
    folder: Path
    run_store: RunStore
    charges: Charges
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    def files(self) -> Sequence[str]:
        """The files of cases."""
        return [path.name for path in sorted(self.folder.glob("*.yaml"))]

    def models(self) -> Sequence[str]:
        """The chat deployments that a run can be held on."""
        return list(self.context.model_info.comparable_deployments())

    async def reports(self) -> Sequence[EvalReport]:
        """Every kept run, newest first."""
        return await asyncio.to_thread(lambda: [self._report(run) for run in self.run_store.runs()])

    def _report(self, run: Run) -> EvalReport:
        change = results.compare(run, self.run_store.last(run))
        rows = results.table(run.results)
        return EvalReport(run=run, total=results.total(run.results), rows=rows, change=change)

    async def run(
        self, files: Sequence[str], deployment: str, *, author: str, done: Callable[[int, int, int], None]
    ) -> str:
        """Ask every case of these files of the templates in use; `done` gets how many are done, of how many,
        and how many failed. Returns the id of the run; cancelled, nothing is kept of it but what it cost.

        Raises NotAllowed, TemplateError and ConfigError, in words.
        """
        if self._busy.locked():
            raise NotAllowed("Another evaluation is running. Wait until it has ended.")
        async with self._busy:
            jobs = self._jobs(files, deployment)
            finished: list[Result] = []

            def count(result: Result) -> None:
                finished.append(result)
                done(len(finished), len(jobs), sum(bool(one.failures) for one in finished))

            began = now()
            done(0, len(jobs), 0)
            try:
                results = await evaluation.run(jobs, self.context, parallel=PARALLEL, done=count)
            finally:
                for result in finished:
                    await self.charges.book(_charge(result))
            run = Run(at=began, files=tuple(files), results=tuple(results), published=True, author=author)
            await asyncio.to_thread(self.run_store.keep, run)
            return run.id

    def _jobs(self, files: Sequence[str], deployment: str) -> list[evaluation.EvalJob]:
        known = self.files()
        if not files or not set(files) <= set(known):
            raise NotAllowed("Choose at least one of the files that are there.")
        asked = [case for name in files for case in cases.read(self.folder / name)]
        if deployment:
            asked = [replace(case, deployments=(deployment,)) for case in asked]
        available = self.context.model_info.chat_deployments()
        preferred = dict.fromkeys(
            [*(one.name for one in available), *(tag for one in available for tag in one.tags)]
        )
        jobs = evaluation.jobs(asked, self.context.templates(), list(preferred))
        if len(jobs) > MOST_ANSWERS:
            raise TemplateError(f"These are {len(jobs)} answers; at most {MOST_ANSWERS} fit a run.")
        return jobs


def _charge(result: Result) -> Turn:
    """What an answer of a run cost, as a turn that can be booked."""
    id, at = f"studio:evaluation:{uuid4().hex}", now()
    address = Address(conversation="studio:evaluation", event=id)
    return Turn(
        id=id,
        received=MessageReceived(id=id, address=address, user=PERSON, at=at, text="", direct=True),
        template=result.version,
        messages=(),
        reply=Reply(text=""),
        outcome="answered",
        began_at=at,
        ended_at=at,
        usage=(*result.usage, *result.judged),
    )
