"""Checks every request: who asks, in which role, and whether it comes from a page of our own."""

import hmac
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from pydantic import SecretStr
from yarl import URL

from adapters.shared.client_address import Handler, is_loopback
from adapters.shared.http_body import valid_text
from adapters.studio.auth import browsers
from adapters.studio.auth.browsers import Browser
from adapters.studio.auth.login_throttle import LoginThrottle
from adapters.studio.auth.session import ROLES, Person, Role, allowed
from adapters.studio.web.rendering import draw, html_page
from bot.domain.errors import BotError, NotAllowed, StateUnavailable, TemplateError
from bot.domain.turns import CheckResult

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra

log = logging.getLogger(__name__)

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

STORAGE_UNAVAILABLE = "Storage is unavailable. Try again in a moment."
LOOPBACK_ONLY = (
    "The studio only accepts requests from the machine that it runs on. "
    "Set PARLEY_STUDIO_TOKEN to allow sign-in from other machines."
)
SIGN_IN = "/studio/sign-in"
COOKIE = "parley_studio"
COOKIE_LIFE_S = 30 * 24 * 3600
SHORTEST_TOKEN = 16
"""Characters; a shorter one is reported by `parley check`."""
_BROWSER = web.RequestKey("browser", Browser)
_PERSON = web.RequestKey("person", Person)


class HttpError(BotError):
    """A refused request: `status` for programs, the text for the person at the page."""

    def __init__(self, status: int, words: str, retry_after_s: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after_s = retry_after_s

    def response(self) -> web.Response:
        """The text as JSON; the page shows it as it is."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else None
        return web.json_response({"words": str(self)}, status=self.status, headers=headers)


def find_person(request: web.Request) -> Person | None:
    """The person whom the guard found; None for a stranger."""
    return request.get(_PERSON)


def person_of(request: web.Request) -> Person:
    """The same, where only signed-in people come."""
    return request[_PERSON]


class Guard:
    """Stands before every route of the studio.

    Without a way to sign in only loopback peers that ask for a loopback name pass, as operators; the name is
    checked because a foreign page can point its own name at 127.0.0.1 (DNS rebinding). With tokens, a cookie
    signed with one of them passes with that token's role, as the person named in it; a new token makes every
    old cookie void. With `entra`, an encrypted cookie says who passes.
    """

    def __init__(
        self, tokens: Mapping[Role, SecretStr | None] | None = None, entra: "Entra | None" = None
    ) -> None:
        self.entra = entra
        given = tokens or {}
        self._tokens: dict[Role, SecretStr] = {
            role: token for role in ROLES if (token := given.get(role)) is not None
        }
        self._throttle = LoginThrottle()

    @property
    def open_here(self) -> bool:
        """Whether this machine needs no sign-in, and no other machine is let in."""
        return not self._tokens and self.entra is None

    @property
    def takes_tokens(self) -> bool:
        """Whether there is a token to sign in with."""
        return bool(self._tokens)

    async def check(self) -> list[CheckResult]:
        """How people sign in, and whether that is safe. Never raises."""
        found = [await self.entra.check()] if self.entra is not None else []
        if self.open_here:
            words = "accepts only loopback requests; set PARLEY_STUDIO_TOKEN to allow sign-in from elsewhere"
            return [CheckResult(level="ok", subject="Studio", words=words)]
        if any(len(token.get_secret_value()) < SHORTEST_TOKEN for token in self._tokens.values()):
            words = f"PARLEY_STUDIO_TOKEN is short; use at least {SHORTEST_TOKEN} random characters"
            found.append(CheckResult(level="warning", subject="Studio", words=words))
        elif self._tokens:
            words = "people sign in with a token: " + ", ".join(self._tokens)
            found.append(CheckResult(level="ok", subject="Studio", words=words))
        return found

    def guard(self, handler: Handler, *, need: Role | None = "viewer", page: bool = False) -> Handler:
        """The handler behind the guard; `need` is the role that it takes, None lets strangers in.

        A `page` sends strangers to the sign-in and shows errors as HTML, and what is posted to it comes from
        a form without a script. Everything else answers in JSON.
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                response = await self._answer(request, handler, need, page=page)
            except (HttpError, NotAllowed, StateUnavailable, TemplateError) as error:
                response = _refusal(error, page=page)
            if not response.prepared:
                for name, value in SAFE_HEADERS.items():
                    response.headers.setdefault(name, value)
                if self.open_here and need is not None and find_person(request) is not None:
                    _keep_browser(request, response, page=page)
            return response

        return guarded

    async def _answer(
        self, request: web.Request, handler: Handler, need: Role | None, *, page: bool
    ) -> web.StreamResponse:
        """Raises HttpError for a refused request, and what the handler raises."""
        if valid_text(request.path_qs) != request.path_qs:  # must not reach a page, a link or a log
            raise HttpError(400, "The address of this page is not valid.")
        self._check_place(request)
        if request.method == "POST":
            _check_origin(request, by_script=not page)
        person = self._person(request)
        if person is not None:
            request[_PERSON] = person
        if need is None or (person is not None and allowed(person.role, need)):
            return await handler(request)
        if person is not None:
            words = f"This requires the {need} role. You signed in with the {person.role} token."
            if not person.renames:
                words = f"This requires the {need} role; yours is {person.role}. "
                words += "An administrator of your organisation can assign it in Microsoft Entra ID."
            raise HttpError(403, words)
        if page:
            return web.Response(status=303, headers={"Location": _sign_in_from(request)})
        raise HttpError(401, "You are signed out. Reload the page to sign in.")

    def _person(self, request: web.Request) -> Person | None:
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

    def sign_in(self, token: str, to: str, browser: Browser, *, secure: bool, sender: str) -> web.Response:
        """Redirects to the page with a cookie, if the token is one of ours, as the browser's person.

        `sender` is the client's address: whoever sends wrong tokens has to wait, and nobody else. Raises
        HttpError.
        """
        if self.open_here:
            return web.Response(status=303, headers={"Location": to})
        if wait_s := self._throttle.wait_s(sender):
            words = f"Too many failed sign-ins from your address. Try again in {wait_s} seconds."
            raise HttpError(429, words, wait_s)
        role = self._role_of(token)
        if role is None:
            self._throttle.wrong(sender)
            raise HttpError(401, "The token is incorrect.")
        person = Person(role=role, id=browser.id, name=browser.name, renames=True)
        log.info("%s signed in to the studio as %s", person.audited, role)
        response = web.Response(status=303, headers={"Location": to})
        browsers.keep(response, browser, secure=secure)
        self._begin(response, person, secure=secure)
        return response

    def rename(self, request: web.Request, name: str, to: str, *, secure: bool) -> web.Response:
        """Redirects to the page; the person has the new name and the same id. Raises HttpError, NotAllowed."""
        person = person_of(request)
        if not person.renames:
            raise HttpError(409, "Your name comes from Microsoft Entra ID. Change it there.")
        named = msgspec.structs.replace(person, name=browsers.name_of(name))
        log.info("%s changed their name in the studio to %s", person.audited, named.name)
        response = web.Response(status=303, headers={"Location": to})
        browser = _browser(request)
        if browser.id == person.id:
            request[_BROWSER] = browser = msgspec.structs.replace(browser, name=named.name)
            browsers.keep(response, browser, secure=secure)
        if not self.open_here:
            self._begin(response, named, secure=secure)
        return response

    def _begin(self, response: web.Response, person: Person, *, secure: bool) -> None:
        """Begin a session that was opened with a token."""
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
        if forwarded or not (is_loopback(request.remote or "") and is_loopback_host(request.host)):
            raise HttpError(403, LOOPBACK_ONLY)

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


def _keep_browser(request: web.Request, response: web.StreamResponse, *, page: bool) -> None:
    """Have a new browser store its id, and a known one store it for longer."""
    embedded = request.headers.get("Sec-Fetch-Site") == "cross-site"
    if embedded and request.headers.get("Sec-Fetch-Mode") != "navigate":
        return  # embedded in another site, the browser did not send its cookies
    if page or browsers.known(request) is None:
        browsers.keep(response, _browser(request), secure=request.secure)


def _sign_in_from(request: web.Request) -> str:
    """The sign-in page, which leads back to the page that was requested."""
    to = str(request.rel_url) if request.method == "GET" else "/"
    return SIGN_IN if to == "/" else f"{SIGN_IN}?{urlencode({'to': to})}"


def _refusal(error: BotError, *, page: bool) -> web.Response:
    """What a handler raised, as a response; a handler that needs another status than 409 raises HttpError."""
    if isinstance(error, StateUnavailable):
        error = HttpError(503, STORAGE_UNAVAILABLE, 2)
    elif not isinstance(error, HttpError):
        error = HttpError(409, str(error))
    if not page:
        return error.response()
    return html_page(draw("turned.html", words=str(error)), status=error.status)


def _check_origin(request: web.Request, *, by_script: bool) -> None:
    """Writes come from our own pages: others can neither set our header nor hide their origin."""
    origin = request.headers.get("Origin")
    if origin is not None and _authority(origin) != _authority(f"http://{request.host}"):
        raise HttpError(403, "Requests from other sites are refused.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise HttpError(403, "Requests from other sites are refused.")
    if by_script and request.headers.get("X-Parley") != "studio":
        raise HttpError(403, "Requests that change something need the header X-Parley: studio.")


def _authority(url: str) -> str:
    """Host and port. Raises HttpError."""
    try:
        return URL(url).authority.lower()
    except ValueError:
        raise HttpError(400, "The Host or Origin header of this request is not valid.") from None


def is_loopback_host(host: str) -> bool:
    """Whether the name in a Host header is that of this machine."""
    try:
        name = URL(f"http://{host}").host or ""
    except ValueError:
        return False
    return name.lower() == "localhost" or is_loopback(name)
