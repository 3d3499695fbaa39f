"""Clients that deployments share: one connection pool, and one Entra identity."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from bot.domain.turns import Deployment
from bot.llm.catalog.catalog import is_azure
from bot.llm.openai.model import AzureModel, Timeouts
from bot.llm.openai_sdk import openai

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

# The limit for error bodies: a sentence or two, and content filter results.
MAX_REFUSAL_BYTES = 64 * 1024

# Sent to servers without a key, because the SDK requires one.
NO_KEY = "no-key"


_CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'


class Clients:
    """Creates models; close it after the last of them.

    `credential` replaces the machine's own identity (DefaultAzureCredential), which is only sent to
    Microsoft's hosts.
    """

    def __init__(
        self, limits: Timeouts | None = None, credential: "AsyncTokenCredential | None" = None
    ) -> None:
        self.limits = limits or Timeouts()
        self._given = credential
        self._own: AsyncTokenCredential | None = None
        slowest_s = max(self.limits.first_token_s, self.limits.between_tokens_s, self.limits.picture_s)
        self._timeout = httpx2.Timeout(
            slowest_s, connect=self.limits.connect_s, pool=2 * self.limits.connect_s
        )
        # aiohttp takes half of the CPU of httpx2's own transport (tests/benchmarks/stream_parse.py),
        # and compression is off, because decompressed bodies could exceed the memory
        self._http = openai.DefaultAioHttpClient(
            timeout=self._timeout,
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [_bound]},
            # above the maximum of PARLEY_CONCURRENCY, because waiting for a connection counts as a failure
            limits=httpx2.Limits(max_connections=4096, max_keepalive_connections=256),
        )

    async def aclose(self) -> None:
        """Close the connections, and the identity unless it was given."""
        await self._http.aclose()
        if self._own is not None:
            await self._own.close()

    def connect(self, deployment: Deployment, key: SecretStr | None) -> AzureModel:
        """The model of a deployment, with its key or, without one, with Entra."""
        token = None if key else self._token(deployment)
        model = AzureModel(deployment, self._client(deployment, key, token), self._http, self.limits)
        if token is not None:
            model.on_unauthorized = token.renew
        return model

    def _client(
        self, deployment: Deployment, key: SecretStr | None, token: "EntraToken | None"
    ) -> openai.AsyncOpenAI:
        secret = key.get_secret_value() if key else NO_KEY
        if deployment.wire == "azure":
            return openai.AsyncAzureOpenAI(
                azure_endpoint=deployment.endpoint,
                api_version=deployment.api_version,
                api_key=None if token else secret,
                azure_ad_token_provider=token,
                http_client=self._http,
                max_retries=0,
                timeout=self._timeout,
            )
        return openai.AsyncOpenAI(
            base_url=deployment.endpoint,
            api_key=token or secret,
            http_client=self._http,
            max_retries=0,
            timeout=self._timeout,
        )

    def _token(self, deployment: Deployment) -> "EntraToken | None":
        """A source of Entra tokens for this deployment; `None` if none may be sent to it."""
        credential = self._given or (self._identity() if is_azure(deployment.endpoint) else None)
        return None if credential is None else EntraToken(credential, scope(deployment))

    def _identity(self) -> "AsyncTokenCredential":
        if self._own is None:
            # lazy: 20 MB and a third of a second
            from azure.identity.aio import DefaultAzureCredential

            self._own = DefaultAzureCredential()
        return self._own


class EntraToken:
    """The token of a credential, which caches it until shortly before it expires. After `renew` it is requested anew
    once, because a token may be rejected earlier: revoked, or by a clock that differs.
    """

    def __init__(self, credential: "AsyncTokenCredential", audience: str) -> None:
        self._credential = credential
        self._audience = audience
        self._renew = False

    def renew(self) -> None:
        """Do not use the cached token for the next request."""
        self._renew = True

    async def __call__(self) -> str:
        renew, self._renew = self._renew, False
        if renew:
            # a claims challenge passes the cache; some credentials, such as that of the Azure CLI, know none
            from azure.core.exceptions import AzureError

            with suppress(AzureError, TypeError, ValueError):
                return (await self._credential.get_token(self._audience, claims=_CLAIMS)).token
        return (await self._credential.get_token(self._audience)).token


class _Bounded(httpx2.AsyncByteStream):
    """The start of a body; the rest is not read."""

    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            yield data[: self._left]
            self._left -= len(data)
            if self._left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    """Limit the body of an error, which the SDK reads completely."""
    if not response.is_success and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, MAX_REFUSAL_BYTES)


def scope(deployment: Deployment) -> str:
    """The audience of the tokens, by the kind and the cloud of the endpoint."""
    host = urlsplit(deployment.endpoint).hostname or ""
    for cloud in (".azure.us", ".azure.cn"):
        if host.endswith(cloud):
            return f"https://cognitiveservices{cloud}/.default"
    name = "cognitiveservices.azure.com" if deployment.wire == "azure" else "ai.azure.com"
    return f"https://{name}/.default"
