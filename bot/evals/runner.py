"""Runs evaluations of the active templates from the studio and lists earlier runs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import msgspec

from bot.domain.calls import CallLog
from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.events import Address, MessageReceived, User, now
from bot.evals import cases, evaluation, results
from bot.evals.evaluation import EvalContext, EvalJob
from bot.evals.results import Result, Run, RunComparison, RunStore, SummaryRow
from bot.storage.usage.charges import Charge, charge_of
from bot.storage.usage.quota import QuotaLedger
from bot.storage.usage.reserver import LedgerReserver

PERSON = User(id="evaluation", tenant="studio", name="Evaluation")
"""The user to whom runs are charged."""
MOST_ANSWERS = 300
"""Per run, so that a mistake can't become expensive."""
PARALLEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """A run with its totals, its table, and the comparison with the previous one."""

    run: Run
    total: SummaryRow
    rows: Sequence[SummaryRow]
    change: RunComparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRunner:
    """Allows one run at a time per process. `folder` contains the case files; answers are charged, within limits."""

    context: EvalContext
    folder: Path
    run_store: RunStore
    ledger: QuotaLedger
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    def files(self) -> Sequence[str]:
        return [path.name for path in sorted(self.folder.glob("*.yaml"))]

    def models(self) -> Sequence[str]:
        """The chat deployments that a run can use."""
        return list(self.context.model_info.comparable_deployments())

    async def reports(self) -> Sequence[EvalReport]:
        """All stored runs, newest first."""
        return await asyncio.to_thread(lambda: [self._report(run) for run in self.run_store.runs()])

    def _report(self, run: Run) -> EvalReport:
        change = results.compare(run, self.run_store.last(run))
        rows = results.table(run.results)
        return EvalReport(run=run, total=results.total(run.results), rows=rows, change=change)

    async def run(
        self,
        files: Sequence[str],
        deployment: str,
        *,
        author: str,
        done: Callable[[int, int, int], None],
        user: User = PERSON,
    ) -> str:
        """Run all cases of these files on the active templates; returns the id of the run.

        `done` is called with the numbers of finished, all and failed answers. A cancelled run is charged but
        not stored; it is charged to `user`. An answer that a limit refuses has failed. Raises NotAllowed,
        TemplateError and ConfigError.
        """
        if self._busy.locked():
            raise NotAllowed("Another evaluation is running. Wait until it has finished.")
        async with self._busy:
            jobs = self._jobs(files, deployment)
            finished: list[Result] = []

            def count(result: Result) -> None:
                finished.append(result)
                done(len(finished), len(jobs), sum(bool(each.failures) for each in finished))

            began, logs = now(), _ChargedLogs(self.ledger, user)
            done(0, len(jobs), 0)
            try:
                results = await evaluation.run(
                    jobs, self.context, parallel=PARALLEL, done=count, calls=logs.begin
                )
            finally:
                await logs.book()
            run = Run(at=began, files=tuple(files), results=tuple(results), published=True, author=author)
            await asyncio.to_thread(self.run_store.save, run)
            return run.id

    def _jobs(self, files: Sequence[str], deployment: str) -> list[evaluation.EvalJob]:
        known = self.files()
        if not files or not set(files) <= set(known):
            raise NotAllowed("Choose at least one of the listed files.")
        selected = [case for name in files for case in cases.read(self.folder / name)]
        if deployment:
            selected = [replace(case, deployments=(deployment,)) for case in selected]
        available = self.context.model_info.chat_deployments()
        jobs = evaluation.jobs(selected, self.context.templates(), available)
        if len(jobs) > MOST_ANSWERS:
            raise TemplateError(
                f"This run would have {len(jobs)} answers; the limit is {MOST_ANSWERS}. Choose fewer files."
            )
        return jobs


class _ChargedLogs:
    """The logs of a run's answers, each of which is reserved for and charged on its own."""

    def __init__(self, ledger: QuotaLedger, user: User) -> None:
        self._ledger = ledger
        self._user = user
        self._begun: list[tuple[CallLog, Callable[[], Charge]]] = []

    def begin(self, job: EvalJob) -> CallLog:
        """A log for one answer."""
        calls, received = CallLog("evaluation"), _received(self._user)

        def charge() -> Charge:
            return charge_of(received, received.id, job.template.version, calls)

        calls.reserver = LedgerReserver(self._ledger, calls, charge)
        self._begun.append((calls, charge))
        return calls

    async def book(self) -> None:
        """Count what was called, also for answers that were not finished."""
        for calls, charge in self._begun:
            if calls:
                await self._ledger.charges.book(charge())


def charge(result: Result) -> Charge:
    """The charge for a result of `parley eval`, which runs without limits."""
    received = _received(PERSON)
    nothing = charge_of(received, received.id, result.version, CallLog())
    return msgspec.structs.replace(nothing, usage=(*result.usage, *result.judged))


def _received(user: User) -> MessageReceived:
    id = f"studio:evaluation:{uuid4().hex}"
    address = Address(conversation="studio:evaluation", event=id)
    return MessageReceived(id=id, address=address, user=user, at=now(), text="", direct=True)
