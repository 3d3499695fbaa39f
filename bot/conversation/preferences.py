"""Preferences of people and channels: template, deployment, participation mode."""

from collections.abc import Collection
from dataclasses import dataclass, field

from msgspec.structs import replace

from bot.domain.errors import NotAllowed
from bot.domain.events import MessageReceived, User
from bot.domain.participation import DEFAULT_MODE, MODES, ParticipationMode, mode_named
from bot.domain.permissions import Action, Permissions
from bot.domain.turns import Deployment
from bot.generation.model_info import ModelInfo
from bot.generation.prompt_sources import PromptSources
from bot.storage.prompts.preferences import Preference, PreferenceStore


@dataclass(frozen=True, slots=True)
class Preferences:
    """What can be chosen, and the choices made. All methods raise StateUnavailable.

    Without `model_choice`, people can't choose a deployment. `default_mode` is that of channels for which no mode is
    chosen. `permissions` say who may choose for a channel, whichever surface they use.
    """

    sources: PromptSources
    model_info: ModelInfo
    store: PreferenceStore
    model_choice: bool = True
    default_mode: ParticipationMode = DEFAULT_MODE
    permissions: Permissions = field(default_factory=Permissions)

    @property
    def deployments(self) -> dict[str, str]:
        """The chat deployments that people may choose, with their descriptions."""
        offered = self.model_info.chat_deployments() if self.model_choice else ()
        return {each.name: _described(each) for each in offered}

    @property
    def templates(self) -> dict[str, str]:
        """The chat templates with their descriptions."""
        return {
            each.name: each.description or each.name
            for each in self.sources.templates()
            if each.capability == "chat"
        }

    @property
    def _default(self) -> str:
        return next((each.name for each in self.sources.templates() if each.match.default), "")

    def usual(self, choice: Preference) -> str:
        """The template that is used if none is chosen."""
        return choice.usual if choice.usual in self.templates else self._default

    async def effective(self, received: MessageReceived) -> Preference:
        """The preferences for a message, without templates and deployments that no longer exist."""
        choice = await self.store.effective(received)
        here = {each.name for each in self.sources.templates(received) if each.capability == "chat"}
        template = choice.template if choice.template in here else ""
        deployment = choice.deployment if choice.deployment in self.deployments else ""
        usual = choice.usual if choice.usual in here else ""
        return replace(choice, template=template, usual=usual, deployment=deployment)

    async def mode(self, received: MessageReceived) -> ParticipationMode:
        """The participation mode that counts for a message.

        A chat without threads is only followed if somebody has chosen that there.
        """
        choice = await self.store.effective(received)
        mode = choice.participation or self.default_mode
        if not choice.participation and mode == "follow" and not received.threaded:
            mode = DEFAULT_MODE
        return "mention" if choice.quiet and mode != "mute" else mode

    async def choose(
        self,
        user: User,
        channel: str,
        *,
        template: str | None = None,
        deployment: str | None = None,
        mode: str | None = None,
    ) -> None:
        """Choose for a channel or, without one, for a person.

        Raises NotPermitted if the table does not allow it, and NotAllowed if it is not available.
        """
        chosen = mode_named(mode) if mode else None
        await self._require(user, channel, template=template, deployment=deployment, participation=mode)
        if mode and (chosen is None or not channel):
            names = [described.name for described in MODES.values()]
            raise NotAllowed(
                "There is no mode “{mode}” here. Channels have these: {names}.",
                mode=mode,
                names=", ".join(names),
            )
        if template and template not in self.templates:
            raise NotAllowed(
                "There is no prompt “{name}”. Available: {names}.",
                name=template,
                names=_listed(self.templates),
            )
        if deployment and deployment not in self.deployments:
            raise NotAllowed(
                "There is no model “{name}”. Available: {names}.",
                name=deployment,
                names=_listed(self.deployments),
            )
        reset = "" if mode == "" else None
        await self.store.choose(user, channel, template=template, deployment=deployment, mode=chosen or reset)

    async def _require(self, user: User, channel: str, **chosen: str | None) -> None:
        """Raise NotPermitted for a change that the table does not allow; a form also sends what stays as it is."""
        shared = bool(channel)
        rows: dict[str, Action] = {
            name: _row(name, value)
            for name, value in chosen.items()
            if value is not None and (shared or name != "participation")
        }
        refused = [
            name for name, row in rows.items() if not self.permissions.allows(row, user, shared=shared)
        ]
        known = await self.store.of(user, channel) if refused else Preference()
        for name in refused:
            value = chosen[name] or ""
            if getattr(known, name) != (mode_named(value) or value):
                self.permissions.require(rows[name], user, shared=shared)

    async def set_quiet(self, received: MessageReceived, quiet: bool) -> None:
        """Set whether to wait for a mention in this conversation. Raises NotPermitted."""
        self.permissions.require("follow", received.user, shared=True)
        await self.store.set_quiet(received, quiet)


def mode_action(mode: str) -> Action:
    """The row of the table for a participation mode, by either of its names."""
    return "mute" if mode_named(mode) == "mute" else "follow"


def _row(field: str, value: str) -> Action:
    """The row of the table for a field of a preference."""
    return "prompt" if field == "template" else "model" if field == "deployment" else mode_action(value)


def _described(deployment: Deployment) -> str:
    model = deployment.model or deployment.family
    return f"{model} ({', '.join(deployment.tags)})" if deployment.tags else model


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"
