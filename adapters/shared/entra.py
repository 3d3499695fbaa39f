"""Microsoft Entra: tokens, renewed before they expire, and the signing keys of its tokens."""

import asyncio
import base64
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from pydantic import SecretStr

from adapters.shared.http_responses import SMALL_BYTES, read_object, seconds
from bot.domain.errors import ConfigError, PlatformUnavailable, Unauthentic

log = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Fetches a token and its lifetime in seconds. Raises ConfigError, PlatformUnavailable."""

AHEAD_S = 600.0
"""A token is renewed when its remaining lifetime is less than this; Entra's are valid for about an hour."""


class Token:
    """The current token, shared by all callers; at most one fetch runs at a time."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._value = ""
        self._ends_at = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def bearer(self) -> str:
        """A valid token; waits for the network only if there is none.

        Raises ConfigError if Entra rejects the credentials, PlatformUnavailable if it can't be reached.
        """
        left_s = self._ends_at - time.monotonic()
        if left_s < AHEAD_S and self._fetching is None:
            self._fetching = asyncio.create_task(self._renew())
            self._fetching.add_done_callback(self._fetched)
        if left_s <= 0 and self._fetching is not None:
            await asyncio.shield(self._fetching)
        return self._value

    def invalidate(self) -> None:
        """Drop the token after the service has rejected it."""
        self._ends_at = 0.0

    async def close(self) -> None:
        """Cancel a running fetch."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _renew(self) -> None:
        value, lives_s = await self._fetch()
        self._value, self._ends_at = value, time.monotonic() + lives_s

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and (error := task.exception()):
            log.warning("Could not renew a token of Microsoft Entra: %s", error)


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A private key, the SHA-256 thumbprint of its certificate in base64url, and its expiry."""

    key: RSAPrivateKey
    thumbprint: str
    ends_at: datetime

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a PEM file with key and certificate, as `openssl` and Azure Key Vault write it. Raises ConfigError."""
        try:
            pem = path.read_bytes()
            key = load_pem_private_key(pem, None)
            certificate = load_pem_x509_certificate(pem)
        except OSError as error:
            raise ConfigError(f"The certificate {path} can't be read: {error.strerror}.") from error
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} is not a PEM file with a certificate and its private key without a password."
            ) from error
        if not isinstance(key, RSAPrivateKey):
            raise ConfigError(f"The key in {path} is not an RSA key, which Microsoft Entra requires.")
        digest = base64.urlsafe_b64encode(certificate.fingerprint(SHA256())).rstrip(b"=").decode()
        return cls(key=key, thumbprint=digest, ends_at=certificate.not_valid_after_utc)

    def assertion(self, url: str, client_id: str) -> str:
        """The signed client assertion for this token endpoint (Entra, "Certificate credentials")."""
        now = int(time.time())
        who = {"aud": url, "iss": client_id, "sub": client_id, "jti": str(uuid.uuid4())}
        claims = {**who, "nbf": now - 60, "exp": now + 300}
        return jwt.encode(claims, self.key, "PS256", {"x5t#S256": self.thumbprint})


def by_client_credentials(
    session: aiohttp.ClientSession, url: str, client_id: str, secret: SecretStr | Certificate, scope: str
) -> Fetch:
    """Tokens for an application from the token endpoint `url` (OAuth 2.0 client credentials, RFC 6749, 4.4).

    It proves itself by a client secret, or by a certificate (RFC 7523, 2.2).
    """

    async def fetch() -> tuple[str, float]:
        form = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}
        if isinstance(secret, Certificate):
            form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            form["client_assertion"] = secret.assertion(url, client_id)
        else:
            form["client_secret"] = secret.get_secret_value()
        try:
            async with session.post(url, data=form, timeout=aiohttp.ClientTimeout(total=20)) as response:
                answer, status = await read_object(response, SMALL_BYTES), response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(f"Microsoft Entra did not answer: {type(error).__name__}") from error
        if status in (400, 401):
            # The description states the reason (AADSTS7000215: invalid client secret) and contains no secret.
            raise ConfigError(
                "Microsoft Entra rejected the app's id, secret or certificate: "
                f"{str(answer.get('error_description', answer.get('error', status)))[:300]}"
            )
        if status != 200 or not isinstance(answer.get("access_token"), str):
            raise PlatformUnavailable(f"Microsoft Entra returned {status} without a token")
        lives_s = seconds(answer.get("expires_in", 3600))
        return str(answer["access_token"]), 3600.0 if lives_s is None else lives_s

    return fetch


def by_managed_identity(client_id: str, scope: str) -> Fetch:
    """Tokens for a user-assigned managed identity, from the Azure host that the process runs on."""

    async def fetch() -> tuple[str, float]:
        # Importing azure.identity is slow, and only this kind of app needs it.
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity.aio import ManagedIdentityCredential

        try:
            async with ManagedIdentityCredential(client_id=client_id) as credential:
                token = await credential.get_token(scope)
        except ClientAuthenticationError as error:
            raise ConfigError(
                f"The managed identity {client_id} returned no token: {error.message}"
            ) from error
        except AzureError as error:
            raise PlatformUnavailable("The managed identity's endpoint did not answer") from error
        return token.token, token.expires_on - time.time()

    return fetch


KEYS_LIVE_S = 24 * 3600.0
"""Microsoft requires the keys to be refreshed daily (Bot Connector authentication, step 3)."""
UNKNOWN_KEY_PAUSE_S = 10.0
"""An unknown key triggers a refresh at once, at most this often: anybody can send tokens with made-up keys."""
_FETCH = aiohttp.ClientTimeout(total=10)


class Keys:
    """The public keys of the OpenID metadata at `url`; the last ones stay valid during an outage."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._metadata: dict[str, Any] = {}
        self._keys: dict[str, dict[str, Any]] = {}
        self._read_at: float | None = None
        self._unknown_at = -math.inf
        self._reading = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """The OpenID metadata. Raises PlatformUnavailable."""
        if self._age_s() >= KEYS_LIVE_S:
            await self._read()
        return self._metadata

    async def get(self, key_id: str | None) -> dict[str, Any]:
        """The JSON Web Key with this id. Raises Unauthentic, or PlatformUnavailable if the keys can't be read."""
        if self._age_s() >= KEYS_LIVE_S or key_id not in self._keys:
            async with self._reading:
                await self._refresh(key_id)
        key = self._keys.get(key_id or "")
        if key is None:
            raise Unauthentic("the token is signed with an unknown key")
        return key

    async def _refresh(self, key_id: str | None) -> None:
        """Read the keys if they are old or, rarely, if one is unknown; a caller before may have done so."""
        if self._age_s() >= KEYS_LIVE_S:
            await self._read()
        elif key_id not in self._keys and time.monotonic() - self._unknown_at >= UNKNOWN_KEY_PAUSE_S:
            self._unknown_at = time.monotonic()
            await self._read()

    def _age_s(self) -> float:
        return time.monotonic() - self._read_at if self._read_at is not None else KEYS_LIVE_S

    async def _read(self) -> None:
        try:
            metadata = await self._load(self._url)
            keys = (await self._load(str(metadata["jwks_uri"])))["keys"]
            self._keys = {key["kid"]: key for key in keys if isinstance(key, dict) and "kid" in key}
            self._metadata = metadata
        except (
            aiohttp.ClientError,
            TimeoutError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            if not self._keys:
                raise PlatformUnavailable("Microsoft's signing keys can't be read") from error
            log.warning("Could not refresh Microsoft's signing keys; the previous ones stay in use")
        self._read_at = time.monotonic()

    async def _load(self, url: str) -> Any:
        async with self._session.get(url, timeout=_FETCH) as response:
            response.raise_for_status()
            return await read_object(response, SMALL_BYTES)
