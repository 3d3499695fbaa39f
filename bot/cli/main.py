"""The command line `parley`. Commands import what they need when they run, so that `--help` is fast."""

import gc
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bot.cli.admin import dead_letters, deployments, forget, secrets
from bot.cli.backup import backup, restore
from bot.cli.calls import calls
from bot.cli.console import load_settings, run
from bot.cli.evaluate import evaluate
from bot.cli.prices import prices
from bot.cli.prompts import prompts
from bot.cli.sessions import sessions
from bot.cli.usage import usage
from bot.cli.why import why
from bot.domain.errors import BotError, ConfigError

if TYPE_CHECKING:
    from adapters.teams.manifest import Developer
    from bot.app.settings import Settings
    from bot.domain.turns import CheckResult

_LEVELS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "error": typer.colors.RED}

parley = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="One bot for Slack and Microsoft Teams on your own Azure OpenAI deployments, "
    "with a studio in the browser. Settings are read from the environment and .env (see .env.example).",
)
manifest = typer.Typer(no_args_is_help=True, help="Create the app manifest for Slack or Teams.")
parley.add_typer(manifest, name="manifest")
parley.add_typer(prompts, name="prompts")
parley.add_typer(prices, name="prices")
parley.add_typer(sessions, name="sessions")


def main() -> None:
    """Run a command. Errors go to stderr; exit code 2: configuration, 1: unavailable, may be retried."""
    gc.disable()  # until it has started: what is imported stays, and looking through it takes time
    try:
        parley()
    except BotError as error:
        for line in str(error).splitlines():
            typer.echo(f"parley: {line}", err=True)
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
    finally:
        gc.enable()


def _version(requested: bool) -> None:
    if requested:
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
    """Run only the web server. Workers answer the messages."""
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
    """Run only a worker, for web servers on the same Redis."""
    settings = load_settings()
    if concurrency is not None:
        settings = settings.model_copy(update={"parley_concurrency": concurrency})
    _serve(settings, web=False, worker=True)


def _serve(settings: "Settings", *, web: bool, worker: bool) -> None:
    from bot.app import server

    run(server.serve(settings, web_on=web, worker_on=worker), collect=False)


@parley.command()
def chat(
    conversation: Annotated[
        str | None, typer.Option(help="A name of your choice; use it again to continue the conversation.")
    ] = None,
) -> None:
    """Chat with the bot in this terminal.

    Ctrl-C stops an answer, Ctrl-D exits. Questions can also be piped in.
    """
    import uuid

    from bot.app import server

    run(server.chat(load_settings(), conversation or uuid.uuid4().hex))


@parley.command()
def check() -> None:
    """Check the configuration and suggest how to fix it.

    Checks settings, Redis, templates, deployments and platforms. Exits with 1 if there is an error.
    """
    from bot.app import server

    findings = run(server.check(load_settings()))
    width = max((len(finding.subject) for finding in findings), default=0)
    for finding in findings:
        _print_finding(finding, width)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _print_finding(finding: "CheckResult", width: int) -> None:
    level = typer.style(f"{finding.level:7}", fg=_LEVELS[finding.level])
    first, *rest = finding.words.splitlines() or [""]
    typer.echo(f"{level}  {finding.subject:{width}}  {first}".rstrip())
    for line in rest:
        typer.echo(f"{'':{width + 11}}{line}")


# ------------------------------------------------------------------ manifests


@manifest.command("slack")
def manifest_slack(
    url: Annotated[
        str | None, typer.Option(help="The public URL of Parley, https://... [default: PARLEY_PUBLIC_URL]")
    ] = None,
    socket: Annotated[
        bool | None, typer.Option("--socket/--http", help="Socket Mode, which needs no public URL, or HTTP.")
    ] = None,
    many: Annotated[
        bool, typer.Option("--many", help="For installation in many workspaces, with SLACK_CLIENT_ID.")
    ] = False,
    assistant: Annotated[
        bool, typer.Option("--assistant", help="For an app that already uses the older assistant view.")
    ] = False,
    form: Annotated[Literal["yaml", "json"], typer.Option("--format", help="YAML or JSON.")] = "yaml",
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
            "Slack needs the public URL of Parley: use --url https://your-host, or set PARLEY_PUBLIC_URL. "
            "With --socket, no URL is needed."
        )
    if url is None and many:
        raise ConfigError(
            "Workspaces install the app from pages of Parley, which need a URL: use --url https://your-host."
        )
    many = many or settings.slack_client_id is not None
    content = describe((url or "").rstrip("/"), socket, many and url is not None, assistant)
    typer.echo(_dump(content, form))


def _dump(content: dict[str, Any], form: str) -> str:
    if form == "json":
        import json

        return json.dumps(content, indent=2, ensure_ascii=False)
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100).rstrip()


@manifest.command("teams")
def manifest_teams(
    app_id: Annotated[
        str | None, typer.Option(help="The application id of the bot [default: MicrosoftAppId]")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The public URL of Parley, https://... [default: PARLEY_PUBLIC_URL]")
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("parley-teams.zip"),
    all_messages: Annotated[
        bool, typer.Option("--all-messages", help="Request permission to read messages without a mention.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="For tenants that reject manifests newer than version 1.25.")
    ] = False,
) -> None:
    """Write the app package for Teams, a ZIP file."""
    from urllib.parse import urlsplit

    from adapters.teams.manifest import manifest, package
    from bot.conversation.commands import registry

    settings = load_settings()
    app_id, url = app_id or settings.microsoft_app_id, url or settings.parley_public_url
    if app_id is None:
        raise ConfigError("The package needs the bot's application id: use --app-id, or set MicrosoftAppId.")
    host = urlsplit(url if "//" in url else f"//{url}").hostname if url else None
    if host is None:
        raise ConfigError(
            "The package needs the public URL of Parley: use --url https://your-host, or set PARLEY_PUBLIC_URL."
        )
    try:
        choices = {"all_messages": all_messages, "plain": plain}
        made = manifest(app_id, host, registry.menu(), developer=_developer(settings), **choices)
        out.write_bytes(package(made))
    except OSError as error:
        raise ConfigError(f"Can't write {out}: {error.strerror}") from None
    typer.echo(f"Wrote {out}. Upload it in Teams: Apps > Manage your apps > Upload an app.")


def _developer(settings: "Settings") -> "Developer":
    """Who offers the app in Teams."""
    from adapters.teams.manifest import Developer

    return Developer(
        name=settings.parley_teams_developer_name,
        website_url=settings.parley_teams_website_url,
        privacy_url=settings.parley_teams_privacy_url,
        terms_url=settings.parley_teams_terms_url,
    )


parley.command("eval")(evaluate)
parley.command()(usage)
parley.command()(calls)
parley.command()(why)
parley.command()(forget)
parley.command()(backup)
parley.command()(restore)
parley.add_typer(dead_letters, name="dead-letters")
parley.add_typer(dead_letters, name="buried", hidden=True)  # the old name; remove it with the next release
parley.add_typer(deployments, name="deployments")
parley.add_typer(secrets, name="secrets")
