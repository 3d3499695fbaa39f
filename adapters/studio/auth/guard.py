"""Who may use the studio: this machine alone, or who signs in; and from our own page only."""

import hmac
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from pydantic import SecretStr
from yarl import URL

from adapters.shared.http_body import valid_text
from adapters.studio.auth import browsers
from adapters.studio.auth.browsers import Browser
from adapters.studio.auth.login_throttle import WRONG_TOKENS_PER_MINUTE as WRONG_TOKENS_PER_MINUTE
from adapters.studio.auth.login_throttle import LoginThrottle
from adapters.studio.auth.session import Person
from adapters.studio.web.rendering import ROLES, Role, allowed, draw, page
from bot.domain.errors import BotError, StateUnavailable

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

SIGN_IN = "/studio/sign-in"
COOKIE = "parley_studio"
COOKIE_LIFE_S = 30 * 24 * 3600
_BROWSER = web.RequestKey("browser", Browser)


class HttpError(BotError):
    """A request that is turned away: `status` for programs, the text for the person at the page."""

    def __init__(self, status: int, words: str, retry_after_s: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after_s = retry_after_s

    def response(self) -> web.Response:
        """The words as JSON; the page shows them as they are."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else None
        return web.json_response({"words": str(self)}, status=self.status, headers=headers)


class Guard:
    """Stands before every route of the studio.

    Without a way to sign in only loopback peers that ask for a loopback name pass, as operators: the name
    is looked at because a foreign page can point its own name at 127.0.0.1 (DNS rebinding). With tokens, a
    cookie that is signed with one of them passes with that token's role, as the person whom it names; a new
    token makes every old cookie void. With `entra`, a sealed cookie says who passes.
    """

    def __init__(self, tokens: Mapping[Role, SecretStr | None], entra: "Entra | None" = None) -> None:
        self.entra = entra
        self._tokens: dict[Role, SecretStr] = {
            role: token for role in ROLES if (token := tokens.get(role)) is not None
        }
        self._throttle = LoginThrottle()

    @property
    def open_here(self) -> bool:
        """Whether this machine may come in without signing in, and nobody else at all."""
        return not self._tokens and self.entra is None

    @property
    def takes_tokens(self) -> bool:
        """Whether there is a token to sign in with."""
        return bool(self._tokens)

    def guard(
        self,
        handler: Handler,
        *,
        need: Role = "viewer",
        page: bool = False,
        form: bool = False,
        open_to_all: bool = False,
    ) -> Handler:
        """The handler behind the guard.

        A `page` sends a stranger to the sign-in, everything else answers 401; `open_to_all` is for what
        the sign-in page itself needs; a `form` is posted without a script.
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            found = None
            try:
                _check_address(request)
                self._check_place(request)
                if request.method == "POST":
                    _check_origin(request, by_script=not form)
                found = self.find(request)
                if open_to_all or (found is not None and allowed(found.role, need)):
                    response = await handler(request)
                elif found is not None:
                    raise HttpError(403, _too_little(found, need))
                elif page:
                    response = web.Response(status=303, headers={"Location": _sign_in_from(request)})
                else:
                    raise HttpError(401, "You are signed out. Reload the page to sign in.")
            except HttpError as turned:
                response = _page_of(turned) if page else turned.response()
            except StateUnavailable:
                turned = HttpError(503, "The message store is away. Try again in a moment.", 2)
                response = _page_of(turned) if page else turned.response()
            if not response.prepared:
                for name, value in SAFE_HEADERS.items():
                    response.headers.setdefault(name, value)
                if self.open_here and found is not None and not open_to_all:
                    _know_again(request, response, page=page)
            return response

        return guarded

    def find(self, request: web.Request) -> Person | None:
        """Who asks; None for a stranger."""
        if self.open_here:
            browser = _browser(request)
            return Person(role="operator", id=browser.id, name=browser.name, renames=True)
        value = request.cookies.get(COOKIE, "")
        if not value.isascii():  # no cookie of ours; and what is no Unicode can't be signed
            return None
        expires, separator, rest = value.partition(".")
        if not separator:
            return self.entra.person(value) if self.entra is not None and value else None
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12) or int(expires) < time.time():
            return None
        who = rest.partition(".")[0]
        for role in self._tokens:
            expected = self._cookie(role, int(expires), who).encode()
            if hmac.compare_digest(value.encode(), expected):
                return Person(role=role, renames=True, **msgspec.json.decode(urlsafe_b64decode(who)))
        return None

    def person(self, request: web.Request) -> Person:
        """Who asks, behind the guard. Raises HttpError."""
        found = self.find(request)
        if found is None:
            raise HttpError(401, "You are signed out. Reload the page to sign in.")
        return found

    def role(self, request: web.Request) -> Role | None:
        """What the person may do; None for a stranger."""
        found = self.find(request)
        return found.role if found is not None else None

    def sign_in(self, token: str, to: str, browser: Browser, *, secure: bool, sender: str) -> web.Response:
        """To the page with a cookie, if the token is one of ours, as who uses this browser. Raises HttpError.

        `sender` is the client's address: whoever sends wrong tokens has to wait, and nobody else.
        """
        if self.open_here:
            return web.Response(status=303, headers={"Location": to})
        if wait_s := self._throttle.wait_s(sender):
            words = f"Too many wrong tokens came from your address. Try again in {wait_s} seconds."
            raise HttpError(429, words, wait_s)
        role = self._role_of(token)
        if role is None:
            self._throttle.wrong(sender)
            raise HttpError(401, "That is not the token.")
        person = Person(role=role, id=browser.id, name=browser.name, renames=True)
        log.info("%s signed in to the studio as %s", person.audited, role)
        response = web.Response(status=303, headers={"Location": to})
        browsers.keep(response, browser, secure=secure)
        self._begin(response, person, secure=secure)
        return response

    def rename(self, request: web.Request, name: str, to: str, *, secure: bool) -> web.Response:
        """To the page, under another name and the same id. Raises HttpError, and NotAllowed without one."""
        person = self.person(request)
        if not person.renames:
            raise HttpError(409, "Your name comes from Microsoft Entra. It is changed there.")
        named = msgspec.structs.replace(person, name=browsers.name_of(name))
        log.info("%s is called %s in the studio from now on", person.audited, named.name)
        response = web.Response(status=303, headers={"Location": to})
        browser = _browser(request)
        if browser.id == person.id:
            request[_BROWSER] = browser = msgspec.structs.replace(browser, name=named.name)
            browsers.keep(response, browser, secure=secure)
        if not self.open_here:
            self._begin(response, named, secure=secure)
        return response

    def _begin(self, response: web.Response, person: Person, *, secure: bool) -> None:
        """A session that is opened by a token."""
        who = urlsafe_b64encode(msgspec.json.encode({"id": person.id, "name": person.name})).decode()
        value = self._cookie(person.role, int(time.time()) + COOKIE_LIFE_S, who)
        response.set_cookie(
            COOKIE, value, max_age=COOKIE_LIFE_S, path="/", httponly=True, secure=secure, samesite="Strict"
        )

    def _role_of(self, token: str) -> Role | None:
        """The highest role whose token this is."""
        given = sha256(token.encode()).digest()
        found: Role | None = None
        for role, right in self._tokens.items():
            # Digests are of one length, so that comparing them tells nothing of the token's length either.
            if hmac.compare_digest(given, sha256(right.get_secret_value().encode()).digest()):
                found = role
        return found

    def _check_place(self, request: web.Request) -> None:
        if not self.open_here:
            return
        forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For"))
        if forwarded or not (
            is_loopback_name(request.remote or "") and is_loopback_name(host_name(request.host))
        ):
            raise HttpError(
                403,
                "The studio answers only on its own machine. Set PARLEY_STUDIO_TOKEN to open it to others.",
            )

    def _cookie(self, role: Role, expires: int, who: str) -> str:
        key = self._tokens[role].get_secret_value().encode()
        signature = hmac.new(key, f"parley studio {role} {expires} {who}".encode(), sha256).hexdigest()
        return f"{expires}.{who}.{signature}"


def _browser(request: web.Request) -> Browser:
    """The browser that asks, which may be a new one: the same one for the whole request."""
    found = request.get(_BROWSER)
    if found is None:
        request[_BROWSER] = found = browsers.known(request) or browsers.new()
    return found


def _know_again(request: web.Request, response: web.StreamResponse, *, page: bool) -> None:
    """Have a new browser keep its id, and one that is known keep it longer."""
    embedded = request.headers.get("Sec-Fetch-Site") == "cross-site"
    if embedded and request.headers.get("Sec-Fetch-Mode") != "navigate":
        return  # another site shows something of ours: the browser did not say what it keeps
    if page or browsers.known(request) is None:
        browsers.keep(response, _browser(request), secure=request.secure)


def _too_little(person: Person, need: Role) -> str:
    if person.renames:
        return f"This is for whoever holds the {need}'s token; yours is a {person.role}'s."
    return (
        f"This is for people with the role {need}; yours is {person.role}. "
        "An administrator of your organisation can give you another one in Microsoft Entra."
    )


def _sign_in_from(request: web.Request) -> str:
    """The sign-in, which leads back to the page that was asked for."""
    to = str(request.rel_url) if request.method == "GET" else "/"
    return SIGN_IN if to == "/" else f"{SIGN_IN}?{urlencode({'to': to})}"


def _page_of(turned: HttpError) -> web.Response:
    return page(draw("turned.html", words=str(turned)), status=turned.status)


def _check_address(request: web.Request) -> None:
    """What is no text can be in no page, link or log. Raises HttpError."""
    if valid_text(request.path_qs) != request.path_qs:
        raise HttpError(400, "The address of this page can't be read.")


def _check_origin(request: web.Request, *, by_script: bool) -> None:
    """A write comes from our own page: foreign pages can neither set our header nor hide their origin."""
    origin = request.headers.get("Origin")
    if origin is not None and _authority(origin) != _authority(f"http://{request.host}"):
        raise HttpError(403, "This request comes from another site.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise HttpError(403, "This request comes from another site.")
    if by_script and request.headers.get("X-Parley") != "studio":
        raise HttpError(403, "Requests that change something carry the header X-Parley: studio.")


def _authority(url: str) -> str:
    """Host and port. Raises HttpError."""
    try:
        return URL(url).authority.lower()
    except ValueError:
        raise HttpError(400, "The header Host or Origin of this request can't be read.") from None


def host_name(host: str) -> str:
    """The name in a Host header; empty for one that can't be read."""
    try:
        return URL(f"http://{host}").host or ""
    except ValueError:
        return ""


def is_loopback_name(name: str) -> bool:
    """Whether a host is this machine."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
