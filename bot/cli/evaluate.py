"""The command `parley eval`: templates and deployments held against cases."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.console import Folder, load_settings, prompts_folder, run
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
        typer.Argument(help="Files of cases [default: evaluations/*.yaml beside the templates]."),
    ] = None,
    template: Annotated[list[str] | None, typer.Option(help="Only this template; can be repeated.")] = None,
    deployment: Annotated[
        list[str] | None, typer.Option(help="On this deployment, whatever the files say; can be repeated.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="The templates in use: what the studio published counts.")
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Answers at the same time.")] = 4,
    least: Annotated[
        float, typer.Option(min=0, max=100, help="Exit with 1 when fewer percent of the answers pass.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
    folder: Folder = None,
) -> None:
    """Run evaluation cases and compare with the last run.

    The files hold cases; prompts/README.md says how they are written.
    """
    from bot.evals import results as eval_results

    if published and folder is not None:
        raise ConfigError("--published is about the templates in use; leave --folder out.")
    where = prompts_folder(folder)
    paths = files or _found(where / "evaluations")
    names = tuple(path.name for path in paths)
    run_store = eval_results.RunStore(load_settings().parley_data_dir / "evaluations")
    done = run(_run(where, paths, names, template or [], deployment or [], published, parallel))
    last = run_store.last(done)
    run_store.save(done)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(done), indent=2).decode())
    else:
        _print(done, eval_results.compare(done, last))
    if 100 * done.passed < least * len(done.results):
        raise typer.Exit(1)


def _found(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"There are no evaluations: name a file, or write one into {folder}.")
    return paths


async def _run(
    folder: Path,
    paths: Sequence[Path],
    names: tuple[str, ...],
    templates: Sequence[str],
    deployments: Sequence[str],
    published: bool,
    parallel: int,
) -> "Run":
    from dataclasses import replace

    from bot.domain.events import now
    from bot.evals import cases, evaluation
    from bot.evals import results as eval_results

    asked = [case for path in paths for case in cases.read(path)]
    if deployments:
        asked = [replace(case, deployments=tuple(deployments)) for case in asked]
    async with _in_use() if published else open_eval_context(folder) as (context, every):
        chat = [one for one in every if one.capability == "chat"]
        preferred = dict.fromkeys([*(one.name for one in chat), *(tag for one in chat for tag in one.tags)])
        jobs = evaluation.jobs(asked, context.templates(), list(preferred))
        jobs = [job for job in jobs if not templates or job.template.name in templates]
        if not jobs:
            raise ConfigError(f"No case is for {', '.join(templates)}.")
        began = now()
        results = await _with_progress(jobs, context, parallel)
    return eval_results.Run(at=began, files=names, results=tuple(results), published=published)


@asynccontextmanager
async def _in_use() -> "AsyncGenerator[tuple[EvalContext, Sequence[Deployment]]]":
    """What people get now. Raises ConfigError where that can't be had."""
    from bot.app.services import open_services

    async with open_services(load_settings()) as services:
        try:
            await services.library.registry.refresh()
        except StateUnavailable as error:
            raise ConfigError(f"What was published can't be read: {error}") from None
        yield services.eval_context, services.deployments


async def _with_progress(jobs: "Sequence[EvalJob]", context: "EvalContext", parallel: int) -> "list[Result]":
    """Run the jobs; a terminal shows how far they are, on stderr."""
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
        task = progress.add_task("Asking", total=len(jobs), failed="")
        failed = 0

        def done(result: "Result") -> None:
            nonlocal failed
            failed += bool(result.failures)
            progress.update(task, advance=1, failed=f"{failed} failed" if failed else "")

        return await evaluation.run(jobs, context, parallel=parallel, done=done)


def _print(run: "Run", change: "RunComparison | None") -> None:
    """The failures, the table, and what is different from the last time."""
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
    console.print(f"  asked     {escape(_short(result.question))}")
    if result.answer:
        console.print(f"  answered  {escape(_short(result.answer))}")
    for words in result.failures:
        console.print(f"  [red]-[/] {escape(words)}")
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
        f"Since {change.at:%Y-%m-%d %H:%M} UTC: {before} of {change.shared} passed then, {now} do now."
    )
    for result in change.broken:
        console.print(f"  [red]broken[/] {escape(result.case)}  {escape(result.version)}")
    for result in change.mended:
        console.print(f"  [green]mended[/] {escape(result.case)}  {escape(result.version)}")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"
