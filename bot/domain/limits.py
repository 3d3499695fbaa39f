"""Limits for people, channels, tenants and their guests: parsing of the setting, and messages to people."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, cast, get_args

from bot.domain import formats
from bot.domain.errors import BudgetSpent, ConfigError, RateLimited, Refused, UnknownPrice
from bot.domain.formats import Rounding
from bot.domain.turns import CheckResult, Deployment
from bot.domain.words import marked, tr, trn

Scope = Literal["person", "channel", "tenant", "guest"]
Measure = Literal["requests", "tokens", "dollars"]
Period = Literal["minute", "day", "month"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
NamedScope = tuple[Scope, str]
"""A scope with an id or a name: a person, a channel or a tenant with limits of its own."""

DEFAULT = "person: 30 requests/minute"
_MAX_AMOUNT = 10**15
"""In any unit; Redis' scripts are not exact beyond it."""
_MAX_LENGTH = 4000
_FORM = (
    "Write an amount per minute, day or month, such as 30 requests/minute, 200k tokens/day, $2.50/day or "
    "$300/month; or `unlimited`"
)
_AMOUNT = re.compile(
    r"(?:\$\s*(?P<usd>\d+(?:\.\d{1,6})?)|(?P<count>\d+(?:\.\d+)?)(?P<scale>[kKM]?)\s*(?P<measure>[a-z]+))"
    r"\s*/\s*(?P<period>[a-z]+)"
)
_ADDRESS = re.compile(r"[^@\s:]+@[^@\s:]+\.[A-Za-z]{2,}")
FIND_ID: Mapping[Scope, str] = {
    "person": "Usage > People in the studio shows the ID of everyone who has asked something, as in person U061F7AUR",
    "channel": "In Slack it is at the end of the channel's details, in Teams in its link (19:…@thread.tacv2), "
    "as in channel C024BE91L",
    "tenant": "`parley usage --by tenant` shows the ID of each",
    "guest": "It is the ID of the workspace or organisation that they come from, as in guest T061EG9R6",
}
_SOON_S = 2 * 24 * 3600
"""A limit that resets later is announced with its date only."""
_SCALES = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A maximum per period; `most` is in requests, tokens or micro-dollars."""

    scope: Scope
    measure: Measure
    period: Period
    most: int

    def __str__(self) -> str:
        noun = "question" if self.most == 1 else "questions"
        amount = self.in_words(self.most) + (f" {noun}" if self.measure == "requests" else "")
        return f"{amount} a {self.period}"

    @property
    def worded(self) -> str:
        """The limit with its period, in the reader's language."""
        amount = self.in_words(self.most)
        if self.measure == "requests":
            amount = trn("{count} question", "{count} questions", self.most)
        return tr(_PER[self.period], amount=amount)

    def in_words(self, amount: int, rounding: Rounding = "nearest") -> str:
        """An amount with its unit, as the reader writes it."""
        if self.measure == "tokens":
            return trn("{count} token", "{count} tokens", amount)
        return self.bare(amount, rounding)

    def bare(self, amount: int, rounding: Rounding = "nearest") -> str:
        """An amount without the word "tokens"."""
        return formats.money(amount, rounding) if self.measure == "dollars" else formats.number(amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of each scope, and of ids with limits of their own.

    `share` is the fraction of a daily or monthly budget at which people are warned once. `problems` say which names
    (`#general`, an e-mail address) have no id, or an old one, and what that means. `guests_apart`: guests and partners
    count against the limits of `guest`, together for each tenant that they come from, and not against those of the
    channel and of the tenant where they write. Without limits of `guest`, those of a tenant are theirs.
    """

    general: Mapping[Scope, Sequence[Limit]] = field(default_factory=dict[Scope, Sequence[Limit]])
    named: Mapping[tuple[Scope, str], Sequence[Limit]] = field(
        default_factory=dict[tuple[Scope, str], Sequence[Limit]]
    )
    share: float = 0.8
    problems: Sequence[str] = ()
    guests_apart: bool = True

    @property
    def names(self) -> tuple[NamedScope, ...]:
        """Scopes with a name in place of an id: a channel `#general`, a person by e-mail address."""
        return tuple((scope, name) for scope, name in self.named if is_name(scope, name))

    def with_ids(self, ids: Mapping[NamedScope, str], problems: Sequence[str] = ()) -> "Limits":
        """The same limits, with ids in place of the names that are known. Limits that are set for an id itself win."""
        found = {
            (scope, ids[scope, name]): limits
            for (scope, name), limits in self.named.items()
            if (scope, name) in ids
        }
        own = {key: limits for key, limits in self.named.items() if key not in ids}
        return replace(self, named=found | own, problems=tuple(problems))

    def of(self, *, person: str, channel: str, tenant: str, guest: str = "") -> tuple[Limit, ...]:
        """The limits that apply to a person in a channel or, without one, to the person and the tenant.

        `guest` is the tenant that a guest or partner comes from, whose limits as guests apply.
        """
        if guest:
            return (*self._of("person", person), *self._of_guests(guest))
        there = self._of("channel", channel) if channel else ()
        return (*self._of("person", person), *there, *self._of("tenant", tenant))

    def _of(self, scope: Scope, id: str) -> Sequence[Limit]:
        return self.named.get((scope, id), self.general.get(scope, ()))

    def _of_guests(self, home: str) -> Sequence[Limit]:
        known = self.named.get(("guest", home), self.general.get("guest"))
        return (
            [replace(limit, scope="guest") for limit in self._of("tenant", home)] if known is None else known
        )

    def of_tenant(self, tenant: str) -> tuple[Limit, ...]:
        """The limits of a tenant of which operators are told: of a day or a month, unless they allow nothing at all."""
        limits = self.named.get(("tenant", tenant), self.general.get("tenant", ()))
        return tuple(limit for limit in limits if limit.period != "minute" and limit.most)

    @property
    def every(self) -> Iterable[Limit]:
        """All limits."""
        return [limit for limits in (*self.general.values(), *self.named.values()) for limit in limits]

    def check(self, deployments: Iterable[Deployment]) -> list[CheckResult]:
        """The check of `parley check`: what limits in dollars mean for deployments with unknown prices."""
        words = "; ".join(
            f"{scope}: {', '.join(map(str, limits)) or 'unlimited'}" for scope, limits in self._all()
        )
        findings = [CheckResult(level="ok", subject="limits", words=words or "no limits are set")]
        return findings + (_price_findings(tuple(deployments)) if self.dollars else [])

    @property
    def dollars(self) -> bool:
        """Whether any limit is in dollars."""
        return any(limit.measure == "dollars" for limit in self.every)

    def _all(self) -> Iterable[tuple[str, Sequence[Limit]]]:
        yield from self.general.items()
        yield from ((f"{scope} {name}", limits) for (scope, name), limits in self.named.items())


def _price_findings(deployments: Sequence[Deployment]) -> list[CheckResult]:
    """The deployments with unknown prices, where limits are in dollars."""
    unknown = [each for each in deployments if each.prices.missing(each.capability)]
    kinds: tuple[tuple[Literal["ok", "warning"], list[Deployment], str], ...] = (
        (
            "warning",
            [each for each in unknown if each.capability != "embedding"],
            "PARLEY_LIMITS limits dollars, but the price of {} is unknown, so what may be answered by it is refused.",
        ),
        (
            "warning",
            [each for each in unknown if each.capability == "embedding"],
            "PARLEY_LIMITS limits dollars, but the price of {} is unknown, so searches with it are not limited.",
        ),
        (
            "ok",
            [each for each in deployments if each.prices.has_ceiling],
            "the price of {} is unknown; PARLEY_PRICE_CEILING stands in for it",
        ),
    )
    findings: list[CheckResult] = []
    for level, found, words in kinds:
        if found:
            text = words.format(", ".join(dict.fromkeys(each.name for each in found)))
            text += _NEXT_STEP if level == "warning" else ""
            findings.append(CheckResult(level=level, subject="limits", words=text))
    return findings


_NEXT_STEP = (
    "\nState its `model` or its `prices` in the file of PARLEY_DEPLOYMENTS, add the model to a table for "
    "`parley prices update`, or set PARLEY_PRICE_CEILING."
)


# ------------------------------------------------------------------ parsing


def read(text: str) -> Limits:
    """Parse the setting, `SCOPE [ID]: LIMIT, LIMIT; SCOPE: ...`. Raises ConfigError."""
    if len(text) > _MAX_LENGTH:
        raise ConfigError(f"the limits have {len(text)} characters; at most {_MAX_LENGTH} are allowed")
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
        name = _check_id(scope, name)
        if (scope, name) in named if name else scope in general:
            raise ConfigError(f"“{head}” occurs twice; put all of its limits after one colon")
        limits = _limits(scope, rest)
        if name:
            named[scope, name] = limits
        else:
            general[scope] = limits
    return Limits(general=general, named=named, share=0.8 if share is None else share)


def is_name(scope: Scope, name: str) -> bool:
    """Whether it is a name that can be looked up, and no id: `#general`, or the e-mail address of a person."""
    return (scope == "channel" and name.startswith("#")) or (scope == "person" and _is_address(name))


def refuse_names(limits: Limits, why: str) -> None:
    """Raise ConfigError if there are names, which nothing here can look up: `why` is a sentence."""
    for scope, name in limits.names:
        raise ConfigError(
            f"“{scope} {name}” is a name, and can't be looked up here. {why} Write the ID. {FIND_ID[scope]}"
        )


def _is_address(name: str) -> bool:
    return _ADDRESS.fullmatch(name) is not None and "@thread." not in name


def _check_id(scope: Scope, name: str) -> str:
    """The id or name. Refuses other names, which would match nothing: events carry ids. Raises ConfigError."""
    if is_name(scope, name):
        return name.lower()
    if name.startswith(("#", "@")) or _is_address(name):
        raise ConfigError(f"“{scope} {name}” is a name, but limits are for IDs. {FIND_ID[scope]}")
    return name


def _halves(entry: str) -> tuple[str, str, str]:
    """The text before and after the colon. Ids may contain colons, but no spaces."""
    found = re.match(r"(\w+(?:\s+\S+?)?)\s*:(?=\s|$|\$)(.*)", entry) or re.match(r"(\w+)\s*:(.*)", entry)
    return (found[1], ":", found[2]) if found else (entry, "", "")


def _unknown(entry: str, word: str) -> str:
    near = difflib.get_close_matches(word, [*SCOPES, "warn"], 1)
    meant = f"; did you mean “{near[0]}”?" if near and near[0] != word else ""
    return (
        f"“{entry}” is invalid{meant} Begin each part with person:, channel:, tenant:, guest: or warn:, and "
        "separate parts by semicolons, as in person: 30 requests/minute, $2/day; channel: $20/day"
    )


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d{1,3})\s*%", text)
    if found is None or not 1 <= int(found[1]) <= 100:
        raise ConfigError(f"“warn: {text}” is invalid; write a percentage from 1% to 100%, as in warn: 80%")
    return int(found[1]) / 100


def _limits(scope: Scope, text: str) -> tuple[Limit, ...]:
    pieces = [piece.strip() for piece in text.split(",")]
    if pieces == ["unlimited"]:
        return ()
    limits = tuple(_limit(scope, piece) for piece in pieces)
    for (measure, period), count in Counter((limit.measure, limit.period) for limit in limits).items():
        if count > 1:
            raise ConfigError(f"{scope} has two limits of {measure} per {period}; keep one of them")
    return limits


def _limit(scope: Scope, piece: str) -> Limit:
    found = _AMOUNT.fullmatch(piece)
    if found is None:
        raise ConfigError(f"“{piece}” is not a valid limit for {scope}. {_FORM}")
    measure = "dollars" if found["usd"] else found["measure"]
    if measure in ("request", "token"):
        measure += "s"
    if measure not in ("requests", "tokens", "dollars") or (measure == "dollars" and not found["usd"]):
        raise ConfigError(f"“{piece}” limits {found['measure']}; use requests, tokens or $")
    if found["period"] not in get_args(Period):
        raise ConfigError(f"“{piece}” is per {found['period']}; use minute, day or month")
    if measure == "dollars" and found["period"] == "minute":
        raise ConfigError(
            f"“{piece}”: dollars are limited per day or month; per minute, limit requests or tokens"
        )
    most = round(
        float(found["usd"]) * 1_000_000 if found["usd"] else float(found["count"]) * _SCALES[found["scale"]]
    )
    if most > _MAX_AMOUNT:
        raise ConfigError(f"“{piece}” is too large; use `unlimited` for no limit")
    return Limit(scope=scope, measure=measure, period=cast(Period, found["period"]), most=most)


# ------------------------------------------------------------------ messages

_PER: Mapping[Period, str] = {
    "minute": marked("{amount} per minute"),
    "day": marked("{amount} per day"),
    "month": marked("{amount} per month"),
}
_TOO_MUCH = {
    "person": marked(
        "This may take up to {asked}, but the limit is {limit}. Please ask for less: a shorter text, or fewer images."
    ),
    "channel": marked(
        "This may take up to {asked}, but the limit in this channel is {limit}. Please ask for less: a shorter text, "
        "or fewer images."
    ),
    "tenant": marked(
        "This may take up to {asked}, but the limit in your organisation is {limit}. Please ask for less: a shorter "
        "text, or fewer images."
    ),
    "guest": marked(
        "This may take up to {asked}, but the limit for guests is {limit}. Please ask for less: a shorter text, or "
        "fewer images."
    ),
}
_TOO_FAST = {
    "person": marked("The limit is {limit}. Please try again {when}."),
    "channel": marked("The limit in this channel is {limit}. Please try again {when}."),
    "tenant": marked("The limit in your organisation is {limit}. Please try again {when}."),
    "guest": marked("The limit for all guests from your organisation is {limit}. Please try again {when}."),
}
_QUESTIONS = {
    ("person", "day"): marked("Your questions for today ({limit})"),
    ("person", "month"): marked("Your questions for this month ({limit})"),
    ("channel", "day"): marked("This channel's questions for today ({limit})"),
    ("channel", "month"): marked("This channel's questions for this month ({limit})"),
    ("tenant", "day"): marked("Your organisation's questions for today ({limit})"),
    ("tenant", "month"): marked("Your organisation's questions for this month ({limit})"),
    ("guest", "day"): marked("The questions of your organisation's guests for today ({limit})"),
    ("guest", "month"): marked("The questions of your organisation's guests for this month ({limit})"),
}
_BUDGETS = {
    ("person", "day"): marked("Your budget for today ({limit})"),
    ("person", "month"): marked("Your budget for this month ({limit})"),
    ("channel", "day"): marked("This channel's budget for today ({limit})"),
    ("channel", "month"): marked("This channel's budget for this month ({limit})"),
    ("tenant", "day"): marked("Your organisation's budget for today ({limit})"),
    ("tenant", "month"): marked("Your organisation's budget for this month ({limit})"),
    ("guest", "day"): marked("The budget of your organisation's guests for today ({limit})"),
    ("guest", "month"): marked("The budget of your organisation's guests for this month ({limit})"),
}


def ends(period: Period, at: datetime) -> datetime:
    """The end of the day or month of `at`, in UTC."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day + timedelta(days=1)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def resets_at(limit: Limit, at: datetime, minute_s: int = 60) -> str:
    """When a limit resets: `in 3 hr 20 min, at 00:00 UTC`; `minute_s` is the rest of a minute, in seconds."""
    if limit.period == "minute":
        return tr("in {left}", left=formats.duration(max(minute_s, 1)))
    end = ends(limit.period, at)
    time, left_s = formats.clock(end), max(60, -int((at - end).total_seconds() // 60) * 60)
    if left_s >= _SOON_S:
        return tr("on {day} at {time}", day=formats.day(end), time=time)
    left = formats.duration(left_s)
    if limit.period == "day":
        return tr("in {left}, at {time}", left=left, time=time)
    return tr("in {left}, on {day} at {time}", left=left, day=formats.day(end), time=time)


def refusal(limit: Limit, *, left: int, asked: int, at: datetime, minute_s: int = 60) -> Refused:
    """Why a question is refused, and when it would be accepted.

    `left` is neither used nor reserved by running answers; `asked` is the most that this question may take.
    """
    when = resets_at(limit, at, minute_s)
    if limit.most and asked > limit.most:
        return BudgetSpent(_TOO_MUCH[limit.scope], asked=limit.in_words(asked, "up"), limit=limit.worded)
    if limit.period == "minute":
        return RateLimited(_TOO_FAST[limit.scope], limit=limit.worded, when=when)
    if left <= 0 and limit.measure == "requests":
        message = marked("{name} are used up. They reset {when}. `usage` shows your usage.")
        return BudgetSpent(message, name=_name(limit), when=when)
    if left <= 0:
        message = marked("{name} is used up. It resets {when}. `usage` shows your usage.")
        return BudgetSpent(message, name=_name(limit), when=when)
    return BudgetSpent(
        "{name} has {left} left, but this may take up to {asked}. It resets {when}; a shorter question may still fit.",
        name=_name(limit),
        left=limit.in_words(left, "down"),
        asked=limit.in_words(asked, "up"),
        when=when,
    )


def unknown_price() -> Refused:
    """Why a question is refused where a limit in dollars applies, if nobody knows what it may cost."""
    return UnknownPrice(
        "A limit in dollars applies here, and the price of this model is not known, so I can't use it. Please tell "
        "your administrator, who can set the price."
    )


def warning(limit: Limit, used: int, at: datetime) -> str:
    """The note below an answer when most of a budget is used."""
    return tr(
        "{name}: up to {used} used, including this answer. Resets {when}.",
        name=_name(limit),
        used=limit.in_words(used, "up"),
        when=resets_at(limit, at),
    )


def operator_notice(limit: Limit, used: int, percent: int, *, tenant: str, at: datetime) -> str:
    """What an operator is told when a limit of a tenant has reached `percent` of what it allows, in Markdown."""
    return tr(
        _REACHED if percent >= 100 else _NEARLY_REACHED,
        tenant=tenant,
        limit=limit.worded,
        used=limit.bare(used),
        share=formats.percent(used / limit.most),
        when=resets_at(limit, at),
    )


_NEARLY_REACHED = marked(
    "**A limit of the organisation {tenant} is nearly used up:** {used} of {limit} ({share}). It resets {when}. Once "
    "it is used up, questions from there are refused. *Usage* in the studio shows what was used; to allow more, "
    "change `PARLEY_LIMITS`."
)
_REACHED = marked(
    "**The organisation {tenant} has reached a limit:** {used} of {limit} ({share}). Questions from there that need "
    "more than what is left are refused. It resets {when}. *Usage* in the studio shows what was used; to allow more, "
    "change `PARLEY_LIMITS`."
)


def _name(limit: Limit) -> str:
    names = _QUESTIONS if limit.measure == "requests" else _BUDGETS
    return tr(names[limit.scope, limit.period], limit=limit.in_words(limit.most))
