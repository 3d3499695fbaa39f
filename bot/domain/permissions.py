"""Who may do what, and where: one table, which every surface asks (docs/permissions.md)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from bot.domain import formats
from bot.domain.errors import ConfigError, NotPermitted
from bot.domain.events import Role, User
from bot.domain.words import marked, tr

Action = Literal[
    "prompt", "model", "follow", "mute", "reset", "again", "sent", "stop", "summarise", "draw", "forget"
]
"""The rows. `follow` is every participation mode but `mute`; `draw` stands for the tools that cost money."""
Who = Literal[Role, "asker"]
"""A role, or `asker`: the person who asked the question that it is about or, for `reset`, who began the thread."""

ROLES: tuple[Role, ...] = get_args(Role)
_WHO: tuple[Who, ...] = ("asker", *ROLES)
_PEOPLE: frozenset[Who] = frozenset(("member", "guest", "partner", "admin", "operator"))
_HOSTS: frozenset[Who] = frozenset(("member", "admin", "operator"))
_NOBODY: frozenset[Who] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may do it for themselves (in a one-to-one chat, in their own settings), and where others are concerned."""

    alone: frozenset[Who]
    shared: frozenset[Who]


TABLE: Mapping[Action, Rule] = {
    "prompt": Rule(_PEOPLE, _HOSTS),
    "model": Rule(_PEOPLE, _HOSTS),
    "follow": Rule(_NOBODY, _HOSTS),
    "mute": Rule(_NOBODY, _HOSTS),
    "reset": Rule(_PEOPLE, frozenset(("asker", "admin", "operator"))),
    "again": Rule(_PEOPLE, frozenset(("asker", "operator"))),
    "sent": Rule(_PEOPLE, frozenset(("asker", "operator"))),
    "stop": Rule(_PEOPLE, frozenset(("asker", "admin", "operator"))),
    "summarise": Rule(_PEOPLE, _PEOPLE),
    "draw": Rule(_PEOPLE, _PEOPLE),
    "forget": Rule(_PEOPLE, _PEOPLE),
}
"""The default. Apps and webhooks change nothing; guests and partners use the bot, and change nothing for others."""

_CHANGEABLE: Mapping[str, Action] = {action: action for action in TABLE if action != "forget"}
"""The rows that the setting may change: nobody takes their own data from people."""
_NAMES: Mapping[Who, str] = {
    "asker": marked("the person who asked"),
    "member": marked("members of this organisation"),
    "guest": marked("guests"),
    "partner": marked("people of other organisations"),
    "bot": marked("apps"),
    "admin": marked("administrators"),
    "operator": marked("the operators of this bot"),
}
ONLY = marked("Only {who} can do this here. Please ask one of them.")
APPS = marked("Apps and webhooks can't do this. A person has to ask me for it.")


@dataclass(frozen=True, slots=True)
class Permissions:
    """The decisions. `operators` are ids of people, who are operators wherever they write."""

    operators: Collection[str] = ()
    table: Mapping[Action, Rule] = field(default_factory=lambda: TABLE)

    def role_of(self, user: User) -> Role:
        """The role of a person; one that no platform has told is that of a member."""
        return "operator" if user.id in self.operators else user.role or "member"

    def allows(self, action: Action, user: User, *, shared: bool, asker: User | None = None) -> bool:
        """Whether a person may do it. `shared`: it concerns others. `asker` is whom the action is about, if anybody."""
        role, rule = self.role_of(user), self.table[action]
        allowed = rule.shared if shared else rule.alone
        is_asker = role != "bot" and asker is not None and asker.is_same(user)
        return role in allowed or (is_asker and "asker" in allowed)

    def permits(self, action: Action, role: Role) -> bool:
        """Whether a role may do it where others are concerned."""
        return role in self.table[action].shared

    def require(self, action: Action, user: User, *, shared: bool, asker: User | None = None) -> None:
        """Raise NotPermitted, with a sentence for the person, unless they may do it."""
        if not self.allows(action, user, shared=shared, asker=asker):
            if self.role_of(user) == "bot":
                raise NotPermitted(APPS)
            raise NotPermitted(ONLY, who=self.who(action, shared=shared))

    def who(self, action: Action, *, shared: bool = True, asker: str = "") -> str:
        """Those who may do it, in the reader's language; `asker` stands for the person who asked."""
        allowed = self.table[action].shared if shared else self.table[action].alone
        names = (asker if who == "asker" and asker else tr(_NAMES[who]) for who in _WHO if who in allowed)
        return formats.listed(names)


def read(text: str, operators: Collection[str] = ()) -> Permissions:
    """Parse the setting, `ACTION: ROLE, ROLE; ACTION: ...`, which changes rows of the table. Raises ConfigError.

    It says who may do it where others are concerned, and, of what is the same everywhere, also who may alone. Operators
    always may.
    """
    table = dict(TABLE)
    for entry in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        name, colon, rest = entry.partition(":")
        action = _CHANGEABLE.get(name.strip())
        if not colon or action is None:
            names = ", ".join(_CHANGEABLE)
            raise ConfigError(
                f"“{entry}” is invalid; begin with one of {names}, as in mute: admin; draw: member, admin"
            )
        words = {word.strip() for word in rest.split(",")}
        if unknown := words - set(_WHO):
            raise ConfigError(f"“{unknown.pop()}” is no role; use {', '.join(_WHO)}, as in mute: admin")
        allowed = frozenset[Who](who for who in _WHO if who in words or who == "operator")
        rule = TABLE[action]
        table[action] = Rule(allowed if rule.alone == rule.shared else rule.alone, allowed)
    return Permissions(operators, table)
