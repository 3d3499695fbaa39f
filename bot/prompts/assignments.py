"""Who gets which template: workspaces, channels and people, as the studio shows and changes it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.errors import NotAllowed
from bot.domain.publications import Assignment, Place
from bot.prompts.registry import TemplateRegistry
from bot.storage.conversations.search import ConversationSearch
from bot.storage.prompts.preferences import PreferenceStore

_RECENT = 40
"""Conversations that are looked at for places that are known."""
_ID = re.compile(r"[^\s\x00-\x1f]{1,300}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignments:
    """The choices that `prompt` in a channel and the platforms' own pages show too.

    Its methods raise StateUnavailable.
    """

    preferences: PreferenceStore
    search: ConversationSearch
    registry: TemplateRegistry

    async def listed(self, template: str) -> Sequence[Assignment]:
        """Where a template was chosen."""
        return [one for one in await self.preferences.bound() if one.template == template]

    async def known(self) -> Sequence[Place]:
        """Places that somebody wrote from of late, the last one first; people with their names."""
        search = await self.search.search(lambda turn: True, count=_RECENT)
        found: dict[tuple[str, str, str], Place] = {}
        for one in search.found:
            received = one.matching[0].received
            tenant, adapter = received.user.tenant, received.address.adapter
            places = [Place(tenant=tenant, name=adapter)]
            if received.channel and not received.direct:
                places.append(Place(tenant=tenant, scope="channel", id=received.channel, name=adapter))
            places.append(Place(tenant=tenant, scope="person", id=received.user.id, name=received.user.name))
            for place in places:
                found.setdefault((place.tenant, place.scope, place.id), place)
        return list(found.values())

    async def bind(self, place: Place, template: str, *, author: str) -> None:
        """Give a template to a place; an empty one takes back what was given. Raises NotAllowed."""
        if not _ID.fullmatch(place.tenant) or (place.scope != "tenant" and not _ID.fullmatch(place.id)):
            raise NotAllowed("A workspace, a channel and a person are named by their ids, without blanks.")
        available = [one.name for one in self.registry.templates() if one.capability == "chat"]
        if template and template not in available:
            raise NotAllowed(f"There is no template “{template}” that answers in words.")
        await self.preferences.bind(place, template, author)
