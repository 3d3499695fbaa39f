"""A turn in the making, and the wish to stop it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from bot.domain.errors import Refused
from bot.domain.events import MessageReceived, now
from bot.domain.prompts import Image, Message, Omission, Prompt
from bot.domain.turns import Outcome, Reply, Turn, Usage


class Stop:
    """A person's wish to stop, which may come at any time while an answer is written."""

    def __init__(self) -> None:
        self.requested = False
        self.why = ""
        self._then: Callable[[], object] | None = None

    def request(self, why: str = "asked") -> None:
        """Stop what runs now, and let nothing new begin: `asked` for, or for what the person did to it since
        (`said` something else, `edited` it, `deleted` it, had everything about them `forgotten`).
        """
        self.requested = True
        self.why = why
        if self._then is not None:
            self._then()

    def then(self, act: Callable[[], object] | None) -> None:
        """What stops the work that runs now."""
        self._then = act


@dataclass(slots=True)
class ToolCallAllowance:
    """What one answer may still do: how many tool calls it may make, and how many characters it may have.

    A picture counts as one call, however many a call draws.
    """

    per_round: int = 8
    per_answer: int = 24
    characters: int = 200_000
    refusal: str = ""
    _answer: int = 0
    _round: int = 0

    @property
    def left(self) -> int:
        """What the answer may still call in all."""
        return self.per_answer - self._answer

    def begin_round(self, wanted: int) -> int:
        """Begin a new round; how many of its calls may run. They are counted."""
        self._round = 0
        return self.take(wanted)

    def take(self, wanted: int) -> int:
        """Count more calls of this round, as many as are allowed; returns how many that is."""
        taken = max(0, min(wanted, self.per_round - self._round, self.left))
        self._round += taken
        self._answer += taken
        return taken

    def refuse(self, refusal: Refused) -> None:
        """Remember the words of the first refusal: the person is told once."""
        self.refusal = self.refusal or str(refusal)


_LESS = "This conversation was too long for the model that was free, so I saw less of it than usual."


@dataclass(slots=True)
class TurnBuilder:
    """A turn in the making: what the worker shows, then writes down.

    `event` is the act that pays for it, `reserved` whether that was let in; `allowance` is what tools it may
    call. `before` and `ahead` are where the prompts begin, and will begin, by the turn before it.
    """

    received: MessageReceived
    began_at: datetime
    event: str = ""
    reserved: bool = False
    allowance: ToolCallAllowance = field(default_factory=ToolCallAllowance)
    text: str = ""
    finish: str | None = None
    template: str = ""
    usage: list[Usage] = field(default_factory=list[Usage])
    sent: list[Prompt] = field(default_factory=list[Prompt])
    pictures: dict[str, Image] = field(default_factory=dict[str, Image])
    drawn: list[Image] = field(default_factory=list[Image])
    before: str = ""
    ahead: str = ""
    recalled: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list[str])
    filter: dict[str, str] = field(default_factory=dict[str, str])
    keep: bool = True
    turn: Turn | None = None

    def end(
        self,
        reply: Reply,
        outcome: Outcome = "answered",
        *,
        messages: tuple[Message, ...] = (),
        reason: str = "",
        resets: bool = False,
    ) -> None:
        """Complete the turn."""
        left_out: tuple[Omission, ...] = self.sent[0].left_out if self.sent else ()
        since, ahead = self._begins()
        self.turn = Turn(
            id=self.received.id,
            received=self.received,
            template=self.template,
            messages=messages,
            reply=reply,
            outcome=outcome,
            began_at=self.began_at,
            ended_at=now(),
            usage=tuple(self.usage),
            input_tokens=self.sent[0].input_tokens if self.sent else 0,
            left_out=left_out,
            reason=reason,
            resets=resets,
            since=since,
            ahead=ahead,
            filter=self.filter,
        )

    def _begins(self) -> tuple[str, str]:
        """Where later prompts begin, now and after their next cut: as in the turn before this one, where it
        sent no history.
        """
        chat = next((one for one in self.sent if one.capability == "chat"), None)
        return (chat.since, chat.ahead) if chat is not None else (self.before, self.ahead)

    def instead(self, less: Prompt) -> Prompt:
        """A smaller prompt in place of the one that was too long; the person is told.

        What it leaves out is not left out for good: later prompts begin where that one began.
        """
        since, ahead = self._begins()
        self.sent.clear()
        self.notes.append(_LESS)
        return replace(less, since=since, ahead=ahead)

    def done(self) -> Turn:
        """The completed turn."""
        if self.turn is None:
            raise RuntimeError("a draft was used before it was ended")
        return self.turn

    def kept(self, message: Message) -> Message:
        """A message for the history: the bytes of its pictures go aside, their refs stay.

        Pictures that were only called to mind again (`recalled`) stay with the turn that they came from.
        """
        parts = [
            part for part in message.parts if not (isinstance(part, Image) and part.ref in self.recalled)
        ]
        for part in parts:
            if isinstance(part, Image) and part.data:
                self.pictures[part.ref] = part
        bare = tuple(replace(part, data=b"", mask=b"") if isinstance(part, Image) else part for part in parts)
        return replace(message, parts=bare)

    def ending(self, note: str = "") -> str:
        """What the person is told under an answer: how it ended, what was not read, what is out of view."""
        lines = [note, *(f"_{one}_" for one in self.notes), self.forgetting()]
        return "\n\n".join(line for line in lines if line)

    def forgetting(self) -> str:
        """Tells the person, in the turn in which it happens, that the model sees less of the conversation."""
        if self._begins()[0] == self.before:
            return ""
        return "_This conversation has become long: from here on I see only a summary of its oldest part._"
