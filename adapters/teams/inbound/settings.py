"""What a person is shown about themselves, and may change: settings, usage, what was sent for an answer."""

import logging

from adapters.teams.activities.parser import Activity, as_object, event_id, post_id, talk
from adapters.teams.answers import cards
from adapters.teams.api.connector import Fields
from bot.domain.adapter import SelfService
from bot.domain.errors import Refused, StateUnavailable
from bot.domain.events import MessageReceived, User

log = logging.getLogger(__name__)

AWAY = "I can't look that up at the moment, because my memory is away. Please try again in a minute."


class SettingsDialogs:
    """Serves cards and dialogs; unlike questions they wait in no inbox, for Teams wants an answer at once.

    In a group the card that everybody sees holds nothing of a person: Teams shows what `Action.Execute` is
    answered with to the one who pressed, in the place of the card.
    """

    def __init__(self, self_service: SelfService) -> None:
        self._self_service = self_service

    async def settings(self, activity: Activity) -> Fields:
        """The card for who writes `settings`. Raises StateUnavailable."""
        if activity.kind != "personal":
            return cards.group_settings_card(activity.sender.id)
        return await self._card(activity, "settings", {})

    async def answer(self, activity: Activity) -> Fields | None:
        """What an invoke is answered with; nothing if it is not for the reception."""
        value = as_object(activity.value)
        match activity.name:
            case "adaptiveCard/action":
                action = as_object(value.get("action"))
                return await self._pressed(activity, str(action.get("verb")), as_object(action.get("data")))
            case "composeExtension/fetchTask" if value.get("commandId") == "sent":
                return _dialog("What did you send?", await self._sent(activity, value))
            case "composeExtension/fetchTask" if value.get("commandId") == "settings":
                return _dialog("Settings", await self._safely(activity, "settings", {}))
            case "composeExtension/submitAction" if value.get("commandId") == "settings":
                data = as_object(value.get("data"))
                return _dialog("Settings", await self._safely(activity, str(data.get("verb")), data))
            case _:
                return None

    async def _pressed(self, activity: Activity, verb: str, data: Fields) -> Fields:
        try:
            card = await self._card(activity, verb, data)
        except Refused as refused:
            return {"statusCode": 200, "type": cards.WORDS, "value": str(refused)}
        except StateUnavailable:
            return {"statusCode": 200, "type": cards.WORDS, "value": AWAY}
        return {"statusCode": 200, "type": cards.CARD, "value": card}

    async def _safely(self, activity: Activity, verb: str, data: Fields) -> Fields:
        try:
            return cards.in_dialog(await self._card(activity, verb, data))
        except Refused as refused:
            return cards.text_card(str(refused))
        except StateUnavailable:
            return cards.text_card(AWAY)

    async def _card(self, activity: Activity, verb: str, data: Fields) -> Fields:
        """Do what was pressed, and show how things are now. Raises Refused, StateUnavailable."""
        user = _user(activity)
        direct = activity.kind == "personal"
        channel = "" if direct else activity.channel
        note = ""
        if verb == "choose":
            template, deployment = _chosen(data, "template"), _chosen(data, "deployment")
            await self._self_service.choose(user, channel, template=template, deployment=deployment)
            note = "Saved."
        elif verb == "forget":
            return cards.forgetting(await self._self_service.ask_forget(user))
        elif verb == "forget_now":
            note = await self._self_service.confirm_forget(user, f"{event_id(activity)}:{user.id}")
        elif verb != "settings":
            log.info("a button that is not known was pressed")
        profile = await self._self_service.profile(user, channel)
        return cards.settings(profile, direct=direct, note=note, viewer=user.id)

    async def _sent(self, activity: Activity, value: Fields) -> Fields:
        """The card for a message that somebody pointed at."""
        message = as_object(value.get("messagePayload"))
        shown = str(message.get("id") or "")
        conversation = activity.conversation.id
        if activity.kind == "channel" and ";messageid=" not in conversation:
            conversation += f";messageid={message.get('replyToId') or shown}"
        try:
            text = await self._self_service.sent(
                _user(activity), talk(activity.tenant, conversation), post_id(conversation, shown)
            )
        except Refused as refused:
            return cards.text_card(str(refused))
        except StateUnavailable:
            return cards.text_card(AWAY)
        return cards.sent(text)


def asks_for_settings(received: MessageReceived) -> bool:
    """Whether somebody wrote exactly `settings`, to the bot."""
    return received.addressed and received.text.strip().lower() in ("settings", "/settings")


def _dialog(title: str, card: Fields) -> Fields:
    shown = {"title": title, "height": "large", "width": "medium", "card": cards.attached(card)}
    return {"task": {"type": "continue", "value": shown}}


def _chosen(data: Fields, name: str) -> str | None:
    """The choice; empty when it is taken back, `None` when the card had no such list."""
    value = data.get(name)
    return None if not isinstance(value, str) else "" if value == cards.AUTOMATIC else value


def _user(activity: Activity) -> User:
    return User(id=activity.sender.id, tenant=activity.tenant, name=activity.sender.name or "")
