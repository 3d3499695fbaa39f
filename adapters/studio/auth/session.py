"""Who uses the studio, and in which role."""

from typing import Literal

import msgspec

from bot.domain.events import User

Role = Literal["viewer", "editor", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "operator")
"""Each may do what the ones before it may. Viewers read no one's messages; editors change the bot."""

SESSION_S = 8 * 3600
"""A working day: someone who loses a role keeps it at most until the session ends."""
PENDING_S = 600
"""How long a person may take to sign in."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the person's object id in Microsoft Entra, or the id of their browser.

    `renames` is true where people choose their own name; `name` may then be empty.
    """

    role: Role
    id: str
    name: str = ""
    login: str = ""
    renames: bool = False

    @property
    def user(self) -> User:
        """The person as a user, for conversations and usage."""
        return User(id=self.id, tenant="studio", name=self.name)

    @property
    def author(self) -> str:
        """How the person is named as an author."""
        if not self.name:
            return f"the studio's {self.role}"
        return f"{self.name} ({self.login})" if self.login else self.name

    @property
    def audited(self) -> str:
        """How the person is named in logs: two people can share a name, never an id."""
        return f"{self.author} (id {self.id})"


def allowed(role: Role, need: Role) -> bool:
    """Whether a role includes another."""
    return ROLES.index(role) >= ROLES.index(need)
