"""What people, channels and tenants may use: read from one setting, and said in words."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from bot.domain.errors import BudgetSpent, ConfigError, RateLimited, Refused
from bot.domain.turns import CheckResult, Deployment

Scope = Literal["person", "channel", "tenant"]
Measure = Literal["requests", "tokens", "dollars"]
Period = Literal["minute", "day", "month"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

DEFAULT = "person: 30 requests/minute"
_MOST = 10**15
"""Of anything, in its unit: beyond that Redis' scripts count no longer exactly."""
_LONGEST = 4000
_FORM = (
    "A limit is an amount per minute, day or month: 30 requests/minute, 200k tokens/day, $2.50/day, "
    "$300/month; or `unlimited`"
)
_AMOUNT = re.compile(
    r"(?:\$\s*(?P<usd>\d+(?:\.\d{1,6})?)|(?P<count>\d+(?:\.\d+)?)(?P<scale>[kKM]?)\s*(?P<measure>[a-z]+))"
    r"\s*/\s*(?P<period>[a-z]+)"
)
_SCALES = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so much in a period; `most` counts requests, tokens or micro-dollars."""

    scope: Scope
    measure: Measure
    period: Period
    most: int

    def __str__(self) -> str:
        noun = "question" if self.most == 1 else "questions"
        amount = self.in_words(self.most) + (f" {noun}" if self.measure == "requests" else "")
        return f"{amount} a {self.period}"

    def in_words(self, amount: int) -> str:
        """An amount of this limit's measure, in words."""
        return self.bare(amount) + (" tokens" if self.measure == "tokens" else "")

    def bare(self, amount: int) -> str:
        """The same without its noun."""
        return money(amount) if self.measure == "dollars" else f"{amount:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What applies to each scope, and to those of its ids that have limits of their own.

    `share` is the part of a day's or a month's budget after which people are told once.
    """

    general: Mapping[Scope, Sequence[Limit]] = field(default_factory=dict[Scope, Sequence[Limit]])
    named: Mapping[tuple[Scope, str], Sequence[Limit]] = field(
        default_factory=dict[tuple[Scope, str], Sequence[Limit]]
    )
    share: float = 0.8

    def of(self, *, person: str, channel: str, tenant: str) -> tuple[Limit, ...]:
        """What applies to a person in a channel; without one, to the person and the tenant."""
        ids: Mapping[Scope, str] = {"person": person, "channel": channel, "tenant": tenant}
        return tuple(
            limit
            for scope in SCOPES
            if ids[scope] or scope != "channel"
            for limit in self.named.get((scope, ids[scope]), self.general.get(scope, ()))
        )

    @property
    def every(self) -> Iterable[Limit]:
        """Each limit that is set, whomever it is for."""
        return [limit for limits in (*self.general.values(), *self.named.values()) for limit in limits]

    def check(self, deployments: Iterable[Deployment]) -> list[CheckResult]:
        """What `parley check` says: a budget in dollars does not see what nobody knows the price of."""
        words = "; ".join(
            f"{scope}: {', '.join(map(str, limits)) or 'unlimited'}" for scope, limits in self._all()
        )
        findings = [CheckResult(level="ok", subject="limits", words=words or "none are set")]
        unknown = list(
            dict.fromkeys(deployment.name for deployment in deployments if not _priced(deployment))
        )
        if unknown and any(limit.measure == "dollars" for limit in self.every):
            words = (
                f"PARLEY_LIMITS counts dollars, but nobody knows the price of {', '.join(unknown)}: what "
                "that answers counts as questions and tokens, and as no dollars.\n"
                "State their prices in the file of PARLEY_DEPLOYMENTS, or limit tokens too."
            )
            findings.append(CheckResult(level="warning", subject="limits", words=words))
        return findings

    def _all(self) -> Iterable[tuple[str, Sequence[Limit]]]:
        yield from self.general.items()
        yield from ((f"{scope} {name}", limits) for (scope, name), limits in self.named.items())


def _priced(deployment: Deployment) -> bool:
    prices = deployment.prices
    if deployment.capability == "image" and prices.image_usd is not None:
        return True
    return None not in (prices.input_usd, prices.output_usd)


# ------------------------------------------------------------------ reading


def read(text: str) -> Limits:
    """The limits of a setting, `SCOPE [ID]: LIMIT, LIMIT; SCOPE: ...`. Raises ConfigError, in words."""
    if len(text) > _LONGEST:
        raise ConfigError(f"the limits take {len(text)} characters; at most {_LONGEST}")
    general: dict[Scope, Sequence[Limit]] = {}
    named: dict[tuple[Scope, str], Sequence[Limit]] = {}
    share: float | None = None
    for entry in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        head, colon, rest = _halves(entry)
        word, _, name = head.partition(" ")
        if word == "warn" and share is None and not name and colon:
            share = _share(rest.strip())
            continue
        if word not in SCOPES or not colon:
            raise ConfigError(_unknown(entry, word))
        scope, name = word, name.strip()
        if (scope, name) in named if name else scope in general:
            raise ConfigError(f"“{head}” is there twice; put all of its limits behind one colon")
        limits = _limits(scope, rest)
        if name:
            named[scope, name] = limits
        else:
            general[scope] = limits
    return Limits(general=general, named=named, share=0.8 if share is None else share)


def _halves(entry: str) -> tuple[str, str, str]:
    """What is before the colon, and behind it: ids have colons of their own, but no spaces."""
    found = re.match(r"(\w+(?:\s+\S+?)?)\s*:(?=\s|$|\$)(.*)", entry) or re.match(r"(\w+)\s*:(.*)", entry)
    return (found[1], ":", found[2]) if found else (entry, "", "")


def _unknown(entry: str, word: str) -> str:
    near = difflib.get_close_matches(word, [*SCOPES, "warn"], 1)
    meant = f"; did you mean “{near[0]}”?" if near and near[0] != word else ""
    return (
        f"“{entry}” can't be read{meant} Each part begins with person:, channel:, tenant: or warn:, "
        "and parts are separated by semicolons, as in person: 30 requests/minute, $2/day; channel: $20/day"
    )


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d{1,3})\s*%", text)
    if found is None or not 1 <= int(found[1]) <= 100:
        raise ConfigError(f"“warn: {text}” can't be read: it is a share from 1% to 100%, as in warn: 80%")
    return int(found[1]) / 100


def _limits(scope: Scope, text: str) -> tuple[Limit, ...]:
    pieces = [piece.strip() for piece in text.split(",")]
    if pieces == ["unlimited"]:
        return ()
    limits = tuple(_limit(scope, piece) for piece in pieces)
    kinds = [(limit.measure, limit.period) for limit in limits]
    for measure, period in kinds:
        if kinds.count((measure, period)) > 1:
            raise ConfigError(f"{scope} has two limits of {measure} a {period}; keep one of them")
    return limits


def _limit(scope: Scope, piece: str) -> Limit:
    found = _AMOUNT.fullmatch(piece)
    if found is None:
        raise ConfigError(f"“{piece}” is no limit of {scope}. {_FORM}")
    measure = "dollars" if found["usd"] else found["measure"]
    if measure in ("request", "token"):
        measure += "s"
    if measure not in ("requests", "tokens", "dollars") or (measure == "dollars" and not found["usd"]):
        raise ConfigError(f"“{piece}” counts {found['measure']}, but only requests, tokens and $ are counted")
    if found["period"] not in get_args(Period):
        raise ConfigError(f"“{piece}” is per {found['period']}, but a period is a minute, a day or a month")
    if measure == "dollars" and found["period"] == "minute":
        raise ConfigError(
            f"“{piece}”: dollars are counted by day and month; for a minute, limit requests or tokens"
        )
    most = round(
        float(found["usd"]) * 1_000_000 if found["usd"] else float(found["count"]) * _SCALES[found["scale"]]
    )
    if most > _MOST:
        raise ConfigError(f"“{piece}” is more than can be counted; `unlimited` is no limit at all")
    return Limit(scope=scope, measure=measure, period=cast(Period, found["period"]), most=most)


# ------------------------------------------------------------------ words

_WHOSE: Mapping[Scope, str] = {
    "person": "Your",
    "channel": "This channel's",
    "tenant": "Your organisation's",
}
_WHERE: Mapping[Scope, str] = {"person": "", "channel": " in this channel", "tenant": " in your organisation"}
_WHEN: Mapping[Period, str] = {"minute": "a minute", "day": "today", "month": "this month"}


def money(microdollars: int) -> str:
    """Dollars, with as many digits as small sums need."""
    dollars = microdollars / 1_000_000
    if 0 < microdollars < 100:
        return "< $0.0001"
    return f"${dollars:,.2f}" if microdollars % 10_000 == 0 or dollars >= 1 else f"${dollars:.4f}"


def ends(period: Period, at: datetime) -> datetime:
    """When the day or the month of this time is over, in UTC."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def resets_at(limit: Limit, at: datetime, minute_s: int = 60) -> str:
    """When a budget starts anew: `in 3 h 20 min, at 00:00 UTC`; `minute_s` is what is left of a minute."""
    if limit.period == "minute":
        return f"in {_count(max(minute_s, 1), 'second')}"
    end = ends(limit.period, at)
    minutes = max(1, -int((at - end).total_seconds() // 60))
    if minutes >= 2 * 24 * 60:
        left = f"{minutes // (24 * 60)} days"
    elif minutes >= 60:
        left = f"{minutes // 60} h {minutes % 60} min"
    else:
        left = f"{minutes} min"
    day = "" if limit.period == "day" else f"on {end.day} {end:%B} "
    return f"in {left}, {day}at 00:00 UTC"


def refusal(limit: Limit, *, left: int, asked: int, at: datetime, minute_s: int = 60) -> Refused:
    """Why a question is not let in, and from when on it would be.

    `left` is what is neither used nor set aside for answers that are being written; `asked` is what this
    question may take at most.
    """
    whose, where = _WHOSE[limit.scope], _WHERE[limit.scope]
    when = resets_at(limit, at, minute_s)
    if limit.most and asked > limit.most:
        return BudgetSpent(
            f"This may take up to {limit.in_words(asked)}, and {limit.in_words(limit.most)} {_WHEN[limit.period]} "
            f"are allowed{where}. Please ask for less at once: a shorter text, or fewer pictures."
        )
    if limit.period == "minute":
        noun = "questions" if limit.measure == "requests" else "text"
        most = limit.in_words(limit.most) if limit.measure == "tokens" else _count(limit.most, "question")
        are = "is" if limit.most == 1 else "are"
        return RateLimited(
            f"That is a lot of {noun} in one minute: {most} a minute {are} allowed{where}. "
            f"Please ask again {when}."
        )
    noun = "questions" if limit.measure == "requests" else "budget"
    name = f"{whose} {noun} for {_WHEN[limit.period]} ({limit.in_words(limit.most)})"
    if left <= 0:
        used = "are used up. They start" if noun == "questions" else "is used up. It starts"
        return BudgetSpent(f"{name} {used} anew {when}. `/usage` shows what was used.")
    return BudgetSpent(
        f"{name} has {limit.in_words(left)} left, and this may take up to {limit.in_words(asked)}. "
        f"It starts anew {when}; a shorter question may still fit."
    )


def warning(limit: Limit, used: int, at: datetime) -> str:
    """The quiet line under an answer, when most of a budget is used."""
    noun = "questions" if limit.measure == "requests" else "budget"
    return (
        f"{_WHOSE[limit.scope]} {noun} for {_WHEN[limit.period]}: up to {limit.bare(used)} of "
        f"{limit.in_words(limit.most)} used, this answer included. Anew {resets_at(limit, at)}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
