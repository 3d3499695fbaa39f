"""Hints that name a command, in the words that work where they are read."""

from bot.domain.events import MessageReceived
from bot.domain.words import marked, tr

MENTION_FIRST = marked("In a channel, mention me before a command.")


def in_channel(received: MessageReceived) -> bool:
    """Whether commands need a mention there."""
    return bool(received.channel) and not received.direct


def with_mention(text: str, received: MessageReceived) -> str:
    """A text with a command: in a channel it also says that commands need a mention there."""
    return f"{text} {tr(MENTION_FIRST)}" if in_channel(received) else text
