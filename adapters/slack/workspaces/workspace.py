"""The workspaces that are served: token, the bot's ids, names of people and places."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any

import aiohttp
from pydantic import SecretStr

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.api.web_api import SlackRejected, WebApi
from adapters.slack.events.parser import Bot
from adapters.slack.payloads import Origin, Payload, objects, part
from adapters.slack.workspaces.installations import Installation, Installations, StoredToken
from adapters.slack.workspaces.people import KnownPerson, People
from bot.domain.adapter import Limiter, Secrets
from bot.domain.errors import LeaseLost, PlatformUnavailable

NAMES_KEPT = 10_000
NAMELESS_S = 600.0  # pause before a name is requested again that Slack did not return
NAMES_PATIENCE_S = 0.15  # names are optional, and Slack waits for its acknowledgement
IDENTITY_PATIENCE_S = 1.5
PRIVATE_CHANNEL = "private-channel"
WORKSPACES_KEPT = 1_000
INSTALLATION_HOLDS_S = 60.0  # a token that another process renewed or deleted is noticed within this time

Later = Callable[[Coroutine[Any, Any, None]], object]


class Workspace:
    """One workspace with one bot token."""

    def __init__(self, api: WebApi, bot: Bot | None = None, secrets: Secrets | None = None) -> None:
        """`secrets` are where people's names are kept for all processes."""
        self.api = api
        self._bot = bot
        self._people = People(api, secrets)
        self._asking = asyncio.Lock()
        self._names = BoundedCache[str, str](NAMES_KEPT)
        self._nameless_until = BoundedCache[str, float](NAMES_KEPT)
        self._listing_groups = asyncio.Lock()
        self._learning: dict[str, asyncio.Task[None]] = {}

    async def bot(self) -> Bot:
        """The bot's own ids. Raises PlatformUnavailable."""
        if self._bot is None:
            async with self._asking:
                if self._bot is None:
                    who = await self.api.call("auth.test", {}, patience_s=IDENTITY_PATIENCE_S)
                    enterprise = str(who.get("enterprise_id") or "")
                    self._bot = Bot(who["team_id"], who["user_id"], who.get("bot_id", ""), enterprise)
        return self._bot

    async def our_ids(self) -> frozenset[str]:
        """The ids that appear as the author of the bot's own messages. Raises PlatformUnavailable."""
        return (await self.bot()).ids

    async def names(self, ids: Iterable[str], patience_s: float = NAMES_PATIENCE_S) -> dict[str, str]:
        """The names of people, channels and user groups that are known within `patience_s`.

        Later ones are cached for the next call.
        """
        wanted = list(ids)
        if unknown := [person for person in wanted if self._askable(person)]:
            await asyncio.wait([self._learner(person) for person in unknown], timeout=patience_s)
        named = ((id, self._name(id)) for id in wanted)
        return {id: name for id, name in named if name}

    def person(self, id: str) -> KnownPerson:
        """What is known of a person by now, after `names`."""
        return self._people.get(id) or KnownPerson()

    async def person_changed(self, told: Payload) -> None:
        """Notice that a person's name, time zone or role has changed. Raises PlatformUnavailable, StateUnavailable."""
        await self._people.changed(await self.bot(), told)

    def _name(self, id: str) -> str:
        return self._names.get(id) or self.person(id).name

    async def close(self) -> None:
        for task in list(self._learning.values()):
            task.cancel()
        await asyncio.gather(*self._learning.values(), return_exceptions=True)

    def _askable(self, id: str) -> bool:
        if id in self._names or self._people.is_fresh(id):
            return False
        return self._nameless_until.get(id, 0.0) <= time.monotonic()

    def _learner(self, id: str) -> asyncio.Task[None]:
        task = self._learning.get(id)
        if task is None:
            task = self._learning[id] = asyncio.get_running_loop().create_task(self._learn(id))
            task.add_done_callback(lambda _: self._learning.pop(id, None))
        return task

    async def _learn(self, id: str) -> None:
        """Look a name up. Without a result, or without the scope, asking again soon is pointless."""
        try:
            if id.startswith("S"):
                await self._learn_groups(id)
            elif id[0] in "CG":
                self._keep_name(id, await self._channel_name(id))
            else:
                await self._people.learn(await self.bot(), id)
        except SlackRejected:
            pass
        except (PlatformUnavailable, LeaseLost):
            return
        if not self._name(id):
            self._nameless_until[id] = time.monotonic() + NAMELESS_S

    def _keep_name(self, id: str, name: object) -> None:
        if isinstance(name, str) and name:
            self._names[id] = name

    async def _channel_name(self, channel: str) -> object:
        """The name of a public channel. Slack leaves out those of private ones, which not everybody may know."""
        found = part(await self.api.call("conversations.info", {"channel": channel}), "channel")
        return PRIVATE_CHANNEL if found.get("is_private") is True else found.get("name")

    async def _learn_groups(self, group: str) -> None:
        """Slack returns all user groups in one call."""
        async with self._listing_groups:
            if group not in self._names:
                found = await self.api.call("usergroups.list", {})
                for one in objects(found.get("usergroups"))[:NAMES_KEPT]:
                    self._keep_name(str(one.get("id")), one.get("handle") or one.get("name"))


class Workspaces:
    """The workspace of the bot token or, without one, all that have installed the app."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_url: str,
        token: SecretStr | None,
        installations: Installations | None,
        limiter: Limiter | None,
        secrets: Secrets | None = None,
    ) -> None:
        self._session, self._api_url, self._limiter = session, api_url, limiter
        self._secrets = secrets
        self.installations = installations
        self.only: Workspace | None = None
        if token is not None:
            # A name for the workspace that is equal in all processes and does not reveal the token.
            name = hashlib.blake2b(token.get_secret_value().encode(), digest_size=8).hexdigest()
            self.only = self._new(token, name)
        self._known = BoundedCache[str, tuple[float, Workspace]](WORKSPACES_KEPT)

    def _new(
        self, token: SecretStr, name: str, bot: Bot | None = None, tokens: StoredToken | None = None
    ) -> Workspace:
        api = WebApi(self._session, token, self._api_url, self._limiter, name, tokens)
        return Workspace(api, bot, self._secrets)

    async def of(self, team: str, enterprise: str = "") -> Workspace:
        """The workspace with these ids. Raises NotInstalled, PlatformUnavailable and StateUnavailable.

        NotInstalled means that its events are for another app; with the other errors, they are to come again.
        """
        if self.only is not None:
            return self.only
        assert self.installations is not None  # noqa: S101 - the adapter refuses to have neither
        key = f"{team} {enterprise}"
        until, known = self._known.get(key, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        installation = await self.installations.find(team, enterprise)
        known = self._updated(known, installation, team, enterprise)
        self._known[key] = (time.monotonic() + INSTALLATION_HOLDS_S, known)
        return known

    async def at(self, data: Mapping[str, str]) -> Workspace:
        """The workspace of an address, a post or an attachment. Raises as `of` does."""
        return await self.of(data.get("team", ""), data.get("enterprise", ""))

    async def of_mentioned(self, place: Origin, users: Collection[str]) -> Origin:
        """The origin whose bot is among the mentioned users, as in a channel of two companies that both have the app.

        `place` itself if it is none of another installation. Raises StateUnavailable.
        """
        found = await self.installations.of_bot(users) if self.installations is not None and users else None
        if found is None:
            return place
        return Origin(found.team, "") if found.team else Origin(place.team, found.enterprise)

    def _updated(
        self, known: Workspace | None, installation: Installation, team: str, enterprise: str
    ) -> Workspace:
        assert self.installations is not None  # noqa: S101 - as in `of`
        token = SecretStr(installation.bot_token)
        if known is not None:
            known.api.renew(token)
            return known
        known_team = team or installation.team
        bot = Bot(known_team, installation.bot_user, installation.bot_id, installation.enterprise)
        tokens = StoredToken(self.installations, team, enterprise)
        return self._new(token, team or installation.enterprise, bot, tokens)

    async def forget(self, place: Origin, at: datetime, *, own: bool) -> None:
        """Forget a workspace, or an organisation, after the app was removed. Raises StateUnavailable.

        Without its `own` installation, which is deleted, it was served by that of its organisation.
        """
        if self.installations is not None:
            if own:
                await self.installations.remove(*place, at.timestamp())
            for key in [key for key in self._known if key.startswith(f"{place.team} ") or not place.team]:
                del self._known[key]

    async def close(self) -> None:
        workspaces = [workspace for _, workspace in self._known.values()]
        for workspace in [*workspaces, *([self.only] if self.only else [])]:
            await workspace.close()
