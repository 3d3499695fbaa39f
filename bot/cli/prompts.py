"""The commands for people who write templates: `parley prompts ...`."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.console import Folder, load_settings, prompts_folder, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.domain.prompts import Prompt, Template
    from bot.domain.turns import Deployment
    from bot.evals.evaluation import EvalContext

prompts = typer.Typer(no_args_is_help=True, help="List, show, try, compare and exchange the templates.")


class Form(StrEnum):
    """The forms of a template that other tools read."""

    prompty = "prompty"
    studio = "studio"
    jsonl = "jsonl"


# ------------------------------------------------------------------ looking


@prompts.command("list")
def prompts_list(folder: Folder = None) -> None:
    """List the templates and what each is used for."""
    from bot.cli import preview
    from bot.prompts import loader

    typer.echo(preview.table(loader.load(prompts_folder(folder))))


@prompts.command("show")
def prompts_show(name: str, folder: Folder = None) -> None:
    """Show one template as Parley understands it."""
    from bot.cli import preview

    typer.echo(preview.describe(_named(name, prompts_folder(folder))))


@prompts.command("render")
def prompts_render(name: str, question: str, folder: Folder = None) -> None:
    """Show exactly what would be sent for a question."""
    from bot.cli import preview

    where = prompts_folder(folder)
    typer.echo(preview.describe_prompt(run(_composed(where, _named(name, where), question))))


async def _composed(folder: Path, template: "Template", question: str) -> "Prompt":
    """What the first message of a new conversation would send."""
    from bot.cli import preview
    from bot.generation import prompt_builder

    async with open_eval_context(folder) as (context, _):
        inputs = prompt_builder.PromptInputs(
            template=template,
            received=preview.question_event(question),
            question=question,
            examples=await context.sources.examples(template, question),
            passages=await context.sources.passages(template, question),
        )
        return prompt_builder.build_prompt(inputs, context.model_info.token_budget(template))


@asynccontextmanager
async def open_eval_context(folder: Path) -> "AsyncGenerator[tuple[EvalContext, Sequence[Deployment]]]":
    """The files and the deployments, without any state: what is published doesn't count here."""
    from bot.app import services
    from bot.app.prompt_files import read_prompts
    from bot.app.settings import secrets
    from bot.evals.evaluation import EvalContext
    from bot.generation.model_info import ModelInfo
    from bot.generation.prompt_sources import FilePrompts
    from bot.llm.catalog import catalog
    from bot.llm.routing.router import connect

    deployments = services.find_deployments(load_settings())
    files = read_prompts(folder)
    async with connect(deployments, secrets(catalog.key_names(deployments))) as gateway:
        sources = FilePrompts(files=files, embed=gateway.vectors)
        yield EvalContext(model_info=ModelInfo(gateway), sources=sources, embed=gateway.vectors), deployments


@prompts.command("diff")
def prompts_diff(old: str, new: str, folder: Folder = None) -> None:
    """Show how two templates differ; each is a name, or a .prompty file."""
    from bot.prompts import formats

    where = prompts_folder(folder)
    typer.echo(formats.diff(_either(old, where), _either(new, where)) or "They say the same.")


@prompts.command("lint")
def prompts_lint(
    folder: Folder = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for doubts, too.")] = False,
) -> None:
    """Check every template, also for what is seldom meant.

    Mistakes end with exit code 2.
    """
    from bot.app.prompt_files import read_prompts
    from bot.prompts import lint
    from bot.prompts.prompty import read

    where = prompts_folder(folder)
    files = read_prompts(where)
    doubts = [(one.name, words) for one in files.templates for words in lint.warnings(one, files.pools)]
    doubts += [
        (one.name, f"{{{{{name}}}}} is filled by the file's sample; give it a default under 'inputs'")
        for one in files.templates
        for name in read(where / f"{one.name}.prompty").sampled
    ]
    for name, words in doubts:
        typer.echo(f"{name}.prompty: {words}")
    typer.echo(f"{len(files.templates)} templates without a mistake, {len(doubts)} doubts.")
    if doubts and strict:
        raise typer.Exit(1)


@prompts.command("schema")
def prompts_schema() -> None:
    """Print the JSON schema of a template's front matter."""
    import json

    from bot.prompts.json_schema import schema

    typer.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


# ------------------------------------------------------------------ exchange


@prompts.command("import")
def prompts_import(
    file: Annotated[Path, typer.Argument(help="A chat set-up (.json) or chat examples (.jsonl).")],
    name: Annotated[str | None, typer.Option(help="The template's name [default: the file's].")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a template of this name.")] = False,
    folder: Folder = None,
) -> None:
    """Make a template of a set-up of Azure OpenAI Studio.

    Chat examples, a line of JSON each, can be read too.
    """
    from bot.prompts import formats
    from bot.prompts.loader import faults, load, load_pools
    from bot.prompts.prompty import read_text

    where = prompts_folder(folder)
    name = name or re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")
    read = formats.from_jsonl if file.suffix == ".jsonl" else formats.from_studio
    template = read(_bytes(file), name)
    text = formats.to_prompty(template)
    path = where / f"{name}.prompty"
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; --force writes over it, --name gives another name.")
    others = [one for one in load(where) if one.name != name]
    for problem in faults(read_text(text, name), others, load_pools(where)):
        raise problem
    _write(path, text.encode())
    typer.echo(f"Wrote {path}.")
    for words in _advice(template):
        typer.echo(f"  {words}")


def _advice(template: "Template") -> list[str]:
    """What an import leaves to do."""
    match = template.match
    advice: list[str] = []
    if not (match.default or match.commands or match.prefixes or match.channels):
        advice.append("Nothing uses it yet: give it a command under metadata.parley.match.")
    if template.deployment:
        advice.append(f"It wishes for the deployment {template.deployment!r}: is there one of that name?")
    if template.extra:
        kept = ", ".join(template.extra)
        advice.append(f"Kept for an export, but not used here: {kept}.")
    return advice


@prompts.command("export")
def prompts_export(
    name: str,
    form: Annotated[Form, typer.Option("--format", help="In which form.")] = Form.studio,
    out: Annotated[Path | None, typer.Option(help="The file to write [default: print].")] = None,
    folder: Folder = None,
) -> None:
    """Print a template as a set-up of Azure OpenAI Studio.

    Or, with --format, as chat examples (jsonl), or as .prompty.
    """
    from bot.prompts import formats

    template = _named(name, prompts_folder(folder))
    write = {
        Form.prompty: lambda: formats.to_prompty(template).encode(),
        Form.studio: lambda: formats.to_studio(template),
        Form.jsonl: lambda: formats.to_jsonl(template).encode(),
    }
    data = write[form]()
    if out is None:
        typer.echo(data.decode().rstrip("\n"))
        return
    _write(out, data)
    typer.echo(f"Wrote {out}.")


# ------------------------------------------------------------------ files


def _named(name: str, folder: Path) -> "Template":
    from bot.prompts import loader

    loaded = {template.name: template for template in loader.load(folder)}
    if name not in loaded:
        raise ConfigError(f"There is no template {name!r}; there are: {', '.join(loaded)}.")
    return loaded[name]


def _either(name: str, folder: Path) -> "Template":
    from bot.prompts import prompty

    path = Path(name)
    return (
        prompty.read(path).template if path.suffix == ".prompty" and path.is_file() else _named(name, folder)
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from None
