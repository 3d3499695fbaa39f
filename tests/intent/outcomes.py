"""What really happened, from what the simulators saw and what the bot keeps; the labels play no part in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from bot.domain.turns import Turn
from bot.storage.prompts.preferences import Preference
from tests.intent.model import Seen
from tests.intent.sentences import TOOLS
from tests.intent.talks import Shown

HARMFUL = ("deleted", "reset", "mode", "draw", "change")
"""Outcomes that cost something, or that people can't take back, if they were not meant."""
HARMLESS_PAIRS = {("change", "draw"), ("draw", "change")}
"""One picture in place of the other is wrong, but a picture was asked for."""
_COMMANDS = {"prompt": "choose_prompt", "model": "choose_model", "variations": "draw", "image": "draw"}
_MODES = ("mute", "quiet", "follow", "mention-only")
_TEMPLATES = {"assistant": "answer", "summarise": "summarise"}
_CONFIRMED = (("forget", r"forget[ _]me[ _]now"), ("reset", r"reset[ _]now"), ("mode", r"mute[ _]now"))
_REPLIES = (
    ("forget", r"delete all your data|`forget me`"),
    ("stop", r"no answer (of yours )?in progress|nothing to stop"),
    ("sent", r"no longer stored|nothing was sent|what was sent|sent to the model|Deployment|tokens"),
    ("help", r"`?/?help`?.*`?/?usage"),
    ("unknown command", r"[Uu]nknown command|don't know the command"),
)
"""Replies that are kept nowhere, by their words."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One sentence from outside: before and after are the turns of its conversation and the choices that hold."""

    before: Sequence[Turn]
    after: Sequence[Turn]
    choice: tuple[Preference, Preference]
    seen: Sequence[Seen]
    shown: Shown


def happened(observed: Observed) -> str:
    """One word: a meaning, or what else it was."""
    kept = {turn.id for turn in observed.after}
    if any(turn.id not in kept for turn in observed.before):
        return "deleted"
    before, after = (
        replace(each, template="", usual="", deployment="", chosen_at=0.0) for each in observed.choice
    )
    if before != after:
        return "mode"
    known = {turn.id for turn in observed.before}
    new = [turn for turn in observed.after if turn.id not in known]
    turn = new[-1] if new else None
    if turn is not None and turn.reply.images:
        return "draw"
    if turn is not None and turn.resets:
        return "reset"
    for meaning, pattern in _CONFIRMED:
        if re.search(pattern, observed.shown.whole):
            return meaning
    for name, text in (result for seen in observed.seen for result in seen.results):
        return name if not text.startswith("Invalid arguments") else f"invalid {name}"
    return _by_answer(observed, turn) if observed.seen else _by_reply(observed, turn)


def _by_answer(observed: Observed, turn: Turn | None) -> str:
    """What the model was asked, by the template that asked it."""
    if observed.seen[-1].repeated:
        return "again"
    if turn is None:
        return "not kept"
    if turn.outcome == "failed":
        return "failed"
    if len({seen.deployment for seen in observed.seen}) > 1:
        return "compare"
    name = turn.template.partition("@")[0]
    if name == "assistant" and not observed.seen[-1].unchanged:
        return "answer to other words"
    return _TEMPLATES.get(name, f"template {name}")


def _by_reply(observed: Observed, turn: Turn | None) -> str:
    """What Parley answered by itself."""
    if turn is not None and turn.template.startswith("/"):
        name = turn.template.removeprefix("/")
        return "mode" if name in _MODES else _COMMANDS.get(name, name)
    text = observed.shown.text
    for meaning, pattern in _REPLIES:
        if re.search(pattern, text, re.DOTALL):
            return meaning
    if not text.strip():
        return "silence"
    return "refused" if turn is not None and turn.outcome == "refused" else "another reply"


def is_harmful(meant: Sequence[str], outcome: str) -> bool:
    """Whether this did harm that was not asked for."""
    pairs = {(each, outcome) for each in meant}
    return outcome in HARMFUL and outcome not in meant and not pairs & HARMLESS_PAIRS


def has_effect(observed: Observed, outcome: str, arguments: Mapping[str, Any], reference: str) -> bool:
    """Whether a tool did what it says: the choice is kept, and a summary read what was said in this conversation."""
    after = observed.choice[1]
    chosen = {"choose_prompt": after.template, "choose_model": after.deployment}
    if outcome in chosen and "name" in arguments:
        return chosen[outcome] == str(arguments["name"]).replace("auto", "")
    results = [text for seen in observed.seen for name, text in seen.results if name == "summarise"]
    return outcome != "summarise" or not results or reference in results[-1]


def is_informed(observed: Observed) -> bool:
    """Whether the model that answered had been told what Parley can do here."""
    return bool(observed.seen) and observed.seen[-1].informed


__all__ = ["HARMFUL", "TOOLS", "Observed", "happened", "has_effect", "is_harmful", "is_informed"]
