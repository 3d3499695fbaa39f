"""The words that people type, the same on every platform: help, reset, usage, forget."""

from collections.abc import Sequence
from typing import NamedTuple

from bot.desk import Desk
from bot.types import Reply, Said, Template

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

    def __init__(self, *, templates: Sequence[Template], desk: Desk) -> None:
        self._templates = templates
        self._desk = desk

    async def run(self, word: str, said: Said) -> Done:
        """Do what a word of `WORDS` says."""
        match word:
            case "reset":
                text = "Done. This conversation starts anew: I no longer see what was said before."
                return Done(Reply(text=text), resets=True)
            case "usage":
                return Done(Reply(text=await self._desk.usage(said.user), private=True))
            case "forget":
                return Done(
                    Reply(text=await self._desk.forget(said.user, said.address.conversation), private=True),
                    keep=False,
                )
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


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
