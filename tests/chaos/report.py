"""What a run of chaos was made of, what came of it, and what must not be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.talks import SHARES, Kind
from tests.chaos.tally import Tally, middle_and_most
from tests.chaos.town import Town

_ESTIMATED_WITHIN = 0.05
"""How much of what was made may be booked wrongly, because a process died before it knew."""
_MANY = 1000
"""Of fewer calls, the share that happens to be interrupted says nothing."""


@dataclass(frozen=True, kw_only=True)
class BookedCalls:
    """Calls that the models processed, those that were booked, and their tokens.

    `estimated` is how many are marked as such, `twice` how often an attempt or a call was booked again.
    """

    made: int = 0
    made_tokens: int = 0
    booked: int = 0
    booked_tokens: int = 0
    estimated: int = 0
    twice: int = 0

    def wrongs(self) -> dict[str, object]:
        """What must not be, in words; only estimates may differ from what was made."""
        calls, tokens = self.booked - self.made, self.booked_tokens - self.made_tokens
        most_calls, most_tokens = self.estimated, self.booked_tokens if self.estimated else 0
        if self.made >= _MANY:
            most_calls = min(most_calls, round(_ESTIMATED_WITHIN * self.made))
            most_tokens = min(most_tokens, round(_ESTIMATED_WITHIN * self.made_tokens))
        return {
            "calls booked twice": self.twice,
            "calls made, and booked": (self.made, self.booked) if abs(calls) > most_calls else (),
            "tokens made, and booked": (self.made_tokens, self.booked_tokens)
            if abs(tokens) > most_tokens
            else (),
        }


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made of; `faults` is the chance of a fault of a platform or the model with an act.

    `outages` are those of Redis, `platforms` those of Slack and Teams; `refusals` is the share of threads in Slack that
    refuse messages with blocks, or everything.
    `shares` is how often each kind of act is done, where it can be done at all.
    """

    seed: int = 1
    events: int = 70
    kills: int = 6
    stops: int = 1
    restarts: int = 1
    outages: int = 1
    platforms: int = 1
    refusals: float = 0.2
    web: int = 2
    workers: int = 2
    talks: int = 16
    lease_s: float = 1.0
    faults: float = 0.15
    fsync: str = "always"
    shares: Mapping[Kind, int] = field(default_factory=lambda: SHARES)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it.

    `hit` are the messages in Teams that a blow, a lease that ran out, a machine that stood still, or
    an answer that got lost may have cut off between sending and record: only they may be there besides
    what was recorded, for Teams lets no bot search.
    `whispers_allowed` is the same, as a number, for words that Slack shows one person alone. `interrupted` are the
    acts that a blow or the end of a lease interrupted: only they may have been paid for twice.
    """

    options: Options
    tally: Tally
    done: dict[str, int]
    faults: dict[str, int]
    exits: int
    recovered_s: list[float]
    resumed_s: list[float]
    duration_s: float
    hit: frozenset[str] = frozenset()
    whispers_allowed: int = 0
    stood_still: int = 0
    interrupted: frozenset[str] = frozenset()
    calls: BookedCalls = BookedCalls()

    @property
    def extra(self) -> list[tuple[str, str]]:
        """Messages in Teams that no turn knows of."""
        return [*self.tally.teams.doubled, *self.tally.teams.drafts]

    @property
    def whispered(self) -> int:
        """What one person alone read twice in Slack: words, and pictures asked for by a slash command."""
        alone = [event for event in self.tally.slack.drawn if ":command:" in event]
        return len(self.tally.slack.whispered) + len(alone)

    @property
    def _paid_twice(self) -> str:
        paid = self.tally.paid_twice
        return f"{len(paid)} ({sum(name in self.interrupted for name in paid)})"

    def failures(self) -> list[str]:
        """What must not be, in words; empty when all is well."""
        tally = self.tally
        wrongs: dict[str, object] = {
            "lost": tally.lost,
            "silent": tally.silent,
            "paid twice": [name for name in tally.paid_twice if name not in self.interrupted],
            "doubled turns": tally.doubled,
            "out of order": tally.disordered,
            "told or not told wrongly": tally.misremembered,
            "wrong outcomes": tally.wrong,
            "still waiting": tally.left_waiting,
            "buried": tally.buried,
            "never accepted": tally.unaccepted,
            "doubled on Slack": tally.slack.doubled,
            "orphaned drafts on Slack": tally.slack.drafts,
            "doubled pictures on Slack": [id for id in tally.slack.drawn if ":command:" not in id],
            "shown otherwise than recorded on Slack": tally.slack.otherwise,
            "shown otherwise than recorded in Teams": tally.teams.otherwise,
            "second messages in Teams that nothing explains": [
                (id, words) for id, words in self.extra if id not in self.hit
            ],
            **self.calls.wrongs(),
        }
        found = [f"{name}: {what}" for name, what in wrongs.items() if what]
        if self.whispered > self.whispers_allowed:
            found.append(f"read twice by one person in Slack: {tally.slack.whispered} {tally.slack.drawn}")
        return found

    def table(self) -> str:
        """One Markdown table."""
        tally, calls = self.tally, self.calls
        kinds = ", ".join(f"{number} {kind}" for kind, number in tally.accepted.most_common())
        rows: list[tuple[str, object]] = [
            ("seed", self.options.seed),
            ("web processes, workers", f"{self.options.web}, {self.options.workers}"),
            ("events accepted", tally.accepted.total()),
            ("of these", kinds),
            ("turns in the end", tally.answered),
            ("lost", len(tally.lost)),
            ("silent: nothing is shown to the person", len(tally.silent)),
            ("paid twice (of these interrupted before storing)", self._paid_twice),
            ("calls that the models processed, and that were booked", f"{calls.made}, {calls.booked}"),
            ("of these estimated, and booked twice", f"{calls.estimated}, {calls.twice}"),
            (
                "tokens that the models counted, and that were booked",
                f"{calls.made_tokens}, {calls.booked_tokens}",
            ),
            ("doubled turns", len(tally.doubled)),
            ("out of order", len(tally.disordered)),
            ("prompts that told too much or too little", len(tally.misremembered)),
            ("edits, deletions, ratings, commands gone wrong", len(tally.wrong)),
            ("doubled answers on the screen: Slack", len(tally.slack.doubled)),
            ("orphaned drafts: Slack", len(tally.slack.drafts)),
            ("doubled pictures: Slack", len([item for item in tally.slack.drawn if ":command:" not in item])),
            ("read twice by one person alone: Slack (bound)", f"{self.whispered} ({self.whispers_allowed})"),
            ("doubled answers on the screen: Teams", len(tally.teams.doubled)),
            ("orphaned drafts: Teams", len(tally.teams.drafts)),
            ("bound of both: sends in Teams that were cut off", len(self.hit)),
            ("screen differs from history", len(tally.slack.otherwise) + len(tally.teams.otherwise)),
            ("buried", tally.buried),
            ("attempts per answer", f"{tally.attempts / max(1, tally.answered):.2f}"),
            ("answers that broke off, and say so", tally.outcomes["failed"]),
            ("answers that people stopped", tally.stopped),
            *self.done.items(),
            ("processes that ended by themselves", self.exits),
            ("times that the machine itself stood still", self.stood_still),
            *((f"faults of {name}", number) for name, number in self.faults.items()),
            ("s until all that waited was done (median, most)", middle_and_most(self.recovered_s)),
            ("s from Redis' return to the next act done (median, most)", middle_and_most(self.resumed_s)),
            ("duration, s", f"{self.duration_s:.0f}"),
        ]
        return "\n".join(["| chaos | |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows)])


def whispers_allowed(town: Town, struck: set[str]) -> int:
    """How often words for one person may have come twice: acts under way at a blow, and lost answers."""
    alone = [
        act.name
        for talk in town.talks
        if talk.slack
        for act in talk.acts
        if ":command:" in talk.conversation or act.word in ("help", "usage") or talk.refused == "place"
    ]
    return len(struck.intersection(alone)) + town.slack.unheard
