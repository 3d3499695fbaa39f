"""Keys, Entra tokens and connections: who is shown what, and that all is closed."""

import time
from types import TracebackType
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.identity import CredentialUnavailableError

from bot.llm.openai.client import Clients, scope
from bot.llm.protocol import DeploymentBroken
from tests.llm.conftest import KEY, asks, deployment, heard, text_of
from tests.simulators.azure import AzureSimulator


class Identity:
    """A credential that notes what it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.scopes: list[str] = []
        self.error = error
        self.closed = False

    async def get_token(self, *scopes: str, **more: Any) -> AccessToken:
        self.scopes += scopes
        if self.error:
            raise self.error
        return AccessToken("eyJ.simulated.token", int(time.time()) + 3600)

    async def get_token_info(self, *scopes: str, **more: Any) -> AccessTokenInfo:
        token = await self.get_token(*scopes)
        return AccessTokenInfo(token.token, token.expires_on)

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> "Identity":
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


@pytest.mark.parametrize(
    ("classic", "expected"),
    [(True, "https://cognitiveservices.azure.com/.default"), (False, "https://ai.azure.com/.default")],
)
async def test_without_a_key_entra_is_used(azure: AzureSimulator, classic: bool, expected: str) -> None:
    identity = Identity()
    clients = Clients(credential=identity)
    model = clients.connect(deployment(azure, classic=classic), None)
    deltas, error = await heard(model.chat(asks("Hello")))
    await clients.aclose()
    assert (text_of(deltas), error) == ("You said: Hello", None)
    assert set(identity.scopes) == {expected}
    assert azure.journal[-1].headers["authorization"] == "Bearer eyJ.simulated.token"
    assert "api-key" not in azure.journal[-1].headers
    assert not identity.closed  # it belongs to who gave it


async def test_a_rejected_identity_is_a_config_error(azure: AzureSimulator) -> None:
    clients = Clients(credential=Identity(CredentialUnavailableError("az login was never run")))
    _, error = await heard(clients.connect(deployment(azure), None).chat(asks("Hello")))
    await clients.aclose()
    assert isinstance(error, DeploymentBroken)
    assert "az login" in str(error)
    assert "AZURE_OPENAI_API_KEY" in str(error)


async def test_a_key_wins_over_an_identity(azure: AzureSimulator) -> None:
    identity = Identity()
    clients = Clients(credential=identity)
    deltas, _ = await heard(clients.connect(deployment(azure), KEY).chat(asks("Hello")))
    await clients.aclose()
    assert text_of(deltas) == "You said: Hello"
    assert identity.scopes == []


async def test_the_identity_is_only_sent_to_microsoft(azure: AzureSimulator) -> None:
    azure.key = None
    clients = Clients()
    deltas, _ = await heard(clients.connect(deployment(azure), None).chat(asks("Hello")))
    await clients.aclose()
    assert text_of(deltas) == "You said: Hello"
    assert azure.journal[-1].headers["api-key"] == "no-key"


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://x.openai.azure.us/", "https://cognitiveservices.azure.us/.default"),
        ("https://x.openai.azure.cn/", "https://cognitiveservices.azure.cn/.default"),
        ("https://x.openai.azure.com/", "https://cognitiveservices.azure.com/.default"),
    ],
)
def test_each_cloud_has_its_own_audience(azure: AzureSimulator, endpoint: str, expected: str) -> None:
    assert scope(deployment(azure, endpoint=endpoint)) == expected
