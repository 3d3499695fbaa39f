"""What a deployment counted corrects the estimates of the same conversation."""

from bot.domain.prompts import say
from bot.domain.turns import Reply, Turn
from bot.generation.turn_builder import TurnBuilder
from bot.llm.tokens.calibration import corrected, recalled
from tests.support.acts import received


def turn(**factors: float) -> Turn:
    asked = received()
    return Turn(
        id=asked.id,
        received=asked,
        template="t@0",
        messages=(say("user", "x"),),
        reply=Reply(text=""),
        outcome="answered",
        began_at=asked.at,
        ended_at=asked.at,
        token_factors=factors,
    )


def test_low_estimates_are_corrected_at_once() -> None:
    assert corrected({}, {"numbers": 100.0}, 150, 100) == {"numbers": 1.5}
    assert corrected({"numbers": 1.5}, {"numbers": 100.0}, 150, 150) == {"numbers": 1.5}


def test_high_estimates_are_corrected_gradually() -> None:
    factors = corrected({}, {"words": 100.0}, 50, 100)
    assert 0.5 < factors["words"] < 0.9
    for _ in range(20):
        factors = corrected(factors, {"words": 100.0}, 50, round(100 * factors["words"]))
    assert factors["words"] < 0.55


def test_a_factor_is_of_its_kind() -> None:
    """Field fault 116: the CSV of one conversation says little about the words in it."""
    factors = corrected({}, {"words": 5.0, "numbers": 95.0}, 180, 100)
    assert factors["numbers"] > 1.7
    assert factors["words"] < 1.05


def test_nothing_counted_teaches_nothing() -> None:
    assert corrected({"words": 1.2}, {"words": 10.0}, 0, 10) == {"words": 1.2}
    assert corrected({"words": 1.2}, {}, 10, 10) == {"words": 1.2}


def test_factors_have_bounds() -> None:
    assert corrected({"words": 1.9}, {"words": 10.0}, 1000, 10) == {"words": 2.0}
    assert recalled([turn(words=99.0, gone=1.0)]) == {"words": 2.0}


def test_the_newest_turn_with_factors_counts() -> None:
    assert recalled([turn(words=1.1), turn(words=1.2), turn()]) == {"words": 1.2}
    assert recalled([turn()]) == recalled([]) == {}


def test_without_a_prompt_nothing_is_learnt() -> None:
    builder = TurnBuilder(received(), received().at)
    builder.end(Reply(text=""))
    builder.calibrate()
    assert builder.done().token_factors == {}
