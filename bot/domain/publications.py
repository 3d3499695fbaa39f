"""What was published over the files: versions, changes of pools, proposals for them, who gets what."""

from datetime import datetime
from typing import Literal

from bot.domain.events import Frozen, User
from bot.domain.prompts import Example, Template

State = Literal["proposed", "accepted", "rejected"]
Scope = Literal["tenant", "channel", "person"]


class Trial(Frozen):
    """Who meets a version that is only tried: these channels, and `percent` of all other conversations."""

    percent: int = 0
    channels: tuple[str, ...] = ()


class Version(Frozen, tag="template"):
    """A template as it was published; records are numbered from 1 in the order in which they were made.

    `text` is the whole template as `.prompty`; an empty one takes back what was published, so that the file
    counts again (and a template without a file is gone). A version without a `trial` ends the trials of its
    template.
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
    """Examples that were added to a pool, or taken out of it."""

    number: int
    pool: str
    author: str
    at: datetime
    reason: str
    added: tuple[Example, ...] = ()
    removed: tuple[Example, ...] = ()


Record = Version | PoolChange


class ActiveTemplate(Frozen):
    """What counts now for one template: what everybody meets, by which version, and what is tried.

    `version` is `None` where the file counts, `file` is `None` where there is none.
    """

    template: Template | None
    file: Template | None
    version: Version | None = None
    trial: Version | None = None


class Proposal(Frozen):
    """A turn that could be an example of a pool. `asker` is the person whose words it holds."""

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
    """Who a choice is for: everybody of a tenant (no `id`), a channel of it, or one of its people."""

    tenant: str
    scope: Scope = "tenant"
    id: str = ""
    name: str = ""


class Assignment(Frozen):
    """A template that was chosen for a place; `author` is empty where people chose it there themselves."""

    place: Place
    template: str
    author: str = ""


class SavedConfig(Frozen):
    """Set-ups of the playground that were saved for everybody; `setups` is their JSON, as the page has it.

    `owner` is the id of the user who saved them; empty where an older version did.
    """

    id: str
    name: str
    author: str
    at: datetime
    setups: str
    owner: str = ""
