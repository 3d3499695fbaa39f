"""What the studio's pages read: conversations, usage, deployments, votes, evaluations, running answers."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Literal, Protocol, Self

from bot.domain.turns import CheckResult, Deployment, Turn


class ConversationMatchView(Protocol):
    """A conversation with turns that match, newest first; `turns` is how many it has in all."""

    @property
    def conversation(self) -> str: ...
    @property
    def matching(self) -> Sequence[Turn]: ...
    @property
    def turns(self) -> int: ...


class SearchResultsView(Protocol):
    """What was found; `before_ms` is where to go on, `None` at the end."""

    @property
    def found(self) -> Sequence[ConversationMatchView]: ...
    @property
    def before_ms(self) -> int | None: ...


class ConversationSearchPort(Protocol):
    """What was said, in every conversation. Raises StateUnavailable."""

    async def search(
        self, matches: Callable[[Turn], bool], *, before_ms: int | None = None, count: int = 25
    ) -> SearchResultsView:
        """Conversations with turns that match, the one that was answered last first."""
        ...

    async def turns(self, conversation: str) -> Sequence[Turn]:
        """Every turn that is kept of a conversation, oldest first."""
        ...


class UsageTotalsView(Protocol):
    """`microdollars` leaves out the calls whose price is unknown; `unpriced` counts them."""

    @property
    def turns(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def images(self) -> int: ...
    @property
    def microdollars(self) -> int: ...
    @property
    def unpriced(self) -> int: ...
    def __add__(self, other: Self, /) -> Self: ...


class UsageRowView(Protocol):
    """What one thing used on one day; `kind` is day, template, deployment, channel or person."""

    @property
    def day(self) -> date: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def totals(self) -> Any: ...


class UsageReportsPort(Protocol):
    """What was used. Raises StateUnavailable."""

    async def rows(self, first: date, last: date) -> Sequence[UsageRowView]:
        """What was used from the first to the last of these days (UTC), oldest first."""
        ...


class DeploymentStateView(Protocol):
    """How a deployment is: whether it rests, what only its operator can mend, its running calls here."""

    @property
    def deployment(self) -> Deployment: ...
    @property
    def rest_s(self) -> float: ...
    @property
    def broken(self) -> str: ...
    @property
    def running(self) -> int: ...


class ProbeResultView(Protocol):
    """What came of a small call; `first_s` is until the first token."""

    @property
    def deployment(self) -> Deployment: ...
    @property
    def finding(self) -> CheckResult: ...
    @property
    def first_s(self) -> float | None: ...


class DeploymentsPort(Protocol):
    """The deployments behind the guardway."""

    def states(self) -> Sequence[DeploymentStateView]:
        """How each is now, in the order in which they are asked."""
        ...

    async def probe(self) -> Sequence[ProbeResultView]:
        """A small call to each. Never raises."""
        ...


class HourlyLatencyView(Protocol):
    """What a deployment took in one hour: half of its calls at most `p50_s`, 95 % at most `p95_s`.

    `measure` is first (to the first token) or whole.
    """

    @property
    def hour(self) -> datetime: ...
    @property
    def deployment(self) -> str: ...
    @property
    def measure(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def p50_s(self) -> float: ...
    @property
    def p95_s(self) -> float: ...


class ScoreView(Protocol):
    """How often something was compared with others, and what came of it."""

    @property
    def name(self) -> str: ...
    @property
    def compared(self) -> int: ...
    @property
    def won(self) -> int: ...
    @property
    def tied(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def none(self) -> int: ...


class VotesPort(Protocol):
    """Which answers people found better, side by side. Raises StateUnavailable."""

    async def cast(
        self,
        comparison: str,
        voter: str,
        author: str,
        choice: Literal["a", "b", "c", "tie", "none"],
        sides: Sequence[tuple[str, str]],
    ) -> None:
        """Keep a verdict in place of this person's earlier one; `sides` are versions and who served."""
        ...

    async def scores(self) -> tuple[Sequence[ScoreView], Sequence[ScoreView]]:
        """How the deployments stand, and how the templates do."""
        ...


class EvalReportView(Protocol):
    """A run of an evaluation: its results, its sums, its table, and how it differs from the one before."""

    @property
    def run(self) -> Any: ...
    @property
    def change(self) -> Any: ...


class EvaluationsPort(Protocol):
    """Cases held against the templates in use."""

    def files(self) -> Sequence[str]:
        """The files of cases."""
        ...

    def models(self) -> Sequence[str]:
        """The chat deployments that a run can be held on."""
        ...

    async def reports(self) -> Sequence[EvalReportView]:
        """Every kept run, newest first."""
        ...

    async def run(
        self, files: Sequence[str], deployment: str, *, author: str, done: Callable[[int, int, int], None]
    ) -> str:
        """Run these; `done` is told how many of how many are done, and how many failed. The id of the run.

        Raises BotError, in words.
        """
        ...


class RunningAnswerView(Protocol):
    """A running answer: what was said, who answers it by what, and the last part of the text so far."""

    @property
    def event(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def deployment(self) -> str: ...
    @property
    def text(self) -> str: ...
