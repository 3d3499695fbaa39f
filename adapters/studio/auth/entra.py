"""Sign-in with Microsoft Entra ID: OpenID Connect's authorization code flow with PKCE, in encrypted cookies."""

import hmac
import logging
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
import jwt
import msgspec
from cryptography.fernet import Fernet, InvalidToken
from jwt.algorithms import RSAAlgorithm
from pydantic import SecretStr

from adapters.shared.entra import Keys
from adapters.shared.http_responses import SMALL_BYTES, read_object
from adapters.studio.auth.session import PENDING_S, ROLES, SESSION_S, Person, Role
from bot.domain.errors import NotAllowed, PlatformUnavailable, Unauthentic
from bot.domain.turns import CheckResult

log = logging.getLogger(__name__)

LEEWAY_S = 60
"""Tolerated difference between Entra's clock and ours."""
HIGHEST_FIRST: tuple[Role, ...] = ROLES[::-1]
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PATIENCE = aiohttp.ClientTimeout(total=20)
_K = TypeVar("_K", "_Pending", Person)


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """The app registration; `roles` are the app roles or group ids that grant each of Parley's roles."""

    tenant: str
    client_id: str
    client_secret: SecretStr
    authority: str = "https://login.microsoftonline.com"
    roles: Mapping[Role, frozenset[str]]

    @property
    def metadata_url(self) -> str:
        """Where the tenant describes its endpoints (OpenID Connect Discovery 1.0, 4)."""
        return f"{self.authority.rstrip('/')}/{self.tenant}/v2.0/.well-known/openid-configuration"


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that has begun: what Entra must return, and what only this browser knows."""

    state: str
    nonce: str
    verifier: str
    to: str


class Entra:
    """Keeps nothing of a sign-in on the server, so that any process can finish what another began.

    Cookies are encrypted with keys derived from the client secret: a new secret signs everyone out.
    """

    def __init__(self, registration: Registration) -> None:
        self._app = registration
        self._net: tuple[aiohttp.ClientSession, Keys] | None = None
        self._begun = self._cipher("sign-in")
        self._signed_in = self._cipher("session")

    async def open(self) -> None:
        """Open the connections, on the running loop."""
        session = aiohttp.ClientSession(timeout=_PATIENCE)
        self._net = session, Keys(session, self._app.metadata_url)

    async def close(self) -> None:
        if self._net is not None:
            await self._net[0].close()

    async def check(self) -> CheckResult:
        """Whether the tenant can be reached. Never raises."""
        try:
            issuer = (await self.metadata())["issuer"]
        except PlatformUnavailable as error:
            words = f"{error}. Check PARLEY_STUDIO_ENTRA_TENANT ({self._app.metadata_url})"
            return CheckResult(level="error", subject="Studio", words=words)
        words = f"people of {issuer} sign in with {self.roles_in_words()}"
        return CheckResult(level="ok", subject="Studio", words=words)

    # -------------------------------------------------------------- the two steps

    async def begin(self, redirect_uri: str, to: str, *, choose: bool = False) -> tuple[str, str]:
        """Where to redirect the person, and the cookie that they bring back. Raises PlatformUnavailable.

        With `choose` Entra asks for the account, even if somebody is signed in.
        """
        metadata = await self.metadata()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        query = {
            "client_id": self._app.client_id,
            "response_type": "code",
            "response_mode": "query",
            "redirect_uri": redirect_uri,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **({"prompt": "select_account"} if choose else {}),
        }
        pending = _Pending(state=state, nonce=nonce, verifier=verifier, to=to)
        return f"{metadata['authorization_endpoint']}?{urlencode(query)}", _seal(self._begun, pending)

    async def finish(self, cookie: str, query: Mapping[str, str], redirect_uri: str) -> tuple[Person, str]:
        """Who signed in, and where they were going. Raises NotAllowed, PlatformUnavailable."""
        pending = _unseal(self._begun, cookie, PENDING_S, _Pending)
        state = query.get("state", "").encode(errors="replace")
        if pending is None or not hmac.compare_digest(pending.state.encode(), state):
            raise NotAllowed("This sign-in expired, or was begun in another window. Try again.")
        if "error" in query:
            received = (query.get("error_description") or query["error"]).splitlines() or ["(nothing)"]
            raise NotAllowed(f"Microsoft Entra ID reported: {received[0][:300]}")
        token = await self._redeem(query.get("code", ""), pending.verifier, redirect_uri)
        try:
            claims = await self._claims(token, pending.nonce)
        except (jwt.PyJWTError, Unauthentic) as error:
            log.warning("a sign-in to the studio was refused: %s", error)
            raise NotAllowed("The response of Microsoft Entra ID could not be verified. Try again.") from None
        return self._person(claims), pending.to

    async def metadata(self) -> Mapping[str, Any]:
        """The tenant's endpoints. Raises PlatformUnavailable."""
        _, keys = self._opened()
        metadata = await keys.metadata()
        if not metadata.keys() >= {"issuer", "authorization_endpoint", "token_endpoint"}:
            raise PlatformUnavailable("Microsoft Entra ID returned incomplete metadata")
        return metadata

    def _opened(self) -> tuple[aiohttp.ClientSession, Keys]:
        if self._net is None:
            raise PlatformUnavailable("The studio is closed")
        return self._net

    async def _redeem(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for a code (RFC 6749, 4.1.3)."""
        form = {
            "grant_type": "authorization_code",
            "client_id": self._app.client_id,
            "client_secret": self._app.client_secret.get_secret_value(),
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
        }
        session, keys = self._opened()
        url = str((await keys.metadata())["token_endpoint"])
        try:
            async with session.post(url, data=form) as response:
                answer, status = await read_object(response, SMALL_BYTES), response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable("Microsoft Entra ID did not respond") from error
        if status == 200 and isinstance(answer.get("id_token"), str):
            return str(answer["id_token"])
        # The description names what is wrong (AADSTS7000215: invalid client secret) and holds no secret.
        received = str(answer.get("error_description", answer.get("error", status)))[:300]
        log.error("Microsoft Entra refused a sign-in to the studio: %s", received)
        words = "Microsoft Entra ID did not complete the sign-in. Try again; the server log has the reason."
        raise NotAllowed(words)

    async def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """What the token says, once it is verified (OpenID Connect Core 1.0, 3.1.3.7). Raises PyJWTError."""
        issuer = str((await self.metadata())["issuer"])
        if _GUID.fullmatch(self._app.tenant) and self._app.tenant.lower() not in issuer.lower():
            raise Unauthentic(f"the metadata is of another issuer, {issuer}")
        _, keys = self._opened()
        key = RSAAlgorithm.from_jwk(await keys.get(jwt.get_unverified_header(token).get("kid")))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,  # pyright: ignore[reportArgumentType]  # a public key: JWKS hold no others
            ["RS256"],
            audience=self._app.client_id,
            issuer=issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat", "nbf", "iss", "aud", "sub", "nonce"]},
        )
        if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
            raise Unauthentic("the token is for another sign-in")
        if "tid" in claims and str(claims["tid"]) not in issuer:
            raise Unauthentic("the token is of another tenant")
        return claims

    def _person(self, claims: Mapping[str, Any]) -> Person:
        """The person with their highest role. Raises NotAllowed."""
        held = {str(one) for name in ("roles", "groups") for one in _listed(claims.get(name))}
        login = _plain(claims.get("preferred_username") or claims.get("email") or "")
        name = _plain(claims.get("name") or login or claims["sub"])
        role: Role | None = next((one for one in HIGHEST_FIRST if held & self._app.roles[one]), None)
        if role is None:
            log.info("%s has no role in the studio", login or name)
            if "groups" in (claims.get("_claim_names") or {}):
                log.warning("%s is in more groups than a token holds: assign app roles", login or name)
            raise NotAllowed(
                f"You are signed in as {login or name}, but have no role here yet. Ask an administrator of "
                f"your organisation to assign you {self.roles_in_words()}, then sign in again."
            )
        return Person(role=role, id=str(claims.get("oid") or claims["sub"])[:128], name=name, login=login)

    def roles_in_words(self) -> str:
        """What grants access, as text."""
        names = [name for role in ROLES for name in sorted(self._app.roles[role])]
        return f"one of these roles in Microsoft Entra ID: {', '.join(names)}"

    # -------------------------------------------------------------- the session

    def cookie(self, person: Person) -> str:
        """The value of a session's cookie."""
        return _seal(self._signed_in, person)

    def person(self, cookie: str) -> Person | None:
        """Whose session this is; None if it has expired or is not ours."""
        return _unseal(self._signed_in, cookie, SESSION_S, Person)

    def _cipher(self, purpose: str) -> Fernet:
        label = f"parley studio {purpose} {self._app.tenant} {self._app.client_id}"
        secret = self._app.client_secret.get_secret_value().encode()
        return Fernet(urlsafe_b64encode(hmac.new(secret, label.encode(), sha256).digest()))


def _seal(cipher: Fernet, value: msgspec.Struct) -> str:
    return cipher.encrypt_at_time(msgspec.json.encode(value), int(time.time())).decode()


def _unseal(cipher: Fernet, cookie: str, life_s: int, kind: type[_K]) -> _K | None:
    try:
        return msgspec.json.decode(cipher.decrypt_at_time(cookie, life_s, int(time.time())), type=kind)
    except (InvalidToken, UnicodeError, msgspec.DecodeError):
        return None


def _plain(value: object) -> str:
    """A name for pages and logs: one line, without control characters."""
    return "".join(one if one.isprintable() else " " for one in str(value))[:120].strip()


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
