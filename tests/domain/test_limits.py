"""Limits: parsing of the setting, its errors, and messages to people."""

from datetime import UTC, datetime

import pytest

from bot.app.settings import Settings
from bot.domain import limits
from bot.domain.errors import BudgetSpent, ConfigError, RateLimited
from bot.domain.limits import Limit, Limits, read, refusal, resets_at, warning
from bot.domain.turns import Deployment, Prices

AFTERNOON = datetime(2026, 12, 30, 20, 40, tzinfo=UTC)


def explained(limits: Limits, person: str = "ada", channel: str = "") -> list[str]:
    return [f"{item.scope}: {item}" for item in limits.of(person=person, channel=channel, tenant="acme")]


def test_scopes_amounts_and_periods_are_parsed() -> None:
    limits = read(
        "person: 30 requests/minute, $2.50/day; channel: 200k tokens/day;\n"
        "tenant: 1.5M tokens / month, $ 300/month, 1 request/day; warn: 90%"
    )
    assert explained(limits, channel="C1") == [
        "person: 30 questions a minute",
        "person: $2.50 a day",
        "channel: 200,000 tokens a day",
        "tenant: 1,500,000 tokens a month",
        "tenant: $300.00 a month",
        "tenant: 1 question a day",
    ]
    assert limits.share == 0.9
    assert explained(limits)[2].startswith("tenant: "), "no channel's limits apply in a one-on-one chat"


def test_an_id_may_have_its_own_limits() -> None:
    """Ids of Teams contain colons."""
    limits = read(
        "person: $1/day; person 29:1aB-c: $20/day; channel: $5/day; channel 19:x_y@thread.tacv2: unlimited"
    )
    assert explained(limits, "29:1aB-c", "19:x_y@thread.tacv2") == ["person: $20.00 a day"]
    assert explained(limits, "bob", "C1") == ["person: $1.00 a day", "channel: $5.00 a day"]


def test_the_default_is_thirty_questions_per_minute() -> None:
    assert explained(Settings(_env_file=None).limits) == ["person: 30 questions a minute"]  # pyright: ignore[reportCallIssue]
    assert explained(read("person: unlimited")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("people: $2/day", "“people: $2/day” is invalid"),
        ("chanel: $2/day", "did you mean “channel”?"),
        ("person $2/day", "Begin each part with person:, channel:, tenant:, guest: or warn:"),
        ("person: 2 dollars/day", "use requests, tokens or $"),
        ("person: lots", "“lots” is not a valid limit for person. Write an amount per minute, day or month"),
        ("person: -3 requests/day", "is not a valid limit for person"),
        ("person: ", "is not a valid limit for person"),
        ("person: $2/week", "use minute, day or month"),
        ("person: $2/minute", "dollars are limited per day or month"),
        ("person: $2/day, $3/day", "two limits of dollars per day"),
        ("person: $2/day; person: $3/month", "“person” occurs twice"),
        ("person: 1 request/day, unlimited", "“unlimited” is not a valid limit for person"),
        ("warn: 0%", "a percentage from 1% to 100%"),
        ("person: $2/day; warn: soon", "a percentage from 1% to 100%"),
        ("person: 99999999999M tokens/day", "is too large"),
        ("person: $2/day;" * 400, "at most 4000"),
    ],
)
def test_an_invalid_setting_is_explained(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert words in str(caught.value)
    with pytest.raises(ValueError, match="PARLEY_LIMITS: "):
        Settings(_env_file=None, parley_limits=text)  # pyright: ignore[reportCallIssue]


def limit(most: int, measure: limits.Measure = "dollars", period: limits.Period = "day") -> Limit:
    return Limit(scope="person", measure=measure, period=period, most=most)


def test_a_refusal_says_when_the_limit_resets() -> None:
    spent = refusal(limit(2_000_000), left=0, asked=10_000, at=AFTERNOON)
    assert isinstance(spent, BudgetSpent)
    assert str(spent) == (
        "Your budget for today ($2.00) is used up. It resets in 3 hr 20 min, at 00:00 UTC. "
        "`usage` shows your usage."
    )
    near = str(refusal(limit(2_000_000, period="month"), left=5_000, asked=10_000, at=AFTERNOON))
    assert "has $0.005 left, but this may take up to $0.01. It resets in 27 hr 20 min, on January 1 " in near
    large = str(refusal(limit(1000, "tokens"), left=1000, asked=4000, at=AFTERNOON))
    assert "up to 4,000 tokens, but the limit is 1,000 tokens per day. Please ask for less" in large
    fast = refusal(limit(3, "requests", "minute"), left=0, asked=1, at=AFTERNOON, minute_s=1)
    assert isinstance(fast, RateLimited)
    assert str(fast) == "The limit is 3 questions per minute. Please try again in 1 second."
    none = str(refusal(limit(0, "requests"), left=0, asked=1, at=AFTERNOON))
    assert none.startswith("Your questions for today (0) are used up.")


def test_the_warning_says_how_much_is_used() -> None:
    assert warning(limit(50, "requests", "month"), 41, AFTERNOON) == (
        "Your questions for this month (50): up to 41 used, including this answer. "
        "Resets in 27 hr 20 min, on January 1 at 00:00 UTC."
    )


def test_times_use_a_suitable_unit() -> None:
    assert resets_at(limit(1, period="minute"), AFTERNOON, 12) == "in 12 seconds"
    assert (
        resets_at(limit(1), AFTERNOON.replace(hour=23, minute=59, second=30)) == "in 1 minute, at 00:00 UTC"
    )
    assert resets_at(limit(1, period="month"), AFTERNOON.replace(day=2)) == "on January 1 at 00:00 UTC"


def test_unknown_prices_are_warned_of() -> None:
    def named(name: str, prices: Prices) -> Deployment:
        return Deployment(
            name=name,
            capability="chat",
            model="",
            family="unknown-chat",
            endpoint="https://x/",
            wire="v1",
            context_tokens=1,
            output_tokens=1,
            prices=prices,
        )

    odd, known = named("odd", Prices()), named("known", Prices(input_usd=1, cached_usd=1, output_usd=1))
    assert [item.level for item in read("person: 9k tokens/day").check([odd])] == ["ok"]
    assert [item.level for item in read("person: $1/day").check([known])] == ["ok"]
    stated, risk = read("person: $1/day").check([odd, known, odd])
    assert stated.words == "person: $1.00 a day"
    assert (risk.level, risk.subject) == ("warning", "limits")
    assert "the price of odd is unknown" in risk.words
    assert "is refused" in risk.words
    assert "PARLEY_PRICE_CEILING" in risk.words


def test_a_ceiling_is_mentioned_by_the_check() -> None:
    """Field fault 114: `check` says where a ceiling stands in for an unknown price."""
    capped = Prices(input_usd=60.0, output_usd=60.0, id="ceiling")
    odd = Deployment(
        name="odd", capability="chat", model="", family="unknown-chat", endpoint="https://x/", wire="v1",
        context_tokens=1, output_tokens=1, prices=capped,
    )  # fmt: skip
    _, note = read("person: $1/day").check([odd])
    assert (note.level, "PARLEY_PRICE_CEILING stands in" in note.words) == ("ok", True)


@pytest.mark.parametrize(
    "named",
    ["person @ann", "tenant contoso.com@x.org", "tenant #general", "person #general", "channel a@x.org"],
)
def test_names_that_nothing_finds_are_refused(named: str) -> None:
    """Field fault 117: names passed the check, and limited nobody."""
    with pytest.raises(ConfigError, match="is a name, but limits are for IDs"):
        read(f"{named}: $20/day")


@pytest.mark.parametrize("named", ["channel #general", "person ann@example.com"])
@pytest.mark.parametrize("slack", [{}, {"slack_client_id": "1", "slack_client_secret": "2"}])
def test_names_need_the_workspace_of_a_token(named: str, slack: dict[str, str]) -> None:
    """Field fault 117. Teams, and an app of many workspaces, can't find names."""
    given = {"slack_signing_secret": "s", **slack} if slack else {}
    with pytest.raises(ValueError, match="is a name, and can't be looked up here") as caught:
        Settings(_env_file=None, parley_limits=f"{named}: $20/day", **given)  # pyright: ignore
    assert "as in " + named.split()[0] in str(caught.value)
    token = {"slack_bot_token": "xoxb-1", "slack_signing_secret": "s"}
    found = Settings(_env_file=None, parley_limits=f"{named}: $20/day", **token)  # pyright: ignore
    assert " ".join(found.limits.names[0]) == named


def test_ids_take_the_place_of_names() -> None:
    limits = read(
        "channel #General: $1/day; channel C2: $2/day; channel #other: $3/day; person A@X.org: $4/day"
    )
    assert limits.names == (("channel", "#general"), ("channel", "#other"), ("person", "a@x.org"))
    known = limits.with_ids({("channel", "#general"): "C1", ("channel", "#other"): "C2"}, ["a problem"])
    assert explained(known, channel="C1") == ["channel: $1.00 a day"]
    assert explained(known, channel="C2") == ["channel: $2.00 a day"], "an ID of its own wins"
    assert known.names == (("person", "a@x.org"),)
    assert known.problems == ("a problem",)


def test_ids_of_platforms_are_no_names() -> None:
    ids = [
        "channel 19:abc@thread.tacv2",
        "channel 19:meeting_x@thread.v2",
        "person 29:1-x",
        "person U061F7AUR",
    ]
    assert len(read("; ".join(f"{each}: $1/day" for each in ids)).named) == len(ids)
