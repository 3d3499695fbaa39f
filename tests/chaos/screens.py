"""What people read of the bot in the end, held against what was recorded."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.slack.inbound.dispatcher import WORKING
from bot.domain.turns import Turn
from tests.chaos.senders import Slack, Teams
from tests.chaos.talks import ASKED, Talk

WORDLESS = ("_Stopped: you deleted your question._", "_Stopped at your request._")
"""What an answer is that was stopped before its first word."""


@dataclass
class Shown:
    """A message of the bot: its words, and how many pictures hang on it."""

    id: str
    words: str
    pictures: int = 0


@dataclass
class Screens:
    """What is wrong on one platform's screens.

    `doubled` and `drafts` are (id, words) of whole answers too many, and of what was begun and not finished.
    `whispered` are acts whose answer for one person alone came again, `drawn` those whose picture did.
    """

    doubled: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    drafts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    otherwise: list[str] = field(default_factory=list[str])
    whispered: list[str] = field(default_factory=list[str])
    drawn: list[str] = field(default_factory=list[str])

    def look(self, talk: Talk, turns: Sequence[Turn], shown: list[Shown]) -> None:
        """Every turn is on the screen once, where and as it was recorded, and nothing else is."""
        left = {text.id: text for text in shown}
        for turn in turns:
            posted = [left.pop(id) for id in _ids(turn) if id in left]
            words = " ".join(item.words for item in posted).strip()
            if _ids(turn) and not _agree(words, turn, talk):
                self.otherwise.append(f"{turn.id}: {words[:40]!r}, not {turn.reply.text[:40]!r}")
            pictures = sum(item.pictures for item in posted)
            if not talk.slack and pictures != len(turn.reply.images):
                self.otherwise.append(f"{turn.id}: {pictures} pictures, not {len(turn.reply.images)}")
        for act in talk.acts:  # the answer to a question that was deleted stays where it was
            if talk.after(act, "deletion"):
                names = set(talk.names(act))
                newest = list(reversed(left.values()))  # what was cut off before it was recorded is older
                kept = next((item for item in newest if names & set(item.words.split()[:1])), None)
                # A deletion ends the answer that is being written, maybe before its first word.
                kept = kept or next((item for item in newest if item.words in map(words_of, WORDLESS)), None)
                if kept is not None:
                    del left[kept.id]
        recorded = {words_of(turn.reply.text) for turn in turns}
        for item in left.values():
            (self.doubled if item.words in recorded else self.drafts).append((item.id, item.words[:80]))

    def look_alone(self, turns: Sequence[Turn], whispers: Sequence[str]) -> None:
        """What only one person reads: each such turn once."""
        left = Counter(map(words_of, whispers))
        for turn in turns:
            words = words_of(turn.reply.text)
            if not _ids(turn):
                if left[words]:
                    left[words] -= 1
                else:
                    self.otherwise.append(turn.id)
        self.whispered += [words[:80] for words in left.elements()]

    def look_at_pictures(self, turns: Sequence[Turn], pictures: Mapping[str, int]) -> None:
        """In Slack a picture is a file of its own; `pictures` tells their number by the mark of the act."""
        for turn in turns:
            found = pictures.get(self.mark(turn.id), 0)
            if found < len(turn.reply.images):
                self.otherwise.append(turn.id)
            self.drawn += [turn.id] * (found - len(turn.reply.images))

    @staticmethod
    def mark(event: str) -> str:
        """What the names of an act's pictures begin with."""
        return hashlib.blake2b(event.encode(), digest_size=6).hexdigest()


def pictures_in(slack: Slack) -> Counter[str]:
    """The pictures that the bot has shown, by the mark in their files' names."""
    return Counter(
        str(file["name"]).partition("-")[0]
        for message in slack.workspace.messages.values()
        if message.get("bot_id") == slack.workspace.bot_id
        for file in message.get("files") or ()
    )


def in_slack(slack: Slack, talk: Talk) -> list[Shown]:
    """The bot's messages in a thread, without pictures."""
    if ":command:" in talk.conversation:
        return []
    return [
        Shown(message["ts"], words_of(message["markdown"]))
        for message in slack.thread(talk.channel, talk.thread)
        if message.get("bot_id") == slack.workspace.bot_id and not message.get("files")
    ]


def whispers(slack: Slack, talk: Talk) -> list[str]:
    """What one person alone reads there."""
    if talk.refused == "place":
        return [*_direct(slack, talk), *_ephemeral(slack, talk)]
    if ":command:" in talk.conversation:
        own = [message for message in slack.workspace.ephemeral if message["user"] == talk.user]
        return [item["markdown"] for item in own if item["markdown"] != WORKING]
    return _ephemeral(slack, talk)


def _direct(slack: Slack, talk: Talk) -> list[str]:
    """The answers that came by direct message, without the reason for that."""
    names = {name for act in talk.acts for name in talk.names(act)}
    texts = [
        str(message["markdown"]).partition("\n\n")[2]
        for (channel, _), message in slack.workspace.messages.items()
        if channel == slack.workspace.direct(talk.user) and message.get("bot_id") == slack.workspace.bot_id
    ]
    return [text for text in texts if names & set(text.split()[:1])]


def _ephemeral(slack: Slack, talk: Talk) -> list[str]:
    here = [message for message in slack.workspace.ephemeral if message.get("thread_ts") == talk.thread]
    return [item["markdown"] for item in here if item["channel"] == talk.channel]


def unseen(talk: Talk, turns: Sequence[Turn], texts: Sequence[str]) -> list[str]:
    """The questions to which a person sees nothing at all; `texts` is what the bot shows them anywhere."""
    seen = words_of(" ".join(texts))
    by_event = {turn.id: turn for turn in turns}
    silent: list[str] = []
    for act in talk.acts:
        turn = by_event.get(act.event)
        if turn is None or act.kind not in ASKED or talk.after(act, "deletion"):
            continue
        if talk.names(act)[-1] not in seen and words_of(turn.reply.text)[:20] not in seen:
            silent.append(act.name)
    return silent


def in_teams(teams: Teams, talk: Talk) -> list[Shown]:
    """The bot's messages in a chat."""
    return [
        Shown(
            message.id,
            words_of(message.text),
            sum(
                file["contentType"].startswith("image/") for file in message.activity.get("attachments") or ()
            ),
        )
        for message in teams.answers(talk.channel)
    ]


def words_of(text: str) -> str:
    """The words alone: platforms write their marks in different ways."""
    return " ".join(re.findall(r"[^\W_]+", text))


def _ids(turn: Turn) -> list[str]:
    data = turn.post.data if turn.post is not None else {}
    return data.get("messages", "").split() or [id for id in data.get("parts", "").split(",") if id]


def _agree(words: str, turn: Turn, talk: Talk) -> bool:
    """In Teams tables are written otherwise, and a message that a person stopped stays as it was then."""
    recorded = words_of(turn.reply.text)
    if words == recorded or (turn.template.startswith("/") and words[:20] == recorded[:20]):
        return True
    stopped = next((act for act in talk.acts if act.event == turn.id and act.stopped_at), None)
    return not talk.slack and stopped is not None and words.split()[:1] == [stopped.name]
