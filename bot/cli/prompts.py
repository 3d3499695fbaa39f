"""The commands `parley prompts ...`, for authors of templates."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bot.cli.console import Folder, load_settings, prompts_folder, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.domain.prompts import Prompt, Template
    from bot.domain.turns import Deployment
    from bot.evals.evaluation import EvalContext

prompts = typer.Typer(no_args_is_help=True, help="List, show, check, compare, import and export templates.")


Form = Literal["prompty", "studio", "jsonl"]

# ------------------------------------------------------------------ showing


@prompts.command("list")
def prompts_list(folder: Folder = None) -> None:
    """List the templates and what they are used for."""
    from bot.cli import preview
    from bot.prompts import loader

    typer.echo(preview.table(loader.load(prompts_folder(folder))))


@prompts.command("show")
def prompts_show(name: str, folder: Folder = None) -> None:
    """Show a template as Parley reads it."""
    from bot.cli import preview

    typer.echo(preview.describe(_named(name, prompts_folder(folder))))


@prompts.command("render")
def prompts_render(name: str, question: str, folder: Folder = None) -> None:
    """Show the exact prompt for a question."""
    from bot.cli import preview

    where = prompts_folder(folder)
    typer.echo(preview.describe_prompt(run(_built(where, _named(name, where), question))))


async def _built(folder: Path, template: "Template", question: str) -> "Prompt":
    """The prompt for the first message of a new conversation."""
    from bot.cli import preview
    from bot.generation import prompt_builder

    async with open_eval_context(folder) as (context, _):
        inputs = prompt_builder.PromptInputs(
            template=template,
            received=preview.question_event(question),
            question=question,
            examples=await context.sources.examples(template, question, []),
            passages=await context.sources.passages(template, question, []),
        )
        return prompt_builder.build_prompt(inputs, context.model_info.token_budget(template))


@asynccontextmanager
async def open_eval_context(folder: Path) -> "AsyncGenerator[tuple[EvalContext, Sequence[Deployment]]]":
    """The files and the deployments, without Redis, and so without publications."""
    from bot.app import services
    from bot.app.prompt_files import read_prompts
    from bot.app.settings import secrets
    from bot.evals.evaluation import EvalContext
    from bot.generation.model_info import ModelInfo
    from bot.generation.prompt_sources import FilePrompts
    from bot.llm.catalog import catalog
    from bot.llm.routing.router import connect

    deployments = services.find_deployment_config(load_settings()).deployments
    files = read_prompts(folder)
    async with connect(deployments, secrets(catalog.key_names(deployments))) as gateway:
        sources = FilePrompts(files=files, embed=gateway.vectors)
        yield EvalContext(model_info=ModelInfo(gateway), sources=sources, embed=gateway.vectors), deployments


@prompts.command("diff")
def prompts_diff(old: str, new: str, folder: Folder = None) -> None:
    """Compare two templates, each given by name or as a .prompty file."""
    from bot.prompts import formats

    where = prompts_folder(folder)
    typer.echo(formats.diff(_named_or_file(old, where), _named_or_file(new, where)) or "No differences.")


@prompts.command("lint")
def prompts_lint(
    folder: Folder = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings.")] = False,
) -> None:
    """Check all templates and print warnings.

    Exits with 2 if there are errors.
    """
    from bot.app.prompt_files import read_prompts
    from bot.prompts import lint
    from bot.prompts.prompty import read

    where = prompts_folder(folder)
    files = read_prompts(where)
    warnings = [(each.name, text) for each in files.templates for text in lint.warnings(each, files.pools)]
    warnings += [
        (each.name, f"{{{{{name}}}}} only has a value in 'sample'; add a default under 'inputs'")
        for each in files.templates
        for name in read(where / f"{each.name}.prompty").sampled
    ]
    warnings += [
        (each.name, note) for each in files.templates for note in read(where / f"{each.name}.prompty").notes
    ]
    for name, text in warnings:
        typer.echo(f"{name}.prompty: {text}")
    typer.echo(f"{len(files.templates)} valid templates, {len(warnings)} warnings.")
    if warnings and strict:
        raise typer.Exit(1)


@prompts.command("schema")
def prompts_schema() -> None:
    """Print the JSON schema of a template's front matter."""
    import json

    from bot.prompts.json_schema import schema

    typer.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


# ------------------------------------------------------------------ import and export


@prompts.command("import")
def prompts_import(
    file: Annotated[Path, typer.Argument(help="A chat setup (.json) or chat examples (.jsonl).")],
    name: Annotated[str | None, typer.Option(help="The template's name [default: the file's].")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing template.")] = False,
    folder: Folder = None,
) -> None:
    """Import a chat setup of Azure OpenAI Studio as a template.

    Chat examples in JSONL can be imported, too.
    """
    from bot.prompts import formats
    from bot.prompts.loader import faults, load, load_pools
    from bot.prompts.prompty import read_text

    where = prompts_folder(folder)
    name = name or re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")
    if file.suffix == ".prompty":
        words = "`parley prompts lint` then says what is not used of it"
        raise ConfigError(f"A .prompty file needs no import: copy it to {where / name}.prompty; {words}.")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"Can't read {file}: {error.strerror}") from None
    template = formats.read(file.name, data, name)
    text = formats.to_prompty(template)
    path = where / f"{name}.prompty"
    if path.exists() and not force:
        raise ConfigError(f"{path} already exists. Use --force to overwrite it, or --name for another name.")
    others = [template for template in load(where) if template.name != name]
    for problem in faults(read_text(text, name), others, load_pools(where)):
        raise problem
    _write(path, text.encode())
    typer.echo(f"Wrote {path}.")
    secret = formats.left_out(file.name, data)
    left_out = [f"Left out, because it may be a secret: {', '.join(secret)}."] if secret else []
    for step in (*left_out, *_next_steps(template)):
        typer.echo(f"  {step}")


def _next_steps(template: "Template") -> list[str]:
    match = template.match
    steps: list[str] = []
    if not (match.default or match.commands or match.prefixes or match.channels):
        steps.append("Nothing uses this template yet. Add a command under metadata.parley.match.")
    if template.deployment:
        steps.append(f"It prefers the deployment {template.deployment!r}. Check that there is one.")
    if template.extra:
        kept = ", ".join(template.extra)
        steps.append(f"Not used, but kept for an export: {kept}.")
    return steps


@prompts.command("export")
def prompts_export(
    name: str,
    form: Annotated[Form, typer.Option("--format", help="The format.")] = "studio",
    out: Annotated[Path | None, typer.Option(help="The file to write [default: print].")] = None,
    folder: Folder = None,
) -> None:
    """Export a template as a chat setup of Azure OpenAI Studio.

    With --format also as chat examples (jsonl) or .prompty.
    """
    from bot.prompts import formats

    template = _named(name, prompts_folder(folder))
    text = formats.write(template, form)
    if out is None:
        typer.echo(text.rstrip("\n"))
    else:
        _write(out, text.encode())
        typer.echo(f"Wrote {out}.")


# ------------------------------------------------------------------ files


def _named(name: str, folder: Path) -> "Template":
    from bot.prompts import loader

    loaded = {template.name: template for template in loader.load(folder)}
    if name not in loaded:
        raise ConfigError(f"There is no template {name!r}. Available: {', '.join(loaded)}.")
    return loaded[name]


def _named_or_file(name: str, folder: Path) -> "Template":
    from bot.prompts import prompty

    path = Path(name)
    is_file = path.suffix == ".prompty" and path.is_file()
    return prompty.read(path).template if is_file else _named(name, folder)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"Can't write {path}: {error.strerror}") from None
