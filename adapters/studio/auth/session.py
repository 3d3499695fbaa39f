"""Who uses the studio: the person whom Microsoft Entra named, or who uses this browser."""

import msgspec

from adapters.studio.web.rendering import Role
from bot.domain.events import User

SESSION_S = 8 * 3600
"""A working day: a role that is taken away ends with the session at the latest."""
PENDING_S = 600
"""How long a person may take to sign in."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the person's object id in the tenant at Entra, else that of their browser.

    `renames` is true where people say themselves what they are called: `name` may then be empty.
    """

    role: Role
    id: str
    name: str = ""
    login: str = ""
    renames: bool = False

    @property
    def user(self) -> User:
        """Who asks, for the conversation and for what it costs."""
        return User(id=self.id, tenant="studio", name=self.name)

    @property
    def author(self) -> str:
        """Who did it, beside versions."""
        if not self.name:
            return f"the studio's {self.role}"
        return f"{self.name} ({self.login})" if self.login else self.name

    @property
    def audited(self) -> str:
        """Who did it, in logs: names may be equal, ids are not."""
        return f"{self.author} (id {self.id})"
