"""The data dictionary: every Redis key, what it is and how long it lives.

Keys of one conversation share one hash tag, `{p00}` to `{p63}`, so that a script over them runs on Redis
Cluster as on one server. Keys of the ledger share their tenant's tag.
"""

import zlib
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

SHARDS = 64
"""How many hash tags conversations are spread over. Part of the stored format: never change it."""

DAY_S = 86_400
SEEN_S = DAY_S  # platforms redeliver within minutes; a day leaves room for an outage
LEASE_S = DAY_S
WAITING_S = DAY_S
DEAD_LETTER_S = 30 * DAY_S
EVENT_STREAM_S = 600
SPENT_S = 400 * DAY_S
HELD_S = 2 * DAY_S  # how long it is known that an event was settled: longer than anybody takes to ask again
PENDING_CHARGE_S = 30 * DAY_S
TALKS_S = 400 * DAY_S  # a turn of a conversation that goes on outlives the retention
VECTOR_S = 30 * DAY_S
PACE_S = 3600
REFUSED_S = DAY_S  # a deployment that is given another model is learnt anew
CHOICE_S = 400 * DAY_S
CONFIRM_S = 600
CONFIRMED_S = DAY_S  # a redelivered confirmation is answered with what the first one did
WAKEUPS = "parley:nudge"
"""The channel that carries the number of a shard in which something became due."""
RECENT = "parley:{studio}:recent"
"""When each conversation was last answered: what the studio lists."""
STOPS = "parley:stop"
"""The channel that carries, in three lines, a conversation, the event whose answer is not wanted any more,
and why."""
LIVE_VIEW_REQUESTS = "parley:look"
"""The channel that tells workers that somebody looks at what they are answering."""
LIVE_VIEW = "parley:stage"
"""The channel on which they then tell it."""
PUBLISHED = "parley:published"
"""The channel that tells that a template or a pool was published."""
ASSIGNMENTS = "parley:{prompts}:bound"
"""The tenants in which a template was chosen for a place."""
SAVED_CONFIGS = "parley:{prompts}:saves"
VERSIONS = "parley:{prompts}:versions"
PROPOSALS = "parley:{prompts}:proposals"
PROPOSAL_S = 90 * DAY_S
PROBE = "parley:{probe}:probe"
"""Written by a process that started the embedded Redis, to see that it takes writes."""
AMENDED = "parley:{prompts}:amended"
"""How often records were changed in their places: then all of them are read anew."""
ERASURES = "parley:{studio}:erasures"
"""People of whom something is still to be forgotten, and when that is taken up by any process."""
ERASURE_S = 7 * DAY_S
COMPACTION = "parley:{studio}:compaction"
COMPACTED = "parley:{studio}:compacted"
VOTES = "parley:{studio}:votes"
VOTE_S = 400 * DAY_S
LATENCY_S = 8 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of key. `life` says when it goes; `permanent` kinds empty themselves, or are meant to stay."""

    name: str
    type: Literal["string", "list", "hash", "zset", "stream", "set"]
    holds: str
    life: str
    permanent: bool = False


KINDS = (
    Kind(name="seen", type="string", holds="an event that was accepted", life="24 h"),
    Kind(
        name="inbox",
        type="list",
        holds="waiting events, the head is current",
        life="until empty",
        permanent=True,
    ),
    Kind(name="ready", type="zset", holds="conversation -> when due, ms", life="until empty", permanent=True),
    Kind(name="waiting", type="hash", holds="tenant -> its waiting events in this shard", life="24 h"),
    Kind(
        name="lease",
        type="hash",
        holds="token, ticket, attempt, post, stop, withdrawn, number of erasures, open, lost, certain",
        life="24 h",
    ),
    Kind(name="turns", type="list", holds="turns, newest last", life="retention"),
    Kind(name="owner", type="string", holds="the user whose conversation it is", life="retention + 24 h"),
    Kind(name="summary", type="string", holds="what was said before the window begins", life="retention"),
    Kind(name="sent", type="string", holds="the prompts of a turn, compressed", life="retention"),
    Kind(name="picture", type="string", holds="a picture of a turn", life="retention"),
    Kind(name="recent", type="zset", holds="conversation -> last answered, ms", life="retention"),
    Kind(name="tally", type="hash", holds="what a tenant used on a day, by whom and by what", life="400 d"),
    Kind(name="payers", type="set", holds="the tenants that used something on a day", life="400 d"),
    Kind(name="buried", type="list", holds="events given up, with the reason", life="30 d"),
    Kind(name="feed", type="stream", holds="what an open studio page shows", life="10 min"),
    Kind(name="rate", type="hash", holds="requests and tokens in the minute that began", life="60 s"),
    Kind(
        name="spent",
        type="hash",
        holds="what a person, channel or tenant used, and has set aside, in a day or a month",
        life="400 d",
    ),
    Kind(name="held", type="hash", holds="what an event reserved, then that it is settled", life="2 d"),
    Kind(name="holds", type="zset", holds="event -> when its reservation is abandoned, ms", life="2 d"),
    Kind(name="owed", type="hash", holds="bills of committed turns that are not settled yet", life="30 d"),
    Kind(name="talks", type="set", holds="the conversations of a person, in one shard", life="400 d"),
    Kind(
        name="choice",
        type="hash",
        holds="template, its author, deployment, manner, quiet",
        life="400 d unused",
    ),
    Kind(
        name="confirm",
        type="hash",
        holds="a command that waits to be confirmed, then by which event it was, and what came of it",
        life="10 min, 24 h once confirmed",
    ),
    Kind(name="bound", type="set", holds="where a template was chosen", life="400 d unused"),
    Kind(
        name="vault",
        type="string",
        holds="an adapter's secret, encrypted",
        life="until deleted",
        permanent=True,
    ),
    Kind(name="limit", type="list", holds="when places in a minute were taken, ms", life="60 s"),
    Kind(name="pace", type="hash", holds="a deployment's cool-down and rate buckets, ms", life="1 h unused"),
    Kind(name="refused", type="set", holds="parameters that a deployment's model refuses", life="24 h"),
    Kind(name="vector", type="string", holds="an embedding, little-endian float32", life="30 d"),
    Kind(
        name="versions",
        type="list",
        holds="published versions of templates, changes of pools",
        life="for ever: it is their history",
        permanent=True,
    ),
    Kind(name="latency", type="hash", holds="how long deployments took in an hour", life="8 d"),
    Kind(name="votes", type="hash", holds="which answer somebody found better, side by side", life="400 d"),
    Kind(
        name="saves",
        type="hash",
        holds="set-ups of the playground that were saved",
        life="until deleted",
        permanent=True,
    ),
    Kind(
        name="amended",
        type="string",
        holds="how often published records were changed in their places",
        life="for ever: it is their history",
        permanent=True,
    ),
    Kind(
        name="erasures",
        type="zset",
        holds="person who is being forgotten -> when another process takes it up, s",
        life="until empty",
        permanent=True,
    ),
    Kind(name="compaction", type="string", holds="how often a rewrite was asked for", life="24 h"),
    Kind(name="compacted", type="string", holds="that the file was rewritten lately", life="5 min"),
    Kind(name="proposals", type="hash", holds="turns that could be examples of a pool", life="90 d"),
    Kind(name="probe", type="string", holds="nothing: that the embedded Redis takes writes", life="1 s"),
)


def shard_of(conversation: str) -> int:
    """The shard of a conversation, 0 to 63 (CRC-32 modulo 64)."""
    return zlib.crc32(conversation.encode()) % SHARDS


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
    """The key of this kind in the ledger of a tenant."""
    return ":".join((f"parley:{{t:{tenant}}}:{kind}", *rest))


def spent(tenant: str, period: str, scope: str, id: str = "") -> str:
    """What a person, a channel or the tenant itself spent in a period: `2026-11-22` or `2026-11` (UTC)."""
    return of_tenant("spent", tenant, period, scope, id)


def daily_totals(tenant: str, day: date) -> str:
    """What a tenant used on a day (UTC), by template, deployment, channel and person."""
    return of_tenant("tally", tenant, day.isoformat())


def tenants_of(day: date) -> str:
    """The tenants that used something on a day (UTC)."""
    return f"parley:{{studio}}:payers:{day.isoformat()}"


def pending_charges(shard: int) -> str:
    """What the turns of a shard cost, from their commit until they are settled."""
    return f"{shard_prefix(shard)}owed"


def talks(shard: int, tenant: str, user: str) -> str:
    """The conversations of a person in a shard: beside their turns, to be written in one step with them."""
    return f"{shard_prefix(shard)}talks:{tenant}:{user}"


def latency(at: datetime) -> str:
    """How long deployments took in the hour of this time (UTC)."""
    return f"parley:{{studio}}:latency:{at:%Y-%m-%dT%H}"


def waiting(shard: int) -> str:
    """How many events of each tenant wait in a shard."""
    return f"{shard_prefix(shard)}waiting"


def dead_letters(shard: int) -> str:
    """Events of a shard that were given up."""
    return f"{shard_prefix(shard)}buried"


def secret(name: str) -> str:
    """What an adapter keeps under a name."""
    return f"parley:{{vault}}:vault:{name}"


def limit(name: str) -> str:
    """The places that were taken in a minute that all processes share."""
    return f"parley:{{l:{name}}}:limit:{name}"


def of_deployment(name: str) -> tuple[str, str]:
    """The pace and the refused parameters of a deployment; those of all share one slot, for one script."""
    return f"parley:{{models}}:pace:{name}", f"parley:{{models}}:refused:{name}"


def kind_of(key: str) -> str:
    """The kind of an existing key, for the check that nothing outlives its declared life."""
    return key.split("}:", 1)[1].split(":", 1)[0]
