"""Says each sentence in a fresh conversation of each surface, many at once, and keeps what happened."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.intent.model import BEGINNING, Label
from tests.intent.outcomes import Observed, happened, has_effect, is_harmful, is_informed
from tests.intent.sentences import TOOLS, Sentence
from tests.intent.stage import Measurement
from tests.intent.talks import Conversation, Shown

AT_ONCE = 24
LETTERS = "ABCDE"
"""One for each surface, at the end of a reference."""
_GRACE_S = 2.0
"""How long an answer that is kept nowhere may take to be seen."""
_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Held:
    """One sentence on one surface."""

    surface: str
    sentence: Sentence
    outcome: str
    text: str

    @property
    def as_meant(self) -> bool:
        """Whether the person got what they meant."""
        return self.outcome in self.sentence.acceptable

    @property
    def harmful(self) -> bool:
        """Whether something was deleted, reset, muted or drawn that nobody asked for."""
        return is_harmful(self.sentence.acceptable, self.outcome)


async def hold_all(
    town: Measurement, chosen: Sequence[Sentence], surfaces: Iterable[str], at_once: int = AT_ONCE
) -> list[Held]:
    """Every sentence on every one of these surfaces."""
    gate = asyncio.Semaphore(at_once)

    async def one(surface: str, number: int, sentence: Sentence) -> Held:
        async with gate:
            try:
                return await hold(town, surface, number, sentence)
            except TimeoutError as error:
                return Held(surface=surface, sentence=sentence, outcome="unanswered", text=str(error))

    work = [one(surface, number, each) for number, each in enumerate(chosen) for surface in surfaces]
    return list(await asyncio.gather(*work))


def reference_of(town: Measurement, surface: str, number: int) -> str:
    """The reference with which a conversation begins."""
    return f"Q{number:05d}{LETTERS[list(town.surfaces).index(surface)]}"


@asynccontextmanager
async def begun(town: Measurement, surface: str, number: int) -> AsyncGenerator[tuple[Conversation, str]]:
    """A conversation in which one question has been answered, and its reference."""
    reference = reference_of(town, surface, number)
    place = list(town.surfaces).index(surface)
    conversation = town.surfaces[surface](number * len(LETTERS) + place)
    try:
        await conversation.say(BEGINNING.format(reference))
        await town.settled(conversation.id)
        yield conversation, reference
    finally:
        await conversation.close()


async def answered(town: Measurement, conversation: Conversation, text: str) -> Shown:
    """Say something, and wait for what is shown."""
    await conversation.say(text)
    await town.settled(conversation.id)
    give_up_at = time.monotonic() + _GRACE_S
    while not (shown := await conversation.shown()).text and time.monotonic() < give_up_at:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)
    return shown


async def hold(town: Measurement, surface: str, number: int, sentence: Sentence) -> Held:
    """One sentence in a fresh conversation, after one question that was answered."""
    async with begun(town, surface, number) as (conversation, reference):
        before = await town.turns(conversation.id)
        first = await town.preference(before[-1])
        tool = sentence.meant if sentence.meant in TOOLS and not sentence.exact else ""
        words = sentence.text.partition(" ")[2] if sentence.exact else ""
        town.model.labels[reference] = Label(
            text=sentence.text, words=words, tool=tool, arguments=sentence.arguments
        )
        shown = await answered(town, conversation, sentence.text)
    after = await town.turns(conversation.id)
    observed = Observed(
        before=before,
        after=after,
        choice=(first, await town.preference(before[-1])),
        seen=town.model.seen[reference],
        shown=shown,
    )
    outcome = happened(observed)
    if sentence.meant == "help" and outcome == "answer" and is_informed(observed):
        outcome = "help"
    if not has_effect(observed, outcome, sentence.arguments, reference):
        outcome = f"{outcome} without effect"
    return Held(surface=surface, sentence=sentence, outcome=outcome, text=shown.text)
