"""The workspaces that are served: token, the bot's ids, names of people."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any

import aiohttp
from pydantic import SecretStr

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.api.web_api import SlackRejected, WebApi
from adapters.slack.events.parser import Bot
from adapters.slack.payloads import Origin
from adapters.slack.workspaces.installations import Installation, Installations
from bot.domain.adapter import Limiter
from bot.domain.errors import LeaseLost, PlatformUnavailable

NAMES_KEPT = 10_000
NAMELESS_S = 600.0  # pause before a name is requested again that Slack did not return
NAMES_PATIENCE_S = 0.15  # names are optional, and Slack waits for its acknowledgement
IDENTITY_PATIENCE_S = 1.5
WORKSPACES_KEPT = 1_000
INSTALLATION_HOLDS_S = 60.0  # a token that another process renewed or deleted is noticed within this time

Later = Callable[[Coroutine[Any, Any, None]], object]


class Workspace:
    """One workspace with one bot token."""

    def __init__(self, api: WebApi, bot: Bot | None = None) -> None:
        self.api = api
        self._bot = bot
        self._asking = asyncio.Lock()
        self._names = BoundedCache[str, str](NAMES_KEPT)
        self._nameless_until = BoundedCache[str, float](NAMES_KEPT)
        self._learning: dict[str, asyncio.Task[None]] = {}

    async def bot(self) -> Bot:
        """The bot's own ids. Raises PlatformUnavailable."""
        if self._bot is None:
            async with self._asking:
                if self._bot is None:
                    who = await self.api.call("auth.test", {}, patience_s=IDENTITY_PATIENCE_S)
                    self._bot = Bot(team=who["team_id"], user=who["user_id"], bot=who.get("bot_id", ""))
        return self._bot

    async def our_ids(self) -> frozenset[str]:
        """The ids that appear as the author of the bot's own messages. Raises PlatformUnavailable."""
        return (await self.bot()).ids

    async def names(self, people: Iterable[str], patience_s: float = NAMES_PATIENCE_S) -> dict[str, str]:
        """The names of these people that are known within `patience_s`; later ones are cached for the next call."""
        wanted = list(people)
        now_s = time.monotonic()
        unknown = [person for person in wanted if self._nameless_until.get(person, 0.0) <= now_s]
        if unknown := [person for person in unknown if person not in self._names]:
            await asyncio.wait([self._learner(person) for person in unknown], timeout=patience_s)
        return {person: self._names[person] for person in wanted if person in self._names}

    async def close(self) -> None:
        for task in list(self._learning.values()):
            task.cancel()
        await asyncio.gather(*self._learning.values(), return_exceptions=True)

    def _learner(self, person: str) -> asyncio.Task[None]:
        task = self._learning.get(person)
        if task is None:
            task = self._learning[person] = asyncio.get_running_loop().create_task(self._learn(person))
            task.add_done_callback(lambda _: self._learning.pop(person, None))
        return task

    async def _learn(self, person: str) -> None:
        try:
            user: dict[str, Any] = (await self.api.call("users.info", {"user": person}))["user"]
        except SlackRejected:  # no such person or scope: asking again soon is pointless
            self._nameless_until[person] = time.monotonic() + NAMELESS_S
            return
        except (PlatformUnavailable, LeaseLost):
            return
        profile: dict[str, Any] = user.get("profile") or {}
        names = [
            profile.get("display_name"),
            profile.get("real_name"),
            user.get("real_name"),
            user.get("name"),
        ]
        if any(names):
            self._names[person] = str(next(filter(None, names)))


class Workspaces:
    """The workspace of the bot token or, without one, all that have installed the app."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_url: str,
        token: SecretStr | None,
        installations: Installations | None,
        limiter: Limiter | None,
    ) -> None:
        self._session, self._api_url, self._limiter = session, api_url, limiter
        self.installations = installations
        self.only: Workspace | None = None
        if token is not None:
            # A name for the workspace that is equal in all processes and does not reveal the token.
            name = hashlib.blake2b(token.get_secret_value().encode(), digest_size=8).hexdigest()
            self.only = self._new(token, name)
        self._known = BoundedCache[str, tuple[float, Workspace]](WORKSPACES_KEPT)

    def _new(self, token: SecretStr, name: str, bot: Bot | None = None) -> Workspace:
        return Workspace(WebApi(self._session, token, self._api_url, self._limiter, name), bot)

    async def of(self, team: str, enterprise: str = "") -> Workspace:
        """The workspace with these ids. Raises NotInstalled, PlatformUnavailable and StateUnavailable."""
        if self.only is not None:
            return self.only
        assert self.installations is not None  # noqa: S101 - the adapter refuses to have neither
        key = f"{team} {enterprise}"
        until, known = self._known.get(key, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        installation = await self.installations.find(team, enterprise)
        known = self._updated(known, team, installation)
        self._known[key] = (time.monotonic() + INSTALLATION_HOLDS_S, known)
        return known

    async def at(self, data: Mapping[str, str]) -> Workspace:
        """The workspace of an address, a post or an attachment. Raises as `of` does."""
        return await self.of(data.get("team", ""), data.get("enterprise", ""))

    def _updated(self, known: Workspace | None, team: str, installation: Installation) -> Workspace:
        token = SecretStr(installation.bot_token)
        if known is not None:
            known.api.renew(token)
            return known
        bot = Bot(team=team or installation.team, user=installation.bot_user, bot=installation.bot_id)
        return self._new(token, team or installation.enterprise, bot)

    async def forget(self, place: Origin, at: datetime) -> None:
        """Delete the installation after the app was removed. Raises StateUnavailable."""
        if self.installations is not None:
            await self.installations.remove(*place, at.timestamp())
            for key in [key for key in self._known if key.startswith(f"{place.team} ") or not place.team]:
                del self._known[key]

    async def close(self) -> None:
        workspaces = [workspace for _, workspace in self._known.values()]
        for workspace in [*workspaces, *([self.only] if self.only else [])]:
            await workspace.close()
