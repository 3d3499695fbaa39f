"""What chaos left: everything that was accepted, held against the history, the prompts and the screens."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.domain.turns import Turn
from bot.generation.completion import STOPPED
from bot.storage.conversations.turns import Turns
from bot.storage.redis.client import Redis
from tests.chaos.screens import Screens, in_slack, in_teams, pictures_in, unseen, whispers
from tests.chaos.talks import ANSWERED, ASKED, Act, Talk
from tests.chaos.town import Town


@dataclass
class Tally:
    """The counts. Lists hold the names of acts, with what is wrong about them."""

    accepted: Counter[str] = field(default_factory=Counter[str])
    unaccepted: list[str] = field(default_factory=list[str])
    answered: int = 0
    stopped: int = 0
    lost: list[str] = field(default_factory=list[str])
    silent: list[str] = field(default_factory=list[str])
    paid_twice: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    disordered: list[str] = field(default_factory=list[str])
    misremembered: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    buried: int = 0
    left_waiting: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    slack: Screens = field(default_factory=Screens)
    teams: Screens = field(default_factory=Screens)
    attempts: int = 0


async def count(town: Town, redis: Redis) -> Tally:
    """Look at everything."""
    tally, history = Tally(), Turns(redis)
    pictures = pictures_in(town.slack)
    for talk in town.talks:
        turns = await history.turns(talk.conversation) if talk.conversation else ()
        count_turns(tally, talk, turns)
        tally.misremembered += remembered_wrongly(town, talk, turns)
        shown = in_slack(town.slack, talk) if talk.slack else in_teams(town.teams, talk)
        texts = [item.words for item in shown]
        tally.silent += unseen(talk, turns, [*texts, *(whispers(town.slack, talk) if talk.slack else ())])
        if talk.slack:
            tally.slack.look(talk, turns, in_slack(town.slack, talk))
            tally.slack.look_alone(turns, whispers(town.slack, talk))
            tally.slack.look_at_pictures(turns, pictures)
        else:
            tally.teams.look(talk, turns, in_teams(town.teams, talk))
    tally.paid_twice = [name for name, times in town.azure.whole.items() for _ in range(times - 1)]
    tally.buried = sum([await redis.call("LLEN", name) async for name in redis.scan("parley:*:buried")])
    tally.left_waiting = len([name async for name in redis.scan("parley:*:inbox:*")])
    return tally


def count_turns(tally: Tally, talk: Talk, turns: Sequence[Turn]) -> None:
    """What became of everything that was done in one conversation."""
    _count_history(tally, talk, turns)
    _count_outcomes(tally, talk, turns)


def _count_history(tally: Tally, talk: Talk, turns: Sequence[Turn]) -> None:
    """Everything that was thanked for has its turn, once, in order; what was deleted has none."""
    ids = [turn.id for turn in turns]
    by_event = {act.event: act for act in talk.acts if act.kind in ANSWERED}
    for act in talk.acts:
        if act.acked_at is None:
            tally.unaccepted.append(act.name)
            continue
        tally.accepted[act.kind] += 1
        if act.kind not in ANSWERED:
            continue
        if talk.after(act, "deletion"):
            tally.wrong += [f"{act.name} was deleted, and is there"] * (act.event in ids)
        elif act.event not in ids:
            tally.lost.append(act.name)
    tally.doubled += [by_event[id].name for id, times in Counter(ids).items() if times > 1]
    tally.wrong += [f"{id} was said by nobody" for id in ids if id not in by_event and id not in talk.maybe]
    tally.disordered += _disordered([by_event[id] for id in ids if id in by_event])
    tally.answered += len(set(ids))
    tally.attempts += sum(turn.attempts for turn in turns)
    tally.outcomes.update(turn.outcome for turn in turns)


def _disordered(acts: Sequence[Act]) -> list[str]:
    """Questions that stand behind one that was first asked after they had been acknowledged."""
    return [
        late.name
        for number, early in enumerate(acts)
        for late in acts[number + 1 :]
        if late.acked_at is not None and late.acked_at < early.sent_at
    ]


# ------------------------------------------------------------------ each act's own outcome


def _count_outcomes(tally: Tally, talk: Talk, turns: Sequence[Turn]) -> None:
    by_event = {act.event: act for act in talk.acts if act.kind in ANSWERED}
    stopped = sum(STOPPED in turn.reply.text for turn in turns)
    if stopped > sum(act.stopped_at is not None for act in talk.acts):
        tally.wrong.append(f"{talk.conversation} was stopped unasked")
    tally.stopped += stopped
    for turn in turns:
        act = by_event.get(turn.id)
        if act is not None:
            tally.wrong += [f"{act.name}: {words}" for words in _faults(talk, act, turn)]


def _faults(talk: Talk, act: Act, turn: Turn) -> list[str]:
    """What is not as it must be with the turn of an act, whatever its kind."""
    names, ratings = talk.names(act), talk.after(act, "rating")
    rated = [rating.good for rating in turn.ratings.values()]
    checks: dict[str, bool] = {
        "a command did something else": act.kind != "command" or turn.template == f"/{act.word}",
        "not one picture": act.kind != "picture" or len(turn.reply.images) == 1 or STOPPED in turn.reply.text,
        "not its newest wording": act.kind not in ASKED or names[-1] in turn.received.text,
        "answers an earlier wording": act.kind not in ASKED
        or turn.reply.text.split()[:1] == [names[-1]]
        or STOPPED in turn.reply.text,
        "its file was not read": act.kind != "file"
        or turn.outcome != "answered"
        or len(names) > 1
        or not turn.messages
        or act.mark in turn.messages[0].text,
        "not rated once, as last": rated == [rating.good for rating in ratings[-1:]],
    }
    return [f"{words} ({turn.reply.text[:40]})" for words, well in checks.items() if not well]


def remembered_wrongly(town: Town, talk: Talk, turns: Sequence[Turn]) -> list[str]:
    """What the model was told and must not have been, and what it was not told and must have been.

    After a deletion was thanked for, nothing tells of what was deleted; after an edit, nothing of the earlier
    wording; after a reset, no new question of what was before it. Else everything is told that was answered;
    but what was stopped or changed, maybe before its first word, may have been answered only by its edit.
    """
    wrong: list[str] = []
    by_name = {act.name: act for act in talk.acts if act.kind in ASKED or act.kind == "edit"}
    for name, act in by_name.items():
        forbidden = [mark for mark in sorted(_forbidden(talk, act)) if mark in town.told[name]]
        wrong += [f"{name} was told of {mark}" for mark in forbidden]
    place = {turn.id: number for number, turn in enumerate(turns)}
    asked = [act for act in by_name.values() if act.kind in ASKED and act.event in place]
    for act in asked:
        told = {mark for name in talk.names(act) for mark in town.told[name]}
        start = max((n for n, turn in enumerate(turns[: place[act.event]]) if turn.resets), default=-1)
        for earlier in asked:
            before = start < place[earlier.event] < place[act.event]
            answered = before and bool(turns[place[earlier.event]].messages)
            if told and answered and not talk.cut_short(earlier) and told.isdisjoint(talk.names(earlier)):
                wrong.append(f"{act.name} was not told of {earlier.name}")
    return wrong


def _forbidden(talk: Talk, act: Act) -> set[str]:
    """The marks that the model must not meet in what it is asked for this question, or new wording of one."""
    forbidden: set[str] = set()
    for earlier in talk.acts:
        if earlier.kind not in ASKED:
            continue
        names = talk.names(earlier)
        for edit in talk.after(earlier, "edit"):
            if _before(edit, act) or edit is act:
                forbidden |= set(names[: names.index(edit.name)])
        gone = any(_before(deletion, act) for deletion in talk.after(earlier, "deletion"))
        resets = [item for item in talk.acts if item.word == "reset" and _before(earlier, item)]
        if gone or (act.kind in ASKED and any(_before(reset, act) for reset in resets)):
            forbidden |= {*names, earlier.mark}
    return forbidden


def _before(first: Act, second: Act) -> bool:
    """Whether an act was thanked for when another began."""
    return first.acked_at is not None and first.acked_at < second.sent_at


# ------------------------------------------------------------------ times


def recoveries(talks: Iterable[Talk], blows: Iterable[float]) -> list[float]:
    """For each blow, the seconds until everything that was accepted before it was done."""
    spans = [
        (act.acked_at, done_at)
        for talk in talks
        for act, done_at in zip(talk.acked, talk.done_at, strict=False)
        if act.acked_at is not None
    ]
    waits = [[done_at - blow for acked_at, done_at in spans if acked_at <= blow < done_at] for blow in blows]
    return [max(wait) for wait in waits if wait]


def resumptions(talks: Iterable[Talk], back_at: Iterable[float]) -> list[float]:
    """For each return of Redis, the seconds until the next act was done."""
    times = sorted(time for talk in talks for time in talk.done_at)
    return [
        next(time for time in times if time >= back) - back for back in back_at if times and times[-1] >= back
    ]


def middle_and_most(seconds: Sequence[float]) -> str:
    """Median and maximum, in words."""
    return f"{statistics.median(seconds):.1f}, {max(seconds):.1f}" if seconds else "-"
