"""Checks every request: who asks, in which role, and whether it comes from a page of our own."""

import asyncio
import hmac
import logging
from collections.abc import Mapping
from contextlib import ExitStack
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
from adapters.studio.auth.session import (
    ROLES,
    Person,
    Role,
    SessionCookie,
    allowed,
    browser_name,
    new_cookie,
    read_cookie,
)
from adapters.studio.auth.session_cache import SessionCache
from adapters.studio.web.rendering import draw, html_page
from bot.domain.errors import BotError, NotAllowed, StateUnavailable, TemplateError
from bot.domain.events import now
from bot.domain.turns import CheckResult
from bot.storage.studio.sessions import Session, Sessions

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
ENTRA = "entra"
"""The way of sessions that Microsoft Entra opened; those of a token have its role as their way."""
SHORTEST_TOKEN = 16
"""Characters; a shorter one is reported by `parley check`."""
_BROWSER = web.RequestKey("browser", Browser)
_PERSON = web.RequestKey("person", Person)
_ENDED: web.RequestKey["asyncio.Future[None]"] = web.RequestKey("ended")


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


def session_end(request: web.Request) -> "asyncio.Future[None] | None":
    """Is done when the session of the request ends, and cancelled after the request; None where nobody signs in."""
    return request.get(_ENDED)


class Guard:
    """Stands before every route of the studio.

    Without a way to sign in only loopback peers that ask for a loopback name pass, as operators; the name is
    checked because a foreign page can point its own name at 127.0.0.1 (DNS rebinding). Otherwise a cookie names a
    session, which says who passes, and in which role; a new token, or a new client secret of `entra`, ends the
    sessions that the old one opened. `sessions` is needed wherever people sign in.
    """

    def __init__(
        self,
        tokens: Mapping[Role, SecretStr | None] | None = None,
        entra: "Entra | None" = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.entra = entra
        given = tokens or {}
        self._tokens: dict[Role, SecretStr] = {
            role: token for role in ROLES if (token := given.get(role)) is not None
        }
        self._keys = {str(role): token.get_secret_value().encode() for role, token in self._tokens.items()}
        if entra is not None:
            self._keys[ENTRA] = entra.session_key
        self._cache = SessionCache(sessions) if sessions is not None else None
        self._throttle = LoginThrottle()

    @property
    def sessions(self) -> SessionCache:
        """Who is signed in."""
        if self._cache is None:
            raise HttpError(404, "This studio has no sign-in, so there are no sessions.")
        return self._cache

    async def close(self) -> None:
        """End what runs in the background."""
        if self._cache is not None:
            await self._cache.close()

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
        if need is None:
            return await handler(request)
        person = await self.person(request)
        if person is not None and allowed(person.role, need):
            with ExitStack() as stack:
                request[_PERSON] = person
                if person.session:
                    request[_ENDED] = stack.enter_context(self.sessions.watching(person.session))
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

    async def person(self, request: web.Request) -> Person | None:
        """Who asks; None for a stranger. Raises StateUnavailable.

        A stream that is opened, or opened again, by itself is no use of a session.
        """
        if self.open_here:
            browser = _browser(request)
            return Person(role="operator", id=browser.id, name=browser.name, renames=True)
        cookie = self._cookie(request)
        if cookie is None:
            return None
        used = "text/event-stream" not in request.headers.get("Accept", "")
        session = await self.sessions.get(cookie.id, used=used)
        role = self._role(session) if session is not None else None
        if session is None or role is None or session.way != cookie.way:
            return None
        return Person(
            role=role,
            id=session.person,
            name=session.name,
            login=session.login,
            renames=session.way != ENTRA,
            session=session.id,
        )

    def _role(self, session: Session) -> Role | None:
        """The role that a session has by today's settings."""
        if session.way == ENTRA:
            return self.entra.role_of(session.grants) if self.entra is not None else None
        return next((role for role in self._tokens if role == session.role), None)

    def _cookie(self, request: web.Request) -> SessionCookie | None:
        return read_cookie(request.cookies.get(COOKIE, ""), self._keys)

    async def sign_in(
        self, request: web.Request, token: str, to: str, browser: Browser, *, secure: bool
    ) -> web.Response:
        """Redirects to the page with a cookie, if the token is one of ours, as the browser's person.

        Whoever sends wrong tokens has to wait, and nobody else at another address. Raises HttpError, StateUnavailable.
        """
        if self.open_here:
            return web.Response(status=303, headers={"Location": to})
        sender = request.remote or ""
        if wait_s := self._throttle.wait_s(sender):
            words = f"Too many failed sign-ins from your address. Try again in {wait_s} seconds."
            raise HttpError(429, words, wait_s)
        role = self._role_of(token)
        if role is None:
            self._throttle.wrong(sender)
            raise HttpError(401, "The token is incorrect.")
        person = Person(role=role, id=browser.id, name=browser.name, renames=True)
        response = web.Response(status=303, headers={"Location": to})
        await self.begin(request, response, person, way=role, secure=secure)
        browsers.keep(response, browser, secure=secure)
        return response

    async def begin(
        self,
        request: web.Request,
        response: web.Response,
        person: Person,
        *,
        way: str,
        secure: bool,
        grants: frozenset[str] = frozenset(),
    ) -> None:
        """Begin a session of this person. Raises StateUnavailable.

        It replaces the one of this browser. The person's others end if their role is no longer the one that the person
        has now.
        """
        cookie, began_at = new_cookie(way), now()
        session = Session(
            id=cookie.id,
            person=person.id,
            name=person.name,
            login=person.login,
            role=person.role,
            way=way,
            grants=tuple(sorted(grants)),
            browser=browser_name(request.headers.get("User-Agent", "")),
            began_at=began_at,
            ends_at=began_at,
        )
        before = self._cookie(request)
        others = await self.sessions.sessions.all(person.id)
        await self.sessions.end(
            {one.id for one in others if self._role(one) != person.role} | ({before.id} if before else set())
        )
        await self.sessions.begin(session)
        log.info("%s signed in to the studio as %s", person.audited, person.role)
        value, life_s = cookie.signed(self._keys[way]), self.sessions.sessions.absolute_s
        response.set_cookie(
            COOKIE, value, max_age=life_s, path="/", httponly=True, secure=secure, samesite="Strict"
        )

    async def sign_out(self, request: web.Request, response: web.Response) -> None:
        """End the session of this browser, if there is one, in all its windows. Raises StateUnavailable."""
        cookie = self._cookie(request)
        if cookie is not None:
            await self.sessions.end([cookie.id])
        response.del_cookie(COOKIE, path="/")

    async def rename(self, request: web.Request, name: str, to: str, *, secure: bool) -> web.Response:
        """Redirects to the page; the person has the new name and the same id. Raises HttpError, NotAllowed."""
        person = person_of(request)
        if not person.renames:
            raise HttpError(409, "Your name comes from Microsoft Entra ID. Change it there.")
        named = msgspec.structs.replace(person, name=browsers.name_of(name))
        response = web.Response(status=303, headers={"Location": to})
        if person.session:
            session = await self.sessions.get(person.session)
            if session is not None:
                await self.sessions.change(msgspec.structs.replace(session, name=named.name))
        log.info("%s changed their name in the studio to %s", person.audited, named.name)
        browser = _browser(request)
        if browser.id == person.id:
            request[_BROWSER] = browser = msgspec.structs.replace(browser, name=named.name)
            browsers.keep(response, browser, secure=secure)
        return response

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
