"""The labels of the measurement, and that it sees what goes wrong."""

from collections import Counter

import pytest
from msgspec.structs import replace

from bot.domain.events import now
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Turn
from bot.storage.prompts.preferences import Preference
from tests.intent.model import Seen
from tests.intent.outcomes import Observed, happened, has_effect, is_harmful
from tests.intent.sentences import TOOLS, after_pictures, picture_requests, sentences
from tests.intent.talks import Shown
from tests.support.acts import received

EARLIER = Turn(
    id="first",
    received=received("hello"),
    template="assistant@0",
    messages=(),
    reply=Reply(text="Hello."),
    outcome="answered",
    began_at=now(),
    ended_at=now(),
)
ANSWER = replace(EARLIER, id="second", reply=Reply(text="An answer."))
SEEN = Seen(deployment="chat", unchanged=True, repeated=False, offered=("usage",), informed=False)


def observed(
    *after: Turn, seen: tuple[Seen, ...] = (), choice: Preference | None = None, text: str = ""
) -> Observed:
    """A sentence after one turn, from outside."""
    before = Preference()
    return Observed(
        before=(EARLIER,),
        after=after,
        choice=(before, choice or before),
        seen=seen,
        shown=Shown(text=text, whole=text),
    )


def test_there_are_enough_sentences_of_each_kind() -> None:
    """Field fault 106: at least 300 ordinary ones and about 200 for Parley, in five languages."""
    found = sentences()
    ordinary = [each for each in found if each.meant == "answer"]
    assert len({each.text for each in found}) == len(found) >= 500
    assert len(ordinary) >= 300
    for some in (ordinary, [each for each in found if each.meant in TOOLS and not each.exact]):
        languages = Counter(each.language for each in some if each.language)
        assert set(languages) == {"en", "de", "fr", "es", "ja"}
        assert min(languages.values()) >= 25


def test_few_sentences_have_two_meanings() -> None:
    assert sum(bool(each.also) for each in sentences()) <= 5


def test_there_are_enough_pictures_of_each_kind() -> None:
    """Field fault 107: 60 requests with options, 54 changes, 27 new pictures."""
    assert Counter(each.language for each in picture_requests()) == dict.fromkeys(
        ("en", "de", "fr", "es", "ja"), 12
    )
    assert all(each.options for each in picture_requests())
    assert Counter(each.kind for each in after_pictures()) == {"change": 54, "new": 27}


PICTURE = replace(ANSWER, reply=Reply(text="", images=(Image(mime="image/png", data=b""),)))
USED = replace(SEEN, results=(("usage", "5 answers"),))


@pytest.mark.parametrize(
    ("seen_outside", "outcome"),
    [
        (observed(), "deleted"),
        (observed(EARLIER, choice=Preference(quiet=True)), "mode"),
        (observed(EARLIER, PICTURE), "draw"),
        (observed(EARLIER, replace(ANSWER, resets=True)), "reset"),
        (observed(EARLIER, text="To confirm, send `forget me now`."), "forget"),
        (observed(EARLIER, ANSWER, seen=(SEEN, USED)), "usage"),
        (observed(EARLIER, ANSWER, seen=(SEEN,)), "answer"),
        (observed(EARLIER, ANSWER, seen=(replace(SEEN, unchanged=False),)), "answer to other words"),
        (observed(EARLIER, replace(ANSWER, template="translate@0"), seen=(SEEN,)), "template translate"),
        (observed(EARLIER, replace(ANSWER, template="/usage")), "usage"),
        (observed(EARLIER, replace(ANSWER, template="", outcome="refused"), text="No."), "refused"),
        (observed(EARLIER), "silence"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_outcomes_are_told_apart(seen_outside: Observed, outcome: str) -> None:
    assert happened(seen_outside) == outcome


def test_a_choice_counts_once_it_is_kept() -> None:
    kept = observed(EARLIER, ANSWER, choice=Preference(template="support"))
    assert has_effect(kept, "choose_prompt", {"name": "support"}, "Q1")
    assert not has_effect(kept, "choose_prompt", {"name": "translate"}, "Q1")


def test_a_summary_has_to_read_the_conversation() -> None:
    def reads(text: str) -> Observed:
        return observed(EARLIER, ANSWER, seen=(replace(SEEN, results=(("summarise", text),)),))

    assert has_effect(reads("My reference is Q1."), "summarise", {}, "Q1")
    assert not has_effect(reads("Nothing."), "summarise", {}, "Q1")


@pytest.mark.parametrize("outcome", ["deleted", "reset", "mode", "draw"])
def test_what_was_not_meant_can_harm(outcome: str) -> None:
    """Field fault 104."""
    assert is_harmful(("answer",), outcome)
    assert not is_harmful(("answer",), "usage")
    assert outcome == "deleted" or not is_harmful((outcome,), outcome)
