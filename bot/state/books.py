"""What was used on each day (UTC), by template, deployment, channel and person: sums, no words."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import msgspec

from bot.state import keys
from bot.state.redis import Redis
from bot.types import Turn, Usage, User, now

_MARK = "\x1f"


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """`microdollars` leaves out the calls whose price is unknown; `unpriced` counts them."""

    turns: int = 0
    tokens: int = 0
    images: int = 0
    microdollars: int = 0
    unpriced: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        names = self.__struct_fields__
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one thing used on one day; `kind` is day, template, deployment, channel or person."""

    day: date
    kind: str
    name: str
    sums: Sums


class Books:
    """Kept beside the ledger, for those who look after the bot. Every method raises StateUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note(self, turn: Turn) -> None:
        """Add a turn that was written down."""
        name = keys.tally(turn.ended_at.date())
        added = [
            ("HINCRBY", name, _MARK.join((kind, one, measure)), amount)
            for kind, one, sums in _entries(turn)
            for measure, amount in msgspec.structs.asdict(sums).items()
            if amount
        ]
        await self._redis.many([*added, ("EXPIRE", name, keys.SPENT_S)])

    async def lines(self, first: date, last: date) -> Sequence[Line]:
        """What was used from the first to the last of these days, oldest first."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        answers = await self._redis.many([("HGETALL", keys.tally(day)) for day in days])
        found: list[Line] = []
        for day, pairs in zip(days, answers, strict=True):
            sums: dict[tuple[str, str], dict[str, int]] = {}
            for field, amount in pairs.items():
                kind, name, measure = field.decode().split(_MARK)
                sums.setdefault((kind, name), {})[measure] = int(amount)
            found += [
                Line(day=day, kind=kind, name=name, sums=Sums(**measures))
                for (kind, name), measures in sums.items()
            ]
        return found

    async def forget(self, tenant: str) -> None:
        """Name none of a tenant's people any more, on any day that is kept; the other sums stay."""
        beginning = _MARK.join(("person", f"{tenant}/")).encode()
        last = now().date()
        for age in range(keys.SPENT_S // keys.DAY_S + 1):
            name = keys.tally(last - timedelta(days=age))
            fields = [one for one in await self._redis.call("HKEYS", name) if one.startswith(beginning)]
            if fields:
                await self._redis.call("HDEL", name, *fields)


def person(user: User) -> str:
    """How a person stands in the books."""
    return f"{user.tenant}/{user.id}"


def fields_of(user: User) -> list[str]:
    """The fields of a person, to be forgotten."""
    return [_MARK.join(("person", person(user), measure)) for measure in Sums.__struct_fields__]


def _entries(turn: Turn) -> Iterable[tuple[str, str, Sums]]:
    said = turn.said
    whole = _sums(turn.usage, turns=1)
    channel = f"{said.address.adapter} {'direct' if said.direct or not said.channel else said.channel}"
    yield "day", "", whole
    yield "template", turn.template.partition("@")[0] or "none", whole
    yield "channel", channel, whole
    yield "person", person(said.user), whole
    for deployment in dict.fromkeys(one.deployment for one in turn.usage):
        yield "deployment", deployment, _sums([u for u in turn.usage if u.deployment == deployment], turns=1)


def _sums(usage: Sequence[Usage], turns: int) -> Sums:
    return Sums(
        turns=turns,
        tokens=sum(one.input_tokens + one.output_tokens for one in usage),
        images=sum(one.images for one in usage),
        microdollars=round(sum(one.usd or 0.0 for one in usage) * 1_000_000),
        unpriced=sum(one.usd is None for one in usage),
    )
