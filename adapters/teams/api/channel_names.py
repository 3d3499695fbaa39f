"""The names of a team's channels, which messages do not carry; kept for a day."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import cast

from adapters.shared.bounded_cache import BoundedCache
from adapters.teams.activities.activity import as_object
from adapters.teams.api.connector import Connector
from bot.domain.errors import PlatformUnavailable

log = logging.getLogger(__name__)

KEPT_S = 86_400.0
UNKNOWN_S = 600.0
"""A pause before a team is asked again that did not tell its channels."""
PATIENCE_S = 1.5
"""An answer waits no longer for a name."""
TEAMS_KEPT = 1_000
GENERAL = "General"
"""The first channel of a team has no name of its own in the list, because Teams translates it."""


class ChannelNames:
    """The names of channels, by team, from the Bot Connector."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._known = BoundedCache[tuple[str, str], tuple[float, Mapping[str, str]]](TEAMS_KEPT)

    async def name(self, place: Mapping[str, str], channel: str) -> str:
        """The name of a channel of the place's team; empty if it is not told in time. Never raises."""
        team = place.get("team", "")
        if not team or place.get("kind") != "channel":
            return ""
        until, names = self._known.get((place["tenant"], team), (0.0, {}))
        if until <= time.monotonic():
            names = await self._learn(place, team) or names
        return names.get(channel, "")

    async def _learn(self, place: Mapping[str, str], team: str) -> Mapping[str, str]:
        names: dict[str, str] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = (await self._connector.channels(place, team)).get("conversations")
            listed = cast("list[object]", found) if isinstance(found, list) else []
            for one in map(as_object, listed):
                names[str(one.get("id"))] = str(one.get("name") or GENERAL)
        except (PlatformUnavailable, TimeoutError) as error:
            log.info("The channels of a team are not known: %s", error or "timeout")
        self._known[place["tenant"], team] = time.monotonic() + (KEPT_S if names else UNKNOWN_S), names
        return names
