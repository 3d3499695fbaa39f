"""Signing in and out: by token, or by Microsoft Entra in two steps."""

import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from adapters.studio.auth import browsers
from adapters.studio.auth.guard import ENTRA, SIGN_IN, Guard, HttpError, is_loopback_host
from adapters.studio.auth.session import PENDING_S
from adapters.studio.chat.requests import form_of
from adapters.studio.page import Page, Route
from adapters.studio.web.rendering import draw, html_page
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra

PENDING = "parley_studio_sign_in"
BEGIN = "/studio/sign-in/entra"
RETURN = "/studio/sign-in/return"
"""The path of the redirect URI that is registered with the app."""
MOST_WAY = 2000
"""Characters of the address to go back to: a cookie holds 4096 bytes."""
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


class SignInPage(Page):
    """Open to strangers, except signing out and changing one's name."""

    name = "Sign in"
    path = SIGN_IN
    role = None
    listed = False

    def __init__(self, guard: Guard, public_url: str = "") -> None:
        """`public_url` is where Entra redirects to; left out, the loopback name of the request."""
        self._guard = guard
        self._public_url = public_url.rstrip("/")

    def routes(self) -> Iterable[Route]:
        routes = [
            Route("page", SIGN_IN, self._show),
            Route("form", SIGN_IN, self._by_token),
            Route("form", "/studio/sign-in/forget", self._forget_browser),
            Route("form", "/studio/sign-out", self._sign_out, "viewer"),
            Route("form", "/studio/name", self._rename, "viewer"),
        ]
        if self._guard.entra is not None:
            routes.append(Route("page", BEGIN, partial(self._begin, self._guard.entra)))
            routes.append(Route("page", RETURN, partial(self._return, self._guard.entra)))
        return routes

    async def _show(self, request: web.Request) -> web.Response:
        """The sign-in page.

        A link on another site brings no cookie of ours (SameSite=Strict): such a visit is repeated from here,
        and only then is a visitor without a cookie a stranger.
        """
        to = way(request.query.get("to"))
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and "again" not in request.query:
            again = f"{SIGN_IN}?{urlencode({'to': to, 'again': 1})}"
            return html_page(draw("onward.html", to=again, scripted=True))
        if not self._guard.open_here and await self._guard.person(request) is not None:
            return web.Response(status=303, headers={"Location": to})
        return self._page(request, to, choose="out" in request.query)

    async def _by_token(self, request: web.Request) -> web.StreamResponse:
        form = await form_of(request)
        to = way(form.get("to"))
        try:
            browser = browsers.called(form.get("name"), browsers.known(request))
            secure = self._secure(request)
            return await self._guard.sign_in(request, form.get("token", ""), to, browser, secure=secure)
        except HttpError as error:
            typed = browsers.one_line(form.get("name", ""))
            words, status = str(error), error.status
            response = self._page(request, to, words=words, status=status, by_token=True, name=typed)
            if error.retry_after_s:
                response.headers["Retry-After"] = str(error.retry_after_s)
            return response
        except NotAllowed as refusal:
            return self._page(request, to, words=str(refusal), status=400, by_token=True)

    async def _rename(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        try:
            name, to = form.get("name", ""), way(form.get("to"))
            return await self._guard.rename(request, name, to, secure=self._secure(request))
        except NotAllowed as refusal:
            raise HttpError(400, str(refusal)) from None

    async def _forget_browser(self, request: web.Request) -> web.Response:
        """For a shared computer: the next person who signs in here gets a new id."""
        response = web.Response(status=303, headers={"Location": SIGN_IN})
        await self._guard.sign_out(request, response)
        response.del_cookie(browsers.COOKIE, path="/")
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": f"{SIGN_IN}?out=1"})
        await self._guard.sign_out(request, response)
        return response

    # -------------------------------------------------------------- by Entra

    async def _begin(self, entra: "Entra", request: web.Request) -> web.Response:
        to, choose = way(request.query.get("to")), "choose" in request.query
        try:
            url, pending = await entra.begin(self._redirect_uri(request), to, choose=choose)
        except PlatformUnavailable:
            words = "Microsoft Entra ID is unavailable. Try again in a minute."
            return self._page(request, to, words=words, status=503)
        response = web.Response(status=303, headers={"Location": url})
        # Lax: the redirect back begins at Entra, on another site.
        secure = self._secure(request)
        response.set_cookie(
            PENDING, pending, max_age=PENDING_S, path=SIGN_IN, httponly=True, secure=secure, samesite="Lax"
        )
        return response

    async def _return(self, entra: "Entra", request: web.Request) -> web.Response:
        pending = request.cookies.get(PENDING, "")
        try:
            person, grants, to = await entra.finish(pending, request.query, self._redirect_uri(request))
        except Refused as refusal:
            return self._page(request, "/", words=str(refusal), status=403, choose=True)
        except PlatformUnavailable as away:
            return self._page(request, "/", words=f"{away}. Try again in a minute.", status=503)
        # A page, not a redirect: only requests that begin on this site carry its Strict cookie.
        response = html_page(draw("onward.html", to=way(to), scripted=False))
        response.del_cookie(PENDING, path=SIGN_IN)
        secure = self._secure(request)
        await self._guard.begin(request, response, person, way=ENTRA, secure=secure, grants=grants)
        return response

    # -------------------------------------------------------------- the page, and its addresses

    def _page(
        self,
        request: web.Request,
        to: str,
        *,
        words: str = "",
        status: int = 200,
        choose: bool = False,
        by_token: bool = False,
        name: str = "",
    ) -> web.Response:
        begin = f"{BEGIN}?{urlencode({'to': to} | ({'choose': 1} if choose else {}))}"
        known = browsers.known(request)
        html = draw(
            "sign-in.html",
            words=words,
            to=to,
            begin=begin if self._guard.entra is not None else "",
            browser=known,
            called=name or (known.name if known else ""),
            tokens=self._guard.takes_tokens,
            by_token=by_token,
        )
        return html_page(html, status=status)

    def _redirect_uri(self, request: web.Request) -> str:
        """Raises HttpError: without a public address only loopback names are used."""
        if self._public_url:
            return self._public_url + RETURN
        if not is_loopback_host(request.host):
            words = "Set PARLEY_PUBLIC_URL, so that Microsoft Entra ID can redirect people back here."
            raise HttpError(403, words)
        return f"http://{request.host}{RETURN}"

    def _secure(self, request: web.Request) -> bool:
        forwarded = request.headers.get("X-Forwarded-Proto") == "https"
        return request.secure or forwarded or self._public_url.startswith("https:")


def way(to: str | None) -> str:
    """Where to go after signing in: a path of ours, whatever the link says; a too long one loses its fragment."""
    if to is None or not _LOCAL.fullmatch(to):
        return "/"
    if len(to) > MOST_WAY:
        to = to.partition("#")[0]
    return to if len(to) <= MOST_WAY else "/"
