"""Publishes templates and pools, checked as files are, and takes publications back."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.events import now
from bot.domain.prompts import Example
from bot.domain.publications import PoolChange, Trial, Version
from bot.prompts.formats import to_prompty
from bot.prompts.loader import MOST_EXAMPLES
from bot.prompts.prompty import LoadedTemplate, read_text
from bot.prompts.registry import TemplateRegistry
from bot.storage.prompts.versions import Versions

_R = TypeVar("_R", Version, PoolChange)
_ATTEMPTS = 5
_MOST_REASON = 500
_POOL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Publisher:
    """Every method raises StateUnavailable.

    Those that publish raise TemplateError for what a file would be refused for too, and NotAllowed, in
    words, for what is not to be had in other ways. What they publish counts in this process at once, in
    all others within about a second.
    """

    def __init__(self, registry: TemplateRegistry, versions: Versions) -> None:
        self._registry = registry
        self._versions = versions

    async def history(self, name: str) -> list[Version]:
        """Every version of a template that was published, newest first."""
        _, records = await self._versions.since(0)
        return [one for one in reversed(records) if isinstance(one, Version) and one.name == name]

    async def pool_history(self, pool: str) -> list[PoolChange]:
        """Every change of a pool that was published, newest first."""
        _, records = await self._versions.since(0)
        return [one for one in reversed(records) if isinstance(one, PoolChange) and one.pool == pool]

    async def publish(
        self,
        name: str,
        text: str,
        *,
        author: str,
        reason: str,
        trial: Trial | None = None,
        after: int | None = None,
    ) -> Version:
        """Publish `.prompty` text (`bot.prompts.formats.to_prompty` writes it) for everybody, or for a trial.

        `after` is the number of the version that the author began with, 0 for the file: when another one
        counts by now, NotAllowed says whose.
        """
        if trial is not None and not _is_trial(trial):
            raise NotAllowed("A trial needs channels, or a share from 1 to 100 percent of the conversations.")
        loaded = await asyncio.to_thread(read_text, text, name, self._registry.look)

        def next_one(number: int) -> Version:
            self._demand_latest(name, after)
            self._demand_sound(loaded)
            return _version(number, name, text, loaded.template.digest, author, reason, trial)

        return await self._append(next_one)

    async def roll_back(self, name: str, number: int, *, author: str, reason: str) -> Version:
        """Publish an earlier version again, for everybody; 0 is the file. Ends the trials of the template."""
        if number:
            old = next((one for one in await self.history(name) if one.number == number), None)
            if old is None or not old.text:
                raise NotAllowed(f"There is no version {number} of “{name}”.")
            return await self.publish(name, old.text, author=author, reason=reason)

        def next_one(number: int) -> Version:
            held = self._registry.active(name)
            if held.version is None and held.trial is None:
                raise NotAllowed(f"Nothing was published over the file of “{name}”.")
            if held.file is not None:
                self._demand_sound(read_text(to_prompty(held.file), name, self._registry.look))
            return _version(number, name, "", held.file.digest if held.file else "", author, reason)

        return await self._append(next_one)

    async def change_pool(
        self,
        pool: str,
        *,
        added: Sequence[Example] = (),
        removed: Sequence[Example] = (),
        author: str,
        reason: str,
    ) -> PoolChange:
        """Add examples to a pool (the first ones found it), or take some out."""
        if not _POOL.fullmatch(pool):
            raise NotAllowed("A pool is named with small letters, digits, - and _.")
        if any(not one.user.strip() or not one.assistant.strip() for one in added):
            raise NotAllowed("An example needs text on both sides.")

        def next_one(number: int) -> PoolChange:
            before = self._registry.pools().get(pool, ())
            new = tuple(one for one in dict.fromkeys(added) if one not in before)
            old = tuple(one for one in dict.fromkeys(removed) if one in before)
            self._demand_pool(pool, len(before) + len(new) - len(old), changed=bool(new or old))
            return PoolChange(
                number=number,
                pool=pool,
                author=author,
                at=now(),
                reason=_reason(reason),
                added=new,
                removed=old,
            )

        return await self._append(next_one)

    async def roll_back_pool(self, pool: str, number: int, *, author: str, reason: str) -> PoolChange:
        """Make a pool again what it was after a change; 0 is the file."""
        changes = await self.pool_history(pool)
        if number and number not in [one.number for one in changes]:
            raise NotAllowed(f"There is no change {number} of the pool “{pool}”.")
        wanted = self._registry.pool_after(pool, reversed([one for one in changes if one.number <= number]))
        present = self._registry.pools().get(pool, ())
        return await self.change_pool(
            pool,
            added=[one for one in wanted if one not in present],
            removed=[one for one in present if one not in wanted],
            author=author,
            reason=reason,
        )

    # -------------------------------------------------------------- what is demanded

    def _demand_latest(self, name: str, after: int | None) -> None:
        current = self._registry.active(name).version
        if after is None or after == (current.number if current else 0):
            return
        what = f"{current.author} published version {current.number}" if current else "somebody took it back"
        raise NotAllowed(f"“{name}” changed meanwhile: {what}. Look at what changed, then publish again.")

    def _demand_sound(self, loaded: LoadedTemplate) -> None:
        problems = [str(error) for error in self._registry.faults(loaded)]
        if problems:
            raise TemplateError("\n".join(problems))

    def _demand_pool(self, pool: str, size: int, *, changed: bool) -> None:
        if not changed:
            raise NotAllowed(f"That is how the pool “{pool}” is already.")
        if size > MOST_EXAMPLES:
            raise NotAllowed(f"The pool “{pool}” would have {size} examples; at most {MOST_EXAMPLES}.")
        if not size and any(one.pool == pool for one in self._registry.templates()):
            raise NotAllowed(f"A template shows examples of “{pool}”: the last one has to stay.")

    async def _append(self, next_one: Callable[[int], _R]) -> _R:
        """Check against what counts now, and write down if that still counts then."""
        for _ in range(_ATTEMPTS):
            await self._registry.refresh()
            record = next_one(self._registry.seen + 1)
            if await self._versions.append(record):
                await self._registry.refresh()
                return record
        raise NotAllowed("Others are publishing at this moment. Please try again.")


def _is_trial(trial: Trial) -> bool:
    return 0 <= trial.percent <= 100 and bool(trial.percent or trial.channels)


def _version(
    number: int, name: str, text: str, digest: str, author: str, reason: str, trial: Trial | None = None
) -> Version:
    return Version(
        number=number,
        name=name,
        text=text,
        digest=digest,
        author=author,
        at=now(),
        reason=_reason(reason),
        trial=trial,
    )


def _reason(reason: str) -> str:
    if not reason.strip():
        raise NotAllowed("Please say why: the next person will want to know.")
    if len(reason) > _MOST_REASON:
        raise NotAllowed(f"The reason has {len(reason)} characters; at most {_MOST_REASON}.")
    return reason.strip()
