"""The id that a browser keeps, so that the person who uses it stays the same one."""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import msgspec
from aiohttp import web

from bot.domain.errors import NotAllowed

COOKIE = "parley_studio_browser"
LIFE_S = 400 * 24 * 3600
"""The longest that browsers keep a cookie; each visit renews it."""
MOST_NAME = 60
_KEPT = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_=-]{0,400})")


class Browser(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is 256 random bits that only this browser knows; `name` is chosen by the person.

    The id is a digest of the secret: reading an id in a log or a URL doesn't let anyone become that person, and
    nobody can choose another's id. It needs no key, so it is the same in every process and survives a new token.
    """

    secret: str
    name: str = ""

    @property
    def id(self) -> str:
        """The id of the person who uses this browser: 32 hexadecimal digits."""
        return sha256(f"parley studio person {self.secret}".encode()).hexdigest()[:32]


def new(name: str = "") -> Browser:
    """A new person."""
    return Browser(secret=secrets.token_urlsafe(32), name=name)


def known(request: web.Request) -> Browser | None:
    """The browser of the request; None if it is new, or its cookie is not ours."""
    found = _KEPT.fullmatch(request.cookies.get(COOKIE, ""))
    if found is None:
        return None
    try:
        name = urlsafe_b64decode(found[2]).decode()
    except ValueError:
        name = ""
    return Browser(secret=found[1], name=one_line(name))


def keep(response: web.StreamResponse, browser: Browser, *, secure: bool) -> None:
    """Store it in the browser, out of reach of scripts.

    Lax, because a link on another site leads here without a sign-in where the studio is open to its machine.
    """
    value = f"{browser.secret}.{urlsafe_b64encode(browser.name.encode()).decode()}"
    response.set_cookie(COOKIE, value, max_age=LIFE_S, path="/", httponly=True, secure=secure, samesite="Lax")


def called(given: str | None, before: Browser | None) -> Browser:
    """The person who signs in with this name: the same as before, or a new one if the name differs.

    Without a name (a script sends none) it is the same. Raises NotAllowed for an empty name.
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
        raise NotAllowed("Enter your name. It is shown next to what you do here.")
    return name


def one_line(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:MOST_NAME].strip()
