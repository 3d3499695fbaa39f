"""What is asked of a workspace once and then known: who we are there, and how people are called."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from adapters.slack.events import Bot
from adapters.slack.web_api import WebApi
from bot.errors import PlatformUnavailable

NAMES_KEPT = 10_000
NAMES_PATIENCE_S = 0.8  # a name is nice to have, and Slack waits three seconds for an acknowledgement
IDENTITY_PATIENCE_S = 1.5


class Workspace:
    """One workspace, by one bot token."""

    def __init__(self, api: WebApi) -> None:
        self._api = api
        self._bot: Bot | None = None
        self._asking = asyncio.Lock()
        self._names: OrderedDict[str, str] = OrderedDict()

    async def bot(self) -> Bot:
        """Who we are. Raises PlatformUnavailable."""
        if self._bot is None:
            async with self._asking:
                if self._bot is None:
                    who = await self._api.call("auth.test", {}, patience_s=IDENTITY_PATIENCE_S)
                    self._bot = Bot(team=who["team_id"], user=who["user_id"], bot=who.get("bot_id", ""))
        return self._bot

    async def our_ids(self) -> frozenset[str]:
        """The ids under which our own messages appear. Raises PlatformUnavailable."""
        return (await self.bot()).ids

    async def names(self, people: Iterable[str]) -> dict[str, str]:
        """The names of these people, as far as they can be learnt in a moment."""
        wanted = list(people)
        unknown = [person for person in wanted if person not in self._names]
        if unknown:
            try:
                async with asyncio.timeout(NAMES_PATIENCE_S):
                    await asyncio.gather(*map(self._learn, unknown))
            except TimeoutError:
                pass
        return {person: self._names[person] for person in wanted if person in self._names}

    async def _learn(self, person: str) -> None:
        try:
            user: dict[str, Any] = (await self._api.call("users.info", {"user": person}))["user"]
        except PlatformUnavailable:
            return
        profile: dict[str, Any] = user.get("profile") or {}
        name = (
            profile.get("display_name")
            or profile.get("real_name")
            or user.get("real_name")
            or user.get("name")
        )
        if name:
            self._names[person] = str(name)
            if len(self._names) > NAMES_KEPT:
                self._names.popitem(last=False)
