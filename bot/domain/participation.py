"""Participation modes: what the bot answers in a channel."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from bot.domain.words import marked

ParticipationMode = Literal["follow", "dialogue", "mention", "mute"]
"""The stored names. People know `mention` as mention-only, and `mute` as quiet (`MODES`)."""


class ModeDescription(NamedTuple):
    """A mode as people see it."""

    name: str
    description: str


MODES: Mapping[ParticipationMode, ModeDescription] = {
    "follow": ModeDescription(
        "follow", marked("Answers everything in its threads, unless somebody else is tagged")
    ),
    "dialogue": ModeDescription("dialogue", marked("Answers mentions, and follow-ups until others join in")),
    "mention": ModeDescription("mention-only", marked("Answers mentions only")),
    "mute": ModeDescription("quiet", marked("Answers mentions only, visibly only to the person who asks")),
}
"""In the order in which they are offered, the most talkative first."""

DEFAULT_MODE: ParticipationMode = "dialogue"


def mode_named(name: str) -> ParticipationMode | None:
    """The mode that people or settings call by this name; None if there is none."""
    return next((mode for mode, described in MODES.items() if name in (mode, described.name)), None)
