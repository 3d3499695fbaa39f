"""What people of chaos do, and in which conversation: the values that everything is counted by."""

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Place = Literal["thread", "direct", "personal", "group", "slash", "asked"]
PLACES: tuple[Place, ...] = ("thread", "direct", "personal", "group", "thread", "personal", "slash", "asked")
"""A thread in a channel and a direct message in Slack, a personal and a group chat in Teams; slash commands
that one person reads alone, and `/ask`, whose question is posted for all. Some are begun more often."""

Refused = Literal["", "blocks", "place"]
"""What the platform refuses in a conversation, for good: nothing, messages with blocks, everything."""

Kind = Literal["question", "file", "picture", "command", "edit", "deletion", "rating", "stop"]
SHARES: Mapping[Kind, int] = {
    "question": 30,
    "file": 8,
    "picture": 6,
    "command": 8,
    "edit": 9,
    "deletion": 6,
    "rating": 8,
    "stop": 5,
}
"""How often each is done, where it can be done at all; a stop is a question that is then stopped."""
WORDS = ("reset", "help", "usage")
ANSWERED: frozenset[Kind] = frozenset({"question", "file", "stop", "picture", "command"})
"""What leads to a turn of its own."""
ASKED: frozenset[Kind] = frozenset({"question", "file", "stop"})
"""What is answered by the chat model, in words."""
NAME = re.compile(r"\bq\d{5}\b")
MARK = re.compile(r"\b[qf]\d{5}\b")
"""The name of a question, and the same number in the file that came with it."""


@dataclass
class Act:
    """Something that a person did. Times are in seconds of the clock; `acked_at` is the platform's first 200.

    `event` is the id that its turn has; `sign` is what the platform calls the message. An edit, a deletion
    and a rating have a `target`; `stopped_at` is when a person wished that the answer to this one ends;
    `again`: a command that was not taken, and was typed again.
    """

    kind: Kind
    name: str
    sent_at: float
    word: str = ""
    good: bool = True
    target: "Act | None" = None
    event: str = ""
    sign: Any = None
    acked_at: float | None = None
    stopped_at: float | None = None
    again: bool = False

    @property
    def mark(self) -> str:
        """What stands in the file that came with it."""
        return "f" + self.name[1:]


@dataclass
class Talk:
    """One conversation; `conversation` is what Parley calls it, once it has begun.

    `refused` is what the platform refuses here. `done_at` is when its acts were done, in their order; `maybe` are
    the ids of acts that nobody was thanked for, and which may have been written down all the same. `lease` is the
    token and the attempt last seen.
    """

    place: Place
    number: int
    chance: random.Random
    conversation: str = ""
    thread: str = ""
    acts: list[Act] = field(default_factory=list[Act])
    done_at: list[float] = field(default_factory=list[float])
    maybe: set[str] = field(default_factory=set[str])
    lease: tuple[int, int] = (0, 0)
    refused: Refused = ""

    @property
    def slack(self) -> bool:
        """Whether it is in Slack; in Teams otherwise."""
        return self.place not in ("personal", "group")

    @property
    def user(self) -> str:
        """Who takes part, in the platform's words."""
        if not self.slack:
            return "alice"
        return f"U{self.number:05d}" if self.place in ("slash", "asked") else "U0ALICE"

    @property
    def channel(self) -> str:
        """Where it is, in the platform's words."""
        return {
            "thread": "C0GENERAL",
            "direct": f"D{self.number:05d}",
            "personal": f"a:{self.number}",
            "group": f"19:{self.number}@thread.v2",
            "slash": "C0OTHER",
            "asked": "C0GENERAL",
        }[self.place]

    @property
    def acked(self) -> list[Act]:
        """What the platform was thanked for, in that order."""
        taken = [act for act in self.acts if act.acked_at is not None]
        return sorted(taken, key=lambda act: act.acked_at or 0)

    @property
    def open(self) -> int:
        """How much was thanked for, or is on its way, and is not done."""
        return len(self.acts) - len(self.done_at)

    def ran_out(self, token: int, attempt: int) -> bool:
        """Take down the lease as it is now; whether one ran out since the last look.

        A claim takes a token, and giving back takes one too: a lease that ran out leaves none for that.
        """
        (before, tried), self.lease = self.lease, (token, attempt)
        return bool(tried) and attempt > tried and token - before < 2 * (attempt - tried)

    def after(self, act: Act, kind: Kind) -> list[Act]:
        """The edits, deletions or ratings of an act, in their order."""
        return [item for item in self.acts if item.target is act and item.kind == kind]

    def cut_short(self, act: Act) -> bool:
        """Whether its edit's answer may be the first: it was stopped, or not answered when the edit came.

        A stop ends what is answered at that time, which may be an earlier act than the one it was meant for.
        """
        edits = self.after(act, "edit")
        done_at = dict(zip((item.name for item in self.acked), self.done_at, strict=False))
        overtaken = bool(edits) and edits[0].sent_at < done_at.get(act.name, math.inf)
        ended = done_at.get(act.name, math.inf) + 1.0  # it is noted a moment later
        stops = [item.stopped_at for item in self.acts if item.stopped_at is not None]
        stopped = any((act.acked_at or 0.0) <= at <= ended for at in stops)
        return bool(edits) and (overtaken or act.stopped_at is not None or stopped)

    def names(self, act: Act) -> list[str]:
        """What the question was called, from its first wording to its last."""
        return [act.name, *(edit.name for edit in self.after(act, "edit"))]

    def targets(self, kind: Kind) -> list[Act]:
        """What can be edited, deleted or rated here now."""
        asked = [act for act in self.acts if act.kind in ASKED and act.acked_at is not None]
        there = [act for act in asked if not self.after(act, "deletion")]
        if kind == "deletion":
            return [act for act in there if act is not self.acts[0]]  # in Slack the thread hangs on it
        if kind == "edit":
            return [act for act in there if not self.after(act, "rating")]
        return [act for act in there if not self.after(act, "edit") and act.kind != "stop"]

    def possible(self, kind: Kind) -> bool:
        """Whether this can be done here now."""
        if self.refused == "place" and kind not in ("question", "file", "edit", "deletion"):
            return False
        if not self.acts:
            return kind in ("question", "picture", "command") if self.place == "slash" else kind == "question"
        if self.place == "slash":
            return kind in ("question", "picture", "command")
        return kind not in ("edit", "deletion", "rating") or bool(self.targets(kind))
