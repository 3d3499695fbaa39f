"""The operator's commands: dead letters, deletion of data, deployments."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.cli.console import load_settings, run
from bot.domain.errors import ConfigError, StateUnavailable

if TYPE_CHECKING:
    from bot.domain.events import AppUninstalled
    from bot.llm.catalog.probe import ProbeResult
    from bot.storage.queue.dead_letters import DeadLetterQueue
    from bot.storage.redis.secrets import KeyUse

T = TypeVar("T")

# ------------------------------------------------------------------ dead letters

dead_letters = typer.Typer(no_args_is_help=True, help="List, retry or drop messages that failed repeatedly.")
_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="The ids that `parley dead-letters list` shows.")
]
_All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


@dead_letters.command("list")
def dead_letters_list() -> None:
    """List dead letters with the reason for each."""
    import textwrap

    found = run(_on_dead_letters(lambda queue: queue.all()))
    for id, letter in found.items():
        attempts = f"{letter.attempts} attempt{'s' if letter.attempts != 1 else ''}"
        typer.echo(f"{id}  {letter.at:%Y-%m-%d %H:%M} UTC  {attempts}  {letter.conversation}")
        for label, text in (("message", letter.words), ("reason", letter.reason)):
            if text:
                typer.echo(f"{'':12}{label:7}  {textwrap.shorten(text, 90, placeholder=' …')}")
    if not found:
        typer.echo("There are no dead letters.")


@dead_letters.command("retry")
def dead_letters_retry(ids: _Ids = None, everything: _All = False) -> None:
    """Retry messages: add them to the end of their conversations' queues."""
    _for_each(ids, everything, lambda queue, id: queue.retry(id), "is queued again")


@dead_letters.command("drop")
def dead_letters_drop(ids: _Ids = None, everything: _All = False) -> None:
    """Delete dead letters."""
    _for_each(ids, everything, lambda queue, id: queue.drop(id), "is deleted")


def _for_each(
    ids: list[str] | None,
    everything: bool,
    act: "Callable[[DeadLetterQueue, str], Awaitable[bool]]",
    done: str,
) -> None:
    """Apply `act` to each; exit with 1 if one of them does not exist."""

    async def to_each(queue: "DeadLetterQueue") -> list[tuple[str, bool]]:
        return [(id, await act(queue, id)) for id in (await queue.all() if everything else ids or ())]

    if not ids and not everything:
        raise ConfigError("Give ids from `parley dead-letters list`, or --all.")
    results = run(_on_dead_letters(to_each))
    for id, exists in results:
        typer.echo(f"{id} {done}." if exists else f"{id} is not a dead letter.", err=not exists)
    if not all(exists for _, exists in results):
        raise typer.Exit(1)


async def _on_dead_letters(act: "Callable[[DeadLetterQueue], Awaitable[T]]") -> T:
    from bot.app.services import open_services
    from bot.storage.queue.dead_letters import DeadLetterQueue

    async with open_services(load_settings()) as services:
        return await act(DeadLetterQueue(services.storage.redis))


def forget(
    tenant: Annotated[
        str, typer.Option(help="The id of a Slack workspace or Microsoft tenant, or `studio`.")
    ],
    person: Annotated[str | None, typer.Option(help="Only this person, by their id in the tenant.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")] = False,
) -> None:
    """Delete the stored data of a tenant, or of one person.

    Shows how much that is and asks for confirmation.

    Totals without names are kept. Messages in Slack and Teams are not deleted.
    """
    if not yes:
        typer.echo(run(_preview(tenant, person)))
        whose = f"{person} in {tenant}" if person else f"everyone in {tenant}"
        typer.confirm(f"Delete the stored data of {whose}? This can't be undone.", abort=True)
    for line in run(_delete(tenant, person)):
        typer.echo(line)


async def _preview(tenant: str, person: str | None) -> str:
    from bot.app.services import open_services
    from bot.domain.events import User
    from bot.storage.erasure.tenants import Tenants

    async with open_services(load_settings()) as services:
        if person:
            return f"This deletes: {await services.personal_data.count(User(id=person, tenant=tenant))}."
        tenants = Tenants(services.storage.redis, services.storage.search)
        found = {name: await tenants.preview(_uninstall(name, tenant)) for name in _platforms(tenant)}
    lines = [f"This deletes from {platform}: {erased}." for platform, erased in found.items() if erased]
    return "\n".join(lines) or f"No conversations of {tenant} are stored."


def _platforms(tenant: str) -> Sequence[str]:
    """The platforms on which a tenant with this id may exist; the studio is a tenant of its own."""
    from bot.app.platforms import PLATFORMS

    return ("studio",) if tenant == "studio" else [platform.name for platform in PLATFORMS]


def _uninstall(platform: str, tenant: str) -> "AppUninstalled":
    """The event of a whole tenant that removes the bot."""
    from bot.domain.events import Address, AppUninstalled, User, now

    conversations = "studio:" if platform == "studio" else f"{platform}:{tenant}:"
    return AppUninstalled(
        id="",
        address=Address(conversation="", event=""),
        user=User(id="", tenant=tenant),
        at=now(),
        conversation_prefix=conversations,
        whole=True,
    )


async def _delete(tenant: str, person: str | None) -> list[str]:
    from bot.app.services import open_services
    from bot.domain.events import User
    from bot.storage.embedded.compaction import ON_DISK, PATIENCE_S
    from bot.storage.erasure.tenants import Tenants

    lines = list[str]()
    async with open_services(load_settings()) as services:
        if person:
            deleted = await services.personal_data.forget(User(id=person, tenant=tenant))
            await services.storage.compaction.finish(PATIENCE_S)  # this process may be the only one
            return [deleted]
        tenants = Tenants(services.storage.redis, services.storage.search)
        for platform in _platforms(tenant):
            erased = await tenants.forget(_uninstall(platform, tenant))
            lines += [f"Deleted from {platform}: {erased}."] if erased else []
        if lines:
            await services.storage.compaction.request()
            rewritten = await services.storage.compaction.finish(PATIENCE_S)
            lines.append(f"The files on disk: {ON_DISK[rewritten]}.")
    return lines or [f"No data of {tenant} is stored."]


# ------------------------------------------------------------------ secrets

secrets = typer.Typer(no_args_is_help=True, help="Rotate the keys that encrypt stored tokens.")


@secrets.callback()
def _secrets() -> None:
    """A group, although it has one command."""


@secrets.command("reseal")
def secrets_reseal() -> None:
    """Encrypt by the first key of PARLEY_SECRET_KEYS what older keys encrypt.

    Running processes go on, and do the same every hour. Exits with 1 if something can't be decrypted by any key.
    """
    from bot.app.services import open_storage

    async def reseal() -> "KeyUse":
        async with open_storage(load_settings()) as storage:
            return await storage.secret_store.key_use(reseal=True)

    use = run(reseal())
    typer.echo(f"Encrypted again: {use.resealed}.")
    for finding in use.check():
        typer.echo(f"{finding.words}.".replace("..", "."), err=finding.level == "error")
    if use.unreadable:
        raise typer.Exit(1)


# ------------------------------------------------------------------ deployments

_NOT_WOKEN = (
    "The cool-down was ended in no other process, because Redis is unavailable. Try again when it is back."
)
deployments = typer.Typer(
    no_args_is_help=True, help="List and test the deployments. End the cool-down of a deployment."
)


@deployments.command("list")
def deployments_list() -> None:
    """List the deployments: model, endpoint, prices, limits, tags."""
    from bot.app import services
    from bot.llm.catalog.listing import listed

    async def table() -> str:
        settings = load_settings()
        async with services.current_prices(settings) as note:
            text = listed(services.find_deployment_config(settings))
        return f"{text}\nprices: {note}" if note else text

    typer.echo(run(table()))


@deployments.command("test")
def deployments_test() -> None:
    """Send a short request to each deployment and show health, time to first token and price.

    Exits with 1 if one fails.
    """
    from bot.app import services
    from bot.app.settings import secrets
    from bot.llm.catalog import catalog
    from bot.llm.catalog.listing import trials
    from bot.llm.routing.router import connect

    async def probe() -> "list[ProbeResult]":
        settings = load_settings()
        async with services.current_prices(settings):
            found = services.find_deployment_config(settings)
            async with connect(found, secrets(catalog.key_names(found.deployments))) as gateway:
                return await gateway.probe()

    probes = run(probe())
    typer.echo(trials(probes))
    if any(probe.finding.level == "error" for probe in probes):
        raise typer.Exit(1)


@deployments.command("wake")
def deployments_wake(name: Annotated[str, typer.Argument(help="The name of the deployment.")]) -> None:
    """End the cool-down of a deployment, in all running processes."""
    from bot.app.services import open_services

    async def wake() -> bool:
        async with open_services(load_settings()) as services:
            try:
                return await services.gateway.wake(name)
            except StateUnavailable:
                raise StateUnavailable(_NOT_WOKEN) from None

    if not run(wake()):
        raise ConfigError(f"There is no deployment {name!r}. See `parley deployments list`.")
    typer.echo(f"{name} is used again from the next request on.")
