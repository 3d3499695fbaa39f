"""What Slack knows of the people of a workspace: name, language, time zone and role, kept for a day."""

import logging
import time
from typing import Literal

import msgspec

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.api.web_api import SlackRejected, WebApi
from adapters.slack.payloads import Bot, Payload, part, string
from bot.domain.adapter import Secrets, person_key
from bot.domain.errors import StateUnavailable
from bot.domain.events import Frozen, Role, User

log = logging.getLogger(__name__)

KEPT_S = 86_400
"""A changed name, time zone or role is noticed after a day, if Slack does not tell of it (`user_change`)."""
READ_AGAIN_S = 600
"""After this time a process looks in the store again, from which another one may have removed somebody who changed."""
UNSEEN_KEPT_S = 600
PEOPLE_KEPT = 10_000
UNSEEN = frozenset(("user_not_found", "user_not_visible"))
"""Errors of users.info for somebody of another organisation of whom Slack tells this one nothing."""


class KnownPerson(Frozen):
    """What users.info says of a person; empty where it says nothing. `home` is the workspace of a partner."""

    name: str = ""
    locale: str = ""
    zone: str = ""
    role: Role | Literal[""] = ""
    home: str = ""

    def as_user(self, user: User) -> User:
        """A user with what is known of them; what their message itself says stays where nothing is.

        What an app posts in a person's name stays what an app has posted.
        """
        return msgspec.structs.replace(
            user,
            name=self.name or user.name,
            locale=self.locale or user.locale,
            zone=self.zone or user.zone,
            role="bot" if user.role == "bot" else self.role or user.role,
            home=self.home or (user.home if self.role in ("partner", "") else ""),
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
        """Whether it was learnt, or read from the store, a short time ago."""
        known = self._known.get(user)
        return known is not None and known[0] > time.monotonic()

    async def learn(self, bot: Bot, user: str) -> None:
        """Look a person up. Raises PlatformUnavailable, and SlackRejected for somebody whom the app can't see."""
        key = person_key(User(id=user, tenant=bot.team))
        found = await self._stored(key)
        if found is None:
            args = {"user": user, "include_locale": True}
            try:
                found = _read(part(await self._api.call("users.info", args), "user"), bot)
            except SlackRejected as error:
                if error.code in UNSEEN:
                    self._known[user] = time.monotonic() + UNSEEN_KEPT_S, KnownPerson(role="partner")
                raise
            await self._store(key, found)
        kept_s = KEPT_S if self._secrets is None else READ_AGAIN_S
        self._known[user] = time.monotonic() + kept_s, found

    async def changed(self, bot: Bot, told: Payload) -> None:
        """Forget what is known of a person if it is not what Slack tells now; the next message looks them up.

        Slack also tells of each status. It does not tell the language. Raises StateUnavailable.
        """
        user, now = string(told.get("id")), _read(told, bot)
        key = person_key(User(id=user, tenant=bot.team))
        known = self.get(user) or await self._stored(key)
        if known is None or (known.name, known.zone, known.role) == (now.name, now.zone, now.role):
            return
        self._known.pop(user, None)
        if self._secrets is not None:
            await self._secrets.delete(key)

    async def _stored(self, key: str) -> KnownPerson | None:
        """What another process has learnt; nothing if the store is unavailable, or has something else."""
        try:
            stored = await self._secrets.get(key) if self._secrets is not None else None
            known = msgspec.json.decode(stored, type=KnownPerson) if stored is not None else None
            return known if known and known.role else None  # an older version stored no role
        except (StateUnavailable, msgspec.MsgspecError) as error:
            log.info("A person's name could not be read from the store: %s", type(error).__name__)
            return None

    async def _store(self, key: str, person: KnownPerson) -> None:
        try:
            if self._secrets is not None:
                await self._secrets.put(key, msgspec.json.encode(person), KEPT_S)
        except StateUnavailable as error:
            log.info("A person's name could not be stored: %s", error)


def _read(found: Payload, bot: Bot) -> KnownPerson:
    """A person as users.info describes them (docs.slack.dev/reference/objects/user-object)."""
    profile, role = part(found, "profile"), _role(found, bot)
    names = (profile.get("display_name"), profile.get("real_name"), found.get("real_name"), found.get("name"))
    return KnownPerson(
        name=next((name for name in map(string, names) if name.strip()), ""),
        locale=string(found.get("locale")),
        zone=string(found.get("tz")),
        role=role,
        home=string(found.get("team_id")) if role == "partner" else "",
    )


def _role(found: Payload, bot: Bot) -> Role:
    """What somebody is in the workspace of the bot. Members of its organisation's other workspaces are members, too."""

    def is_any(*names: str) -> bool:
        return any(found.get(name) is True for name in names)

    grid = part(found, "enterprise_user")
    organisation = string(grid.get("enterprise_id")) or string(found.get("enterprise_id"))
    home = string(found.get("team_id"))
    colleague = home in ("", bot.team, bot.enterprise) or bool(
        bot.enterprise and organisation == bot.enterprise
    )
    if is_any("is_bot", "is_workflow_bot"):
        return "bot"
    if not colleague or is_any("is_stranger"):
        return "partner"
    if is_any("is_restricted", "is_ultra_restricted"):
        return "guest"
    if is_any("is_admin", "is_owner") or grid.get("is_admin") is True or grid.get("is_owner") is True:
        return "admin"
    return "member"
