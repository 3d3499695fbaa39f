"""Looks up the names in limits (`channel #general`, an e-mail address) in the background, and applies their ids."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress

from bot.domain import telemetry
from bot.domain.adapter import Adapter, FindsIds
from bot.domain.errors import ConfigError, PlatformUnavailable, StateUnavailable
from bot.domain.limits import FIND_ID, Limits, NamedScope
from bot.domain.turns import CheckResult
from bot.storage.redis import tasks
from bot.storage.usage.limit_names import KnownName, LimitNameStore

log = logging.getLogger(__name__)

POLL_S = 20.0
"""How soon a process applies what another one has found."""
AGAIN_S = 60.0
"""A name that was not found is looked up again after this time."""
HOLDS_S = 86_400.0
"""After this time a name is looked up again: it may belong to another channel or person by now."""
CHECK_S = 60.0
_NEVER = KnownName(problem="not looked up yet")


class LimitNames:
    """The configured limits, and the ids of their names as far as they are known.

    A name keeps its last id while it can't be found. Names that never had one limit nobody: that is logged, counted,
    and shown by `parley check` and in the studio.
    """

    def __init__(self, store: LimitNameStore, limits: Limits, apply: Callable[[Limits], None]) -> None:
        self._store = store
        self._limits = limits
        self._apply = apply
        self._known: Mapping[NamedScope, KnownName] = {}
        self._logged: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._forced = False

    def configure(self, limits: Limits) -> None:
        """Use these limits from now on, and look all of their names up again soon."""
        if limits != self._limits:
            log.info("Reloaded the limits")
        self._limits, self._forced = limits, True
        self._use(self._known)
        self._changed.set()

    async def restore(self) -> None:
        """Apply the ids that were found before. Raises StateUnavailable."""
        self._use(await self._store.read(self._limits.names))

    @asynccontextmanager
    async def resolving(self, adapters: Iterable[Adapter]) -> AsyncGenerator[None]:
        """Look names up until the block ends. The block does not wait for it."""
        finder = next((each for each in adapters if isinstance(each, FindsIds)), None)
        task = asyncio.create_task(self._keep(finder)) if finder is not None else None
        try:
            yield
        finally:
            if task is not None:
                await tasks.end(task)

    async def _keep(self, finder: FindsIds) -> None:
        while not tasks.cancelled():
            self._changed.clear()
            try:
                await self.refresh(finder)
            except StateUnavailable as error:
                log.debug("Names in limits can't be read: %s", error)
            except Exception:
                log.exception("Looking up names in limits failed and will be retried")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_S)

    async def refresh(self, finder: FindsIds) -> None:
        """Apply what is known, and look up what is due, unless another process does. Raises StateUnavailable."""
        names = self._limits.names
        known = await self._store.read(names)
        due = [name for name in names if self._forced or _is_due(known.get(name, KnownName()))]
        if due and await self._store.lock():
            self._forced = False
            try:
                await self._look_up(finder, due, known)
            finally:
                await self._store.unlock()
            known = await self._store.read(names)
        self._use(known)

    async def check(self, finder: FindsIds, others: str = "") -> list[CheckResult]:
        """What each name is; `others` are other platforms, where the limits of names don't apply. Never raises."""
        names = self._limits.names
        known: Mapping[NamedScope, KnownName] = {}
        with suppress(StateUnavailable):
            known = await self._store.read(names)
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._look_up(finder, names, known)
            known = await self._store.read(names)
        return [_result(name, known.get(name, _NEVER), others) for name in names]

    async def _look_up(
        self, finder: FindsIds, names: Iterable[NamedScope], known: Mapping[NamedScope, KnownName]
    ) -> None:
        """Look names up, and store what is found, or why not. Raises StateUnavailable."""
        channels = [name for scope, name in names if scope == "channel"]
        found: Mapping[str, str] = {}
        problem = ""
        if channels:
            try:
                found = await finder.find_channels([name.removeprefix("#") for name in channels])
            except (PlatformUnavailable, ConfigError) as error:
                problem = str(error)
        for name in channels:
            id = found.get(name.removeprefix("#"), "")
            await self._note(("channel", name), id, problem or _NO_CHANNEL, known)
        for scope, name in names:
            if scope == "person":
                try:
                    id, problem = await finder.find_person(name), _NO_PERSON
                except (PlatformUnavailable, ConfigError) as error:
                    id, problem = "", str(error)
                await self._note((scope, name), id, problem, known)

    async def _note(
        self, name: NamedScope, id: str, problem: str, known: Mapping[NamedScope, KnownName]
    ) -> None:
        before = known.get(name, KnownName())
        found = KnownName(id=id or before.id, problem="" if id else problem, at_s=time.time())
        await self._store.write(name, found)

    def _use(self, known: Mapping[NamedScope, KnownName]) -> None:
        """Apply the limits with these ids, and log what changed."""
        self._known = known
        found = {name: known[name].id for name in self._limits.names if name in known and known[name].id}
        results = [_result(name, known.get(name, _NEVER), "") for name in self._limits.names]
        problems = [result.words for result in results if result.level != "ok"]
        telemetry.NAMES_UNRESOLVED.set(sum(name not in found for name in self._limits.names))
        for result in results:
            if result.words not in self._logged:
                level = {"ok": logging.INFO, "warning": logging.WARNING}.get(result.level, logging.ERROR)
                log.log(level, "PARLEY_LIMITS: %s", result.words)
        self._logged = frozenset(result.words for result in results)
        self._apply(self._limits.with_ids(found, problems))


_NO_CHANNEL = "No channel has this name that the bot can see; invite it to a private one"
_NO_PERSON = "No member has this e-mail address"


def _is_due(known: KnownName) -> bool:
    return time.time() - known.at_s >= (AGAIN_S if known.problem or not known.id else HOLDS_S)


def _result(name: NamedScope, known: KnownName, others: str) -> CheckResult:
    """What a name is. It is an error if the limits don't apply because it has no id."""
    subject, (scope, _) = " ".join(name), name
    if not known.problem:
        only = f"; not in {others}, where limits need IDs" if others else ""
        return CheckResult(level="ok", subject="limits", words=f"{subject} is {known.id} in Slack{only}")
    if known is _NEVER:
        words = f"{subject} has not been looked up yet. Until then, only the general limits of each {scope} apply."
        return CheckResult(level="warning", subject="limits", words=words)
    problem = known.problem.rstrip(".")
    if known.id:
        words = f"{subject}: {problem}. Its limits apply to {known.id}, which had this name before."
        return CheckResult(level="warning", subject="limits", words=words)
    words = f"{subject}: {problem}. Until it is found, only the general limits of each {scope} apply. "
    return CheckResult(
        level="error", subject="limits", words=f"{words}You can write the ID. {FIND_ID[scope]}"
    )
