"""Assigns templates to workspaces, channels and people, and modes to channels, for the studio."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from bot.domain.errors import NotAllowed
from bot.domain.events import Role
from bot.domain.participation import DEFAULT_MODE, ParticipationMode, mode_named
from bot.domain.permissions import Action, Permissions
from bot.domain.publications import Assignment, Place
from bot.prompts.registry import TemplateRegistry
from bot.storage.conversations.search import ConversationSearch
from bot.storage.prompts.preferences import PreferenceStore

_RECENT = 40
"""Conversations searched for known places."""
_SLACK = re.compile(r"[CGD](?=[A-Z]*\d)[A-Z0-9]{3,20}")
_TEAMS = re.compile(r"19:[^\s/?;\"'<>]{1,280}@(?:thread\.(?:tacv2|v2|skype)|unq\.gbl\.spaces)")
_FIND = (
    "In Slack, open the channel’s details: the id, such as C0123ABCDEF, is at the bottom. In Teams, choose “Get link "
    "to channel” in the channel’s menu, and paste the link here."
)
_ID = re.compile(r"[^\s\x00-\x1f]{1,300}")


def channel_id(text: str) -> str:
    """The id in an id of, a mention of, or a link to a channel of Slack or Teams. Raises NotAllowed.

    Names are refused, as a bot knows channels by their ids only, and would never meet the name.
    """
    given = unquote(text.strip())
    if teams := _TEAMS.search(given):
        return teams[0]
    named = given.removeprefix("<").lstrip("#").partition("|")[0].rstrip(">")
    parts = given.partition("?")[0].split("/") if "://" in given else [named]
    found = [part for part in parts if _SLACK.fullmatch(part)]
    if not found:
        raise NotAllowed(f"“{text.strip()[:80]}” is not the id of a channel. {_FIND}")
    return found[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignments:
    """The same choices as the command `prompt` and those for participation make. All methods raise StateUnavailable.

    `default_mode` is that of channels for which no mode is chosen.
    """

    preferences: PreferenceStore
    search: ConversationSearch
    registry: TemplateRegistry
    default_mode: ParticipationMode = DEFAULT_MODE
    permissions: Permissions = field(default_factory=Permissions)

    async def listed(self, template: str) -> Sequence[Assignment]:
        """The places to which a template is assigned."""
        return [each for each in await self.preferences.bound() if each.template == template]

    async def known(self) -> Sequence[Place]:
        """Workspaces, channels and people of recent conversations, newest first."""
        search = await self.search.search(lambda turn: True, count=_RECENT)
        found: dict[tuple[str, str, str], Place] = {}
        for conversation in search.found:
            received = conversation.matching[0].received
            tenant, adapter = received.user.tenant, received.address.adapter
            places = [Place(tenant=tenant, name=adapter)]
            if received.channel and not received.direct:
                places.append(Place(tenant=tenant, scope="channel", id=received.channel, name=adapter))
            places.append(Place(tenant=tenant, scope="person", id=received.user.id, name=received.user.name))
            for place in places:
                found.setdefault((place.tenant, place.scope, place.id), place)
        return list(found.values())

    async def channels(self) -> Sequence[tuple[Place, ParticipationMode | None]]:
        """The channels of recent conversations, with the participation modes chosen for them."""
        channels = [place for place in await self.known() if place.scope == "channel"]
        return list(zip(channels, await self.preferences.modes(channels), strict=True))

    async def choose_mode(self, channel: Place, mode: str, *, by: Role) -> None:
        """Choose the participation mode of a channel, in a role; an empty one takes the choice back.

        Raises NotAllowed.
        """
        if channel.scope != "channel" or not (_ID.fullmatch(channel.tenant) and _ID.fullmatch(channel.id)):
            raise NotAllowed("Enter the id of the workspace, and of the channel, without spaces.")
        chosen = mode_named(mode)
        if mode and chosen is None:
            raise NotAllowed(f"There is no mode “{mode[:80]}”. Choose from the list.")
        self._require("mute" if chosen == "mute" else "follow", by)
        await self.preferences.set_mode(channel, chosen)

    async def bind(self, place: Place, template: str, *, author: str, by: Role) -> None:
        """Assign a template to a place, in a role; an empty name removes the assignment. Raises NotAllowed."""
        if not _ID.fullmatch(place.tenant) or (place.scope != "tenant" and not _ID.fullmatch(place.id)):
            raise NotAllowed("Enter the id of the workspace, channel or person, without spaces.")
        usable = (*self.registry.templates(), *self.registry.on_trial())
        available = [each.name for each in usable if each.capability == "chat"]
        if template and template not in available:
            raise NotAllowed(f"There is no chat template “{template}”. Choose another one.")
        self._require("prompt", by)
        await self.preferences.bind(place, template, author)

    def _require(self, action: Action, role: Role) -> None:
        if not self.permissions.permits(action, role):
            raise NotAllowed("PARLEY_PERMISSIONS leaves this to other roles than yours.")
