"""Commands that choose a template or a deployment."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from bot.conversation.commands.command import Command, CommandCall, CommandResult, CommandServices
from bot.conversation.preferences import Preferences
from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived
from bot.domain.turns import Reply, UserProfile
from bot.domain.words import marked, tr
from bot.storage.usage.charges import channel_of

_AUTOMATIC = ("auto", "automatic", "default")
"""Instead of a name: reset the choice."""


class _ChoiceCommand(Command):
    """`/WORD` lists the choices, `/WORD NAME` makes one."""

    field: ClassVar[str]
    """The parameter of `Preferences.choose`."""
    nothing: ClassVar[str]
    """The reply if there is no choice. The others are, each for a channel and for a person, the heading of the list and
    the replies to a choice and to its end.
    """
    heads: ClassVar[tuple[str, str]]
    chose: ClassVar[tuple[str, str]]
    ended: ClassVar[tuple[str, str]]

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
            raise NotAllowed(self.nothing)
        if call.rest:
            text = await self.choose(call.rest, received, preferences)
            call.builder.kept_template = "" if self.field == "template" else call.builder.kept_template
            return CommandResult(Reply(text=text))
        profile = await call.services.personal_data.profile(received.user, channel_of(received))
        chosen, usual = self.chosen(profile)
        labels = {usual: f" ({tr('default')})", chosen: f" ({tr('chosen')})"}
        choices = self.choices(preferences).items()
        lines = [f"- `{name}`{labels.get(name, '')}: {uncapitalised(what)}" for name, what in choices]
        head = tr(_here(self.heads, received))
        return CommandResult(Reply(text="\n".join([head, "", *lines]), private=True))

    async def choose(self, name: str, received: MessageReceived, preferences: Preferences) -> str:
        """Make this choice for the channel or person, and say what was done. Raises NotAllowed."""
        chosen = "" if name in _AUTOMATIC and name not in self.choices(preferences) else name
        await preferences.choose(received.user, channel_of(received), **{self.field: chosen})
        if not chosen:
            return tr(_here(self.ended, received))
        return tr(_here(self.chose, received), name=name)


class PromptCommand(_ChoiceCommand):
    name = "prompt"
    help = marked("choose the prompt used here: `prompt NAME`")
    field = "template"
    nothing = marked("There is no other prompt to choose here.")
    heads = (
        marked(
            "To choose a prompt for this channel, mention me with `prompt NAME`; `prompt auto` goes back to the "
            "default."
        ),
        marked("Choose a prompt for you with `prompt NAME`, or go back to the default with `prompt auto`."),
    )
    chose = (
        marked(
            "Done. From now on, the prompt `{name}` is used in this channel. To go back to the default, mention me "
            "with `prompt auto`."
        ),
        marked(
            "Done. From now on, the prompt `{name}` is used for you. To go back to the default, send `prompt auto`."
        ),
    )
    ended = (
        marked("Done. The default prompt is used in this channel again."),
        marked("Done. The default prompt is used for you again."),
    )

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        return preferences.templates

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The template of the channel or person, and the default one."""
        return profile.template, profile.usual


class ModelCommand(_ChoiceCommand):
    name = "model"
    help = marked("choose the model used here: `model NAME`")
    field = "deployment"
    nothing = marked("There is no other model to choose here.")
    heads = (
        marked(
            "To choose a model for this channel, mention me with `model NAME`; `model auto` goes back to the default."
        ),
        marked("Choose a model for you with `model NAME`, or go back to the default with `model auto`."),
    )
    chose = (
        marked(
            "Done. From now on, the model `{name}` is used in this channel. To go back to the default, mention me "
            "with `model auto`."
        ),
        marked(
            "Done. From now on, the model `{name}` is used for you. To go back to the default, send `model auto`."
        ),
    )
    ended = (
        marked("Done. The default model is used in this channel again."),
        marked("Done. The default model is used for you again."),
    )

    def choices(self, preferences: Preferences) -> Mapping[str, str]:
        return preferences.deployments

    def chosen(self, profile: UserProfile) -> tuple[str, str]:
        """The deployment of the channel or person; the default has no name."""
        return profile.deployment, ""


def _here(messages: tuple[str, str], received: MessageReceived) -> str:
    """The message for a channel, or that for a person."""
    return messages[0 if channel_of(received) else 1]


def uncapitalised(text: str) -> str:
    """The text with its first letter in lower case."""
    return text[:1].lower() + text[1:]
