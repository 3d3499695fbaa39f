"""Six Slack workspaces and three tenants of Teams in which people, channels, threads and messages have equal ids."""

import re
from typing import NamedTuple

from bot.domain.events import Role, User

CANARY = re.compile(rb"zq[0-9a-f]{6}")


class Canaries:
    """Words that occur nowhere else, one for everything that is said."""

    def __init__(self) -> None:
        self._made = 0

    def new(self) -> str:
        """The next one."""
        self._made += 1
        return f"zq{self._made:06x}"


class Workspace(NamedTuple):
    """A workspace of Slack or a tenant of Teams; those of one `organisation` share its installation."""

    id: str
    organisation: str = ""
    teams: bool = False


WORKSPACES = (
    Workspace("T1", "E1"),
    Workspace("T11", "E1"),
    Workspace("T2", "E2"),
    Workspace("T21", "E2"),
    Workspace("T3"),
    Workspace("T31"),
    Workspace("M1", teams=True),
    Workspace("M11", teams=True),
    Workspace("M2", teams=True),
)
"""Some ids are the beginnings of others."""


class Person(NamedTuple):
    """Somebody in a tenant. `name` is a canary."""

    id: str
    role: Role
    tenant: Workspace
    name: str

    @property
    def user(self) -> User:
        """As the platforms tell it: operators are known by their ids alone."""
        return User(
            id=self.id,
            tenant=self.tenant.id,
            name=self.name,
            role="member" if self.role == "operator" else self.role,
            home="T999" if self.role == "partner" else "",
            organisation=self.tenant.organisation,
        )


ROLES: tuple[tuple[str, Role], ...] = (
    ("U1", "member"),
    ("U11", "member"),
    ("U2", "guest"),
    ("U3", "partner"),
    ("B1", "bot"),
    ("U4", "admin"),
    ("U7", "operator"),
)
OPERATOR = "U7"


class Place(NamedTuple):
    """Where a conversation is: a thread of a channel, a group chat, a one-to-one chat."""

    tenant: str
    channel: str
    conversation: str
    direct: bool = False
    threaded: bool = True


def people(canaries: Canaries) -> dict[str, list[Person]]:
    """Those of each tenant. In the workspaces of an organisation, the same id is the same person."""
    names: dict[tuple[str, str], str] = {}
    found: dict[str, list[Person]] = {}
    for tenant in WORKSPACES:
        for id, role in ROLES:
            if role == "admin" and tenant.teams:
                role = "member"
            name = names.setdefault((tenant.organisation or tenant.id, id), canaries.new())
            found.setdefault(tenant.id, []).append(Person(id, role, tenant, name))
    return found


def places(tenant: Workspace, persons: list[Person], threads: int = 3) -> list[Place]:
    """The conversations of a tenant."""
    if tenant.teams:
        channels, thread = ("19:c1@thread.tacv2", "19:c2@thread.tacv2"), ";messageid=17000000{:02d}"
        group = "19:g1@thread.v2"
    else:
        channels, thread, group = ("C1", "C2"), ":17000000{:02d}.000100", "G1"
    begin = f"test:{tenant.id}:"
    found = [
        Place(tenant.id, channel, f"{begin}{channel}{thread.format(number)}")
        for channel in channels
        for number in range(threads)
    ]
    found.append(Place(tenant.id, group, f"{begin}{group}", threaded=False))
    found += [Place(tenant.id, f"D{one.id}", f"{begin}D{one.id}", direct=True) for one in persons]
    return found
