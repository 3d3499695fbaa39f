"""Who may use the studio: this machine alone, or whoever holds the token; and from our own page only."""

import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable
from hashlib import sha256
from ipaddress import ip_address

from aiohttp import web
from pydantic import SecretStr
from yarl import URL

from bot.errors import BotError, StateUnavailable

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
WRONG_TOKENS_PER_MINUTE = 10
"""For everybody together: a token can't be guessed at this pace, and behind a proxy all peers look alike."""


class Turned(BotError):
    """A request that is turned away: `status` for programs, the text for the person at the page."""

    def __init__(self, status: int, words: str, retry_after_s: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after_s = retry_after_s

    def response(self) -> web.Response:
        """The words as JSON; the page shows them as they are."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else None
        return web.json_response({"words": str(self)}, status=self.status, headers=headers)


class Gate:
    """Stands before every route of the studio.

    Without a token only loopback peers that ask for a loopback name pass: the name is looked at because
    a foreign page can point its own name at 127.0.0.1 (DNS rebinding). With a token, a cookie made from
    it passes; a new token makes every old cookie void.
    """

    def __init__(self, token: SecretStr | None) -> None:
        self._token = token
        self._wrong: deque[float] = deque(maxlen=WRONG_TOKENS_PER_MINUTE)

    def guard(self, handler: Handler, *, page: bool = False, open_to_all: bool = False) -> Handler:
        """The handler behind the gate.

        A `page` sends a stranger to the sign-in, everything else answers 401; `open_to_all` is for what
        the sign-in page itself needs.
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self._check_place(request)
                if request.method == "POST":
                    _check_origin(request, by_script=not open_to_all)
                if open_to_all or self._knows(request):
                    response = await handler(request)
                elif page:
                    response = web.Response(status=303, headers={"Location": SIGN_IN})
                else:
                    raise Turned(401, "You are signed out. Reload the page to sign in.")
            except Turned as turned:
                response = turned.response()
            except StateUnavailable:
                response = Turned(503, "The message store is away. Try again in a moment.", 2).response()
            if not response.prepared:
                for name, value in SAFE_HEADERS.items():
                    response.headers.setdefault(name, value)
            return response

        return guarded

    def sign_in(self, token: str, *, secure: bool) -> web.Response:
        """To the page with a cookie, if the token is right. Raises Turned."""
        if self._token is None:
            return web.Response(status=303, headers={"Location": "/"})
        now = time.monotonic()
        if len(self._wrong) == WRONG_TOKENS_PER_MINUTE and now - self._wrong[0] < 60:
            wait_s = int(61 - (now - self._wrong[0]))
            raise Turned(429, f"Too many wrong tokens. Try again in {wait_s} seconds.", wait_s)
        # Digests are of one length, so that comparing them tells nothing of the token's length either.
        given, right = (sha256(each.encode()).digest() for each in (token, self._token.get_secret_value()))
        if not hmac.compare_digest(given, right):
            self._wrong.append(now)
            raise Turned(401, "That is not the token.")
        response = web.Response(status=303, headers={"Location": "/"})
        value = self._cookie(int(time.time()) + COOKIE_LIFE_S)
        response.set_cookie(
            COOKIE, value, max_age=COOKIE_LIFE_S, path="/", httponly=True, secure=secure, samesite="Strict"
        )
        return response

    def _check_place(self, request: web.Request) -> None:
        if self._token is not None:
            return
        forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For"))
        if forwarded or not (_is_loopback(request.remote or "") and _is_loopback(_host_name(request.host))):
            raise Turned(
                403,
                "The studio answers only on its own machine. Set PARLEY_STUDIO_TOKEN to open it to others.",
            )

    def _knows(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        value = request.cookies.get(COOKIE, "")
        expires = value.partition(".")[0]
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12) or int(expires) < time.time():
            return False
        return hmac.compare_digest(value.encode(), self._cookie(int(expires)).encode())

    def _cookie(self, expires: int) -> str:
        if self._token is None:
            return ""
        key = self._token.get_secret_value().encode()
        return f"{expires}.{hmac.new(key, f'parley studio {expires}'.encode(), sha256).hexdigest()}"


def _check_origin(request: web.Request, *, by_script: bool) -> None:
    """A write comes from our own page: foreign pages can neither set our header nor hide their origin."""
    origin = request.headers.get("Origin")
    if (
        origin is not None
        and URL(origin).authority.lower() != URL(f"http://{request.host}").authority.lower()
    ):
        raise Turned(403, "This request comes from another site.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Turned(403, "This request comes from another site.")
    if by_script and request.headers.get("X-Parley") != "studio":
        raise Turned(403, "Requests that change something carry the header X-Parley: studio.")


def _host_name(host: str) -> str:
    try:
        return URL(f"http://{host}").host or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
