"""What a conversation of 200 turns costs: a history cut in large steps against one that slides turn by turn.

`python -m tests.benchmarks.prefix` composes every prompt as the engine does, counts which of its tokens the
provider has in its cache (from 1024 tokens on, in steps of 128, as OpenAI documents it), and prints a table.
Nothing is sent. The summary for the next cut is asked for as the engine asks for it, and counted as a call
of its own, nothing of which is cached. The room is calibrated by what was counted before, as in
the engine.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.conversation import summarizer
from bot.domain.events import Address, MessageReceived, User, now
from bot.domain.prompts import Example, Match, Message, Prompt, Template, say
from bot.domain.turns import Reply, Turn, Usage
from bot.generation import context_window, prompt_builder
from bot.generation.prompt_builder import PromptInputs, TokenBudget
from bot.llm.catalog.cost import usd
from bot.llm.catalog.prices import prices_in_force
from bot.llm.tokens.calibration import corrected
from bot.llm.tokens.counter import MESSAGE_TOKENS, TokenCounter
from bot.storage.conversations.summaries import Summary

TURNS = 200
_CLAIMED = 50
"""Turns that a claim brings along (`bot.storage.queue.inbox`)."""
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
        prices = prices_in_force().table.prices_of(model, now().date())
        self.usd += (usd(prices, usage) if prices else None) or 0.0


def tokens(message: Message) -> int:
    """As a tokenizer counts in English, about: four bytes each."""
    return MESSAGE_TOKENS + len(message.text.encode()) // 4


def cached(before: Prompt | None, prompt: Prompt) -> int:
    """The tokens at the beginning of a prompt that were at the beginning of the one before it."""
    same = 0
    for old, new in zip(before.messages if before else (), prompt.messages, strict=False):
        if old != new:
            break
        same += tokens(new)
    return 0 if same < _FIRST else _FIRST + (same - _FIRST) // _STEP * _STEP


def received(number: int) -> MessageReceived:
    """The question of a turn."""
    address = Address(conversation="bench:1", event=f"e{number}")
    user = User(id="ada", tenant="acme", name="Ada", zone="Europe/Berlin")
    return MessageReceived(
        id=f"e{number}", address=address, user=user, at=now(), text=prose(60, 1000 + number)
    )


def sliding(turns: Sequence[Turn], budget: int) -> Sequence[Turn]:
    """What is compared with: the newest turns that fit, chosen anew for every prompt."""
    kept = 0
    for turn in reversed(turns):
        budget -= sum(map(context_window.count_tokens, turn.messages))
        if budget < 0:
            break
        kept += 1
    return turns[len(turns) - kept :]


class Talk:
    """A conversation as the engine leads it, without a model: what is composed, and what is billed for it."""

    def __init__(self, context_tokens: int, model: str, *, steps: bool) -> None:
        self.bill = Bill()
        self._context_tokens = context_tokens
        self._model = model
        self._steps = steps
        self._turns: list[Turn] = []
        self._before: Prompt | None = None
        self._summary: Summary | None = None
        self._counter = TokenCounter()

    def ask(self, number: int) -> None:
        """The next question: its prompt, its answer, and the summary that is made after it."""
        question = received(number)
        prompt = prompt_builder.build_prompt(self._material(question), self._room())
        sent = sum(map(tokens, prompt.messages))
        self.bill.pay(sent, cached(self._before, prompt), self._model)
        by_kind = self._counter.by_kind(prompt.messages)
        factors = corrected(self._counter.factors, by_kind, sent, prompt.input_tokens)
        self._counter = replace(self._counter, factors=factors)
        if self._steps:
            self.bill.cuts += bool(self._turns) and prompt.since != self._turns[-1].since
            self._sum_up(prompt, number)
        self._before = prompt
        answer = say("assistant", prose(250, 5000 + number))
        self._turns.append(
            Turn(
                id=question.id,
                received=question,
                template=TEMPLATE.version,
                messages=(prompt.messages[-1], answer),
                reply=Reply(text=answer.text),
                outcome="answered",
                began_at=now(),
                ended_at=now(),
                since=prompt.since if self._steps else "",
                ahead=prompt.ahead if self._steps else "",
            )
        )

    def _room(self) -> TokenBudget:
        output = min(4096, self._context_tokens // 4)
        return TokenBudget(context_tokens=self._context_tokens, output_tokens=output, counter=self._counter)

    def _material(self, question: MessageReceived) -> PromptInputs:
        seen = self._turns[-_CLAIMED:]
        if not self._steps:
            room = self._room()
            seen = sliding(seen, room.context_tokens - room.output_tokens - 1500)
        return PromptInputs(
            template=TEMPLATE,
            received=question,
            question=question.text,
            turns=seen,
            examples=TEMPLATE.examples,
            summaries=self._summary.texts() if self._summary is not None else {},
        )

    def _sum_up(self, sent: Prompt, number: int) -> None:
        """As `bot.conversation.summarizer` does it behind the answer."""
        end, summary = sent.ahead or sent.since, self._summary
        if not end or (summary is not None and summary.since == end):
            return
        prompt = summarizer.request(self._turns[-_CLAIMED:], end, summary, None, TokenCounter())
        self.bill.pay(sum(map(tokens, prompt.messages)), 0, self._model)
        earlier = summary.before(sent.since) if summary is not None and end == sent.ahead else None
        self._summary = Summary(since=end, text=prose(_SUMMARY_TOKENS, -number), earlier=earlier)


def converse(context_tokens: int, model: str, *, steps: bool) -> Bill:
    """A conversation, prompt by prompt."""
    talk = Talk(context_tokens, model, steps=steps)
    for number in range(TURNS):
        talk.ask(number)
    return talk.bill


def main() -> None:
    """Print the table."""
    most = context_window.MOST_TURNS
    print(f"{TURNS} turns of about 310 tokens; input tokens and their price, summaries included\n")
    print("| model, context | history | input tokens | cached | input cost | cuts |")
    print("|---|---|---|---|---|---|")
    for model, context in (("gpt-4o-mini", 16_000), ("gpt-4o", 128_000), ("gpt-5", 272_000)):
        for name, steps in (("slides turn by turn", False), ("cut in steps", True)):
            # What slides has all that a claim brings; the step by number of turns is not its own.
            context_window.MOST_TURNS = most if steps else TURNS  # pyright: ignore[reportConstantRedefinition]
            bill = converse(context, model, steps=steps)
            share = bill.cached_tokens / bill.input_tokens
            print(
                f"| {model}, {context // 1000} k | {name} | {bill.input_tokens:,} | {share:.1%} "
                f"| ${bill.usd:.4f} | {bill.cuts} |"
            )


if __name__ == "__main__":
    main()
