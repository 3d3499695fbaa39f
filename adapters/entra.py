"""A bearer token of Microsoft Entra that is fetched ahead of its end, off the path of a message."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from pydantic import SecretStr

from bot.errors import ConfigError, PlatformUnavailable

log = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Gets a new token and the seconds that it lives. Raises ConfigError, PlatformUnavailable."""

AHEAD_S = 600.0
"""A token is fetched anew when it has less than this to live; Entra's live for about an hour."""


class Token:
    """The newest token, shared by all who ask; at most one fetch runs at a time."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._value = ""
        self._ends_at = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def bearer(self) -> str:
        """A token that is still good; waits for the network only when there is none at all.

        Raises ConfigError (Entra refuses the credentials), PlatformUnavailable (it can't be reached).
        """
        left_s = self._ends_at - time.monotonic()
        if left_s < AHEAD_S and self._fetching is None:
            self._fetching = asyncio.create_task(self._renew())
            self._fetching.add_done_callback(self._fetched)
        if left_s <= 0 and self._fetching is not None:
            await asyncio.shield(self._fetching)
        return self._value

    def spoil(self) -> None:
        """Forget the token: the service that it is for has refused it."""
        self._ends_at = 0.0

    async def close(self) -> None:
        """End a fetch that is still running."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _renew(self) -> None:
        value, lives_s = await self._fetch()
        self._value, self._ends_at = value, time.monotonic() + lives_s

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and (error := task.exception()):
            log.warning("no new token from Microsoft Entra: %s", error)


def by_secret(
    session: aiohttp.ClientSession, login_url: str, tenant: str, client_id: str, secret: SecretStr, scope: str
) -> Fetch:
    """Tokens for an application that has a client secret (OAuth 2.0 client credentials, RFC 6749, 4.4)."""

    async def fetch() -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret.get_secret_value(),
            "scope": scope,
        }
        url = f"{login_url.rstrip('/')}/{tenant}/oauth2/v2.0/token"
        try:
            async with session.post(url, data=form, timeout=aiohttp.ClientTimeout(total=20)) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(f"Microsoft Entra did not answer: {type(error).__name__}") from error
        if status in (400, 401):
            # The description names what is wrong (AADSTS7000215: invalid client secret) and holds no secret.
            raise ConfigError(
                "Microsoft Entra refuses the app's id or secret: "
                f"{str(answer.get('error_description', answer.get('error', status)))[:300]}"
            )
        if status != 200 or not isinstance(answer.get("access_token"), str):
            raise PlatformUnavailable(f"Microsoft Entra answered {status} without a token")
        return str(answer["access_token"]), float(answer.get("expires_in", 3600))

    return fetch


def by_managed_identity(client_id: str, scope: str) -> Fetch:
    """Tokens for a user-assigned managed identity, from the Azure host that the process runs on."""

    async def fetch() -> tuple[str, float]:
        # Loading azure.identity takes a good part of a second, and only this kind of app needs it.
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.identity.aio import ManagedIdentityCredential

        try:
            async with ManagedIdentityCredential(client_id=client_id) as credential:
                token = await credential.get_token(scope)
        except ClientAuthenticationError as error:
            raise ConfigError(f"The managed identity {client_id} gives no token: {error.message}") from error
        except AzureError as error:
            raise PlatformUnavailable("The managed identity's endpoint did not answer") from error
        return token.token, token.expires_on - time.time()

    return fetch
