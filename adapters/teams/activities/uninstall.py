"""What Teams tells when the bot is taken away from a chat or a team, or a channel goes, as events."""

from adapters.teams.activities.parser import Activity, as_object, event_id, talk, time_of
from bot.domain.events import Address, AppUninstalled, User

_TEAM_GONE = ("teamDeleted", "teamHardDeleted")


def uninstalled(activity: Activity) -> AppUninstalled | None:
    """The event by which what was said there is forgotten; equal for each delivery.

    The channels of a team are found by their team, the threads of a channel by its name. An update of the app
    takes nothing away.
    """
    team = activity.team.get("team", "")
    if activity.type == "installationUpdate" and activity.action == "remove":
        place = team if activity.kind == "channel" else ""
    elif activity.type == "conversationUpdate" and activity.change in _TEAM_GONE and team:
        place = team
    elif activity.type == "conversationUpdate" and activity.change == "channelDeleted":
        place = ""
    else:
        return None
    channel = as_object(as_object(activity.channel_data).get("channel")).get("id")
    room = channel if isinstance(channel, str) and channel and not place else activity.channel
    conversation = f"teams:departed:{activity.tenant}:{place or room}"
    act = f"{event_id(activity)}:departed"
    return AppUninstalled(
        id=act,
        address=Address(conversation=conversation, event=act),
        user=User(id="", tenant=activity.tenant),
        at=time_of(activity),
        conversation_prefix=talk(activity.tenant, "" if place else room),
        marks={"team": place} if place else {},
    )
