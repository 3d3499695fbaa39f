"""Creates the models of deployments, and their shared clients on first use."""

from typing import TYPE_CHECKING

from pydantic import SecretStr

from bot.domain.turns import Deployment
from bot.llm.protocol import Model

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from bot.llm.openai.client import Clients
    from bot.llm.openai.model import Timeouts


class Connections:
    """Creates models; close it after the last of them. `credential` is as in Clients."""

    def __init__(
        self, limits: "Timeouts | None" = None, credential: "AsyncTokenCredential | None" = None
    ) -> None:
        self._limits = limits
        self._credential = credential
        self._clients: Clients | None = None

    def open(self, deployment: Deployment, key: SecretStr | None) -> Model:
        """The model of a deployment, with its key or, without one, with Entra."""
        if deployment.wire == "offline":
            # imported lazily, because it loads 3 MB of fonts
            from bot.llm.demo.model import DemoModel

            return DemoModel(deployment)
        if self._clients is None:
            from bot.llm.openai.client import Clients  # lazy: 45 MB

            self._clients = Clients(self._limits, self._credential)
        return self._clients.connect(deployment, key)

    async def aclose(self) -> None:
        """Close the shared clients."""
        if self._clients is not None:
            await self._clients.aclose()
