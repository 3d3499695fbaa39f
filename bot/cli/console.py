"""Shared by the commands: settings, event loop, folder of the templates, JSON."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from bot.app.settings import Settings

T = TypeVar("T")

Folder = Annotated[Path | None, typer.Option(help="The folder of the templates [default: PARLEY_PROMPTS]")]


def run(work: Coroutine[Any, Any, T], *, collect: bool = True) -> T:
    """Run on uvloop if it is installed (not on Windows).

    `collect` begins garbage collection, which `main` has put off; without it, the work does so itself.
    """
    if collect:
        gc.enable()
    make: Callable[[], asyncio.AbstractEventLoop] | None = None
    try:
        import uvloop

        make = uvloop.new_event_loop
    except ImportError:
        pass
    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(work)


def load_settings() -> "Settings":
    """The settings of this process. Raises ConfigError."""
    from bot.app import settings

    return settings.load()


def prompts_folder(folder: Path | None) -> Path:
    """The given folder, else that of the settings, else the bundled one."""
    from bot.prompts import loader

    return folder or load_settings().parley_prompts or loader.FOLDER


def print_json(value: object) -> None:
    """Print a value that msgspec can encode."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
