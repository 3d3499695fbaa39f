"""The command `parley why`: why a message was answered, or was not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bot.cli.console import load_settings, run

if TYPE_CHECKING:
    from bot.domain.turns import Turn
    from bot.storage.conversations.turns import Turns
    from bot.storage.queue.unanswered import UnansweredMessage
    from bot.storage.redis.client import Redis

_UNKNOWN = (
    "Nothing is known of this message. Without a mention, Parley only reads threads in which it was mentioned before, "
    "and only with the permission to read all messages. Messages there that are not answered are remembered for a day, "
    "answers for PARLEY_RETENTION_DAYS. Or the message is still waiting for its answer."
)


class MessageReference(NamedTuple):
    """The event ids that a link or an id can mean: those with this beginning and this end.

    `place` is part of the id of the conversation.
    """

    beginning: str
    end: str
    place: str = ""

    def means(self, event: str) -> bool:
        """Whether an event id is meant. An edit or a restored message has the id of the message, and more."""
        head, _, _ = event.partition(":edit")
        return head.startswith(self.beginning) and f":{head}".endswith(f":{self.end}")


def why(
    message: Annotated[
        str,
        typer.Argument(
            metavar="LINK_OR_ID", help="The link to a message (in Slack and Teams: Copy link), or its id."
        ),
    ],
) -> None:
    """Say why a message was answered, or why not.

    Exits with 1 if nothing is known of it.
    """
    lines = run(_explain(reference(message)))
    for line in lines:
        typer.echo(line)
    if not lines:
        typer.echo(_UNKNOWN, err=True)
        raise typer.Exit(1)


def reference(text: str) -> MessageReference:
    """What a link or an id refers to."""
    from adapters.slack.messages.permalinks import parse_link
    from adapters.teams.activities.message_links import read_link

    text = text.strip().strip("<>")
    if (slack := parse_link(text)) is not None:
        return MessageReference("slack:", f"{slack.channel}:{slack.ts}", f":{slack.channel}:")
    if (teams := read_link(text)) is not None:
        return MessageReference(f"teams:{teams.conversation}", teams.message, teams.conversation)
    return MessageReference("", text)


async def _explain(sought: MessageReference) -> Sequence[str]:
    from bot.app.services import open_services
    from bot.storage.queue.unanswered import UnansweredMessages

    async with open_services(load_settings()) as services:
        redis: Redis = services.storage.redis
        unanswered = await UnansweredMessages(redis).all()
        lines = [_silence(each) for each in unanswered if sought.means(each.event)]
        answers = await _answers(services.storage.turns, sought)
    return [*dict.fromkeys(lines), *(line for turn in answers for line in _answer(turn))]


async def _answers(turns: "Turns", sought: MessageReference) -> "list[Turn]":
    """The turns that answer the message. Reads the conversations at the place of the message."""
    found: list[Turn] = []
    async for conversation in turns.conversations():
        if sought.place in conversation:
            found += [turn for turn in await turns.turns(conversation) if sought.means(turn.id)]
    return found


def _silence(message: "UnansweredMessage") -> str:
    from bot.conversation.addressing import explained

    return f"Not answered ({message.at:%Y-%m-%d %H:%M} UTC, {message.reason}): {explained(message.reason)}"


def _answer(turn: "Turn") -> Sequence[str]:
    """The reason, and what came of it."""
    from bot.conversation.addressing import explained

    how = {"answered": "Answered", "refused": "Refused", "failed": "Not answered"}[turn.outcome]
    at, why = f"{turn.received.at:%Y-%m-%d %H:%M} UTC", turn.addressing
    lines = [f"{how} ({at}, {why}): {explained(why)}" if why else f"{how} ({at}): no reason was recorded."]
    if turn.outcome != "answered":
        lines.append(f"  Reason: {turn.reason or 'none recorded'}. The person was told: {turn.reply.text}")
    by = ", ".join(turn.answered_by)
    facts = (f"template {turn.template}" if turn.template else "", f"deployment {by}" if by else "")
    private = "visible only to the asker" if turn.reply.private else ""
    return [*lines, *(f"  {fact}" for fact in (", ".join(filter(None, (*facts, private))),) if fact)]
