"""The commands `parley backup` and `parley restore`, which does not answer messages twice."""

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
"""Not backed up: they belong to running processes. `terminal` has the history of `parley chat`."""
_REASON = "Pending when the backup was made; it may have been answered since. If not, retry it."


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write; it must not exist yet.")],
) -> None:
    """Back up the data directory to a file; Parley may be running.

    The file contains messages and, unless PARLEY_SECRET_KEYS is set, the key that encrypts workspace tokens:
    protect it like the data directory.
    """
    settings = load_settings()
    if settings.redis_url is not None:
        raise ConfigError(
            "The data is in the Redis server at REDIS_URL. Back it up there (see docs/operations.md)."
        )
    if not settings.parley_data_dir.is_dir():
        raise ConfigError(
            f"Nothing to back up: the data directory {settings.parley_data_dir} does not exist."
        )
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
    """Prevent Redis from rewriting its append-only files while they are copied.

    See "Backing up AOF persistence" in Redis' documentation.
    """
    from bot.storage.embedded import compaction

    name = "auto-aof-rewrite-percentage"
    percentage = (await redis.call("CONFIG GET", name))[name]
    await redis.call("CONFIG", "SET", name, 0)
    try:
        await compaction.no_rewrite(redis)
        yield
    finally:
        await redis.call("CONFIG", "SET", name, percentage)


def _archive(folder: Path, file: Path) -> tuple[int, int]:
    """Write to a temporary file and rename it, so that an incomplete archive is never mistaken for a backup."""
    if file.exists():
        raise ConfigError(f"{file} already exists. Choose another file name.")
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
    """The files to archive, relative to the folder.

    They may grow meanwhile: Redis only appends, and discards an incomplete last command when it loads them.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] not in _OF_ONE_PROCESS and path.is_file() and not path.is_symlink():
            yield name.as_posix()


def restore(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A file of `parley backup`. Omit it after restoring the Redis server at REDIS_URL yourself."
        ),
    ] = None,
) -> None:
    """Restore a backup; pending messages move to the dead letters.

    FILE is extracted to PARLEY_DATA_DIR, which must be empty.

    Messages that were pending in the backup may have been answered since. So that nobody gets an answer twice, they
    move to the dead letters: see `parley dead-letters list` and `parley dead-letters retry`.

    Stop all other processes of Parley first.
    """
    settings = load_settings()
    if file is None and settings.redis_url is None:
        raise ConfigError("Name the file to restore.")
    if file is not None and settings.redis_url is not None:
        raise ConfigError(
            "REDIS_URL is set, but a file of `parley backup` can only be restored to the embedded Redis. "
            "Unset REDIS_URL, or omit the file."
        )
    if file is not None:
        _extract(file, settings.parley_data_dir)
    count = run(_move_to_dead_letters())
    messages = f"{count} pending message{'s' if count != 1 else ''}"
    typer.echo(f"Restored. {messages} moved to the dead letters: see `parley dead-letters list`.")


def _extract(file: Path, folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} is not empty. Move it away, or set PARLEY_DATA_DIR to another directory."
        )
    try:
        with tarfile.open(file) as archive:
            members = archive.getmembers()
            if unsafe := next((member for member in members if not _is_plain(member)), None):
                raise ConfigError(f"{file} is not a file of `parley backup`: it contains {unsafe.name!r}.")
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for member in members:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if content := archive.extractfile(member):
                    with content, target.open("xb") as out:
                        shutil.copyfileobj(content, out)
                target.chmod(0o600)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ConfigError(f"Can't restore {file}: {error}.") from None


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a regular file inside the target folder."""
    path = PurePosixPath(member.name)
    return member.isreg() and not path.is_absolute() and ".." not in path.parts


async def _move_to_dead_letters() -> int:
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
