"""Cards and dialogs for settings, usage, stored data, and sent prompts."""

import logging
from collections.abc import Awaitable

from adapters.teams.activities.activity import (
    Activity,
    as_object,
    conversation_id,
    event_id,
    post_id,
    user_of,
)
from adapters.teams.answers import cards
from adapters.teams.api.connector import Fields
from bot.domain.adapter import SelfService
from bot.domain.errors import Refused, StateUnavailable
from bot.domain.events import MessageReceived
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

AWAY = marked("Your settings are temporarily unavailable. Please try again in a minute.")


class SettingsDialogs:
    """Serves cards and dialogs directly, not through the inbox, because Teams expects an immediate response.

    In a group, the card that everybody sees holds no personal data: only the person who pressed a button
    sees the response to `Action.Execute`, in place of the card.
    """

    def __init__(self, self_service: SelfService) -> None:
        self._self_service = self_service

    async def settings(self, activity: Activity) -> Fields:
        """The card for the command `settings`. Raises StateUnavailable."""
        if activity.kind != "personal":
            return cards.group_settings_card(activity.sender.id)
        return await self._card(activity, "settings", {})

    async def answer(self, activity: Activity) -> Fields | None:
        """The response to an invoke; None if it is not for a card or dialog of this class."""
        value = as_object(activity.value)
        match activity.name:
            case "adaptiveCard/action":
                action = as_object(value.get("action"))
                data = as_object(action.get("data"))
                card = await _shown(self._card(activity, str(action.get("verb")), data))
                kind = cards.WORDS if isinstance(card, str) else cards.CARD
                return {"statusCode": 200, "type": kind, "value": card}
            case "composeExtension/fetchTask" if value.get("commandId") == "sent":
                return _dialog(tr("What did you send?"), await _shown(self._sent(activity, value)))
            case "composeExtension/fetchTask" if value.get("commandId") == "settings":
                return _dialog(tr("Settings"), await _shown(self._card(activity, "settings", {})))
            case "composeExtension/submitAction" if value.get("commandId") == "settings":
                data = as_object(value.get("data"))
                return _dialog(
                    tr("Settings"), await _shown(self._card(activity, str(data.get("verb")), data))
                )
            case _:
                return None

    async def _card(self, activity: Activity, verb: str, data: Fields) -> Fields:
        """Run the action of a button, and return the updated card. Raises Refused, StateUnavailable."""
        user = user_of(activity)
        direct = activity.kind == "personal"
        channel = "" if direct else activity.channel
        note = ""
        if verb == "choose":
            template, deployment = _chosen(data, "template"), _chosen(data, "deployment")
            mode = None if direct else _chosen(data, "mode")
            await self._self_service.choose(
                user, channel, template=template, deployment=deployment, mode=mode
            )
            note = tr("Saved.")
        elif verb == "forget":
            return cards.forgetting(await self._self_service.ask_forget(user))
        elif verb == "forget_now":
            note = await self._self_service.confirm_forget(user, f"{event_id(activity)}:{user.id}")
        elif verb != "settings":
            log.info("Ignored an unknown button of a card")
        profile = await self._self_service.profile(user, channel)
        return cards.settings(profile, direct=direct, note=note, viewer=user.id)

    async def _sent(self, activity: Activity, value: Fields) -> Fields:
        """The card with the prompt of a selected message. Raises Refused, StateUnavailable."""
        message = as_object(value.get("messagePayload"))
        shown = str(message.get("id") or "")
        conversation = activity.conversation.id
        if activity.kind == "channel" and ";messageid=" not in conversation:
            conversation += f";messageid={message.get('replyToId') or shown}"
        asked_in, post = conversation_id(activity.tenant, conversation), post_id(conversation, shown)
        return cards.sent(await self._self_service.sent(user_of(activity), asked_in, post))


def asks_for_settings(received: MessageReceived) -> bool:
    """Whether a message to the bot is exactly `settings`."""
    return received.addressed and received.text.strip().lower() in ("settings", "/settings")


async def _shown(card: Awaitable[Fields]) -> Fields | str:
    """The card, or why there is none, as text."""
    try:
        return await card
    except Refused as refused:
        return str(refused)
    except StateUnavailable:
        return tr(AWAY)


def _dialog(title: str, card: Fields | str) -> Fields:
    card = cards.text_card(card) if isinstance(card, str) else cards.in_dialog(card)
    shown = {"title": title, "height": "large", "width": "medium", "card": cards.attached(card)}
    return {"task": {"type": "continue", "value": shown}}


def _chosen(data: Fields, name: str) -> str | None:
    """The chosen name; empty for Automatic, None if the card had no such input."""
    value = data.get(name)
    return None if not isinstance(value, str) else "" if value == cards.AUTOMATIC else value
