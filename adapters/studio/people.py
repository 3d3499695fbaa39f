"""Who sits at the page: the person whom Microsoft Entra named, or whoever holds the machine or a token."""

import msgspec

from adapters.studio.paper import Role
from bot.types import User

SESSION_S = 8 * 3600
"""A working day: a role that is taken away ends with the session at the latest."""
PENDING_S = 600
"""How long a person may take to sign in."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the person's object id at Entra; tokens have no names, so whoever holds one is "me"."""

    role: Role
    id: str = "me"
    name: str = ""
    login: str = ""

    @property
    def user(self) -> User:
        """Who asks, for the conversation and for what it costs."""
        return User(id=self.id, tenant="studio", name=self.name)

    @property
    def known(self) -> User | None:
        """Whose use it is what an editor tries; None for whoever holds the machine or a token."""
        return self.user if self.name else None

    @property
    def author(self) -> str:
        """Who did it, in logs and beside versions."""
        if not self.name:
            return f"the studio's {self.role}"
        return f"{self.name} ({self.login})" if self.login else self.name
