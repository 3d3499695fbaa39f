"""The command `parley eval`, which evaluates templates and deployments."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.console import Folder, load_settings, print_json, prompts_folder, run
from bot.cli.prompts import open_eval_context
from bot.domain.errors import ConfigError, StateUnavailable

if TYPE_CHECKING:
    from rich.console import Console

    from bot.domain.turns import Deployment
    from bot.evals.evaluation import EvalContext, EvalJob
    from bot.evals.results import Result, Run, RunComparison

_SHOWN = 200  # characters of an answer that failed


def evaluate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Case files [default: evaluations/*.yaml next to the templates]."),
    ] = None,
    template: Annotated[list[str] | None, typer.Option(help="Only this template; can be repeated.")] = None,
    deployment: Annotated[
        list[str] | None,
        typer.Option(help="Use this deployment instead of those in the files; can be repeated."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Use the active templates, with what the studio published.")
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Answers at the same time.")] = 4,
    least: Annotated[
        float, typer.Option(min=0, max=100, help="Exit with 1 if less than this percentage passes.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
    folder: Folder = None,
) -> None:
    """Run evaluation cases and compare with the last run.

    See prompts/README.md for the format of case files.
    """
    from bot.evals import results as eval_results

    if published and folder is not None:
        raise ConfigError("--published uses the active templates and can't be combined with --folder.")
    where = prompts_folder(folder)
    paths = files or _found(where / "evaluations")
    run_store = eval_results.RunStore(load_settings().parley_data_dir / "evaluations")
    finished = run(_run(where, paths, template or [], deployment or [], published, parallel))
    last = run_store.last(finished)
    run_store.save(finished)
    if as_json:
        print_json(finished)
    else:
        _print(finished, eval_results.compare(finished, last))
    if 100 * finished.passed < least * len(finished.results):
        raise typer.Exit(1)


def _found(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"There are no case files. Name a file, or add one to {folder}.")
    return paths


async def _run(
    folder: Path,
    paths: Sequence[Path],
    templates: Sequence[str],
    deployments: Sequence[str],
    published: bool,
    parallel: int,
) -> "Run":
    from dataclasses import replace

    from bot.domain.events import now
    from bot.evals import cases, evaluation
    from bot.evals import results as eval_results

    selected = [case for path in paths for case in cases.read(path)]
    if deployments:
        selected = [replace(case, deployments=tuple(deployments)) for case in selected]
    async with _active() if published else open_eval_context(folder) as (context, every):
        chat = [deployment for deployment in every if deployment.capability == "chat"]
        jobs = evaluation.jobs(selected, context.templates(), chat)
        jobs = [job for job in jobs if not templates or job.template.name in templates]
        if not jobs:
            raise ConfigError(f"There are no cases for {', '.join(templates)}.")
        began = now()
        results = await _with_progress(jobs, context, parallel)
        await _book(results)
    return eval_results.Run(
        at=began, files=tuple(path.name for path in paths), results=tuple(results), published=published
    )


async def _book(results: "Sequence[Result]") -> None:
    """Count what the answers cost, if Redis is available; evaluations run without it, too."""
    calls = (call for result in results for call in (*result.usage, *result.judged))
    if all(call.usd == 0.0 for call in calls):
        return
    from bot.app.services import open_storage
    from bot.evals.runner import charge

    try:
        async with open_storage(load_settings()) as storage:
            for result in results:
                await storage.charges.book(charge(result))
    except (ConfigError, StateUnavailable) as error:
        typer.echo(f"What this run cost is not counted in the usage: {error}", err=True)


@asynccontextmanager
async def _active() -> "AsyncGenerator[tuple[EvalContext, Sequence[Deployment]]]":
    """The active templates. Raises ConfigError if they can't be read."""
    from bot.app.services import open_services

    async with open_services(load_settings()) as services:
        try:
            await services.library.registry.refresh()
        except StateUnavailable as error:
            raise ConfigError(f"Can't read the published templates: {error}") from None
        yield services.eval_context, services.deployments


async def _with_progress(jobs: "Sequence[EvalJob]", context: "EvalContext", parallel: int) -> "list[Result]":
    """Run the jobs and show progress on stderr if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from bot.evals import evaluation

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Evaluating", total=len(jobs), failed="")
        failed = 0

        def done(result: "Result") -> None:
            nonlocal failed
            failed += bool(result.failures)
            progress.update(task, advance=1, failed=f"{failed} failed" if failed else "")

        return await evaluation.run(jobs, context, parallel=parallel, done=done)


def _print(run: "Run", change: "RunComparison | None") -> None:
    """Print the failures, the table, and the comparison with the last run."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for result in run.results:
        if result.failures:
            _print_failure(console, result)
    _print_table(console, run)
    if change is not None:
        _print_change(console, change)


def _print_failure(console: "Console", result: "Result") -> None:
    from rich.markup import escape

    where = f" on {result.deployment}" if result.deployment else ""
    console.print(f"[red]failed[/] {escape(result.case)}  {escape(result.version + where)}")
    console.print(f"  question  {escape(_short(result.question))}")
    if result.answer:
        console.print(f"  answer    {escape(_short(result.answer))}")
    for failure in result.failures:
        console.print(f"  [red]-[/] {escape(failure)}")
    if result.cause:
        console.print(f"  cause     {escape(result.cause)}")
    console.print()


def _print_table(console: "Console", run: "Run") -> None:
    from rich import box
    from rich.table import Table

    from bot.evals import results as eval_results

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for head in ("template", "deployment"):
        table.add_column(head, overflow="fold")
    for head in ("passed", "rate", "tokens", "price", "median"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in eval_results.table(run.results):
        colour = "green" if row.passed == row.total else "red"
        table.add_row(
            row.template,
            row.deployment,
            f"[{colour}]{row.passed}/{row.total}[/]",
            f"[{colour}]{100 * row.passed / row.total:.0f} %[/]",
            f"{row.input_tokens} + {row.output_tokens}",
            "unknown" if row.usd is None else f"${row.usd:.4f}",
            f"{row.median_s:.2f} s",
        )
    console.print(table)


def _print_change(console: "Console", change: "RunComparison") -> None:
    from rich.markup import escape

    before, now = change.passed_before, change.passed_now
    console.print(
        f"Compared with {change.at:%Y-%m-%d %H:%M} UTC: {now} of {change.shared} passed, {before} before."
    )
    for result in change.broken:
        console.print(f"  [red]newly failed[/] {escape(result.case)}  {escape(result.version)}")
    for result in change.mended:
        console.print(f"  [green]now passes[/]   {escape(result.case)}  {escape(result.version)}")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"
