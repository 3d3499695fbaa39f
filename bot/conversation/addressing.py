"""Decides whether a message is addressed to the bot, and says why. Pure: no I/O, no platform."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, NamedTuple

from bot.domain.events import MessageReceived, User
from bot.domain.participation import ParticipationMode
from bot.domain.turns import Turn

Reason = Literal[
    "direct",
    "mention",
    "reply",
    "follow-up",
    "follow",
    "mention-only",
    "quiet",
    "tags-others",
    "names-others",
    "several-people",
    "not-asked",
    "no-thread",
]

SENTENCES: Mapping[Reason, str] = {
    "direct": "It was written in a direct chat, where every message is for Parley.",
    "mention": "It mentions Parley.",
    "reply": "Parley had asked its author a question.",
    "follow-up": "It continues a dialogue between its author and Parley.",
    "follow": "The mode of the channel is “follow”: everything in Parley's threads is answered.",
    "mention-only": "Only mentions are answered here (mode “mention-only”, or `quiet` in this conversation).",
    "quiet": "Only mentions are answered in this channel, privately (mode “quiet”).",
    "tags-others": "It tags somebody else and doesn't mention Parley.",
    "names-others": "It speaks to somebody else in the conversation by name.",
    "several-people": "Several people talk here, and Parley has not been mentioned since.",
    "not-asked": "Parley has not been mentioned in this conversation, as far as its history is stored.",
    "no-thread": "In a chat without threads, only mentions and replies to Parley's questions are answered.",
}
"""One sentence for each reason, for the person who asks why."""

REPLY_WITHIN = timedelta(minutes=10)
"""In a chat without threads, how long after a question of the bot the next message of the asker replies to it."""
_KNOWN_NAMES = 60
_BEGINNING, _END = 160, 80
_LAST_PARAGRAPHS = 4_000
"""Characters, enough for the notes below an answer and what stands before them."""
_SHORT_WORDS = 3
_HONORIFIC = r"(?:さん|様|さま|くん|君|ちゃん|先生)?"
_STOP = r"[,:;!.…](?!\w)|[，、：；！。]|\s[-–—]\s"
_PAUSE = rf"{_STOP}|[?？]"
_CALL = (
    r"\s+(?:(?:can|could|would|will|are|did|do|have|should)\s+you|please|pls|plz|thx|thanks"
    r"|kannst|könntest|hast|bist|magst|bitte|danke|tu|peux|pourrais|as-tu|stp|svp|merci"
    r"|puedes|podrías|has|estás|por\s+favor|gracias)(?!\w)"
)
"""Words behind a name without a comma that speak to that person, in the languages of the messages to people."""
_NO_NAME = re.compile(
    r"somebody|unknown|author|so|and|or|no|yes|ok|now|well|also|but|hi|ja|nein|und|oder|aber|oui|non|et|ou|mais|si|sí|y|o"
    r"|pero"
)
"""Words that begin sentences with a comma more often than they call the person whose name has them."""
_BEFORE_THINGS = re.compile(
    r"a|an|the|in|into|as|only|just|it|im|ins|auf|als|der|die|das|den|dem|eine?n?|le|la|les|une?|en|comme|el|los|las|una"
    r"|como",
    re.I,
)
"""What stands before a thing or a language, not before the name of somebody who is called: “now in German”."""
_APP = re.compile(r"B[A-Z\d]{8,}\Z|28:")
"""The id of an app, in Slack (of one that is no user there) and in Teams."""
_QUESTION = re.compile(r"[?？؟]")
_ASKS = re.compile(r"[?？؟][\"'”’»)*_\s]*\Z")
"""The end of a question, which a link with a query is not."""
_NOTE = re.compile(r"_[^\n]*_")
"""A note below an answer: it is not the model's words."""


class Decision(NamedTuple):
    """Whether to answer, and why. `private`: only the asker may see the answer.

    `opens` is true if others are part of the conversation from now on, so that only a mention is answered again.
    """

    answer: bool
    reason: Reason
    private: bool = False
    opens: bool = False


def explained(reason: str) -> str:
    """The sentence for a stored reason; one for those that another version of Parley has stored."""
    return {str(known): sentence for known, sentence in SENTENCES.items()}.get(
        reason, "This version of Parley has no explanation of this reason."
    )


def decide(
    received: MessageReceived,
    mode: ParticipationMode,
    turns: Sequence[Turn] = (),
    *,
    others_spoke: bool = False,
) -> Decision:
    """Whether to answer a message.

    `turns` are the newest of the conversation. `others_spoke` tells of the messages that were not answered: whether
    somebody else has spoken, or was tagged, since the bot was last mentioned (`Decision.opens`).
    """
    if received.direct or not received.channel:
        return Decision(answer=True, reason="direct")
    if received.addressed:
        return Decision(answer=True, reason="mention", private=mode == "mute")
    turns = [turn for turn in turns if not _is_private_command(turn)]
    partner = _partner(turns)
    joins = partner is not None and not partner.is_same(received.user)
    if received.mentions_others:
        return Decision(answer=False, reason="tags-others", opens=True)
    if call := _speaks_to(received, turns):
        return Decision(answer=False, reason="names-others", opens=call == "certain")
    if mode in ("mention", "mute"):
        return Decision(answer=False, reason="quiet" if mode == "mute" else "mention-only", opens=joins)
    if mode == "follow":
        return Decision(answer=True, reason="follow")
    if partner is None:
        return Decision(answer=False, reason="not-asked")
    if others_spoke or joins or _others_answered(turns, partner):
        return Decision(answer=False, reason="several-people", opens=True)
    return _in_dialogue(received, turns[-1])


def says_stop(received: MessageReceived) -> bool:
    """Whether a message without a mention is exactly the command `stop`, which stops an answer to its author."""
    return not received.addressed and not received.mentions_others and received.text.strip().lower() == "stop"


def _in_dialogue(received: MessageReceived, last: Turn) -> Decision:
    """A message of the only person who has spoken with the bot since they mentioned it."""
    asked = last.received.user.is_same(received.user) and _asks(last)
    if received.threaded:
        return Decision(answer=True, reason="reply" if asked else "follow-up")
    soon = received.at - max(last.ended_at, last.received.at) <= REPLY_WITHIN
    return (
        Decision(answer=True, reason="reply")
        if asked and soon
        else Decision(answer=False, reason="no-thread")
    )


def _is_private_command(turn: Turn) -> bool:
    """Whether a turn is no part of what is said in a channel: a command whose reply only its author saw."""
    return turn.reply.private and turn.template.startswith("/")


def _partner(turns: Sequence[Turn]) -> User | None:
    """Who mentioned the bot last; who was answered last, if that mention is no longer among the turns."""
    mentions = (turn.received.user for turn in reversed(turns) if turn.received.addressed)
    return next(mentions, turns[-1].received.user if turns else None)


def _others_answered(turns: Sequence[Turn], partner: User) -> bool:
    """Whether somebody else was answered since the last mention, which happens while the mode is `follow`."""
    for turn in reversed(turns):
        if not turn.received.user.is_same(partner):
            return True
        if turn.received.addressed:
            return False
    return False


def _asks(turn: Turn) -> bool:
    """Whether the last paragraph of an answer asks something."""
    if turn.outcome != "answered":
        return False
    end = turn.reply.text[-_LAST_PARAGRAPHS:].rstrip()
    while _NOTE.fullmatch(end[end.rfind("\n") + 1 :]) and "\n\n" in end:
        end = end.rpartition("\n")[0].rstrip()
    return bool(_ASKS.search(end.rpartition("\n")[2][-_END:]))


# ------------------------------------------------------------------ names without a tag


def _speaks_to(received: MessageReceived, turns: Sequence[Turn]) -> Literal["", "certain", "likely"]:
    """Whether a message begins or ends by calling somebody by name who is known in the conversation.

    Somebody of whom it speaks ("what did Bob say?") is not called. It is only likely where an ordinary word may be the
    name ("now in German", after a Laura German).
    """
    text = received.text.strip()
    names = _names_of_others(received, turns)
    if not text or not names:
        return ""
    name = rf"@?(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))}){_HONORIFIC}(?!\w)"
    begins = rf"{name}(?:\s*(?:{_PAUSE})|{_CALL})"
    if re.match(begins, text[:_BEGINNING], re.I) or re.search(rf"(?<!\w)@{name}", text[:2_000], re.I):
        return "certain"
    if re.search(rf"[,，、]\s*{name}[\s!?.…！？。]*\Z", text[-_END:], re.I):
        return "certain"
    second = rf"[^\W\d]{{1,8}}[,，]?\s+{name}(?:\s*(?:{_STOP})|{_CALL})"
    short = len(text.split()) <= _SHORT_WORDS and not _QUESTION.search(text)
    if re.match(second, text[:_BEGINNING], re.I):
        return "likely"
    called = re.search(rf"(?:(\w+)\s+|(?<!\w)){name}\W*\Z", text, re.I) if short else None
    return "likely" if called and not _BEFORE_THINGS.fullmatch(called[1] or "") else ""


def _names_of_others(received: MessageReceived, turns: Sequence[Turn]) -> set[str]:
    """The names, and each word of them, of those who have asked or are quoted in the conversation."""
    known: dict[str, None] = {}
    for turn in reversed(turns):
        if not turn.received.user.is_same(received.user):
            known[turn.received.user.name] = None
        for quote in turn.received.quotes:
            if quote.is_earlier and quote.by != received.user.id and not _APP.match(quote.by):
                known[quote.author] = None
        if len(known) >= _KNOWN_NAMES:
            break
    own = set(_words(received.user.name))
    return {word for name in known for word in _words(name)} - own


def _words(name: str) -> list[str]:
    """A name and its words, in lower case: without ids, initials, and what is in brackets."""
    plain = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", name).casefold()
    words = [word.strip(".,'\"") for word in plain.split()]
    found = [word for word in (" ".join(words), *words) if len(word) >= 2 and not re.search(r"\d", word)]
    return [word for word in found if not _NO_NAME.fullmatch(word)]
