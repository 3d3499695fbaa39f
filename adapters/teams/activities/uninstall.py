"""Removal of the bot from a chat or team, and deletion of channels, as events."""

from adapters.teams.activities.parser import Activity, as_object, conversation_id, event_id, time_of
from bot.domain.events import Address, AppUninstalled, User

_TEAM_DELETED = ("teamDeleted", "teamHardDeleted")


def uninstalled(activity: Activity) -> AppUninstalled | None:
    """The event that deletes the data of that chat, channel or team; equal for each delivery.

    A team's channels are found by the team's id, the threads of a channel by its id. An update of the app
    deletes nothing.
    """
    team = activity.team.get("team", "")
    if activity.type == "installationUpdate" and activity.action == "remove":
        removed_team = team if activity.kind == "channel" else ""
    elif activity.type == "conversationUpdate" and activity.change in _TEAM_DELETED and team:
        removed_team = team
    elif activity.type == "conversationUpdate" and activity.change == "channelDeleted":
        removed_team = ""
    else:
        return None
    named = as_object(as_object(activity.channel_data).get("channel")).get("id")
    channel = named if isinstance(named, str) and named and not removed_team else activity.channel
    conversation = f"teams:departed:{activity.tenant}:{removed_team or channel}"
    event = f"{event_id(activity)}:departed"
    return AppUninstalled(
        id=event,
        address=Address(conversation=conversation, event=event),
        user=User(id="", tenant=activity.tenant),
        at=time_of(activity),
        conversation_prefix=conversation_id(activity.tenant, "" if removed_team else channel),
        marks={"team": removed_team} if removed_team else {},
    )
