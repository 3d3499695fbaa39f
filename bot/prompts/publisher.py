"""Publishes templates and pools, with the checks that files go through, and rolls them back."""

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
    """Publishes to Redis. All methods raise StateUnavailable.

    Those that publish also raise TemplateError for an invalid template and NotAllowed for other reasons.
    A publication is active in this process at once and in others within about a second.
    """

    def __init__(self, registry: TemplateRegistry, versions: Versions) -> None:
        self._registry = registry
        self._versions = versions

    async def history(self, name: str) -> list[Version]:
        """All published versions of a template, newest first."""
        _, records = await self._versions.since(0)
        return [record for record in reversed(records) if isinstance(record, Version) and record.name == name]

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
        """Publish `.prompty` text (see `bot.prompts.formats.to_prompty`) for everyone, or as a trial.

        `after` is the number of the version that the author edited, 0 for the file. If another one has been
        published since, NotAllowed names its author.
        """
        if trial and not (0 <= trial.percent <= 100 and (trial.percent or trial.channels)):
            raise NotAllowed("A trial needs channels, or a share of 1 to 100 percent of the conversations.")
        loaded = await asyncio.to_thread(read_text, text, name, self._registry.load_image)

        def create(number: int) -> Version:
            self._check_latest(name, after)
            self._check_valid(loaded)
            return _version(number, name, text, loaded.template.digest, author, reason, trial)

        return await self._append(create)

    async def roll_back(self, name: str, number: int, *, author: str, reason: str) -> Version:
        """Publish an earlier version again for everyone; 0 is the file. Ends the trial of the template."""
        if number:
            old = next((version for version in await self.history(name) if version.number == number), None)
            if old is None or not old.text:
                raise NotAllowed(f"There is no version {number} of “{name}”.")
            return await self.publish(name, old.text, author=author, reason=reason)

        def create(number: int) -> Version:
            active = self._registry.active(name)
            if active.version is None and active.trial is None:
                raise NotAllowed(f"“{name}” already uses its file: no version is published.")
            if active.file is not None:
                self._check_valid(read_text(to_prompty(active.file), name, self._registry.load_image))
            return _version(number, name, "", active.file.digest if active.file else "", author, reason)

        return await self._append(create)

    async def change_pool(
        self,
        pool: str,
        *,
        added: Sequence[Example] = (),
        removed: Sequence[Example] = (),
        author: str,
        reason: str,
    ) -> PoolChange:
        """Add examples to a pool, which is created if needed, or remove some."""
        if not _POOL.fullmatch(pool):
            raise NotAllowed("The name of a pool has lower-case letters, digits, - and _ (at most 64).")
        if any(not example.user.strip() or not example.assistant.strip() for example in added):
            raise NotAllowed("An example needs both a question and an answer.")

        def create(number: int) -> PoolChange:
            before = self._registry.pools().get(pool, ())
            new = tuple(example for example in dict.fromkeys(added) if example not in before)
            old = tuple(example for example in dict.fromkeys(removed) if example in before)
            self._check_pool(pool, len(before) + len(new) - len(old), changed=bool(new or old))
            return PoolChange(
                number=number,
                pool=pool,
                author=author,
                at=now(),
                reason=_reason(reason),
                added=new,
                removed=old,
            )

        return await self._append(create)

    # -------------------------------------------------------------- checks

    def _check_latest(self, name: str, after: int | None) -> None:
        current = self._registry.active(name).version
        if after is None or after == (current.number if current else 0):
            return
        what = (
            f"{current.author} published version {current.number}" if current else "it was reverted to file"
        )
        raise NotAllowed(f"“{name}” has changed: {what}. Check the difference, then publish again.")

    def _check_valid(self, loaded: LoadedTemplate) -> None:
        problems = [str(error) for error in self._registry.faults(loaded)]
        if problems:
            raise TemplateError("\n".join(problems))

    def _check_pool(self, pool: str, size: int, *, changed: bool) -> None:
        if not changed:
            raise NotAllowed(f"This does not change the pool “{pool}”.")
        if size > MOST_EXAMPLES:
            raise NotAllowed(f"The pool “{pool}” would have {size} examples; the limit is {MOST_EXAMPLES}.")
        if not size and any(template.pool == pool for template in self._registry.templates()):
            raise NotAllowed(f"A template uses the pool “{pool}”, so its last example can't be removed.")

    async def _append(self, create: Callable[[int], _R]) -> _R:
        """Create a record from the current state; retry if somebody else publishes in between."""
        for _ in range(_ATTEMPTS):
            await self._registry.refresh()
            record = create(self._registry.seen + 1)
            if await self._versions.append(record):
                await self._registry.refresh()
                return record
        raise NotAllowed("Others are publishing at the moment. Try again.")


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
        raise NotAllowed("Enter a reason for this change.")
    if len(reason) > _MOST_REASON:
        raise NotAllowed(f"The reason has {len(reason)} characters; the limit is {_MOST_REASON}.")
    return reason.strip()
