"""Commands that choose what answers: a template, a deployment."""

from collections.abc import Mapping
from typing import ClassVar

from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.preferences import Preferences
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply, UserProfile

_AUTOMATIC = ("auto", "automatic", "default")
"""Instead of a name: what was chosen is taken back."""


class _ChoiceCommand(Command):
    """`/WORD` lists what can be chosen, `/WORD NAME` chooses it."""

    takes_text = True
    noun: ClassVar[str]
    field: ClassVar[str]
    """The parameter of `Preferences.choose`."""

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        """What can be chosen, with what it does."""
        raise NotImplementedError

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """What was chosen, and what answers where nothing is."""
        raise NotImplementedError

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """Only with a name that can be chosen: “model railways are fun” is something to talk about."""
        choices = self.choices(services.preferences)
        return word == self.name and bool(choices) and (rest in choices or rest in _AUTOMATIC)

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        """With at least two choices."""
        return len(self.choices(services.preferences)) > 1

    async def run(self, call: CommandCall) -> CommandResult | None:
        """List or choose."""
        received, preferences = call.received, call.services.preferences
        if not self.is_available(received, call.services):
            raise NotAllowed(f"There is no choice of {self.noun}s here.")
        if call.rest:
            return CommandResult(Reply(text=await self._choose(call.rest, received, preferences)))
        channel = "" if received.direct else received.channel
        profile = await call.services.personal_data.profile(received.user, channel)
        chosen, usual = self.chosen(profile)
        signs = {usual: " (the usual)", chosen: " (chosen)"}
        choices = self.choices(preferences).items()
        lines = [f"- `{one}`{signs.get(one, '')}: {_uncapitalised(what)}" for one, what in choices]
        where = _where(received)
        head = f"Choose what answers {where} with `/{self.name} NAME`; `/{self.name} auto` takes it back."
        return CommandResult(Reply(text="\n".join([head, "", *lines]), private=True))

    async def _choose(self, name: str, received: MessageReceived, preferences: Preferences) -> str:
        wanted = "" if name in _AUTOMATIC and name not in self.choices(preferences) else name
        channel = "" if received.direct else received.channel
        await preferences.choose(received.user, channel, **{self.field: wanted})
        where = _where(received)
        if not wanted:
            return f"Done. The usual {self.noun} answers {where} again."
        return f"Done. From now on `{name}` answers {where}. `/{self.name} auto` takes it back."


class PromptCommand(_ChoiceCommand):
    """`/prompt`."""

    name = "prompt"
    help = "choose what I do here: `/prompt NAME`"
    noun, field = "template", "template"

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        """The templates that answer in words."""
        return preferences.templates

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The template of the channel or person, and the usual one."""
        return profile.template, profile.usual


class ModelCommand(_ChoiceCommand):
    """`/model`."""

    name = "model"
    help = "choose the model that answers here: `/model NAME`"
    noun, field = "model", "deployment"

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        """The chat deployments."""
        return preferences.deployments

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The deployment of the channel or person; no name stands for the usual one."""
        return profile.deployment, ""


def _where(received: MessageReceived) -> str:
    return "in this channel" if received.channel and not received.direct else "for you"


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
