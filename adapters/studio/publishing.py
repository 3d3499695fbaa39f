"""What the studio's editors ask of the house: templates, their versions, who gets them, saved set-ups."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from bot.domain.prompts import Example, Template
from bot.domain.publications import Assignment, Place, SavedConfig
from bot.domain.turns import Turn


class TrialView(Protocol):
    """Who meets a version that is only tried."""

    @property
    def percent(self) -> int: ...
    @property
    def channels(self) -> Sequence[str]: ...


class VersionView(Protocol):
    """A template as it was published; an empty text takes the publication back."""

    @property
    def number(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def reason(self) -> str: ...
    @property
    def trial(self) -> TrialView | None: ...


class ActiveTemplateView(Protocol):
    """What counts for a template: by which version, what is tried, and the file under it."""

    @property
    def template(self) -> Template | None: ...
    @property
    def file(self) -> Template | None: ...
    @property
    def version(self) -> VersionView | None: ...
    @property
    def trial(self) -> VersionView | None: ...


class ProposalView(Protocol):
    """An answer that somebody proposed as an example for a pool."""

    @property
    def id(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def example(self) -> Example: ...
    @property
    def author(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class PromptEditorPort(Protocol):
    """Templates and their versions; pools and what is proposed for them.

    Its methods raise StateUnavailable, TemplateError and NotAllowed, in words.
    """

    def active(self, name: str) -> ActiveTemplateView:
        """What counts for a template, and why."""
        ...

    def pools(self) -> Sequence[str]:
        """The pools of few-shot examples."""
        ...

    def pool(self, name: str) -> Sequence[Example]:
        """The examples of a pool; none for one that nobody knows."""
        ...

    async def history(self, name: str) -> Sequence[VersionView]:
        """Every version that was published, newest first."""
        ...

    async def publish(
        self,
        template: Template,
        *,
        author: str,
        reason: str,
        percent: int = 0,
        channels: Sequence[str] = (),
        after: int | None = None,
    ) -> VersionView:
        """Publish for everybody, or, with a share or channels, for a trial.

        `after` is the number of the version that counted when the author looked, 0 for the file.
        """
        ...

    async def roll_back(self, name: str, number: int, *, author: str, reason: str) -> VersionView:
        """Make an earlier version count again; 0 is the file."""
        ...

    def text(self, template: Template) -> str:
        """The template as `.prompty`."""
        ...

    def diff(self, old: str, new: str) -> str:
        """What became of a text, line by line; empty when nothing did."""
        ...

    def read(self, file: str, data: bytes, name: str) -> Template:
        """A template from a file: `.prompty`, Azure OpenAI Studio's `.json`, or chat `.jsonl`."""
        ...

    def write(self, template: Template, form: str) -> str:
        """A template as a file's text: prompty, json or jsonl."""
        ...

    async def propose(self, turn: Turn, pool: str, *, author: str) -> ProposalView:
        """Propose a well-rated answer for a pool."""
        ...

    async def proposals(self) -> Sequence[ProposalView]:
        """What waits for a review, newest first."""
        ...

    async def accept(self, id: str, *, reviewer: str, user: str, assistant: str) -> ProposalView:
        """Publish a proposal into its pool, as the reviewer worded it."""
        ...

    async def reject(self, id: str, *, reviewer: str) -> ProposalView:
        """Decide against a proposal."""
        ...


class AssignmentsPort(Protocol):
    """Who gets which template: as people choose it on their platform, and as editors give it.

    Its methods raise StateUnavailable.
    """

    async def listed(self, template: str) -> Sequence[Assignment]:
        """Where a template was chosen."""
        ...

    async def known(self) -> Sequence[Place]:
        """Places that somebody wrote from of late, the last one first; people with their names."""
        ...

    async def bind(self, place: Place, template: str, *, author: str) -> None:
        """Give a template to a place; an empty one takes back what was given. Raises NotAllowed."""
        ...


class SavedConfigsPort(Protocol):
    """Set-ups of the playground that were saved for everybody. Its methods raise StateUnavailable."""

    async def all(self) -> Sequence[SavedConfig]:
        """Every one, the last saved first."""
        ...

    async def get(self, id: str) -> SavedConfig | None:
        """One of them."""
        ...

    async def save(
        self, name: str, setups: str, *, author: str, replace: bool, owner: str = ""
    ) -> SavedConfig:
        """Save under a name. Raises NotAllowed, also for a name that is taken, but to `replace` it."""
        ...

    async def rename(self, id: str, name: str) -> SavedConfig:
        """Give it another name. Raises NotAllowed."""
        ...

    async def delete(self, id: str) -> SavedConfig | None:
        """Delete one; what it was."""
        ...
