"""The data dictionary: every Redis key, its content and its lifetime.

Keys of one conversation share a hash tag, `{p00}` to `{p63}`, so that scripts run on Redis Cluster, too.
Keys of quotas share the tag of their tenant.
"""

import re
import zlib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

SHARDS = 64
"""The number of hash tags for conversations. Part of the stored format: never change it."""

DAY_S = 86_400
SEEN_S = DAY_S  # platforms redeliver within minutes; a day covers an outage
LEASE_S = DAY_S
UNANSWERED_S = DAY_S
UNANSWERED_KEPT = 200  # records of a shard
WAITING_S = DAY_S
DEAD_LETTER_S = 30 * DAY_S
EVENT_STREAM_S = 600
SPENT_S = 400 * DAY_S
CALLS_S = 62 * DAY_S  # two invoices
HELD_S = 2 * DAY_S  # settled events are remembered longer than they can be retried
NOTICE_S = 2 * DAY_S
PENDING_CHARGE_S = 30 * DAY_S
TALKS_S = 400 * DAY_S
VECTOR_S = 30 * DAY_S
PACE_S = 3600
REFUSED_S = DAY_S  # a deployment may get another model
CHOICE_S = 400 * DAY_S
CONFIRM_S = 600
CONFIRMED_S = DAY_S  # a redelivered confirmation is answered with what the first one did
WAKEUPS = "parley:due"
"""The channel for conversations that became due."""
OLD_WAKEUPS = "parley:nudge"
"""The same of older versions, with numbers of shards. Their workers notice events of newer ones by their sweep."""
RECENT = "parley:{studio}:recent"
"""When each conversation was last answered, for the studio."""
STOPS = "parley:stop"
"""The channel for stop requests, in three lines: conversation, event, reason."""
LIVE_VIEW_REQUESTS = "parley:look"
"""The channel for requests to publish running answers."""
LIVE_VIEW = "parley:stage"
"""The channel for running answers."""
PUBLISHED = "parley:published"
"""The channel for notices that a template or a pool was published."""
ASSIGNMENTS = "parley:{prompts}:bound"
"""The tenants with assignments of templates."""
SAVED_CONFIGS = "parley:{prompts}:saves"
VERSIONS = "parley:{prompts}:versions"
PROPOSALS = "parley:{prompts}:proposals"
PROPOSAL_S = 90 * DAY_S
PRICES = "parley:{prices}:prices"
LIMIT_NAMES = "parley:{limits}:limit-names"
LIMIT_NAMES_LOCK = "parley:{limits}:looking-up"
LIMIT_NAMES_S = 400 * DAY_S
LOOKING_UP_S = 900
PROBE = "parley:{probe}:probe"
"""Written to test that the embedded Redis accepts writes."""
AMENDED = "parley:{prompts}:amended"
"""How often published records were changed in place; when it grows, all are reloaded."""
ERASURES = "parley:{studio}:erasures"
"""People with unfinished erasures, and when any process continues them."""
ERASURE_S = 7 * DAY_S
ORGANISATIONS = "parley:{studio}:organisations"
"""The organisation whose installation serves a tenant."""
ORGANISATIONS_S = 400 * DAY_S
COMPACTION = "parley:{studio}:compaction"
COMPACTED = "parley:{studio}:compacted"
SWEPT = "parley:{studio}:swept"
SWEPT_S = 3600
DAILY = "parley:{studio}:daily"
VOTES = "parley:{studio}:votes"
VOTE_S = 400 * DAY_S
SESSIONS = "parley:{studio}:sessions"
"""The ids of the studio's sessions, by when they end at the latest."""
SESSION_S = 30 * DAY_S  # the longest that can be configured
LATENCY_S = 8 * DAY_S


_THREAD = re.compile(r";.*\Z|:[0-9.]+\Z")
"""What follows a channel in the id of a conversation: the thread, `;messageid=1700000000` or `:1700000000.000100`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of key. `life` is its lifetime; `permanent` kinds have no expiry."""

    name: str
    type: Literal["string", "list", "hash", "zset", "stream", "set"]
    holds: str
    life: str
    permanent: bool = False


KINDS = (
    Kind("seen", "string", "an event that was accepted", "24 h"),
    Kind("inbox", "list", "waiting events, the head is current", "until empty", permanent=True),
    Kind("ready", "zset", "conversation -> when due, ms", "until empty", permanent=True),
    Kind("waiting", "hash", "tenant -> its waiting events in this shard", "24 h"),
    Kind(
        "lease",
        "hash",
        "token, ticket, attempt, post, stop, withdrawn, number of erasures, open, lost, certain, generated, "
        "failures, since",
        "24 h",
    ),
    Kind("turns", "list", "turns, newest last, each deleted after the retention", "retention"),
    Kind("owner", "string", "the user whose conversation it is", "retention + 24 h"),
    Kind("shared", "string", "the secret of the link that shares it", "retention"),
    Kind("others", "string", "marks that others speak since the bot was last mentioned", "retention"),
    Kind("not-answered", "zset", "the newest messages that were not answered, with the reason", "24 h"),
    Kind("summary", "string", "a summary of truncated history", "retention of its oldest turn"),
    Kind("sent", "string", "the prompts of a turn, compressed", "retention"),
    Kind("picture", "string", "an image of a turn", "retention"),
    Kind("recent", "zset", "conversation -> last answered, ms", "retention"),
    Kind("tally", "hash", "a tenant's usage of a day, by person, template and so on", "400 d"),
    Kind("calls", "list", "the charges of a person on a day, with each provider call", "62 d"),
    Kind("payers", "set", "the tenants with usage on a day", "400 d"),
    Kind("buried", "list", "dead letters", "30 d"),
    Kind("feed", "stream", "updates for open studio pages", "10 min"),
    Kind("rate", "hash", "requests and tokens in the minute that began", "60 s"),
    Kind(
        "spent",
        "hash",
        "usage and reservations of a person, channel, tenant or its guests in a day or month",
        "400 d",
    ),
    Kind("held", "hash", "the reservation of an event, then that it is settled", "2 d"),
    Kind("holds", "zset", "event -> when its reservation is abandoned, ms", "2 d"),
    Kind("notices", "zset", "a limit that was reached, for one recipient -> when due, ms", "2 d"),
    Kind("owed", "hash", "charges of committed turns that are not settled yet", "30 d"),
    Kind("talks", "set", "the conversations of a person, in one shard", "400 d"),
    Kind("choice", "hash", "template, its author, deployment, participation mode, quiet", "400 d unused"),
    Kind(
        "confirm",
        "hash",
        "a command waiting for confirmation, then the confirming event and the outcome",
        "10 min, 24 h once confirmed",
    ),
    Kind("bound", "set", "the scopes with an assigned template", "400 d unused"),
    Kind("vault", "string", "an adapter's secret, encrypted", "until deleted", permanent=True),
    Kind("limit", "list", "when calls of the last minute were made, ms", "60 s"),
    Kind("pace", "hash", "a deployment's cool-down and rate buckets, ms", "1 h unused"),
    Kind("queue", "zset", "requests waiting for a busy deployment -> arrival, ms", "1 h"),
    Kind("expected", "zset", "the same requests -> when they come again, ms", "1 h"),
    Kind("refused", "set", "parameters that a deployment's model refuses", "24 h"),
    Kind("vector", "string", "an embedding, little-endian float32", "30 d"),
    Kind(
        "versions",
        "list",
        "published versions of templates, changes of pools",
        "for ever (history)",
        permanent=True,
    ),
    Kind("latency", "hash", "latencies of deployments in an hour", "8 d"),
    Kind("votes", "hash", "votes on compared answers", "400 d"),
    Kind("session", "string", "a session of the studio", "its idle limit, at most 30 d"),
    Kind("sessions", "zset", "session of the studio -> when it ends at the latest, s", "30 d"),
    Kind("saves", "hash", "saved playground configurations", "until deleted", permanent=True),
    Kind(
        "amended",
        "string",
        "how often published records were changed in place",
        "for ever (history)",
        permanent=True,
    ),
    Kind(
        "erasures",
        "zset",
        "person being deleted -> when another process continues, s",
        "until empty",
        permanent=True,
    ),
    Kind("organisations", "hash", "tenant -> the organisation whose installation serves it", "400 d"),
    Kind("compaction", "string", "number of requested rewrites", "24 h"),
    Kind("compacted", "string", "marks a recent rewrite of the file", "1 min"),
    Kind("swept", "string", "marks that what has expired was deleted a short time ago", "1 h"),
    Kind("daily", "string", "marks that a rewrite of the file was requested today", "24 h"),
    Kind("proposals", "hash", "turns proposed as examples of pools", "90 d"),
    Kind(
        "prices", "hash", "the operator's price table, its origin and date", "until replaced", permanent=True
    ),
    Kind("limit-names", "hash", "names in limits -> their ids, or why there are none", "400 d unused"),
    Kind("looking-up", "string", "marks that a process looks names up", "15 min"),
    Kind("probe", "string", "nothing; tests that the embedded Redis accepts writes", "1 s"),
)


def shard_of(conversation: str) -> int:
    """The shard of a conversation, 0 to 63 (CRC-32 modulo 64)."""
    return zlib.crc32(conversation.encode()) % SHARDS


def flow_of(conversation: str) -> str:
    """The channel or chat of a conversation, without its thread: what shares the places of a tenant with others.

    flow.lua does the same.
    """
    return _THREAD.sub("", conversation, count=1)


def tenant_of(flow: str) -> str:
    """The tenant of a flow with its platform, as in `slack:T1`; the platform alone for flows without a tenant."""
    platform, _, rest = flow.partition(":")
    tenant, within, _ = rest.partition(":")
    return f"{platform}:{tenant}" if within else platform


def shard_prefix(shard: int) -> str:
    """The prefix of every key of a shard; scripts build the keys of a claimed conversation from it."""
    return f"parley:{{p{shard:02d}}}:"


def ready(shard: int) -> str:
    """Conversations with something waiting, by when they are next due."""
    return f"{shard_prefix(shard)}ready"


def of(kind: str, conversation: str, *rest: str) -> str:
    """The key of this kind for a conversation."""
    return ":".join((f"{shard_prefix(shard_of(conversation))}{kind}", conversation, *rest))


def of_tenant(kind: str, tenant: str, *rest: str) -> str:
    """The key of this kind for a tenant."""
    return ":".join((f"parley:{{t:{tenant}}}:{kind}", *rest))


def spent(tenant: str, period: str, scope: str, id: str = "") -> str:
    """The usage of a person, channel or tenant in a period: `2026-11-22` or `2026-11` (UTC)."""
    return of_tenant("spent", tenant, period, scope, id)


def daily_totals(tenant: str, day: date) -> str:
    """A tenant's usage of a day (UTC), by template, deployment, channel and person."""
    return of_tenant("tally", tenant, day.isoformat())


def calls(tenant: str, day: date, person: str) -> str:
    """The charges of a person on a day (UTC), with each provider call."""
    return of_tenant("calls", tenant, day.isoformat(), person)


def day_of_calls(name: str) -> str:
    """The day in the name of a list of charges, as in 2026-11-30."""
    return name.partition("}:calls:")[2][:10]


def tenants_of(day: date) -> str:
    """The tenants with usage on a day (UTC)."""
    return f"parley:{{studio}}:payers:{day.isoformat()}"


def pending_charges(shard: int) -> str:
    """The charges of a shard that are not settled yet."""
    return f"{shard_prefix(shard)}owed"


def talks(shard: int, tenant: str, user: str) -> str:
    """The conversations of a person in a shard; in the shard of the turns, to be written atomically with them."""
    return f"{shard_prefix(shard)}talks:{tenant}:{user}"


def latency(at: datetime) -> str:
    """The latencies of deployments in the hour of `at` (UTC)."""
    return f"parley:{{studio}}:latency:{at:%Y-%m-%dT%H}"


def waiting(shard: int) -> str:
    """The number of waiting events of each tenant in a shard."""
    return f"{shard_prefix(shard)}waiting"


def unanswered(shard: int) -> str:
    """The records of messages that were not answered."""
    return f"{shard_prefix(shard)}not-answered"


def dead_letters(shard: int) -> str:
    return f"{shard_prefix(shard)}buried"


def session(id: str) -> str:
    """A session of the studio; in the slot of the list of all."""
    return f"parley:{{studio}}:session:{id}"


def secret(name: str) -> str:
    return f"parley:{{vault}}:vault:{name}"


def limit(name: str) -> str:
    """The calls of the last minute under a shared limit."""
    return f"parley:{{l:{name}}}:limit:{name}"


def of_deployment(name: str) -> tuple[str, str]:
    """The rate state and the refused parameters of a deployment; all are in one slot, for one script."""
    return f"parley:{{models}}:pace:{name}", f"parley:{{models}}:refused:{name}"


def queue_of(name: str) -> tuple[str, str, str]:
    """The rate state of a deployment, the requests that wait for it, and when they are expected again; in one slot."""
    return of_deployment(name)[0], f"parley:{{models}}:queue:{name}", f"parley:{{models}}:expected:{name}"


def kind_of(key: str) -> str:
    """The kind of a key, to check that nothing outlives its declared lifetime."""
    return key.split("}:", 1)[1].split(":", 1)[0]
