"""Commands that choose a template or a deployment."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.preferences import Preferences
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply, UserProfile
from bot.storage.usage.charges import channel_of

_AUTOMATIC = ("auto", "automatic", "default")
"""Instead of a name: reset the choice."""


class _ChoiceCommand(Command):
    """`/WORD` lists the choices, `/WORD NAME` makes one."""

    noun: ClassVar[str]
    field: ClassVar[str]
    """The parameter of `Preferences.choose`."""

    @abstractmethod
    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        """The choices with their descriptions."""

    @abstractmethod
    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The current choice, and the default."""

    def typed_plainly(self, word: str, rest: str, services: CommandServices) -> bool:
        """Only with a known name, because “model railways are fun” is not a command."""
        return word == self.name and self._is_choice(rest, services)

    def takes(self, rest: str, received: MessageReceived, services: CommandServices) -> bool:
        """A name, known or not: "/prompt engineering, what is it?" is a question."""
        return len(rest.split()) == 1 or self._is_choice(rest, services)

    def _is_choice(self, name: str, services: CommandServices) -> bool:
        choices = self.choices(services.preferences)
        return bool(choices) and (name in choices or name in _AUTOMATIC)

    def is_available(self, received: MessageReceived, services: CommandServices) -> bool:
        return len(self.choices(services.preferences)) > 1

    async def run(self, call: CommandCall) -> CommandResult | None:
        received, preferences = call.received, call.services.preferences
        if not self.is_available(received, call.services):
            raise NotAllowed(f"There is no other {self.noun} to choose here.")
        if call.rest:
            text = await self.choose(call.rest, received, preferences)
            call.builder.kept_template = "" if self.field == "template" else call.builder.kept_template
            return CommandResult(Reply(text=text))
        profile = await call.services.personal_data.profile(received.user, channel_of(received))
        chosen, usual = self.chosen(profile)
        labels = {usual: " (default)", chosen: " (chosen)"}
        choices = self.choices(preferences).items()
        lines = [f"- `{name}`{labels.get(name, '')}: {uncapitalised(what)}" for name, what in choices]
        where = _where(received)
        head = f"Choose a {self.noun} {where} with `/{self.name} NAME`, or reset it with `/{self.name} auto`."
        return CommandResult(Reply(text="\n".join([head, "", *lines]), private=True))

    async def choose(self, name: str, received: MessageReceived, preferences: Preferences) -> str:
        """Make this choice for the channel or person, and say what was done. Raises NotAllowed."""
        chosen = "" if name in _AUTOMATIC and name not in self.choices(preferences) else name
        await preferences.choose(received.user, channel_of(received), **{self.field: chosen})
        where = _where(received)
        if not chosen:
            return f"Done. The default {self.noun} is used {where} again."
        return f"Done. From now on, `{name}` is used {where}. To reset this, send `/{self.name} auto`."


class PromptCommand(_ChoiceCommand):
    name = "prompt"
    help = "choose the template used here: `/prompt NAME`"
    noun, field = "template", "template"

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        return preferences.templates

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The template of the channel or person, and the default one."""
        return profile.template, profile.usual


class ModelCommand(_ChoiceCommand):
    name = "model"
    help = "choose the model used here: `/model NAME`"
    noun, field = "model", "deployment"

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        return preferences.deployments

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The deployment of the channel or person; the default has no name."""
        return profile.deployment, ""


def _where(received: MessageReceived) -> str:
    return "in this channel" if channel_of(received) else "for you"


def uncapitalised(text: str) -> str:
    """The text with its first letter in lower case."""
    return text[:1].lower() + text[1:]
