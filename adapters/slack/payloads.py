"""What Slack's payloads have in common: origin, ids and timestamps."""

from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from adapters.shared.http_body import parse_json
from bot.domain.errors import Malformed
from bot.domain.events import User

Payload = dict[str, Any]


class Bot(NamedTuple):
    """The bot's own ids in a workspace, from auth.test; `enterprise` is the organisation of the workspace, if any."""

    team: str
    user: str
    bot: str
    enterprise: str = ""

    @property
    def ids(self) -> frozenset[str]:
        """The ids that appear as the author of the bot's own messages."""
        return frozenset((self.user, self.bot)) - {""}


class Origin(NamedTuple):
    """The installation that received a payload; `enterprise` is set only for organisation-wide installs."""

    team: str
    enterprise: str


def origin(payload: Payload) -> Origin:
    """The origin of a payload. In Slack Connect channels only the authorization names our workspace.

    Forms and buttons of a partner name the partner's own; where they were shown is in what Parley put into them.
    """
    granted: list[Payload] = payload.get("authorizations") or [{}]
    ours = granted[0]
    shown = _shown_by(payload)
    if shown.enterprise:
        return Origin(shown.team or _team_of(payload), shown.enterprise)
    team = ours.get("team_id") or shown.team or _team_of(payload)
    whole = ours.get("is_enterprise_install") or payload.get("is_enterprise_install")
    return Origin(str(team or ""), organisation_of(payload) if whole in (True, "true") else "")


def organisation_of(payload: Payload) -> str:
    """The organisation that the workspace of a payload belongs to; empty if there is none."""
    granted = objects(payload.get("authorizations")) or [{}]
    known = granted[0].get("enterprise_id") or payload.get("enterprise_id")
    return string(known or part(payload, "enterprise").get("id"))


def _team_of(payload: Payload) -> str:
    """The workspace of whoever caused a payload."""
    known = payload.get("team_id"), part(payload, "team").get("id"), part(payload, "user").get("team_id")
    return next((str(team) for team in known if team), "")


def _shown_by(payload: Payload) -> Origin:
    """The installation that showed the form or the button of a payload; empty if it does not say."""
    view = part(payload, "view")
    known = _json(view.get("private_metadata"))
    installed = string(view.get("app_installed_team_id"))
    if installed.startswith("E"):
        return Origin(string(known.get("team")), installed)
    if view:
        return Origin(installed or string(known.get("team")), string(known.get("enterprise")))
    for action in objects(payload.get("actions")):
        conversation = string(_json(action.get("value")).get("conversation")).split(":")
        if conversation[0] == "slack" and len(conversation) > 1:
            return Origin(conversation[1], "")
    return Origin("", "")


def _json(text: object) -> Payload:
    """The JSON object in a text; empty for anything else."""
    if not isinstance(text, str) or not text.startswith("{"):
        return {}
    try:
        found = parse_json(text)
    except Malformed:
        return {}
    return cast("Payload", found) if isinstance(found, dict) else {}


def part(of: Payload, name: str) -> Payload:
    """The object `of[name]`; empty if there is none."""
    inside = of.get(name)
    return cast("Payload", inside) if isinstance(inside, dict) else {}


def user_of(person: Payload, team: str) -> User:
    """The person whose button, form or menu this is."""
    name = str(person.get("username") or person.get("name") or "")
    return User(id=str(person["id"]), tenant=team, name=name)


def objects(value: object) -> list[Payload]:
    """The objects in a list; empty for anything that is not a list."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Payload", item) for item in items if isinstance(item, dict)]


def string(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def message_id(team: str, channel: str, ts: Any) -> str:
    """The event id of a message. For the root of a thread it is the id of the conversation, too."""
    return f"slack:{team}:{channel}:{ts}"


def time_of(ts: Any) -> datetime:
    """A Slack timestamp as a UTC time. Raises ValueError if it is not a number or out of range."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("a timestamp is out of range") from error
