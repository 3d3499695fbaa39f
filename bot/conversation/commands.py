"""The words that people type, the same on every platform: help, prompt, model, usage, mute and their like."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bot.conversation.preferences import FORGET_NOW, Preferences
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.prompts import Template
from bot.domain.turns import Reply
from bot.storage.prompts.preferences import ParticipationMode
from bot.storage.usage.charges import channel_of

WORDS: Mapping[str, str] = {
    "help": "what I can do",
    "prompt": "choose what I do here: `/prompt NAME`",
    "model": "choose the model that answers here: `/model NAME`",
    "compare": "ask several models the same question: `/compare QUESTION`",
    "again": "answer the last question anew",
    "variations": "draw another picture like the last one; `/variations 3` draws three",
    "stop": "stop writing",
    "sent": "what was sent to the model for the last answer",
    "usage": "what you have used today and this month, and what is left",
    "reset": "start anew: I no longer see what was said before in this conversation",
    "forget": "delete everything that is kept about you, in every conversation; asks first",
    "follow": "answer what is said in threads that I am in, without being named",
    "mention-only": "answer in this channel only where I am named",
    "quiet": "answer in this conversation only where I am named",
    "mute": "answer nothing in this channel but these commands",
}
_ALIASES = {
    "try again": "again",
    "variation": "variations",
    "what did you send": "sent",
    "what did you send?": "sent",
    "mention only": "mention-only",
    "unmute": "follow",
}
_FORGET = {
    "forget": "",
    **dict.fromkeys(("/forget", "forget me", "/forget me"), "me"),
    **dict.fromkeys((FORGET_NOW, f"/{FORGET_NOW}"), "now"),
}
"""Everything that this command may be typed as: it deletes, so nothing else is taken for it."""
_TAKES_WORDS = ("prompt", "model", "compare", "again", "variations", "sent")
"""The commands that something may follow; behind any other it makes a question of them."""
_OF_CHANNELS = ("follow", "mention-only", "quiet", "mute")
_MODES: Mapping[str, tuple[ParticipationMode, str]] = {
    "follow": ("follow", "From now on I answer what is said in threads of this channel that I am in."),
    "mention-only": ("mention", "From now on I answer in this channel only where I am named."),
    "mute": ("mute", "From now on I answer nothing in this channel but commands. `/follow` ends this."),
}
_EVERYTHING = "From now on I answer everything that is said here. `/mention-only` ends this."
_AUTOMATIC = ("auto", "automatic", "default")
"""Instead of a name: what was chosen is taken back."""


class CommandResult(NamedTuple):
    """What a command led to: what to show, whether memory starts anew, whether to keep a record."""

    reply: Reply
    resets: bool = False
    keep: bool = True


def clash(template: Template) -> str:
    """The word of the engine's own that a template claims; empty when it claims none."""
    return next((word for word in template.match.commands if word in {*WORDS, *_ALIASES}), "")


def is_stop(received: MessageReceived) -> bool:
    """Whether this is a wish to stop: it can't wait its turn behind what it is to stop."""
    return _typed(received) in ("stop", "/stop")


def is_question(received: MessageReceived) -> bool:
    """Whether a text that begins like one of these commands is none: `/reset the router, how?`."""
    return received.command is not None and received.command[0] in {*WORDS, *_ALIASES}


def _typed(received: MessageReceived) -> str:
    """The text as it is compared with a command: case and the space around it don't matter, all else does."""
    return received.text.strip().lower()


class Commands:
    """Runs the commands. Raises StateUnavailable and, in words, NotAllowed.

    `comparable_deployments` tells the chat deployments that can be compared; `is_served` says whether a template can be
    served.
    """

    def __init__(
        self,
        *,
        templates: Callable[[], Sequence[Template]],
        preferences: Preferences,
        comparable_deployments: Callable[[], Sequence[str]] = tuple,
        is_served: Callable[[Template], bool] = lambda template: True,
    ) -> None:
        self._templates = templates
        self._preferences = preferences
        self._comparable_deployments = comparable_deployments
        self._is_served = is_served

    def parse(self, received: MessageReceived) -> tuple[str, str] | None:
        """The command that was typed, with or without its slash, and the rest; None for a question.

        A command is typed exactly: "stop!", "usage?" and "/forget about it" are questions. Without a slash, a
        word with more behind it is a command only where it names what can be chosen: "model railways are
        fun" is something to talk about.
        """
        typed = _typed(received)
        if typed in _FORGET:
            return "forget", _FORGET[typed]
        if received.command is not None:
            word, rest = received.command
            word = _ALIASES.get(word, word)
            return (word, rest) if word in _TAKES_WORDS or (word in WORDS and not rest) else None
        plain = _ALIASES.get(typed, typed)
        if plain in WORDS:
            return plain, ""
        word, _, rest = received.text.strip().partition(" ")
        choices = {"prompt": self._preferences.templates, "model": self._preferences.deployments}.get(
            word.lower(), {}
        )
        if rest in choices or (choices and rest in _AUTOMATIC):
            return word.lower(), rest
        if word.lower() == "compare:" and rest:
            return "compare", rest
        return None

    async def run(self, word: str, rest: str, received: MessageReceived, event: str) -> CommandResult:
        """Do what a word of `WORDS` says; `event` is the id of the act that says it."""
        match word:
            case "reset":
                text = "Done. This conversation starts anew: I no longer see what was said before."
                return CommandResult(Reply(text=text), resets=True)
            case "usage":
                return CommandResult(
                    Reply(
                        text=await self._preferences.usage(received.user, channel_of(received)), private=True
                    )
                )
            case "forget":
                return CommandResult(await self._forget(rest, received, event), keep=False)
            case "sent":
                text = await self._preferences.sent(received.user, received.address.conversation, rest)
                return CommandResult(Reply(text=text, private=True), keep=False)
            case "prompt" | "model":
                return CommandResult(Reply(text=await self._choose(word, rest, received), private=not rest))
            case "follow" | "mention-only" | "mute" | "quiet":
                return CommandResult(Reply(text=await self._set_mode(word, received)))
            case "again":
                return CommandResult(
                    Reply(text="There is no question here that I could try again.", private=True)
                )
            case "stop":
                return CommandResult(Reply(text="I am not writing anything here.", private=True), keep=False)
            case _:
                return CommandResult(Reply(text=self.help(received), private=True))

    async def _forget(self, how: str, received: MessageReceived, event: str) -> Reply:
        """Explain, ask, or delete: only the confirmation of the person who was asked deletes."""
        user, conversation = received.user, received.address.conversation
        if how == "now":
            text = await self._preferences.confirm_forget(user, event, conversation)
            return Reply(text=text, private=True, forgotten=True)
        if how == "me":
            text = await self._preferences.ask_forget(user, conversation)
            return Reply(text=text, private=True, confirm=FORGET_NOW)
        text = "To delete what I keep about you, in every conversation, type `forget me`. I ask you first."
        return Reply(text=text, private=True)

    def help(self, received: MessageReceived) -> str:
        """What can be done here, as Markdown: only what is there."""
        lines = ["Ask me anything, in your own words. I remember this conversation.", ""]
        for template in self._templates():
            if template.match.commands and self._is_served(template):
                command = template.match.commands[0]
                lines.append(f"- `/{command} …` {_uncapitalised(template.description)}")
        lines += [f"- `/{word}` {what}" for word, what in WORDS.items() if self._enabled(word, received)]
        lines += ["", "Where a slash is taken by the app itself, the word alone does the same: `help`."]
        return "\n".join(lines)

    def _enabled(self, word: str, received: MessageReceived) -> bool:
        if word in _OF_CHANNELS:
            return bool(received.channel) and not received.direct
        if word == "variations":
            return any(one.capability == "image" and self._is_served(one) for one in self._templates())
        several = {
            "prompt": len(self._preferences.templates),
            "model": len(self._preferences.deployments),
            "compare": len(self._comparable_deployments()),
        }
        return several.get(word, 2) > 1

    async def _choose(self, word: str, name: str, received: MessageReceived) -> str:
        """List what can be chosen here, or choose it."""
        noun, choices = {
            "prompt": ("template", self._preferences.templates),
            "model": ("model", self._preferences.deployments),
        }[word]
        channel = "" if received.direct else received.channel
        where = "in this channel" if channel else "for you"
        if not self._enabled(word, received):
            raise NotAllowed(f"There is no choice of {noun}s here.")
        if name:
            wanted = "" if name in _AUTOMATIC and name not in choices else name
            chosen = {"template": wanted} if word == "prompt" else {"deployment": wanted}
            await self._preferences.choose(received.user, channel, **chosen)
            if not wanted:
                return f"Done. The usual {noun} answers {where} again."
            return f"Done. From now on `{name}` answers {where}. `/{word} auto` takes it back."
        profile = await self._preferences.profile(received.user, channel)
        chosen, usual = (profile.template, profile.usual) if word == "prompt" else (profile.deployment, "")
        signs = {usual: " (the usual)", chosen: " (chosen)"}
        lines = [f"- `{one}`{signs.get(one, '')}: {_uncapitalised(what)}" for one, what in choices.items()]
        head = f"Choose what answers {where} with `/{word} NAME`; `/{word} auto` takes it back."
        return "\n".join([head, "", *lines])

    async def _set_mode(self, word: str, received: MessageReceived) -> str:
        if received.direct or not received.channel:
            raise NotAllowed(f"`{word}` is for channels: here I answer everything.")
        if word == "quiet":
            await self._preferences.set_quiet(received, True)
            return "From now on I answer in this conversation only where I am named. `/follow` ends this."
        mode, words = _MODES[word]
        await self._preferences.set_participation(received, mode)
        if word == "follow":
            await self._preferences.set_quiet(received, False)
            return words if received.threaded else _EVERYTHING
        return words


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
