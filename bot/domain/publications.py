"""Published versions of templates and pools, proposals, assignments, saved configurations."""

from datetime import datetime
from typing import Literal

from bot.domain.events import Frozen, User
from bot.domain.prompts import Example, Template

State = Literal["proposed", "accepted", "rejected"]
Scope = Literal["tenant", "channel", "person"]


class Trial(Frozen):
    """Who gets a trial version: these channels, and `percent` of all other conversations."""

    percent: int = 0
    channels: tuple[str, ...] = ()


class Version(Frozen, tag="template"):
    """A published template; records are numbered from 1 in order.

    `text` is the whole template as `.prompty`; an empty one reverts to the file (a template without a file
    is removed). A version without a `trial` ends the trials of its template.
    """

    number: int
    name: str
    text: str
    digest: str
    author: str
    at: datetime
    reason: str
    trial: Trial | None = None


class PoolChange(Frozen, tag="pool"):
    """Examples added to or removed from a pool."""

    number: int
    pool: str
    author: str
    at: datetime
    reason: str
    added: tuple[Example, ...] = ()
    removed: tuple[Example, ...] = ()


Record = Version | PoolChange


class ActiveTemplate(Frozen):
    """The active state of one template: what is used, its version, and the trial version.

    `version` is `None` if the file is active, `file` is `None` if there is none.
    """

    template: Template | None
    file: Template | None
    version: Version | None = None
    trial: Version | None = None


class Proposal(Frozen):
    """A turn that was proposed as an example of a pool. `asker` is the author of the question."""

    id: str
    pool: str
    example: Example
    conversation: str
    turn: str
    asker: User
    author: str
    at: datetime
    state: State = "proposed"
    reviewer: str = ""
    reviewed_at: datetime | None = None
    reason: str = ""


class Place(Frozen):
    """The scope of a choice: everybody of a tenant (no `id`), one of its channels, or one of its people."""

    tenant: str
    scope: Scope = "tenant"
    id: str = ""
    name: str = ""


class Assignment(Frozen):
    """A template chosen for a scope; `author` is empty if people chose it themselves."""

    place: Place
    template: str
    author: str = ""


class SavedConfig(Frozen):
    """A saved configuration of the playground; `setups` is its JSON, as the page stores it.

    `owner` is the id of the user whose it is, `author` their name. `shared` says whether all editors may open it.
    Older versions stored neither: there every editor could, and the earliest named no owner.
    """

    id: str
    name: str
    author: str
    at: datetime
    setups: str
    owner: str = ""
    shared: bool = True
