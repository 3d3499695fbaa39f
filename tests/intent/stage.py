"""A real `parley serve` between the simulators, with its Redis open to be looked at."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bot.domain.turns import Turn
from bot.storage.conversations.turns import Turns
from bot.storage.embedded.lifecycle import embedded
from bot.storage.prompts.preferences import Preference, PreferenceStore
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from tests.intent.model import CHAT, IMAGE, LabelledModel
from tests.intent.talks import Conversation, InSlack, InStudio, InTeams, InTeamsGroup, MentionedInSlack
from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TeamsSimulator
from tests.support.patience import PATIENCE_S
from tests.support.processes import end, free_port, listening, start

PARLEY = [str(Path(sys.executable).with_name("parley")), "serve"]
_LOOK_S = 0.02
DEPLOYMENTS = {"deployments": [{"name": name, "order": order} for order, name in enumerate((*CHAT, IMAGE))]}
Begin = Callable[[int], Conversation]


@dataclass(frozen=True)
class Measurement:
    """The simulators, and what the bot keeps."""

    slack: SlackSimulator
    teams: TeamsSimulator
    model: LabelledModel
    redis: Redis
    url: str
    waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict[str, asyncio.Future[None]])
    """By conversation: what ends when its inbox is empty."""

    @property
    def surfaces(self) -> dict[str, Begin]:
        """How a conversation begins, by the name of the place."""
        return {
            MentionedInSlack.surface: lambda number: MentionedInSlack(self.slack, number),
            InSlack.surface: lambda number: InSlack(self.slack, number),
            InTeams.surface: lambda number: InTeams(self.teams, number),
            InTeamsGroup.surface: lambda number: InTeamsGroup(self.teams, number),
            InStudio.surface: lambda number: InStudio(self.url, number),
        }

    async def settled(self, conversation: str) -> None:
        """Wait until nothing waits in the inbox of a conversation: what was said there is answered and recorded."""
        emptied = self.waiting.setdefault(conversation, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await emptied
        except TimeoutError:
            raise TimeoutError(f"{conversation} was not answered within {PATIENCE_S:.0f} s") from None

    async def watch(self) -> None:
        """Look at the inboxes of all conversations that are waited for, at once: each by itself costs more."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if not (names := list(self.waiting)):
                continue
            lengths = await self.redis.many([("LLEN", keys.of("inbox", name)) for name in names])
            for name, length in zip(names, lengths, strict=True):
                if not length and not (found := self.waiting.pop(name)).done():
                    found.set_result(None)

    async def turns(self, conversation: str) -> Sequence[Turn]:
        """What is recorded of a conversation."""
        return await Turns(self.redis).turns(conversation)

    async def preference(self, turn: Turn) -> Preference:
        """The choices that hold for the message of a turn."""
        return await PreferenceStore(self.redis).effective(turn.received)


@asynccontextmanager
async def measurement(*, tools: bool = True) -> AsyncGenerator[Measurement]:
    """Everything is running until the end of the block; without `tools` the models refuse them."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "deployments.yaml").write_bytes(msgspec.yaml.encode(DEPLOYMENTS))
        async with (
            embedded(folder) as redis_url,
            SlackSimulator(retry_pauses_s=(0.1, 0.5, 1.0)) as slack,
            TeamsSimulator(authenticate=False) as teams,
            LabelledModel(tools=tools) as model,
        ):
            slack.bot_url, teams.bot = f"{url}/slack/events", f"{url}/api/messages"
            redis = Redis(redis_url, timeout_s=PATIENCE_S)
            env = {
                "PORT": str(port),
                "PARLEY_DATA_DIR": name,
                "PARLEY_DEPLOYMENTS": str(folder / "deployments.yaml"),
                "PARLEY_LIMITS": "person: unlimited",
                "PARLEY_CONCURRENCY": "128",
                "PARLEY_LOG_LEVEL": "error",
                "PARLEY_TEAMS_AUTH": "off",
                "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_SIGNING_SECRET": slack.signing_secret,
                "SLACK_API_URL": slack.api_url,
                "AZURE_OPENAI_ENDPOINT": model.endpoint,
                "AZURE_OPENAI_API_KEY": "simulated-key",
                **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
            }
            bot = await start(PARLEY, env, stdout=asyncio.subprocess.DEVNULL)
            try:
                await listening(port)
                town = Measurement(slack, teams, model, redis, url)
                watching = asyncio.create_task(town.watch())
                try:
                    yield town
                finally:
                    watching.cancel()
            finally:
                await end(bot)
                await redis.close()
