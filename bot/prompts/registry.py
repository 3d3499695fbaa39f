"""The templates and pools that count now: the files, and over them what was published."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from bot.domain.errors import StateUnavailable, TemplateError
from bot.domain.events import MessageReceived
from bot.domain.prompts import Example, Template
from bot.domain.publications import ActiveTemplate, PoolChange, Record, Trial, Version
from bot.prompts import example_images
from bot.prompts.loader import faults
from bot.prompts.prompty import LoadedTemplate, read_text
from bot.storage.prompts.versions import Versions

log = logging.getLogger(__name__)

POLL_S = 5.0
"""How late a publication is noticed at most when its wakeup was lost."""

Check = Callable[[Template], None]
"""What the process knows and the files don't tell: tools, knowledge. Raises TemplateError."""


class TemplateRegistry:
    """Read on the path of every message, from memory; `watch` keeps it up to date.

    `look` knows the pictures that the files' examples show: what is published may show these.
    """

    def __init__(
        self,
        files: Sequence[Template],
        pools: Mapping[str, Sequence[Example]],
        versions: Versions,
        check: Check = lambda _: None,
    ) -> None:
        self._files = {template.name: template for template in files}
        self.look = example_images.held([pair for one in files for pair in one.examples])
        self._file_pools = {name: tuple(pool) for name, pool in pools.items()}
        self._versions = versions
        self._check = check
        self._reading = asyncio.Lock()
        self._amended = 0
        self._forget()

    def _forget(self) -> None:
        """As if nothing had ever been published."""
        self.seen = 0
        self._published: dict[str, Version] = {}
        self._tried: dict[str, Version] = {}
        self._pools = dict(self._file_pools)
        self._loaded: dict[int, LoadedTemplate | None] = {}
        self._build()

    # -------------------------------------------------------------- what counts

    def templates(self, received: MessageReceived | None = None) -> Sequence[Template]:
        """The templates in force, by name; for a message, with those that its conversation tries."""
        if received is None or not self._trials:
            return self._everybody
        chosen = {template.name: template for template in self._everybody}
        for trial, template in self._trials:
            if _takes_part(received, trial, template.name):
                chosen[template.name] = template
        return tuple(chosen.values())

    def pools(self) -> Mapping[str, Sequence[Example]]:
        """Every pool by name."""
        return self._pools

    def pool_after(self, name: str, changes: Iterable[PoolChange]) -> tuple[Example, ...]:
        """What these changes, oldest first, make of the pool's file."""
        return _changed(self._file_pools.get(name, ()), changes)

    def active(self, name: str) -> ActiveTemplate:
        """What counts for a template, and why; for a name that nobody knows, nothing."""
        chosen = {template.name: template for template in self._everybody}
        return ActiveTemplate(
            template=chosen.get(name),
            file=self._files.get(name),
            version=self._published.get(name),
            trial=self._tried.get(name),
        )

    def faults(self, loaded: LoadedTemplate) -> Iterator[TemplateError]:
        """What keeps a template from being published, beside all others that are in force or tried."""
        name = loaded.template.name
        yield from self._faults(loaded, [one for one in self._everybody if one.name != name])
        tried = [template for _, template in self._trials if template.name != name]
        if tried:
            yield from faults(loaded, tried, self._pools)

    def _faults(self, loaded: LoadedTemplate, others: Iterable[Template]) -> Iterator[TemplateError]:
        template, _, match, _ = loaded
        file = self._files.get(template.name)
        yield from faults(loaded, others, self._pools)
        if file is not None and file.match.default and not template.match.default:
            yield match.error("default", "this is the default template, and has to stay it")
        try:
            self._check(template)
        except TemplateError as error:
            yield error

    # -------------------------------------------------------------- keeping up

    async def refresh(self) -> None:
        """Read what was published since the last time. Raises StateUnavailable."""
        async with self._reading:
            amended = await self._versions.amended()
            if amended != self._amended:
                self._amended = amended
                self._forget()
            count, records = await self._versions.since(self.seen)
            if count < self.seen:
                log.warning("What was published is gone from Redis; the files count.")
                self._forget()
                count, records = await self._versions.since(0)
            self.seen = count
            if records:
                for record in records:
                    self._take(record)
                self._build()

    async def watch(self) -> None:
        """Keep up until cancelled. Redis being away is waited out: what was read last counts."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen())
            both.create_task(self._poll())

    async def _listen(self) -> None:
        while not _cancelled():
            try:
                async for _ in self._versions.wakeups():
                    await self.refresh()
                    if _cancelled():
                        return
            except StateUnavailable as error:
                log.debug("Not listening for publications: %s", error)
            await asyncio.sleep(0.5)

    async def _poll(self) -> None:
        while not _cancelled():
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except StateUnavailable as error:
                log.debug("Publications can't be looked for: %s", error)

    def _take(self, record: Record) -> None:
        if isinstance(record, PoolChange):
            self._pools[record.pool] = _changed(self._pools.get(record.pool, ()), [record])
        elif record.trial is not None:
            self._tried[record.name] = record
        else:
            self._tried.pop(record.name, None)
            self._published.pop(record.name, None)
            if record.text:
                self._published[record.name] = record

    def _build(self) -> None:
        """Put together what counts. A version that the files have overtaken is left out and logged."""
        counting = {one.number for one in (*self._published.values(), *self._tried.values())}
        self._loaded = {number: loaded for number, loaded in self._loaded.items() if number in counting}
        chosen = dict(self._files)
        over = {name: loaded for name, one in self._published.items() if (loaded := self._read(one))}
        chosen |= {name: loaded.template for name, loaded in over.items()}
        while problem := next(self._problems(over, chosen), None):
            name, error = problem
            log.error("The published version of %s can't be used, the file counts: %s", name, error)
            del over[name], chosen[name]
            chosen |= {name: self._files[name]} if name in self._files else {}
        self._everybody = tuple(chosen[name] for name in sorted(chosen))
        self._trials = list(self._usable_trials(chosen))

    def _problems(
        self, over: Mapping[str, LoadedTemplate], chosen: Mapping[str, Template]
    ) -> Iterator[tuple[str, TemplateError]]:
        for name, loaded in over.items():
            for error in self._faults(loaded, [one for one in chosen.values() if one.name != name]):
                yield name, error

    def _usable_trials(self, chosen: Mapping[str, Template]) -> Iterator[tuple[Trial, Template]]:
        taken: list[Template] = []
        for name, version in self._tried.items():
            loaded = self._read(version)
            if loaded is None or version.trial is None:
                continue
            others = [one for one in (*chosen.values(), *taken) if one.name != name]
            if error := next(self._faults(loaded, others), None):
                log.error("The trial of %s can't be used: %s", name, error)
                continue
            taken.append(loaded.template)
            yield version.trial, loaded.template

    def _read(self, version: Version) -> LoadedTemplate | None:
        """The template of a version, read once; None when this Parley can't read it."""
        if version.number not in self._loaded:
            try:
                self._loaded[version.number] = read_text(version.text, version.name, self.look)
            except TemplateError as error:
                log.error("Version %d can't be read, and does not count: %s", version.number, error)
                self._loaded[version.number] = None
        return self._loaded[version.number]


def _cancelled() -> bool:
    """Whether this task was told to end.

    Asked for, as on Python 3.11 a cancellation that comes together with the answer to a command is swallowed
    on its way through the driver (asyncio.wait_for, gh-86296).
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _changed(pool: Iterable[Example], changes: Iterable[PoolChange]) -> tuple[Example, ...]:
    for change in changes:
        stay = [one for one in pool if one not in change.removed]
        pool = dict.fromkeys((*stay, *change.added))
    return tuple(pool)


def _takes_part(received: MessageReceived, trial: Trial, name: str) -> bool:
    """Whether a conversation tries a template: always the same answer; a larger share keeps the smaller."""
    if received.channel and received.channel in trial.channels:
        return True
    digest = sha256(f"{name}\0{received.address.conversation}".encode()).digest()
    return int.from_bytes(digest[:4]) % 100 < trial.percent
