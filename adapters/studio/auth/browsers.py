"""The id that a browser keeps, so that whoever uses it stays the same person."""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import msgspec
from aiohttp import web

from bot.domain.errors import NotAllowed

COOKIE = "parley_studio_browser"
LIFE_S = 400 * 24 * 3600
"""As long as browsers keep a cookie at most; it begins again with each visit."""
MOST_NAME = 60
_KEPT = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_=-]{0,400})")


class Browser(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is 256 random bits that only this browser knows; `name` is what the person calls themselves.

    The id is a digest of the secret: whoever reads an id in a log or an address can't become that person,
    and nobody can choose the id of another. It needs no key, so it is the same in every process, and outlives
    a new token.
    """

    secret: str
    name: str = ""

    @property
    def id(self) -> str:
        """The id of the person who uses this browser: 32 hexadecimal digits."""
        return sha256(f"parley studio person {self.secret}".encode()).hexdigest()[:32]


def new(name: str = "") -> Browser:
    """A person whom nobody has seen before."""
    return Browser(secret=secrets.token_urlsafe(32), name=name)


def known(request: web.Request) -> Browser | None:
    """The browser that asks; None where it is new, or keeps what we did not write."""
    found = _KEPT.fullmatch(request.cookies.get(COOKIE, ""))
    if found is None:
        return None
    try:
        name = urlsafe_b64decode(found[2]).decode()
    except ValueError:
        name = ""
    return Browser(secret=found[1], name=one_line(name))


def keep(response: web.StreamResponse, browser: Browser, *, secure: bool) -> None:
    """Have the browser keep it, out of reach of scripts.

    Lax, because a link on another site leads here without a sign-in where the studio is open to its machine.
    """
    value = f"{browser.secret}.{urlsafe_b64encode(browser.name.encode()).decode()}"
    response.set_cookie(COOKIE, value, max_age=LIFE_S, path="/", httponly=True, secure=secure, samesite="Lax")


def called(given: str | None, before: Browser | None) -> Browser:
    """The person who signs in under this name: the one before, or, under another name, a new one.

    Without a name (a script sends none) it is the one before. Raises NotAllowed for an empty name.
    """
    if given is None:
        return before or new()
    name = name_of(given)
    if before is None or (before.name and before.name.casefold() != name.casefold()):
        return new(name)
    return msgspec.structs.replace(before, name=name)


def name_of(given: str) -> str:
    """A name as it is shown and logged. Raises NotAllowed for an empty one."""
    name = one_line(given)
    if not name:
        raise NotAllowed("Enter your name. It is shown beside what you do here.")
    return name


def one_line(text: str) -> str:
    """Without what steers terminals and pages."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:MOST_NAME].strip()
