"""A real `parley serve` between simulated Slack, Teams and Azure OpenAI, for the stories to happen in."""

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.simulators.azure import AzureSimulator, echo
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator
from tests.support.processes import Process, end, free_port, listening, start

PARLEY = str(Path(sys.executable).with_name("parley"))


@dataclass
class Town:
    """Everybody: the two platforms, the models, and the bot, which can be killed and started again."""

    slack: SlackSimulator
    teams: TeamsSimulator
    azure: AzureSimulator
    folder: Path
    http: aiohttp.ClientSession
    port: int = field(default_factory=free_port)
    bot: Process | None = None
    settings: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def env(self) -> dict[str, str]:
        """The settings of the bot."""
        return {
            "PORT": str(self.port),
            "PARLEY_DATA_DIR": str(self.folder / "data"),
            "PARLEY_LEASE_S": "10",
            "PARLEY_LOG_LEVEL": "warning",
            "PARLEY_TEAMS_AUTH": "off",
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_SIGNING_SECRET": self.slack.signing_secret,
            "SLACK_API_URL": self.slack.api_url,
            "AZURE_OPENAI_ENDPOINT": self.azure.endpoint,
            "AZURE_OPENAI_API_KEY": "simulated-key",
            "AZURE_OPENAI_CHAT_DEPLOYMENT": "chat",
            "AZURE_OPENAI_IMAGE_DEPLOYMENT": "gpt-image-1",
            **self.settings,
        }

    async def begin(self) -> None:
        """Start the bot."""
        self.bot = await start([PARLEY, "serve"], self.env)
        await listening(self.port)
        self.slack.bot_url = f"http://127.0.0.1:{self.port}/slack/events"
        self.teams.bot = f"http://127.0.0.1:{self.port}/api/messages"

    async def kill(self) -> None:
        """SIGKILL: no goodbye, nothing is handed over."""
        assert self.bot is not None
        self.bot.kill()
        await self.bot.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """What the bot answers to a GET."""
        async with self.http.get(f"http://127.0.0.1:{self.port}{path}") as response:
            return response.status, await response.text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Town]:
    """One town for the stories of a module."""
    folder = tmp_path_factory.mktemp("town")
    async with (
        SlackSimulator(retry_pauses_s=(0.1, 0.5, 1.0)) as slack,
        TeamsSimulator(authenticate=False) as teams,
        AzureSimulator() as azure,
        aiohttp.ClientSession() as http,
    ):
        town = Town(slack, teams, azure, folder, http)
        await town.begin()
        yield town
        assert town.bot is not None
        await end(town.bot)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def fair_weather(town: Town) -> AsyncGenerator[None]:
    """Whatever a story broke works again afterwards."""
    yield
    town.slack.faults.clear()
    town.azure.faults.clear()
    town.azure.answer = echo
