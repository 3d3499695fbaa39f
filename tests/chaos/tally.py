"""What chaos left: everything that was accepted, counted in the history and on people's screens."""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.state.redis import Redis
from bot.state.turns import Turns
from bot.types import Turn
from tests.chaos.town import NAME, Asked, Talk, Town


@dataclass
class Tally:
    """The counts; `doubles_allowed` is how many second messages Teams' lack of a search explains."""

    accepted: int = 0
    answered: int = 0
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    disordered: list[str] = field(default_factory=list[str])
    buried: int = 0
    left_waiting: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    slack: "Screens" = field(default_factory=lambda: Screens())
    teams: "Screens" = field(default_factory=lambda: Screens())
    doubles_allowed: int = 0
    attempts: int = 0


@dataclass
class Screens:
    """What people read on one platform: whole answers too many, drafts that nobody finished, wrong texts."""

    doubled: list[str] = field(default_factory=list[str])
    drafts: list[str] = field(default_factory=list[str])
    otherwise: list[str] = field(default_factory=list[str])


async def count(town: Town, redis: Redis) -> Tally:
    """Look at everything."""
    tally, history = Tally(), Turns(redis)
    for talk in town.talks:
        turns = await history.turns(talk.conversation) if talk.conversation else ()
        _count_history(tally, talk, turns)
        shown = _shown(town, talk)
        _count_screen(tally.slack if talk.slack else tally.teams, turns, shown)
        if not talk.slack:
            tally.doubles_allowed += sum(turn.attempts - 1 for turn in turns)
    tally.doubles_allowed += town.teams.answers_lost
    tally.buried = sum([await redis.call("LLEN", name) async for name in redis.scan("parley:*:buried")])
    tally.left_waiting = len([name async for name in redis.scan("parley:*:inbox:*")])
    return tally


def _count_history(tally: Tally, talk: Talk, turns: Sequence[Turn]) -> None:
    names = [NAME.findall(turn.said.text)[-1] for turn in turns]
    accepted = [asked.name for asked in talk.asked if asked.acked_at is not None]
    by_name = {asked.name: asked for asked in talk.asked}
    tally.accepted += len(accepted)
    tally.answered += len(set(names))
    tally.attempts += sum(turn.attempts for turn in turns)
    tally.outcomes.update(turn.outcome for turn in turns)
    tally.lost += sorted(set(accepted) - set(names))
    tally.doubled += [name for name, times in Counter(names).items() if times > 1]
    tally.disordered += _disordered([by_name[name] for name in names])


def _disordered(asked: Sequence[Asked]) -> list[str]:
    """Questions that stand behind one that was first asked after they had been acknowledged."""
    return [
        late.name
        for number, early in enumerate(asked)
        for late in asked[number + 1 :]
        if late.acked_at is not None and late.acked_at < early.sent_at
    ]


def _shown(town: Town, talk: Talk) -> list[str]:
    if talk.slack:
        return town.slack.answers(talk.channel, talk.thread)
    return [message.text for message in town.teams.answers(talk.channel)]


def _count_screen(screens: Screens, turns: Sequence[Turn], shown: Sequence[str]) -> None:
    """Every turn is on the screen once, as it was recorded, and nothing else is."""
    left = Counter(map(_words, shown))
    for turn in turns:
        words = _words(turn.reply.text)
        if left[words]:
            left[words] -= 1
        else:
            screens.otherwise.append(NAME.findall(turn.said.text)[-1])
    recorded = {_words(turn.reply.text) for turn in turns}
    for words in left.elements():
        (screens.doubled if words in recorded else screens.drafts).append(words[:80])


def _words(text: str) -> str:
    """The words alone: platforms write their marks in different ways."""
    return " ".join(re.findall(r"[^\W_]+", text))


def recoveries(talks: Iterable[Talk], blows: Iterable[float]) -> list[float]:
    """For each blow, the seconds until everything that was accepted before it was answered."""
    spans = [
        (asked.acked_at, answered_at)
        for talk in talks
        for asked, answered_at in zip(talk.asked, talk.answered_at, strict=False)
        if asked.acked_at is not None
    ]
    waits = [
        [answered_at - blow for acked_at, answered_at in spans if acked_at <= blow < answered_at]
        for blow in blows
    ]
    return [max(wait) for wait in waits if wait]


def resumptions(talks: Iterable[Talk], back_at: Iterable[float]) -> list[float]:
    """For each return of Redis, the seconds until the next turn was there."""
    times = sorted(time for talk in talks for time in talk.answered_at)
    return [
        next(time for time in times if time >= back) - back for back in back_at if times and times[-1] >= back
    ]


def middle_and_most(seconds: Sequence[float]) -> str:
    """Median and maximum, in words."""
    return f"{statistics.median(seconds):.1f}, {max(seconds):.1f}" if seconds else "-"
