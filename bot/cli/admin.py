"""The commands of whoever keeps the bot running: what was given up, what is forgotten, how deployments do."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.cli.console import load_settings, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.domain.events import AppUninstalled
    from bot.llm.catalog.probe import ProbeResult
    from bot.storage.queue.dead_letters import DeadLetterQueue

T = TypeVar("T")

# ------------------------------------------------------------------ dead letters

dead_letters = typer.Typer(no_args_is_help=True, help="List, retry or drop messages that failed repeatedly.")
_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="As `parley dead-letters list` shows them.")
]
_All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


@dead_letters.command("list")
def dead_letters_list() -> None:
    """List dead letters with the reason for each."""
    import textwrap

    found = run(_on_dead_letters(lambda queue: queue.all()))
    for name, one in found.items():
        attempts = f"{one.attempts} attempt{'s' if one.attempts != 1 else ''}"
        typer.echo(f"{name}  {one.at:%Y-%m-%d %H:%M} UTC  {attempts}  {one.conversation}")
        for label, text in (("said", one.words), ("why", one.reason)):
            if text:
                typer.echo(f"{'':12}{label:4}  {textwrap.shorten(text, 90, placeholder=' …')}")
    if not found:
        typer.echo("There are no dead letters.")


@dead_letters.command("retry")
def dead_letters_retry(ids: _Ids = None, everything: _All = False) -> None:
    """Put messages back at the end of their conversations' queues."""
    _for_each(ids, everything, lambda queue, name: queue.retry(name), "is queued again")


@dead_letters.command("drop")
def dead_letters_drop(ids: _Ids = None, everything: _All = False) -> None:
    """Delete dead letters."""
    _for_each(ids, everything, lambda queue, name: queue.drop(name), "is deleted")


def _for_each(
    ids: list[str] | None,
    everything: bool,
    act: "Callable[[DeadLetterQueue, str], Awaitable[bool]]",
    done: str,
) -> None:
    """Do something to each; exit with 1 if one of them is not there."""

    async def to_each(queue: "DeadLetterQueue") -> list[tuple[str, bool]]:
        return [(name, await act(queue, name)) for name in (await queue.all() if everything else ids or ())]

    if not ids and not everything:
        raise ConfigError("Give the ids that `parley dead-letters list` shows, or --all.")
    results = run(_on_dead_letters(to_each))
    for name, there in results:
        typer.echo(f"{name} {done}." if there else f"{name} is not a dead letter.", err=not there)
    if not all(there for _, there in results):
        raise typer.Exit(1)


async def _on_dead_letters(act: "Callable[[DeadLetterQueue], Awaitable[T]]") -> T:
    from bot.app.services import open_services
    from bot.storage.queue.dead_letters import DeadLetterQueue

    async with open_services(load_settings()) as services:
        return await act(DeadLetterQueue(services.storage.redis))


def forget(
    tenant: Annotated[str, typer.Option(help="A Slack workspace, a tenant of Microsoft's, or `studio`.")],
    person: Annotated[str | None, typer.Option(help="Only this person of it, by their id there.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask first.")] = False,
) -> None:
    """Delete what is kept of a tenant, or of one of its people.

    It says how much that is, and asks first.

    Sums without names stay, and so does what stands in Slack or Teams itself.
    """
    if not yes:
        typer.echo(run(_kept(tenant, person)))
        whose = f"{person} in {tenant}" if person else f"everybody in {tenant}"
        typer.confirm(f"Delete what is kept of {whose}? It can't be undone.", abort=True)
    for line in run(_forgotten(tenant, person)):
        typer.echo(line)


async def _kept(tenant: str, person: str | None) -> str:
    """How much would be deleted, in words."""
    from bot.app.services import open_services
    from bot.domain.events import User
    from bot.storage.erasure.tenants import Tenants

    async with open_services(load_settings()) as services:
        if person:
            return f"This deletes: {await services.personal_data.count(User(id=person, tenant=tenant))}."
        tenants = Tenants(services.storage.redis, services.storage.search)
        found = {name: await tenants.preview(_whole(name, tenant)) for name in _platforms(tenant)}
    lines = [f"This deletes, of {platform}: {erased}." for platform, erased in found.items() if erased]
    return "\n".join(lines) or f"No conversations are kept of {tenant}."


def _platforms(tenant: str) -> Sequence[str]:
    """Where a tenant of this id may be; the people of the studio are one."""
    from bot.app.platforms import PLATFORMS

    return ("studio",) if tenant == "studio" else [platform.name for platform in PLATFORMS]


def _whole(platform: str, tenant: str) -> "AppUninstalled":
    """As if a tenant had taken the bot away."""
    from bot.domain.events import Address, AppUninstalled, User, now

    nowhere = Address(conversation="", event="")
    conversations = "studio:" if platform == "studio" else f"{platform}:{tenant}:"
    return AppUninstalled(
        id="",
        address=nowhere,
        user=User(id="", tenant=tenant),
        at=now(),
        conversation_prefix=conversations,
        whole=True,
    )


async def _forgotten(tenant: str, person: str | None) -> list[str]:
    from bot.app.services import open_services
    from bot.domain.events import User
    from bot.storage.erasure.tenants import Tenants

    gone = list[str]()
    async with open_services(load_settings()) as services:
        if person:
            words = await services.personal_data.forget(User(id=person, tenant=tenant))
            await services.storage.compaction.settled()
            return [words]
        for platform in _platforms(tenant):
            erased = await Tenants(services.storage.redis, services.storage.search).forget(
                _whole(platform, tenant)
            )
            gone += [f"Deleted, of {platform}: {erased}."] if erased else []
        if gone:
            await services.storage.compaction.request()
            await services.storage.compaction.settled()
    return gone or [f"Nothing is kept of {tenant}."]


# ------------------------------------------------------------------ deployments

deployments = typer.Typer(no_args_is_help=True, help="List the deployments, and try each of them.")


@deployments.command("list")
def deployments_list() -> None:
    """List the deployments: model, place, prices, limits, tags."""
    from bot.app import services
    from bot.llm.catalog.listing import listed

    typer.echo(listed(services.find_deployment_config(load_settings())))


@deployments.command("test")
def deployments_test() -> None:
    """Ask each deployment for a word: health, time to the first token, price. Exits with 1 if one fails."""
    from bot.app import services
    from bot.app.settings import secrets
    from bot.llm.catalog import catalog
    from bot.llm.catalog.listing import trials
    from bot.llm.routing.router import connect

    async def probe() -> "list[ProbeResult]":
        found = services.find_deployment_config(load_settings())
        async with connect(found, secrets(catalog.key_names(found.deployments))) as gateway:
            return await gateway.probe()

    probes = run(probe())
    typer.echo(trials(probes))
    if any(one.finding.level == "error" for one in probes):
        raise typer.Exit(1)
