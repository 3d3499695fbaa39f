"""The tokens of the workspaces and organisations that have installed the app, in the secret store."""

import asyncio
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from adapters.shared.bounded_cache import BoundedCache
from adapters.slack.api.web_api import SlackRejected, WebApi
from adapters.slack.payloads import part
from bot.domain.adapter import Limiter, Secrets
from bot.domain.errors import ConfigError, PlatformUnavailable, SecretUnreadable, StateUnavailable

log = logging.getLogger(__name__)

# Rotated tokens are valid for twelve hours (docs.slack.dev/authentication/using-token-rotation).
REFRESH_BEFORE_S = 2 * 3600
REFRESH_PATIENCE_S = 10.0
REFRESH_PAUSE_S = 0.25
BOTS_HOLD_S = 60.0
PREFIX = "slack:installation:"
REFUSAL_HOLDS_S = 60.0
PLACES_KEPT = 1_000


REINSTALL = "Ask somebody who may install apps there to open /slack/install."


class NotInstalled(ConfigError):
    """The app is not installed in this workspace: what comes from there is for another app."""


class TokenUnreadable(PlatformUnavailable):
    """The app is installed, but its token can't be used now; events wait, or are delivered again."""


class NotServed(NotInstalled):
    """PARLEY_SLACK_TENANTS does not name this workspace."""


class Installation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installation in a workspace (`team`), or in a whole organisation (`team` is empty).

    Times are in seconds since 1970; `expires_at_s` is 0 if the token never expires, `installed_at_s` if unknown.
    `domain` is the host of the workspace (`acme.slack.com`); an older version stored none.
    """

    team: str
    enterprise: str = ""
    bot_token: str
    bot_user: str
    bot_id: str
    refresh_token: str = ""
    expires_at_s: float = 0.0
    installed_at_s: float = 0.0
    domain: str = ""

    @property
    def name(self) -> str:
        """Its name in the secret store."""
        return name_of(self.team, self.enterprise)

    @property
    def lives(self) -> bool:
        """Whether Slack accepts its token, unless it was revoked."""
        return not self.expires_at_s or self.expires_at_s > time.time()


def name_of(team: str, enterprise: str) -> str:
    """The name of an installation in the secret store."""
    return PREFIX + (team or enterprise)


class Installations:
    """Every method raises StateUnavailable; those that ask Slack raise PlatformUnavailable.

    Those that read a token raise TokenUnreadable if it is stored, and no key of this process decrypts it.
    """

    def __init__(
        self,
        secrets: Secrets,
        limiter: Limiter | None,
        api: WebApi,
        client_id: str,
        client_secret: SecretStr,
        tenants: Collection[str] = (),
    ) -> None:
        """`tenants` are the ids and domains that are served; empty serves all."""
        self.tenants = tenants
        self._secrets, self._limiter, self._api = secrets, limiter, api
        self.client_id, self._client_secret = client_id, client_secret
        self._renewing = BoundedCache[str, asyncio.Lock](PLACES_KEPT)
        self._refused_until = BoundedCache[str, float](PLACES_KEPT)
        self._bots: dict[str, str] = {}
        self._bots_until = 0.0

    async def exchange(self, **grant: str) -> dict[str, Any]:
        """Exchange a code or refresh token (docs.slack.dev/reference/methods/oauth.v2.access)."""
        who = {"client_id": self.client_id, "client_secret": self._client_secret.get_secret_value()}
        return await self._api.call("oauth.v2.access", who | grant)

    async def add(self, granted: dict[str, Any]) -> Installation:
        """Store an installation; it replaces an earlier one of the same workspace or organisation.

        Raises NotServed, after its token was revoked.
        """
        whole = granted.get("is_enterprise_install") is True
        token = SecretStr(str(granted["access_token"]))
        api = WebApi(self._api.session, token, self._api.api_url)
        who = await api.call("auth.test", {}, patience_s=5.0)
        installation = Installation(
            team="" if whole else str(granted["team"]["id"]),
            enterprise=str(part(granted, "enterprise").get("id") or ""),
            bot_token=token.get_secret_value(),
            bot_user=str(granted["bot_user_id"]),
            bot_id=str(who.get("bot_id", "")),
            installed_at_s=time.time(),
            domain=urlsplit(str(who.get("url") or "")).hostname or "",
            **_rotation(granted),
        )
        if not self._is_served(installation, installation.team):
            with suppress(PlatformUnavailable):  # a token that nobody keeps is of no use
                await api.call("auth.revoke", {}, patience_s=5.0)
            raise NotServed(
                f"PARLEY_SLACK_TENANTS does not name {installation.team or installation.enterprise}."
            )
        await self._keep(installation)
        return installation

    async def find(self, team: str, enterprise: str) -> Installation:
        """The installation of a workspace, or else of its organisation. Raises NotInstalled.

        Its token may have expired, if Slack did not renew it.
        """
        for place in ((team, ""), ("", enterprise)):
            if any(place) and (found := await self._get(name_of(*place))) is not None:
                if not self._is_served(found, team):
                    raise NotServed(f"PARLEY_SLACK_TENANTS does not name the workspace {team or enterprise}.")
                return await self._fresh(found)
        raise NotInstalled(
            f"Parley is not installed in the Slack workspace {team or enterprise}. {REINSTALL}"
        )

    async def of_bot(self, users: Collection[str]) -> Installation | None:
        """The installation whose bot is one of these users; the list is read again after BOTS_HOLD_S.

        It does without those whose token can't be read: that must not stop other workspaces.
        """
        if time.monotonic() >= self._bots_until:
            bots = dict[str, str]()
            for name in await self._secrets.names(PREFIX):
                with suppress(TokenUnreadable):
                    if (found := await self._get(name)) is not None:
                        bots[found.bot_user] = name
            self._bots = bots
            self._bots_until = time.monotonic() + BOTS_HOLD_S
        name = next((self._bots[user] for user in sorted(users) if user in self._bots), None)
        return None if name is None else await self._get(name)

    async def serves(self, team: str, organisation: str) -> tuple[Installation | None, Installation | None]:
        """The installation of a workspace itself, and that of its organisation."""
        places = ((team, ""), ("", organisation))
        own, whole = [await self._get(name_of(*place)) if any(place) else None for place in places]
        return own, whole

    async def with_their_own(self, organisation: str) -> frozenset[str]:
        """The workspaces of an organisation that have installed the app themselves."""
        found = [await self._get(name) for name in await self._secrets.names(PREFIX)]
        return frozenset(
            each.team for each in found if each is not None and each.team and each.enterprise == organisation
        )

    def _is_served(self, installation: Installation, team: str) -> bool:
        """Whether the setting names the workspace, its organisation, or its domain with or without `.slack.com`."""
        domain = installation.domain
        known = {team, installation.enterprise, domain, domain.removesuffix(".slack.com")} - {""}
        listed = {tenant.casefold() for tenant in self.tenants}
        return not listed or any(name.casefold() in listed for name in known)

    async def names(self) -> list[str]:
        """The ids of the workspaces and organisations that have installed the app."""
        return [name.removeprefix(PREFIX) for name in await self._secrets.names(PREFIX)]

    async def remove(self, team: str, enterprise: str, at_s: float) -> None:
        """Delete the token of a workspace or, without `team`, of an organisation.

        An installation that is newer than `at_s` stays, because Slack may deliver the removal late.
        """
        kept = await self._get(name_of(team, enterprise))
        if kept is not None and kept.installed_at_s > at_s:
            return
        await self._secrets.delete(name_of(team, enterprise))
        log.info("The app was uninstalled from %s", team or enterprise)

    # -------------------------------------------------------------- rotation

    async def _fresh(self, installation: Installation) -> Installation:
        """An installation with a valid token. One process renews it, because a refresh token can be used once."""
        if not _is_due(installation):
            return installation
        async with self._renewing.setdefault(installation.name, asyncio.Lock()):
            give_up_at, latest = time.monotonic() + REFRESH_PATIENCE_S, installation
            while time.monotonic() < give_up_at:
                latest = await self._get(installation.name) or installation
                if not _is_due(latest) or self._refused_until.get(latest.name, 0.0) > time.monotonic():
                    return latest
                if self._limiter is None or not await self._limiter.take(f"refresh:{latest.name}", 1):
                    return await self._renew(latest)
                if latest.lives:
                    return latest  # another process is renewing it, and it is still valid
                await asyncio.sleep(REFRESH_PAUSE_S)
        return latest

    async def _renew(self, old: Installation) -> Installation:
        """Renew a token, or keep it as it is: it may live for hours, and somebody may install the app again."""
        try:
            granted = await self.exchange(grant_type="refresh_token", refresh_token=old.refresh_token)
        except PlatformUnavailable as error:
            latest = await self._get(old.name)  # the refused one may have been used by another process
            if latest is not None and latest.refresh_token != old.refresh_token:
                return latest
            self._refused_until[old.name] = time.monotonic() + REFUSAL_HOLDS_S
            log.log(
                logging.WARNING if old.lives and not isinstance(error, SlackRejected) else logging.ERROR,
                "The token of the Slack workspace %s, which %s, was not renewed: %s. %s",
                old.team or old.enterprise,
                f"expires in {(old.expires_at_s - time.time()) / 60:.0f} minutes"
                if old.lives
                else "has expired",
                error,
                REINSTALL if isinstance(error, SlackRejected) else "It is tried again.",
            )
            return old
        new = msgspec.structs.replace(old, bot_token=str(granted["access_token"]), **_rotation(granted))
        await self._keep(new)
        return new

    async def _get(self, name: str) -> Installation | None:
        try:
            kept = await self._secrets.get(name)
            return None if kept is None else msgspec.json.decode(kept, type=Installation)
        except (SecretUnreadable, msgspec.MsgspecError) as error:
            log.error("The token of a Slack workspace can't be read: %s", error)
            raise TokenUnreadable(f"The token of the workspace can't be read: {error}") from error

    async def _keep(self, installation: Installation) -> None:
        await self._secrets.put(installation.name, msgspec.json.encode(installation))


class StoredToken:
    """The token of one installation, for `WebApi`."""

    def __init__(self, installations: Installations, team: str, enterprise: str) -> None:
        self._installations, self._place = installations, (team, enterprise)

    async def newer(self, refused: SecretStr) -> SecretStr | None:
        """Read the token again after Slack has refused it: the app may have been installed anew, or removed.

        Raises TokenUnreadable if it can't be read, or has expired and is not renewed.
        """
        try:
            installation = await self._installations.find(*self._place)
        except NotInstalled:
            return None
        except StateUnavailable as error:
            raise TokenUnreadable(f"The token of the workspace can't be read again: {error}") from error
        if installation.bot_token != refused.get_secret_value():
            return SecretStr(installation.bot_token)
        if not installation.lives:
            raise TokenUnreadable("The token of the workspace has expired, and Slack does not renew it.")
        return None


def _is_due(installation: Installation) -> bool:
    expires = installation.expires_at_s
    return bool(expires and installation.refresh_token) and expires - REFRESH_BEFORE_S < time.time()


def _rotation(granted: dict[str, Any]) -> dict[str, Any]:
    """The fields of token rotation; empty if it is off."""
    if not granted.get("refresh_token"):
        return {}
    expires_at_s = time.time() + float(granted.get("expires_in", 0))
    return {"refresh_token": str(granted["refresh_token"]), "expires_at_s": expires_at_s}
