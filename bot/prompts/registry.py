"""The active templates and pools: those of the files, overridden by publications."""

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
from bot.storage.redis import tasks

log = logging.getLogger(__name__)

POLL_S = 5.0
"""Polling interval, in case a notification of a publication is lost."""

Check = Callable[[Template], None]
"""Checks that need the running process: tools, knowledge. Raises TemplateError."""


class TemplateRegistry:
    """Serves templates and pools from memory; `watch` keeps it up to date.

    `load_image` loads the images of the files' examples, which publications may use. `problems` are those of
    files that are not used, `notes` what is not used of the files of the templates.
    """

    def __init__(
        self,
        files: Sequence[Template],
        pools: Mapping[str, Sequence[Example]],
        versions: Versions,
        check: Check = lambda _: None,
        problems: Sequence[str] = (),
        notes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.problems = problems
        self._notes = notes or {}
        self._files = {template.name: template for template in files}
        self.load_image = example_images.from_examples(
            [example for template in files for example in template.examples]
        )
        self._file_pools = {name: tuple(pool) for name, pool in pools.items()}
        self._versions = versions
        self._check = check
        self._reading = asyncio.Lock()
        self._amended = 0
        self._forget()

    def _forget(self) -> None:
        """Reset to the state without publications."""
        self.seen = 0
        self._published: dict[str, Version] = {}
        self._trial_versions: dict[str, Version] = {}
        self._pools = dict(self._file_pools)
        self._loaded: dict[int, LoadedTemplate | None] = {}
        self._build()

    # -------------------------------------------------------------- reading

    def templates(self, received: MessageReceived | None = None) -> Sequence[Template]:
        """The active templates, sorted by name; for a message, with the trials of its conversation."""
        if received is None or not self._trials:
            return self._active
        chosen = {template.name: template for template in self._active}
        for trial, template in self._trials:
            if _takes_part(received, trial, template.name):
                chosen[template.name] = template
        return tuple(chosen.values())

    def on_trial(self) -> Sequence[Template]:
        """The templates that are only published as a trial so far, sorted by name."""
        names = {template.name for template in self._active}
        new = (template for _, template in self._trials if template.name not in names)
        return sorted(new, key=lambda template: template.name)

    def pools(self) -> Mapping[str, Sequence[Example]]:
        return self._pools

    def notes(self, name: str) -> Sequence[str]:
        """What is not used of a template's file, or not as its author may expect, whatever is published over it."""
        return self._notes.get(name, ())

    def active(self, name: str) -> ActiveTemplate:
        """The active version of a template and where it comes from; empty for an unknown name."""
        chosen = {template.name: template for template in self._active}
        return ActiveTemplate(
            template=chosen.get(name),
            file=self._files.get(name),
            version=self._published.get(name),
            trial=self._trial_versions.get(name),
        )

    def faults(self, loaded: LoadedTemplate) -> Iterator[TemplateError]:
        """The reasons why a template can't be published, such as a conflict with an active or trial version."""
        name = loaded.template.name
        yield from self._faults(loaded, [each for each in self._active if each.name != name])
        on_trial = [template for _, template in self._trials if template.name != name]
        if on_trial:
            yield from faults(loaded, on_trial, self._pools)

    def _faults(self, loaded: LoadedTemplate, others: Iterable[Template]) -> Iterator[TemplateError]:
        template, _, match, *_ = loaded
        file = self._files.get(template.name)
        yield from faults(loaded, others, self._pools)
        if file is not None and file.match.default and not template.match.default:
            yield match.error("default", "this is the default template and must keep 'default: true'")
        try:
            self._check(template)
        except TemplateError as error:
            yield error

    # -------------------------------------------------------------- updates

    async def refresh(self) -> None:
        """Read new publications. Raises StateUnavailable."""
        async with self._reading:
            amended = await self._versions.amended()
            if amended != self._amended:
                self._amended = amended
                self._forget()
            count, records = await self._versions.since(self.seen)
            if count < self.seen:
                log.warning("Publications are missing from Redis; templates are reset to their files")
                self._forget()
                count, records = await self._versions.since(0)
            self.seen = count
            if records:
                for record in records:
                    self._take(record)
                self._build()

    async def watch(self) -> None:
        """Follow publications until cancelled. Retries while Redis is unavailable, with the last known state."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._listen())
            both.create_task(self._poll())

    async def _listen(self) -> None:
        while not tasks.cancelled():
            try:
                async for _ in self._versions.wakeups():
                    await self.refresh()
                    if tasks.cancelled():
                        return
            except StateUnavailable as error:
                log.debug("The subscription to publications is down: %s", error)
            await asyncio.sleep(0.5)

    async def _poll(self) -> None:
        while not tasks.cancelled():
            await asyncio.sleep(POLL_S)
            try:
                await self.refresh()
            except StateUnavailable as error:
                log.debug("Publications can't be read: %s", error)

    def _take(self, record: Record) -> None:
        if isinstance(record, PoolChange):
            kept = [each for each in self._pools.get(record.pool, ()) if each not in record.removed]
            self._pools[record.pool] = tuple(dict.fromkeys((*kept, *record.added)))
        elif record.trial is not None:
            self._trial_versions[record.name] = record
        else:
            self._trial_versions.pop(record.name, None)
            self._published.pop(record.name, None)
            if record.text:
                self._published[record.name] = record

    def _build(self) -> None:
        """Determine the active templates. Versions that conflict with newer files are skipped and logged."""
        used = {version.number for version in (*self._published.values(), *self._trial_versions.values())}
        self._loaded = {number: loaded for number, loaded in self._loaded.items() if number in used}
        chosen = dict(self._files)
        published = {
            name: loaded for name, version in self._published.items() if (loaded := self._read(version))
        }
        chosen |= {name: loaded.template for name, loaded in published.items()}
        while problem := next(self._problems(published, chosen), None):
            name, error = problem
            log.error("The published version of %s can't be used, so its file is: %s", name, error)
            del published[name], chosen[name]
            chosen |= {name: self._files[name]} if name in self._files else {}
        self._active = tuple(chosen[name] for name in sorted(chosen))
        self._trials = list(self._usable_trials(chosen))

    def _problems(
        self, published: Mapping[str, LoadedTemplate], chosen: Mapping[str, Template]
    ) -> Iterator[tuple[str, TemplateError]]:
        for name, loaded in published.items():
            for error in self._faults(loaded, [each for each in chosen.values() if each.name != name]):
                yield name, error

    def _usable_trials(self, chosen: Mapping[str, Template]) -> Iterator[tuple[Trial, Template]]:
        accepted: list[Template] = []
        for name, version in self._trial_versions.items():
            loaded = self._read(version)
            if loaded is None or version.trial is None:
                continue
            others = [each for each in (*chosen.values(), *accepted) if each.name != name]
            if error := next(self._faults(loaded, others), None):
                log.error("The trial of %s can't be used: %s", name, error)
                continue
            accepted.append(loaded.template)
            yield version.trial, loaded.template

    def _read(self, version: Version) -> LoadedTemplate | None:
        """The template of a version, read once; None if this release of Parley can't read it."""
        if version.number not in self._loaded:
            try:
                self._loaded[version.number] = read_text(version.text, version.name, self.load_image)
            except TemplateError as error:
                log.error("Version %d can't be read and is ignored: %s", version.number, error)
                self._loaded[version.number] = None
        return self._loaded[version.number]


def _takes_part(received: MessageReceived, trial: Trial, name: str) -> bool:
    """Whether a conversation is in a trial. Stable: a larger percentage keeps the conversations of a smaller."""
    if received.channel and received.channel in trial.channels:
        return True
    digest = sha256(f"{name}\0{received.address.conversation}".encode()).digest()
    return int.from_bytes(digest[:4]) % 100 < trial.percent
