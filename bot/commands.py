"""The words that people type, the same on every platform: help, reset, usage, forget."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from bot.state.ledger import Ledger, Spent
from bot.state.turns import Turns
from bot.types import Reply, Said, Template, now

WORDS = {
    "help": "what I can do",
    "reset": "start anew: I no longer see what was said before in this conversation",
    "usage": "what you have used today and this month",
    "forget": "delete everything that is kept about you, in every conversation",
}


class Done(NamedTuple):
    """What a command led to: what to show, whether memory starts anew, whether to keep a record."""

    reply: Reply
    resets: bool = False
    keep: bool = True


def parse(said: Said) -> str | None:
    """The command that was typed, with or without its slash; None when it is a question."""
    command = said.command
    word = command[0] if command else said.text.strip().lower().rstrip(".!")
    return word if word in WORDS else None


class Commands:
    """Runs the commands. Raises StateUnavailable."""

    def __init__(self, *, templates: Sequence[Template], ledger: Ledger, turns: Turns) -> None:
        self._templates = templates
        self._ledger = ledger
        self._turns = turns

    async def run(self, word: str, said: Said) -> Done:
        """Do what a word of `WORDS` says."""
        match word:
            case "reset":
                text = "Done. This conversation starts anew: I no longer see what was said before."
                return Done(Reply(text=text), resets=True)
            case "usage":
                return Done(Reply(text=await self._usage(said), private=True))
            case "forget":
                return Done(Reply(text=await self._forget(said), private=True), keep=False)
            case _:
                return Done(Reply(text=self.help(), private=True))

    def help(self) -> str:
        """What can be done here, as Markdown."""
        lines = ["Ask me anything, in your own words. I remember this conversation.", ""]
        for template in self._templates:
            for command in template.match.commands:
                lines.append(f"- `/{command} …` {_uncapitalised(template.description)}")
                break
        lines += [f"- `/{word}` {what}" for word, what in WORDS.items()]
        lines += ["", "Where a slash is taken by the app itself, the word alone does the same: `help`."]
        return "\n".join(lines)

    async def _usage(self, said: Said) -> str:
        today = now().date()
        user = said.user
        day = await self._ledger.spent(user.tenant, user.id, today, today)
        month = await self._ledger.spent(user.tenant, user.id, date(today.year, today.month, 1), today)
        rows = [_row("Today", day), _row("This month", month)]
        head = "| | Answers | Tokens in | Tokens out | Pictures | Cost |\n|---|---|---|---|---|---|"
        return "\n".join(["What you have used (days in UTC):", "", head, *rows])

    async def _forget(self, said: Said) -> str:
        user = said.user
        here = said.address.conversation
        conversations = dict.fromkeys([*await self._ledger.talks(user), here])
        gone = await self._turns.forget(user, conversations)
        days = await self._ledger.forget(user)
        return (
            f"Done. I deleted {_count(gone.turns, 'answer')} with your questions, in "
            f"{_count(gone.conversations, 'conversation')}, {_count(gone.pictures, 'picture')} and "
            f"{_count(days, 'day')} of usage records. Messages that stand in this app are the app's own: "
            "delete them here if you want them gone too."
        )


def _row(label: str, spent: Spent) -> str:
    cost = f"${spent.microdollars / 1_000_000:.4f}"
    if spent.unpriced:
        cost += f" and {_count(spent.unpriced, 'call')} of unknown price"
    numbers = (spent.turns, spent.input_tokens, spent.output_tokens, spent.images)
    return f"| {label} | {' | '.join(map(str, numbers))} | {cost} |"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
