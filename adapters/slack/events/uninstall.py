"""Removal of the app from a workspace or an organisation, as events."""

from datetime import timedelta

from adapters.slack.payloads import Origin, Payload, part, time_of
from bot.domain.events import Address, AppUninstalled, User, now

REMOVALS = frozenset({"app_uninstalled", "tokens_revoked", "team_access_revoked"})


def removed(payload: Payload, place: Origin) -> list[Origin]:
    """The workspaces that lost the app, or the whole organisation (an origin without a team).

    Empty if only user tokens were revoked.
    """
    event = part(payload, "event")
    match event.get("type"):
        case "team_access_revoked":
            teams: list[object] = event.get("team_ids") or []
            return [Origin(str(team), "") for team in teams]
        case "tokens_revoked" if not part(event, "tokens").get("bot"):
            return []
        case _:
            gone = Origin("", place.enterprise) if place.enterprise else place
            return [gone] if any(gone) else []


def uninstalled(payload: Payload, place: Origin) -> AppUninstalled:
    """The event that deletes the data of that workspace; equal for each delivery."""
    conversation = f"slack:departed:{place.team or place.enterprise}"
    event_id = f"{conversation}:{payload['event_id']}"
    # event_time is in whole seconds; messages of the same second came before the removal.
    at = time_of(payload["event_time"]) + timedelta(seconds=1) if payload.get("event_time") else now()
    conversation_prefix = f"slack:{place.team}:" if place.team else "slack:"
    return AppUninstalled(
        id=event_id,
        address=Address(conversation=conversation, event=event_id),
        user=User(id="", tenant=place.team),
        at=at,
        conversation_prefix=conversation_prefix,
        marks={} if place.team else {"enterprise": place.enterprise},
        whole=True,
    )
