"""The command line `parley`; each command imports what it needs when it runs, so that `--help` is quick."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bot.authoring import prompts
from bot.console import load_settings, run
from bot.errors import BotError, ConfigError
from bot.evaluate import evaluate
from bot.usage import usage

if TYPE_CHECKING:
    from bot.models.probe import Probe
    from bot.settings import Settings
    from bot.state.buried import Graveyard
    from bot.types import Finding

T = TypeVar("T")
_LEVELS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "error": typer.colors.RED}

parley = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="One bot for Slack and Microsoft Teams over your own Azure OpenAI deployments, "
    "with a studio in the browser. Settings are read from the environment and .env (see .env.example).",
)
manifest = typer.Typer(no_args_is_help=True, help="Describe the bot to Slack or Teams.")
parley.add_typer(manifest, name="manifest")
parley.add_typer(prompts, name="prompts")


def main() -> None:
    """Run a command. What the operator has to mend is said in words on stderr, with exit code 2."""
    try:
        parley()
    except ConfigError as error:
        _complain(error)
        raise SystemExit(2) from None
    except BotError as error:  # Redis or a platform is away: trying again may help
        _complain(error)
        raise SystemExit(1) from None


def _complain(error: BotError) -> None:
    for line in str(error).splitlines():
        typer.echo(f"parley: {line}", err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"parley {version('parley')}")
        raise typer.Exit


@parley.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# ------------------------------------------------------------------ running


@parley.command()
def serve() -> None:
    """Run the web server and a worker in one process."""
    _serve(load_settings(), web=True, worker=True)


@parley.command()
def web() -> None:
    """Run the web server alone; workers answer."""
    _serve(load_settings(), web=True, worker=False)


@parley.command()
def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Conversations answered at the same time [default: PARLEY_CONCURRENCY]."
        ),
    ] = None,
) -> None:
    """Run a worker alone, for web servers on the same Redis."""
    settings = load_settings()
    if concurrency is not None:
        settings = settings.model_copy(update={"parley_concurrency": concurrency})
    _serve(settings, web=False, worker=True)


def _serve(settings: "Settings", *, web: bool, worker: bool) -> None:
    from bot import app

    run(app.serve(settings, web_on=web, worker_on=worker))


@parley.command()
def chat(
    conversation: Annotated[
        str | None, typer.Option(help="A name of yours; the same name goes on where you left off.")
    ] = None,
) -> None:
    """Talk with the bot in this terminal.

    Ctrl-C stops an answer, Ctrl-D ends. Questions can also come from a pipe or a file.
    """
    import uuid

    from bot import app

    run(app.chat(load_settings(), conversation or uuid.uuid4().hex))


@parley.command()
def check() -> None:
    """Say what is missing, and what to do about it.

    Looks at settings, Redis, templates, deployments and platforms; exits with 1 if there is an error.
    """
    from bot import app

    findings = run(app.check(load_settings()))
    width = max((len(finding.subject) for finding in findings), default=0)
    for finding in findings:
        _print_finding(finding, width)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _print_finding(finding: "Finding", width: int) -> None:
    level = typer.style(f"{finding.level:7}", fg=_LEVELS[finding.level])
    first, *rest = finding.words.splitlines() or [""]
    typer.echo(f"{level}  {finding.subject:{width}}  {first}".rstrip())
    for line in rest:
        typer.echo(f"{'':{width + 11}}{line}")


# ------------------------------------------------------------------ manifests


class _Format(StrEnum):
    yaml = "yaml"
    json = "json"


@manifest.command("slack")
def manifest_slack(
    url: Annotated[
        str | None, typer.Option(help="Where Slack reaches Parley, https://... [default: PARLEY_PUBLIC_URL]")
    ] = None,
    socket: Annotated[
        bool | None,
        typer.Option("--socket/--http", help="Socket Mode, which needs no address of yours, or HTTP."),
    ] = None,
    many: Annotated[
        bool, typer.Option("--many", help="For all workspaces that install it, with SLACK_CLIENT_ID.")
    ] = False,
    assistant: Annotated[
        bool, typer.Option("--assistant", help="For an app that has the older assistant's pane already.")
    ] = False,
    form: Annotated[_Format, typer.Option("--format", help="YAML or JSON.")] = _Format.yaml,
) -> None:
    """Print the app manifest for Slack.

    Paste it at api.slack.com/apps: Create New App, From a manifest.
    """
    from adapters.slack.manifest import manifest as describe

    settings = load_settings()
    if socket is None:
        socket = settings.slack_app_token is not None
    url = url or settings.parley_public_url
    if url is None and not socket:
        raise ConfigError(
            "Slack has to know where to reach Parley: give --url https://your-host or set PARLEY_PUBLIC_URL. "
            "With --socket no address is needed."
        )
    if url is None and many:
        raise ConfigError("Workspaces install the app by pages of Parley: give --url https://your-host too.")
    many = many or settings.slack_client_id is not None
    described = describe((url or "").rstrip("/"), socket, many and url is not None, assistant)
    typer.echo(_dump(described, form))


def _dump(described: dict[str, Any], form: _Format) -> str:
    if form is _Format.json:
        import json

        return json.dumps(described, indent=2, ensure_ascii=False)
    import yaml

    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=100).rstrip()


@manifest.command("teams")
def manifest_teams(
    app_id: Annotated[
        str | None, typer.Option(help="The bot's application id [default: MicrosoftAppId]")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where Teams reaches Parley, https://... [default: PARLEY_PUBLIC_URL]")
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("parley-teams.zip"),
    all_messages: Annotated[
        bool,
        typer.Option("--all-messages", help="Also read what is said without a mention, and before it."),
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="For a Teams that refuses newer manifests than version 1.25.")
    ] = False,
) -> None:
    """Write the app package for Teams, a zip file."""
    from urllib.parse import urlsplit

    from adapters.teams.manifest import package

    settings = load_settings()
    app_id, url = app_id or settings.microsoft_app_id, url or settings.parley_public_url
    if app_id is None:
        raise ConfigError("The package names the bot: give --app-id or set MicrosoftAppId.")
    host = urlsplit(url if "//" in url else f"//{url}").hostname if url else None
    if host is None:
        raise ConfigError(
            "The package names the bot's host: give --url https://your-host or set PARLEY_PUBLIC_URL."
        )
    try:
        out.write_bytes(package(app_id, host, all_messages, plain))
    except OSError as error:
        raise ConfigError(f"{out} can't be written: {error.strerror}") from None
    typer.echo(f"Wrote {out}. Upload it in Teams: Apps, Manage your apps, Upload an app.")


parley.command("eval")(evaluate)
parley.command()(usage)

# ------------------------------------------------------------------ what was given up

buried = typer.Typer(no_args_is_help=True, help="See what was given up; have it tried again, or drop it.")
parley.add_typer(buried, name="buried")
_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="As `parley buried list` shows them.")
]
_All = Annotated[bool, typer.Option("--all", help="Everything that is buried.")]


@buried.command("list")
def buried_list() -> None:
    """List what was given up, with the reasons."""
    import textwrap

    found = run(_buried(lambda graveyard: graveyard.all()))
    for name, one in found.items():
        attempts = f"{one.attempts} attempt{'s' if one.attempts != 1 else ''}"
        typer.echo(f"{name}  {one.at:%Y-%m-%d %H:%M} UTC  {attempts}  {one.conversation}")
        for label, text in (("said", one.words), ("why", one.reason)):
            if text:
                typer.echo(f"{'':12}{label:4}  {textwrap.shorten(text, 90, placeholder=' …')}")
    if not found:
        typer.echo("Nothing is buried.")


@buried.command("retry")
def buried_retry(ids: _Ids = None, everything: _All = False) -> None:
    """Put messages back at the end of what waits in their conversations."""
    _dig(ids, everything, lambda graveyard, name: graveyard.retry(name), "is tried again")


@buried.command("drop")
def buried_drop(ids: _Ids = None, everything: _All = False) -> None:
    """Delete messages that were given up."""
    _dig(ids, everything, lambda graveyard, name: graveyard.drop(name), "is dropped")


def _dig(
    ids: list[str] | None, everything: bool, act: "Callable[[Graveyard, str], Awaitable[bool]]", done: str
) -> None:
    """Do something to each; exit with 1 if one of them is not there."""

    async def to_each(graveyard: "Graveyard") -> list[tuple[str, bool]]:
        return [
            (name, await act(graveyard, name))
            for name in (await graveyard.all() if everything else ids or ())
        ]

    if not ids and not everything:
        raise ConfigError("Say which: give ids, as `parley buried list` shows them, or --all.")
    results = run(_buried(to_each))
    for name, there in results:
        typer.echo(f"{name} {done}." if there else f"{name} is not buried.", err=not there)
    if not all(there for _, there in results):
        raise typer.Exit(1)


async def _buried(act: "Callable[[Graveyard], Awaitable[T]]") -> T:
    from bot.house import open_house
    from bot.state.buried import Graveyard

    async with open_house(load_settings()) as house:
        return await act(Graveyard(house.redis))


@parley.command()
def forget(
    tenant: Annotated[str, typer.Option(help="A Slack workspace (T...), or a tenant of Microsoft's.")],
    person: Annotated[str | None, typer.Option(help="Only this person of it, by their id there.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask first.")] = False,
) -> None:
    """Delete what is kept of a tenant, or of one of its people.

    Sums without names stay, and so does what stands in Slack or Teams itself.
    """
    if not yes:
        typer.confirm(f"Delete what is kept of {person or 'everybody'} in {tenant}?", abort=True)
    for line in run(_forgotten(tenant, person)):
        typer.echo(line)


async def _forgotten(tenant: str, person: str | None) -> list[str]:
    from bot.house import open_house
    from bot.state.tenants import Tenants
    from bot.types import Address, Departed, User, now

    nowhere, gone = Address(conversation="", event=""), list[str]()
    async with open_house(load_settings()) as house:
        if person:
            return [await house.desk.forget(User(id=person, tenant=tenant))]
        for platform in ("slack", "teams"):
            rooms, who = f"{platform}:{tenant}:", User(id="", tenant=tenant)
            left = Departed(id="", address=nowhere, user=who, at=now(), rooms=rooms, whole=True)
            erased = await Tenants(house.redis, house.archive).forget(left)
            gone += [f"Deleted, of {platform}: {erased}."] if erased else []
    return gone or [f"Nothing is kept of {tenant}."]


# ------------------------------------------------------------------ deployments


deployments = typer.Typer(no_args_is_help=True, help="List the deployments, and try each of them.")
parley.add_typer(deployments, name="deployments")


@deployments.command("list")
def deployments_list() -> None:
    """List the deployments: model, place, prices, limits, tags."""
    from bot import house
    from bot.models.listing import listed

    typer.echo(listed(house.find_roster(load_settings())))


@deployments.command("test")
def deployments_test() -> None:
    """Ask each deployment for a word: health, time to the first token, price. Exits with 1 if one fails."""
    from bot import house
    from bot.models import catalogue
    from bot.models.gateway import connect
    from bot.models.listing import trials
    from bot.settings import secrets

    async def probe() -> "list[Probe]":
        found = house.find_roster(load_settings())
        async with connect(found, secrets(catalogue.key_names(found.deployments))) as gateway:
            return await gateway.probe()

    probes = run(probe())
    typer.echo(trials(probes))
    if any(one.finding.level == "error" for one in probes):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
