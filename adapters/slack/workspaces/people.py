"""What Slack knows of the people of a workspace: name, language and time zone, kept for a day."""

import logging
import time

import msgspec

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.api.web_api import WebApi
from adapters.slack.payloads import Payload, part, string
from bot.domain.adapter import Secrets, person_key
from bot.domain.errors import StateUnavailable
from bot.domain.events import Frozen, User

log = logging.getLogger(__name__)

KEPT_S = 86_400
"""A changed name or time zone is noticed after a day."""
PEOPLE_KEPT = 10_000


class KnownPerson(Frozen):
    """What users.info says of a person; empty where it says nothing."""

    name: str = ""
    locale: str = ""
    zone: str = ""

    def as_user(self, user: User) -> User:
        """A user with what is known of them; what their message itself says stays where nothing is."""
        return msgspec.structs.replace(
            user,
            name=self.name or user.name,
            locale=self.locale or user.locale,
            zone=self.zone or user.zone,
        )


class People:
    """The people of one workspace: in memory, in the shared store, and else from Slack."""

    def __init__(self, api: WebApi, secrets: Secrets | None) -> None:
        self._api, self._secrets = api, secrets
        self._known = BoundedCache[str, tuple[float, KnownPerson]](PEOPLE_KEPT)

    def get(self, user: str) -> KnownPerson | None:
        """What is known in this process, also if it is older than a day; None for nothing."""
        known = self._known.get(user)
        return known[1] if known is not None else None

    def is_fresh(self, user: str) -> bool:
        """Whether it was learnt in the last day."""
        known = self._known.get(user)
        return known is not None and known[0] > time.monotonic()

    async def learn(self, team: str, user: str) -> None:
        """Look a person up. Raises PlatformUnavailable, and SlackRejected for somebody whom the app can't see."""
        key = person_key(User(id=user, tenant=team))
        found = await self._stored(key)
        if found is None:
            args = {"user": user, "include_locale": True}
            found = _read(part(await self._api.call("users.info", args), "user"))
            await self._store(key, found)
        self._known[user] = time.monotonic() + KEPT_S, found

    async def _stored(self, key: str) -> KnownPerson | None:
        """What another process has learnt; nothing if the store is unavailable, or has something else."""
        try:
            stored = await self._secrets.get(key) if self._secrets is not None else None
            return msgspec.json.decode(stored, type=KnownPerson) if stored is not None else None
        except (StateUnavailable, msgspec.MsgspecError) as error:
            log.info("A person's name could not be read from the store: %s", type(error).__name__)
            return None

    async def _store(self, key: str, person: KnownPerson) -> None:
        try:
            if self._secrets is not None:
                await self._secrets.put(key, msgspec.json.encode(person), KEPT_S)
        except StateUnavailable as error:
            log.info("A person's name could not be stored: %s", error)


def _read(found: Payload) -> KnownPerson:
    """A person as users.info describes them (docs.slack.dev/reference/objects/user-object)."""
    profile = part(found, "profile")
    names = (profile.get("display_name"), profile.get("real_name"), found.get("real_name"), found.get("name"))
    return KnownPerson(
        name=next((name for name in map(string, names) if name.strip()), ""),
        locale=string(found.get("locale")),
        zone=string(found.get("tz")),
    )
