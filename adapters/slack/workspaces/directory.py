"""Finds the ids of channels and people of a workspace by name and by e-mail address."""

from collections.abc import Collection
from typing import Any

from adapters.slack.api.web_api import SlackRejected, WebApi
from adapters.slack.payloads import Payload, objects, part, string
from bot.domain.errors import ConfigError, PlatformUnavailable

PATIENCE_S = 180.0
"""How long a limited call is repeated: conversations.list may be called about twenty times a minute."""
PAGE = 200
"""Channels per call, as Slack recommends (docs.slack.dev/reference/methods/conversations.list)."""
PAGES = 500
_TYPES = ("public_channel,private_channel", "public_channel")


async def find_channels(api: WebApi, names: Collection[str]) -> dict[str, str]:
    """The ids of channels by name, of public ones and of private ones with the bot; archived ones don't count.

    Raises PlatformUnavailable, also if not all channels could be listed, and ConfigError.
    """
    for types in _TYPES:
        try:
            return await _listed(api, set(names), types)
        except SlackRejected as error:
            if error.code != "missing_scope":
                raise
    raise _without("channels:read")


async def find_person(api: WebApi, email: str) -> str:
    """The id of the active member with this e-mail address, else "". Raises PlatformUnavailable and ConfigError."""
    try:
        found = await api.call("users.lookupByEmail", {"email": email}, patience_s=PATIENCE_S)
    except SlackRejected as error:
        if error.code == "missing_scope":
            raise _without("users:read.email") from error
        if error.code == "users_not_found":
            return ""
        raise
    user = part(found, "user")
    return "" if user.get("deleted") is True else string(user.get("id"))


def _without(scope: str) -> ConfigError:
    return ConfigError(
        f"Add {scope} to the app's scopes under OAuth & Permissions and reinstall the app, or write the ID."
    )


async def _listed(api: WebApi, wanted: set[str], types: str) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor = ""
    for _ in range(PAGES):
        args: dict[str, Any] = {"types": types, "exclude_archived": True, "limit": PAGE}
        page = await api.call(
            "conversations.list", args | ({"cursor": cursor} if cursor else {}), patience_s=PATIENCE_S
        )
        found |= {name: id for name, id in map(_named, objects(page.get("channels"))) if name in wanted}
        cursor = string(part(page, "response_metadata").get("next_cursor"))
        if not cursor or wanted <= found.keys():
            return found
    raise PlatformUnavailable(f"Slack lists more than {PAGE * PAGES:,} channels")


def _named(channel: Payload) -> tuple[str, str]:
    return string(channel.get("name")).lower(), string(channel.get("id"))
