"""Collects a turn while it is answered, and lets a person stop it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from bot.domain.calls import CallLog
from bot.domain.errors import Refused
from bot.domain.events import MessageReceived, UnreadPart, User, now
from bot.domain.prompts import Image, Message, Part, Prompt
from bot.domain.turns import Outcome, Reply, Turn
from bot.domain.words import marked, tr
from bot.llm.tokens.calibration import corrected
from bot.llm.tokens.counter import TokenCounter, is_counted


class Stop:
    """A request to stop an answer; may arrive at any time while it is written."""

    def __init__(self) -> None:
        self.requested = False
        self.why = ""
        self._cancel: Callable[[], object] | None = None

    def request(self, why: str = "asked") -> None:
        """Cancel the current work and start no more. `why`: the person `asked`, or has since sent another
        message (`said`), `edited` or `deleted` this one, or deleted all their data (`forgotten`).
        """
        self.requested = True
        self.why = why
        if self._cancel is not None:
            self._cancel()

    def then(self, cancel: Callable[[], object] | None) -> None:
        self._cancel = cancel


@dataclass(slots=True)
class ToolCallAllowance:
    """The limits of one answer: tool calls per round and in all, and characters.

    Each generated image counts as a call.
    """

    per_round: int = 8
    per_answer: int = 24
    characters: int = 200_000
    refusal: str = ""
    _answer: int = 0
    _round: int = 0

    @property
    def left(self) -> int:
        """Tool calls that the answer may still make."""
        return self.per_answer - self._answer

    def begin_round(self, wanted: int) -> int:
        """Begin a new round and count its calls; returns how many of them may run."""
        self._round = 0
        return self.take(wanted)

    def take(self, wanted: int) -> int:
        """Count further calls of this round; returns how many of them are allowed."""
        taken = max(0, min(wanted, self.per_round - self._round, self.left))
        self._round += taken
        self._answer += taken
        return taken

    def refuse(self, refusal: Refused) -> None:
        """Keep the text of the first refusal, which is shown once."""
        self.refusal = self.refusal or str(refusal)


@dataclass(slots=True)
class ToolOutcome:
    """What tool calls add to the reply: texts below the answer, and the command that confirms the last one of them.

    `private`: only the asker sees the reply, and it is not shown while it is written.
    """

    texts: list[str] = field(default_factory=list[str])
    private: bool = False
    confirm: str = ""
    confirm_label: str = "Delete"


_TRUNCATED = marked(
    "This conversation was too long for the available model, so it read less of it than usual."
)


@dataclass(slots=True)
class TurnBuilder:
    """Collects what becomes a turn.

    `event` is the id of the event to which usage is charged, `reserved` whether its budget is reserved, `held`
    whether anything is. `before` and `ahead` are `since` and `ahead` of the previous turn (`TruncatedHistory`).
    `missing` is what could not be read for this answer, beside the `unread` parts of the message. `kept_template` is
    `kept` of the turn, `prompt` that of the reply. `shown`: a part of the answer may be visible. `surface` says where
    the answer is shown. `calls` are the provider calls of this attempt, by default none; `payer` is who asked for
    them, if not the sender. `counter` counts the tokens of what is added to the prompt.
    """

    received: MessageReceived
    began_at: datetime
    event: str = ""
    reserved: bool = False
    held: bool = False
    allowance: ToolCallAllowance = field(default_factory=ToolCallAllowance)
    text: str = ""
    finish: str | None = None
    template: str = ""
    sent: list[Prompt] = field(default_factory=list[Prompt])
    pictures: dict[str, Image] = field(default_factory=dict[str, Image])
    drawn: list[Image] = field(default_factory=list[Image])
    before: str = ""
    ahead: str = ""
    recalled: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list[str])
    missing: list[UnreadPart] = field(default_factory=list[UnreadPart])
    filter: dict[str, str] = field(default_factory=dict[str, str])
    keep: bool = True
    outcome: ToolOutcome = field(default_factory=ToolOutcome)
    kept_template: str = ""
    prompt: str = ""
    shown: bool = False
    surface: str = ""
    calls: CallLog = field(default_factory=CallLog)
    payer: User | None = None
    counter: TokenCounter = field(default_factory=TokenCounter)
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
        since, ahead = self._begins()
        self.turn = Turn(
            id=self.received.id,
            received=self.received,
            template=self.template,
            messages=messages,
            reply=replace(reply, prompt=self.prompt) if self.prompt and reply.generated else reply,
            outcome=outcome,
            began_at=self.began_at,
            ended_at=now(),
            usage=self.calls.usage,
            input_tokens=self.sent[0].input_tokens if self.sent else 0,
            left_out=self.sent[0].left_out if self.sent else (),
            reason=reason,
            resets=resets,
            since=since,
            ahead=ahead,
            filter=self.filter,
            unread=self.unread,
            kept="" if resets else self.kept_template,
            token_factors={**self.counter.factors},
        )

    def calibrate(self) -> None:
        """Correct the estimates of later prompts of this conversation by what the deployment counted for this one's.

        Not for prompts with images, which are counted apart.
        """
        counted = next(
            (one for one in self.calls.usage if one.answers and one.input_tokens and not one.estimated), None
        )
        if counted is None or not self.sent or is_counted():
            return
        prompt, counter = self.sent[0], self.counter
        if any(isinstance(part, Image) for message in prompt.messages for part in message.parts):
            return
        by_kind = counter.by_kind(prompt.messages)
        factors = corrected(counter.factors, by_kind, counted.input_tokens, prompt.input_tokens)
        self.turn = replace(self.done(), token_factors={**factors})

    @property
    def unread(self) -> tuple[UnreadPart, ...]:
        """Everything that could not be read for this answer."""
        return tuple(dict.fromkeys((*self.received.unread, *self.missing)))

    def _begins(self) -> tuple[str, str]:
        """`since` and `ahead` for later prompts; unchanged if no chat prompt was sent."""
        chat = next((prompt for prompt in self.sent if prompt.capability == "chat"), None)
        return (chat.since, chat.ahead) if chat is not None else (self.before, self.ahead)

    def instead(self, smaller: Prompt) -> Prompt:
        """A smaller prompt in place of the one that was too long; adds a note for the person.

        Later prompts begin where the longer one began.
        """
        since, ahead = self._begins()
        self.sent.clear()
        self.notes.append(tr(_TRUNCATED))
        return replace(smaller, since=since, ahead=ahead)

    def addressed(self, reason: str, *, private: bool) -> None:
        """Record why the completed turn is answered. A `private` reply is for the asker only, without feedback."""
        turn = self.done()
        reply = replace(turn.reply, private=True, rate=False) if private else turn.reply
        self.turn = replace(turn, reply=reply, addressing=reason)

    def done(self) -> Turn:
        """The completed turn. Raises RuntimeError before `end`."""
        if self.turn is None:
            raise RuntimeError("the turn was used before it was completed")
        return self.turn

    def kept(self, message: Message) -> Message:
        """A message for the history: images keep their refs, and their bytes move to `pictures`.

        Images taken from earlier turns (`recalled`) are left out: they belong to those.
        """
        parts: list[Part] = []
        for part in message.parts:
            if not isinstance(part, Image):
                parts.append(part)
            elif part.ref not in self.recalled:
                self.pictures |= {part.ref: part} if part.data else {}
                parts.append(replace(part, data=b"", mask=b""))
        return replace(message, parts=tuple(parts))

    def ending(self, note: str = "") -> str:
        """The notes under an answer: how it ended, what was not read, the notes of the turn, and whether history was
        truncated.
        """
        unread = [part.worded for part in self.unread]
        lines = [note, *(f"_{text}_" for text in (*unread, *self.notes)), self._truncation()]
        return "\n\n".join(line for line in lines if line)

    def _truncation(self) -> str:
        """A note for the turn in which the history is truncated."""
        if self._begins()[0] == self.before:
            return ""
        return tr("_This conversation is long. From now on, the model gets a summary of its oldest part._")
