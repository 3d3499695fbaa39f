"""The five places where people speak with Parley, driven through the simulated platforms."""

import asyncio
import json
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp

from tests.simulators.slack import SlackSimulator
from tests.simulators.teams import TENANT, TeamsSimulator

_ANSWER_S = 10.0
"""How long the page waits for an answer that is recorded already."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a person sees of the bot since they spoke: all texts, and everything of it as JSON, buttons included."""

    text: str
    whole: str


class Conversation(ABC):
    """One person and the bot, in a conversation that nobody has used before."""

    surface: ClassVar[str]
    shared: ClassVar[bool] = False
    id: str = ""
    """Parley's id of the conversation, known once something was said."""

    @abstractmethod
    async def say(self, text: str) -> None:
        """Say something to the bot; returns when it was acknowledged."""

    @abstractmethod
    async def shown(self) -> Shown:
        """What the bot showed for what was said last."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""


class InSlack(Conversation):
    """In a direct message: a thread in it."""

    surface = "Slack DM"

    def __init__(self, slack: SlackSimulator, number: int) -> None:
        self._slack = slack
        self._person = f"U{number:06d}"
        self._channel = self._place(number)
        self._root: str | None = None
        self._ts = ""
        self._ephemeral = 0
        slack.workspace.people[self._person] = "kim"
        slack.workspace.channels[self._channel] = {self._person, slack.workspace.bot_user}

    def _place(self, number: int) -> str:
        return f"D{number:06d}"

    async def close(self) -> None:
        """Slack has nothing to close."""

    def _words(self, text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    async def say(self, text: str) -> None:
        """In the thread of what was said first."""
        self._ephemeral = len(self._slack.workspace.ephemeral)
        self._ts = await self._slack.say(self._channel, self._person, self._words(text), self._root)
        self._root = self._root or self._ts
        self.id = f"slack:{self._slack.workspace.team}:{self._channel}:{self._root}"

    async def shown(self) -> Shown:
        """Messages of the thread, and those that only this person sees."""
        workspace = self._slack.workspace
        messages = [one for one in self._slack.thread(self._channel, self._root or "") if one.get("bot_id")]
        newer = [one for one in messages if one["ts"] > self._ts]
        newer += [one for one in workspace.ephemeral[self._ephemeral :] if one["user"] == self._person]
        text = "\n".join(str(one.get("markdown") or one.get("text", "")) for one in newer)
        return Shown(text=text, whole=json.dumps(newer, default=str))


class MentionedInSlack(InSlack):
    """In a channel of one's own, each time with a mention."""

    surface = "Slack mention"
    shared = True

    def _place(self, number: int) -> str:
        return f"C{number:06d}"

    def _words(self, text: str) -> str:
        return f"<@{self._slack.workspace.bot_user}> {super()._words(text)}"


class InTeams(Conversation):
    """In a personal chat."""

    surface = "Teams personal"
    _pattern: ClassVar[str] = "a:kim-{}"

    def __init__(self, teams: TeamsSimulator, number: int) -> None:
        self._teams = teams
        self._person = f"kim{number}"
        self._chat = self._pattern.format(number)
        self._answers = 0
        self.id = f"teams:{TENANT}:{self._chat}"

    async def close(self) -> None:
        """Teams has nothing to close."""

    async def say(self, text: str) -> None:
        """With a mention, if others are there."""
        self._answers = len(self._teams.answers(self._chat))
        await self._teams.say(self._chat, self._person, text, mention=self.shared)

    async def shown(self) -> Shown:
        """New messages of the bot."""
        newer = self._teams.answers(self._chat)[self._answers :]
        text = "\n".join(message.text for message in newer)
        return Shown(text=text, whole=json.dumps([message.activity for message in newer]))


class InTeamsGroup(InTeams):
    """In a group chat, each time with a mention."""

    surface = "Teams group"
    shared = True
    _pattern = "19:group-{}@thread.v2"


class InStudio(Conversation):
    """In the studio's chat, in a browser of one's own."""

    surface = "Studio"

    def __init__(self, url: str, number: int) -> None:
        self._id = secrets.token_hex(16)
        self.id = f"studio:{self._id}"
        self._path = f"{url}/studio/conversations/{self._id}"
        self._event = ""
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self._page = f"{url}/"

    async def say(self, text: str) -> None:
        """Post a message, as the page does."""
        if not self._event:
            async with self._http.get(self._page) as page:
                page.raise_for_status()
        self._event = secrets.token_hex(16)
        body = {"id": self._event, "text": text}
        sent = self._http.post(f"{self._path}/messages", json=body, headers={"X-Parley": "studio"})
        async with sent as response:
            response.raise_for_status()

    async def shown(self) -> Shown:
        """The finished answer, as it is streamed to the page; nothing if there is none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S), self._http.get(f"{self._path}/events") as response:
                async for line in response.content:
                    frame: dict[str, Any] = json.loads(line[6:]) if line.startswith(b"data: ") else {}
                    if frame.get("kind") == "done" and frame["event"] == self._event:
                        return Shown(text=frame.get("text", ""), whole=json.dumps(frame))
        return Shown(text="", whole="")

    async def close(self) -> None:
        """Close the browser."""
        await self._http.close()
