"""Sign-in with Microsoft Entra ID: OpenID Connect's authorization code flow with PKCE, in encrypted cookies."""

import hmac
import logging
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import msgspec
from cryptography.fernet import Fernet, InvalidToken
from jwt.algorithms import RSAAlgorithm
from pydantic import SecretStr

from adapters.shared.entra import Keys
from adapters.shared.http_responses import SMALL_BYTES, read_object
from adapters.studio.auth.session import HIGHEST_FIRST, PENDING_S, ROLES, Person, Role
from bot.domain.errors import NotAllowed, PlatformUnavailable, Unauthentic
from bot.domain.turns import CheckResult

log = logging.getLogger(__name__)

LEEWAY_S = 60
"""Tolerated difference between Entra's clock and ours."""
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PATIENCE = aiohttp.ClientTimeout(total=20)


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

    The cookie of a sign-in that has begun is encrypted with a key derived from the client secret.
    """

    def __init__(self, registration: Registration) -> None:
        self._app = registration
        self._grants = {
            role: frozenset(map(_comparable, names)) for role, names in registration.roles.items()
        }
        self._net: tuple[aiohttp.ClientSession, Keys] | None = None
        self._begun = Fernet(urlsafe_b64encode(self._derived("sign-in")))
        self.session_key = self._derived("session")
        """Signs the cookies of sessions: a new client secret signs everybody out."""

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

    async def finish(
        self, cookie: str, query: Mapping[str, str], redirect_uri: str
    ) -> tuple[Person, frozenset[str], str]:
        """Who signed in, what grants them roles, and where they were going. Raises NotAllowed, PlatformUnavailable."""
        pending = _unseal(self._begun, cookie)
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
        return *self._person(claims), pending.to

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

    def _person(self, claims: Mapping[str, Any]) -> tuple[Person, frozenset[str]]:
        """The person with their highest role, and what grants them roles. Raises NotAllowed."""
        held = {str(one) for name in ("roles", "groups") for one in _listed(claims.get(name))}
        grants = frozenset(map(_comparable, held)) & frozenset().union(*self._grants.values())
        login = _plain(claims.get("preferred_username") or claims.get("email") or "")
        name = _plain(claims.get("name") or login or claims["sub"])
        role = self.role_of(grants)
        if role is None:
            raise NotAllowed(self._without_role(login or name, claims))
        person = Person(role=role, id=str(claims.get("oid") or claims["sub"])[:128], name=name, login=login)
        return person, grants

    def role_of(self, grants: Collection[str]) -> Role | None:
        """The highest role that these app roles and groups grant by today's settings."""
        return next((role for role in HIGHEST_FIRST if not self._grants[role].isdisjoint(grants)), None)

    def _without_role(self, who: str, claims: Mapping[str, Any]) -> str:
        """Why somebody can't come in, and who can change that."""
        if "groups" in (claims.get("_claim_names") or {}):  # Entra's "groups overage claim"
            log.warning("%s is in more groups than a token holds: assign an app role", who)
            return (
                f"You are signed in as {who}, but are in too many groups: Microsoft Entra ID names at most 200 at a "
                "sign-in, so Parley can't see whether one of yours grants a role. Ask an administrator of your "
                "organisation to assign you an app role instead of a group, then sign in again."
            )
        log.info("%s has no role in the studio", who)
        return (
            f"You are signed in as {who}, but have no role here yet. Ask an administrator of "
            f"your organisation to assign you {self.roles_in_words()}, then sign in again."
        )

    def roles_in_words(self) -> str:
        """What grants access, as text."""
        names = [name for role in ROLES for name in sorted(self._app.roles[role])]
        return f"one of these roles in Microsoft Entra ID: {', '.join(names)}"

    def _derived(self, purpose: str) -> bytes:
        label = f"parley studio {purpose} {self._app.tenant} {self._app.client_id}"
        secret = self._app.client_secret.get_secret_value().encode()
        return hmac.new(secret, label.encode(), sha256).digest()


def _seal(cipher: Fernet, pending: _Pending) -> str:
    return cipher.encrypt_at_time(msgspec.json.encode(pending), int(time.time())).decode()


def _unseal(cipher: Fernet, cookie: str) -> _Pending | None:
    """None if it has expired, or is not ours."""
    try:
        return msgspec.json.decode(cipher.decrypt_at_time(cookie, PENDING_S, int(time.time())), type=_Pending)
    except (InvalidToken, UnicodeError, msgspec.DecodeError):
        return None


def _comparable(grant: str) -> str:
    """Group ids are compared without case; names of app roles are as they are."""
    return grant.lower() if _GUID.fullmatch(grant) else grant


def _plain(value: object) -> str:
    """A name for pages and logs: one line, without control characters."""
    return "".join(one if one.isprintable() else " " for one in str(value))[:120].strip()


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
