"""What a conversation of 200 turns costs: a history cut in large steps against one that slides turn by turn.

`python -m tests.benchmarks.prefix` composes every prompt as the engine does, counts which of its tokens the
provider has in its cache (from 1024 tokens on, in steps of 128, as OpenAI documents it), and prints a table.
Nothing is sent. A summary is written after each cut, is counted as a call of its own, and shifts the prefix.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bot import compose, window
from bot.compose import Material, Room
from bot.models.catalogue import family_of, usd
from bot.types import (
    Address,
    Example,
    Match,
    Message,
    Prompt,
    Reply,
    Said,
    Template,
    Turn,
    Usage,
    User,
    now,
    say,
)

TURNS = 200
_CLAIMED = 50
"""Turns that a claim brings along (`bot.state.inbox`)."""
_SUMMARY_TOKENS = 250
_FIRST, _STEP = 1024, 128
_WORDS = (
    *("the", "quarterly", "report", "shows", "that", "revenue", "grew", "while", "costs"),
    *("stayed", "flat", "so", "what", "follows", "from", "it", "now"),
)


def prose(tokens: int, seed: int) -> str:
    """So many tokens of text, about: a word of English is a token and a third."""
    dice = random.Random(seed)
    return " ".join(dice.choice(_WORDS) for _ in range(tokens * 3 // 4))


TEMPLATE = Template(
    name="assistant",
    digest="0" * 12,
    system=prose(350, 0),
    examples=tuple(Example(user=prose(30, n), assistant=prose(60, -n)) for n in range(1, 4)),
    match=Match(default=True),
)


@dataclass
class Bill:
    """What was sent, what of it came from the cache, what the input cost."""

    input_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0
    cuts: int = 0

    def pay(self, sent: int, cached: int, model: str) -> None:
        """Add a call."""
        self.input_tokens += sent
        self.cached_tokens += cached
        usage = Usage(deployment=model, input_tokens=sent, cached_tokens=cached)
        self.usd += usd(family_of(model, "chat").prices, usage) or 0.0


def tokens(message: Message) -> int:
    """As a tokenizer counts in English, about: four bytes each."""
    return window.MESSAGE_TOKENS + len(message.text.encode()) // 4


def cached(before: Prompt | None, prompt: Prompt) -> int:
    """The tokens at the beginning of a prompt that were at the beginning of the one before it."""
    same = 0
    for old, new in zip(before.messages if before else (), prompt.messages, strict=False):
        if old != new:
            break
        same += tokens(new)
    return 0 if same < _FIRST else _FIRST + (same - _FIRST) // _STEP * _STEP


def said(number: int) -> Said:
    """The question of a turn."""
    address = Address(conversation="bench:1", event=f"e{number}")
    user = User(id="ada", tenant="acme", name="Ada")
    return Said(id=f"e{number}", address=address, user=user, at=now(), text=prose(60, 1000 + number))


def sliding(turns: Sequence[Turn], budget: int) -> Sequence[Turn]:
    """What is compared with: the newest turns that fit, chosen anew for every prompt."""
    kept = 0
    for turn in reversed(turns):
        budget -= sum(map(window.weigh, turn.messages))
        if budget < 0:
            break
        kept += 1
    return turns[len(turns) - kept :]


def converse(context_tokens: int, model: str, *, steps: bool) -> Bill:
    """A conversation, prompt by prompt."""
    bill, turns, before, summary = Bill(), list[Turn](), None, ""
    room = Room(context_tokens=context_tokens, output_tokens=min(4096, context_tokens // 4))
    for number in range(TURNS):
        question = said(number)
        seen = turns[-_CLAIMED:]
        if not steps:
            budget = room.context_tokens - room.output_tokens - 1500
            seen = [replace(turn, since="") for turn in sliding(seen, budget)]
        material = Material(
            template=TEMPLATE,
            said=question,
            question=question.text,
            turns=seen,
            examples=TEMPLATE.examples,
            summary=summary,
        )
        prompt = compose.compose(material, room)
        bill.pay(sum(map(tokens, prompt.messages)), cached(before, prompt), model)
        if steps and turns and prompt.since != turns[-1].since:
            bill.cuts += 1
            dropped = sum(tokens(message) for turn in turns[-20:] for message in turn.messages)
            bill.pay(dropped + _SUMMARY_TOKENS, 0, model)
            summary = prose(_SUMMARY_TOKENS, -number)
        before = prompt
        answer = say("assistant", prose(250, 5000 + number))
        turns.append(
            Turn(
                id=question.id,
                said=question,
                template=TEMPLATE.version,
                messages=(prompt.messages[-1], answer),
                reply=Reply(text=answer.text),
                outcome="answered",
                began_at=now(),
                ended_at=now(),
                since=prompt.since if steps else "",
            )
        )
    return bill


def main() -> None:
    """Print the table."""
    most = window.MOST_TURNS
    print(f"{TURNS} turns of about 310 tokens; input tokens and their price, summaries included\n")
    print("| model, context | history | input tokens | cached | input cost | cuts |")
    print("|---|---|---|---|---|---|")
    for model, context in (("gpt-4o-mini", 16_000), ("gpt-4o", 128_000), ("gpt-5", 272_000)):
        for name, steps in (("slides turn by turn", False), ("cut in steps", True)):
            # What slides has all that a claim brings; the step by number of turns is not its own.
            window.MOST_TURNS = most if steps else TURNS  # pyright: ignore[reportConstantRedefinition]
            bill = converse(context, model, steps=steps)
            share = bill.cached_tokens / bill.input_tokens
            print(
                f"| {model}, {context // 1000} k | {name} | {bill.input_tokens:,} | {share:.1%} "
                f"| ${bill.usd:.4f} | {bill.cuts} |"
            )


if __name__ == "__main__":
    main()
