"""The commands that copy the data directory to a file, and bring such a copy back without answering twice."""

import asyncio
import os
import shutil
import tarfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.console import load_settings, run
from bot.domain.errors import ConfigError

if TYPE_CHECKING:
    from bot.storage.redis.client import Redis

_OF_ONE_PROCESS = ("redis.log", "redis.pid", "redis.sock", "redis.starting", "redis.users", "terminal")
"""What belongs to the processes that run now, not to the data; `terminal` is the memory of `parley chat`."""
_REASON = (
    "It was waiting when the backup was made, and may have been answered since. If it was not, retry it."
)


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write; it must not exist yet.")],
) -> None:
    """Copy the data directory to a file while Parley runs.

    The file holds what people wrote and, unless PARLEY_SECRET_KEYS is set, the key that seals workspace
    tokens: keep it as safe as the data directory.
    """
    settings = load_settings()
    if settings.redis_url is not None:
        raise ConfigError(
            "The data is in the Redis of REDIS_URL: back it up there (docs/operations.md says how)."
        )
    if not settings.parley_data_dir.is_dir():
        raise ConfigError(f"There is nothing to back up: {settings.parley_data_dir} does not exist.")
    count, size = run(_backup(settings.parley_data_dir, file))
    typer.echo(f"{file}: {count} files, {size / 1e6:.1f} MB.")


async def _backup(folder: Path, file: Path) -> tuple[int, int]:
    from bot.storage.embedded.lifecycle import embedded
    from bot.storage.redis.client import Redis

    async with embedded(folder) as url:
        redis = Redis(url)
        try:
            async with _no_rewrite(redis):
                return await asyncio.to_thread(_archive, folder, file)
        finally:
            await redis.close()


@asynccontextmanager
async def _no_rewrite(redis: "Redis") -> AsyncGenerator[None]:
    """Keep Redis from replacing its append-only files while they are copied.

    Source: "Backing up AOF persistence" in Redis' documentation of persistence.
    """
    name = "auto-aof-rewrite-percentage"
    percentage = (await redis.call("CONFIG GET", name))[name]
    await redis.call("CONFIG", "SET", name, 0)
    try:
        while True:
            (received,) = await redis.info()
            if not received.get("aof_rewrite_in_progress") and not received.get("aof_rewrite_scheduled"):
                break
            await asyncio.sleep(0.1)
        yield
    finally:
        await redis.call("CONFIG", "SET", name, percentage)


def _archive(folder: Path, file: Path) -> tuple[int, int]:
    """Write the archive beside its place, then move it there: a broken one is never taken for a whole one."""
    if file.exists():
        raise ConfigError(f"{file} exists already. Name another file.")
    part = file.with_name(f"{file.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"Can't write {part}: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            names = list(_files(folder))
            for name in names:
                archive.add(folder / name, name, recursive=False)
            raw.flush()
        part.rename(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return len(names), file.stat().st_size


def _files(folder: Path) -> Iterator[str]:
    """The files of the data, relative to the folder.

    Each is read to the length that it has when its turn comes: Redis only appends to its files, and when it
    reads them cuts off a last command that is there in part.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] not in _OF_ONE_PROCESS and path.is_file() and not path.is_symlink():
            yield name.as_posix()


def restore(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A file of `parley backup`. Left out: the Redis of REDIS_URL was restored already."
        ),
    ] = None,
) -> None:
    """Restore a backup; what waited in it is set aside.

    FILE is extracted to PARLEY_DATA_DIR, which must be empty.

    What was waiting when the backup was made may have been answered since. So that nobody gets an answer twice, it
    moves to the dead letters: `parley dead-letters list` shows it, `parley dead-letters retry` has it answered.

    Stop every other process of Parley first.
    """
    settings = load_settings()
    if file is None and settings.redis_url is None:
        raise ConfigError("Name the file to restore.")
    if file is not None and settings.redis_url is not None:
        raise ConfigError("REDIS_URL is set: a file of `parley backup` is for a Redis of Parley's own.")
    if file is not None:
        _extract(file, settings.parley_data_dir)
    count = run(_set_aside())
    typer.echo(f"Restored. {count} message{'s' if count != 1 else ''} set aside: `parley dead-letters list`.")


def _extract(file: Path, folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty. Name another with PARLEY_DATA_DIR, or move it away.")
    try:
        with tarfile.open(file) as archive:
            members = archive.getmembers()
            if unsafe := next((one for one in members if not _is_plain(one)), None):
                raise ConfigError(f"{file} is no file of `parley backup`: it holds {unsafe.name!r}.")
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for member in members:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if content := archive.extractfile(member):
                    with content, target.open("xb") as out:
                        shutil.copyfileobj(content, out)
                target.chmod(0o600)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ConfigError(f"{file} can't be restored: {error}.") from None


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a regular file below the folder that it is extracted to."""
    path = PurePosixPath(member.name)
    return member.isreg() and not path.is_absolute() and ".." not in path.parts


async def _set_aside() -> int:
    from bot.app.services import open_services
    from bot.storage.queue import backlog
    from bot.storage.queue.inbox import Claim, CommitRequest

    count = 0
    async with open_services(load_settings()) as services:
        for shard in await backlog.make_due(services.storage.redis):
            while isinstance(claim := await services.storage.inbox.claim(shard), Claim):
                await services.storage.inbox.commit(claim, CommitRequest(dead_letter_reason=_REASON))
                count += 1
    return count
