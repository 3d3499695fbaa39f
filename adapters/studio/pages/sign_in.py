"""The way in and out: the sign-in page, Microsoft Entra's two steps, the token, and signing out."""

import logging
import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from adapters.studio.auth import browsers
from adapters.studio.auth.guard import COOKIE, SIGN_IN, Guard, HttpError, host_name, is_loopback_name
from adapters.studio.auth.session import PENDING_S, SESSION_S
from adapters.studio.chat.requests import form_of
from adapters.studio.web.rendering import draw, page
from bot.domain.errors import NotAllowed, PlatformUnavailable, Refused

if TYPE_CHECKING:
    from adapters.studio.auth.entra import Entra

log = logging.getLogger(__name__)

PENDING = "parley_studio_sign_in"
BEGIN = "/studio/sign-in/entra"
RETURN = "/studio/sign-in/return"
"""The path of the redirect URI that is registered with the app."""
MOST_WAY = 2000
"""Characters of where a person was going: a cookie holds 4096 bytes."""
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


class SignInPage:
    """Everything here is open to strangers."""

    def __init__(self, guard: Guard, public_url: str = "") -> None:
        """`public_url` is where Entra sends people back to; left out, to a loopback name that they used."""
        self._guard = guard
        self._public_url = public_url.rstrip("/")

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The pages, and the forms on them."""
        guard = self._guard.guard
        forget = guard(self._leave_browser, page=True, form=True, open_to_all=True)
        routes = [
            web.get(SIGN_IN, guard(self._show, page=True, open_to_all=True)),
            web.post(SIGN_IN, guard(self._by_token, page=True, form=True, open_to_all=True)),
            web.post("/studio/sign-out", guard(self._leave, page=True, form=True)),
            web.post("/studio/sign-in/forget", forget),
            web.post("/studio/name", guard(self._rename, page=True, form=True)),
        ]
        if self._guard.entra is not None:
            begin, end = partial(self._begin, self._guard.entra), partial(self._return, self._guard.entra)
            routes.append(web.get(BEGIN, guard(begin, page=True, open_to_all=True)))
            routes.append(web.get(RETURN, guard(end, page=True, open_to_all=True)))
        return routes

    async def _show(self, request: web.Request) -> web.Response:
        """The sign-in page.

        A link on another site brings no cookie of ours along (SameSite=Strict): such a visit comes again from
        here, and only then is whoever has no cookie a stranger.
        """
        to = way(request.query.get("to"))
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and "again" not in request.query:
            again = f"{SIGN_IN}?{urlencode({'to': to, 'again': 1})}"
            return page(draw("onward.html", to=again, scripted=True))
        if not self._guard.open_here and self._guard.role(request) is not None:
            return web.Response(status=303, headers={"Location": to})
        return self._page(request, to, choose="out" in request.query)

    async def _by_token(self, request: web.Request) -> web.StreamResponse:
        form = await form_of(request)
        to = way(form.get("to"))
        try:
            browser = browsers.called(form.get("name"), browsers.known(request))
            token, sender = form.get("token", ""), request.remote or ""
            return self._guard.sign_in(token, to, browser, secure=self._secure(request), sender=sender)
        except HttpError as turned:
            typed = browsers.one_line(form.get("name", ""))
            words, status = str(turned), turned.status
            response = self._page(request, to, words=words, status=status, by_token=True, name=typed)
            if turned.retry_after_s:
                response.headers["Retry-After"] = str(turned.retry_after_s)
            return response
        except NotAllowed as refusal:
            return self._page(request, to, words=str(refusal), status=400, by_token=True)

    async def _rename(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        try:
            name, to = form.get("name", ""), way(form.get("to"))
            return self._guard.rename(request, name, to, secure=self._secure(request))
        except NotAllowed as refusal:
            raise HttpError(400, str(refusal)) from None

    async def _leave_browser(self, request: web.Request) -> web.Response:
        """For a computer that others use: the next person who signs in here is a new one."""
        response = web.Response(status=303, headers={"Location": SIGN_IN})
        response.del_cookie(browsers.COOKIE, path="/")
        response.del_cookie(COOKIE, path="/")
        return response

    async def _leave(self, request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": f"{SIGN_IN}?out=1"})
        response.del_cookie(COOKIE, path="/")
        return response

    # -------------------------------------------------------------- by Entra

    async def _begin(self, entra: "Entra", request: web.Request) -> web.Response:
        to, choose = way(request.query.get("to")), "choose" in request.query
        try:
            url, pending = await entra.begin(self._redirect_uri(request), to, choose=choose)
        except PlatformUnavailable:
            words = "Microsoft Entra can't be reached at the moment. Try again in a minute."
            return self._page(request, to, words=words, status=503)
        response = web.Response(status=303, headers={"Location": url})
        # Lax: the way back begins at Entra, on another site.
        response.set_cookie(
            PENDING,
            pending,
            max_age=PENDING_S,
            path=SIGN_IN,
            httponly=True,
            secure=self._secure(request),
            samesite="Lax",
        )
        return response

    async def _return(self, entra: "Entra", request: web.Request) -> web.Response:
        pending = request.cookies.get(PENDING, "")
        try:
            person, to = await entra.finish(pending, request.query, self._redirect_uri(request))
        except Refused as refusal:
            return self._page(request, "/", words=str(refusal), status=403, choose=True)
        except PlatformUnavailable as away:
            return self._page(request, "/", words=f"{away}. Try again in a minute.", status=503)
        log.info("%s signed in to the studio as %s, with the id %s", person.author, person.role, person.id)
        # A page, not a redirect: what is asked for from here carries a cookie for this site alone.
        response = page(draw("onward.html", to=way(to), scripted=False))
        response.del_cookie(PENDING, path=SIGN_IN)
        response.set_cookie(
            COOKIE,
            entra.cookie(person),
            max_age=SESSION_S,
            path="/",
            httponly=True,
            secure=self._secure(request),
            samesite="Strict",
        )
        return response

    # -------------------------------------------------------------- where we are

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
        values: dict[str, Any] = {
            "words": words,
            "to": to,
            "begin": begin if self._guard.entra is not None else "",
        }
        known = browsers.known(request)
        values |= {"browser": known, "called": name or (known.name if known else "")}
        tokens = self._guard.takes_tokens
        return page(draw("sign-in.html", tokens=tokens, by_token=by_token, **values), status=status)

    def _redirect_uri(self, request: web.Request) -> str:
        """Raises HttpError: without a public address only this machine's own names are used."""
        if self._public_url:
            return self._public_url + RETURN
        if not is_loopback_name(host_name(request.host)):
            raise HttpError(
                403, "Set PARLEY_PUBLIC_URL, so that people can be sent back from Microsoft Entra."
            )
        return f"http://{request.host}{RETURN}"

    def _secure(self, request: web.Request) -> bool:
        forwarded = request.headers.get("X-Forwarded-Proto") == "https"
        return request.secure or forwarded or self._public_url.startswith("https:")


def way(to: str | None) -> str:
    """Where to go after signing in: a path of ours, whatever a link says; what is too long loses its end."""
    if to is None or not _LOCAL.fullmatch(to):
        return "/"
    if len(to) > MOST_WAY:
        to = to.partition("#")[0]
    return to if len(to) <= MOST_WAY else "/"
