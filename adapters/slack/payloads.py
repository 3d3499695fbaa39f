"""What Slack's payloads have in common: where they come from, and the ids and times in them."""

from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

Payload = dict[str, Any]


class Bot(NamedTuple):
    """Who we are in a workspace, as auth.test says it."""

    team: str
    user: str
    bot: str

    @property
    def ids(self) -> frozenset[str]:
        """The ids under which our own messages appear."""
        return frozenset((self.user, self.bot)) - {""}


class Origin(NamedTuple):
    """Whose installation a payload was sent to; `enterprise` only if a whole organisation installed."""

    team: str
    enterprise: str


def origin(payload: Payload) -> Origin:
    """In channels that two companies share, the authorization tells our side from theirs."""
    granted: list[Payload] = payload.get("authorizations") or [{}]
    ours = granted[0]
    team = (
        ours.get("team_id")
        or payload.get("team_id")
        or part(payload, "team").get("id")
        or part(payload, "user").get("team_id")
    )
    whole = ours.get("is_enterprise_install") or payload.get("is_enterprise_install")
    enterprise = (
        ours.get("enterprise_id") or payload.get("enterprise_id") or part(payload, "enterprise").get("id")
    )
    return Origin(str(team or ""), str(enterprise or "") if whole in (True, "true") else "")


def part(of: Payload, name: str) -> Payload:
    """An object inside an object; empty where there is none."""
    inside = of.get(name)
    return cast("Payload", inside) if isinstance(inside, dict) else {}


def act_id(team: str, channel: str, ts: Any) -> str:
    """The id of a message as an act, and, of a thread's root, the id of its conversation."""
    return f"slack:{team}:{channel}:{ts}"


def time_of(ts: Any) -> datetime:
    """A timestamp of Slack's as a time. Raises ValueError for one that is no time, or too large for one."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("a timestamp is out of range") from error
