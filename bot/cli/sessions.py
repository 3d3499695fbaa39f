"""The commands `parley sessions`: who is signed in to the studio, and signing people out."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.cli.console import load_settings, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.storage.studio.sessions import Sessions

_Result = TypeVar("_Result")

sessions = typer.Typer(no_args_is_help=True, help="List the sessions of the studio, and end them.")


@sessions.command("list")
def sessions_list() -> None:
    """List who is signed in to the studio: last used first."""
    found = run(_on_sessions(lambda stored: stored.all()))
    for one in found:
        who = f"{one.name or '(no name)'}{f' ({one.login})' if one.login else ''}"
        typer.echo(f"{one.id}  {who}, {one.role}, {one.browser or 'unknown browser'}")
        seen = one.seen_at or one.began_at
        typer.echo(
            f"{'':34}person {one.person}, since {one.began_at:%Y-%m-%d %H:%M}, last used {seen:%Y-%m-%d %H:%M} UTC"
        )
    if not found:
        typer.echo("There are no sessions.")


@sessions.command("end")
def sessions_end(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Ids from `parley sessions list`.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="All sessions of this person, by their id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All sessions of everybody.")] = False,
) -> None:
    """End sessions. Their open pages are signed out within 5 seconds.

    Whoever may still sign in can do so again: take the role away in Microsoft Entra ID first, or change the token.
    """
    if sum(map(bool, (ids, person, everything))) != 1:
        raise ConfigError("Give ids from `parley sessions list`, or --person ID, or --all.")

    async def end(stored: "Sessions") -> int:
        return await stored.end(ids) if ids else len(await stored.end_of(person or ""))

    ended = run(_on_sessions(end))
    typer.echo(f"Ended {ended} session{'s' if ended != 1 else ''}.")
    if not ended:
        raise typer.Exit(1)


async def _on_sessions(act: "Callable[[Sessions], Awaitable[_Result]]") -> _Result:
    from bot.app.services import open_storage
    from bot.app.studio import studio_sessions

    settings = load_settings()
    async with open_storage(settings) as storage:
        return await act(studio_sessions(settings, storage.redis))
