"""Who uses the studio, in which role, and what the cookie of a session holds."""

import hmac
import re
import secrets
from hashlib import sha256
from typing import Literal

import msgspec

from bot.domain.events import User

Role = Literal["viewer", "editor", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "operator")
"""Each may do what the ones before it may. Viewers read no one's messages; editors change the bot."""
HIGHEST_FIRST: tuple[Role, ...] = ROLES[::-1]

PENDING_S = 600
"""How long a person may take to sign in."""
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrom", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)
_COOKIE = re.compile(r"([a-z]{1,16})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is the person's object id in Microsoft Entra, or the id of their browser.

    `renames` is true where people choose their own name; `name` may then be empty. `session` is the id of their
    session; empty where nobody signs in.
    """

    role: Role
    id: str
    name: str = ""
    login: str = ""
    renames: bool = False
    session: str = ""

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


class SessionCookie(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser keeps of its session: the way it was opened, 256 random bits, and a signature of both.

    The signature is made with the token, or Microsoft Entra's client secret, that opened the session: a new one ends
    its sessions, and nothing is looked up for a cookie that is not ours.
    """

    way: str
    secret: str

    @property
    def id(self) -> str:
        """The id of the session: a digest, with which nobody can use it."""
        return sha256(f"parley studio session {self.secret}".encode()).hexdigest()[:32]

    def signed(self, key: bytes) -> str:
        """The value of the cookie."""
        text = f"{self.way}.{self.secret}"
        return f"{text}.{hmac.new(key, f'parley studio session {text}'.encode(), sha256).hexdigest()}"


def new_cookie(way: str) -> SessionCookie:
    """For a new session."""
    return SessionCookie(way=way, secret=secrets.token_urlsafe(32))


def read_cookie(value: str, keys: dict[str, bytes]) -> SessionCookie | None:
    """The cookie, if it was signed with the key of its way; None for any other value."""
    found = _COOKIE.fullmatch(value)
    key = keys.get(found[1]) if found else None
    if found is None or key is None:
        return None
    cookie = SessionCookie(way=found[1], secret=found[2])
    return cookie if hmac.compare_digest(cookie.signed(key), value) else None


def browser_name(user_agent: str) -> str:
    """What a person recognises their browser by, as in "Firefox on Windows"; empty for an unknown one."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return " on ".join(filter(None, (browser, system)))


def allowed(role: Role, need: Role) -> bool:
    """Whether a role includes another."""
    return ROLES.index(role) >= ROLES.index(need)
