"""What the content filter stops and notes, in words for the person and kept for the operator."""

from typing import Any

import pytest

from bot.domain.errors import ContentFiltered
from bot.domain.turns import Delta, Usage
from bot.llm.openai.content_filter import blocked, note, note_prompt
from tests.llm.conftest import Connect, asks, heard, text_of
from tests.simulators.azure import Answer, AzureSimulator
from tests.support.acts import received
from tests.support.harness import Harness

SAFE = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"filtered": False, "detected": False}}


def noted(*results: object) -> dict[str, str]:
    notes: dict[str, str] = {}
    for result in results:
        note(notes, "answer", result)
    return notes


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (SAFE, {}),
        ({"violence": {"filtered": False, "severity": "low"}}, {"answer violence": "low"}),
        ({"violence": {"filtered": True, "severity": "high"}}, {"answer violence": "high, stopped"}),
        ({"jailbreak": {"filtered": True, "detected": True}}, {"answer jailbreak": "detected, stopped"}),
        (
            {"protected_material_code": {"filtered": False, "detected": True, "citation": {"URL": "x"}}},
            {"answer protected_material_code": "detected"},
        ),
        (
            {"custom_blocklists": {"filtered": True, "details": [{"filtered": True, "id": "x"}]}},
            {"answer custom_blocklists": "detected, stopped"},
        ),
        ({"error": {"code": "content_filter_error", "message": "away"}}, {}),
        ({"hate": "odd", "sexual": None, "violence": {"severity": "extreme"}}, {}),
        ("odd", {}),
        (None, {}),
    ],
)
def test_only_what_is_more_than_safe_is_noted(results: Any, expected: dict[str, str]) -> None:
    assert noted(results) == expected


def test_of_many_notes_the_worst_is_kept() -> None:
    low, high = {"hate": {"severity": "low"}}, {"hate": {"severity": "high"}}
    stopped = {"hate": {"severity": "high", "filtered": True}}
    assert noted(low, high, low) == {"answer hate": "high"}
    assert noted(stopped, high) == {"answer hate": "high, stopped"}


def test_annotations_distinguish_question_and_answer() -> None:
    notes = noted({"hate": {"severity": "low"}})
    note_prompt(
        notes, [{"prompt_index": 0, "content_filter_results": {"hate": {"severity": "medium"}}}, "odd"]
    )
    note_prompt(notes, None)
    assert notes == {"answer hate": "low", "question hate": "medium"}


def test_category_and_severity_are_in_plain_language() -> None:
    error = blocked(
        "question",
        {
            "self_harm": {"filtered": True, "severity": "medium"},
            "jailbreak": {"filtered": True, "detected": True},
            "hate": {"filtered": False, "severity": "low"},
            "brand_new": {"filtered": True},
        },
    )
    assert str(error) == (
        "The content filter stopped this question. It found: self-harm (medium severity), "
        "an attempt to bypass the rules, brand new. Please rephrase your message."
    )
    assert error.categories == ("self-harm", "an attempt to bypass the rules", "brand new")
    assert error.notes["question self_harm"] == "medium, stopped"
    assert error.notes["question hate"] == "low"


def test_a_block_without_a_reason_is_reported() -> None:
    assert str(blocked("picture", None)).startswith("The content filter stopped this image. Please")


# ------------------------------------------------------------------ over HTTP


@pytest.mark.parametrize("async_filter", [False, True])
async def test_annotations_come_with_the_last_delta(
    azure: AzureSimulator, connect: Connect, async_filter: bool
) -> None:
    azure.async_filter = async_filter
    azure.answer = lambda messages: Answer(
        text="The battle began", noted=("violence",), asked_noted=("hate",)
    )
    deltas, error = await heard(connect().chat(asks("A story")))
    assert error is None
    assert text_of(deltas) == "The battle began"
    noted_of_question = {"question hate": "low"}
    assert deltas[-1].filter == (
        noted_of_question if async_filter else {**noted_of_question, "answer violence": "low"}
    )
    assert all(not delta.filter for delta in deltas[:-1])


async def test_an_answer_without_a_note_carries_none(connect: Connect) -> None:
    deltas, _ = await heard(connect().chat(asks("Hello")))
    assert deltas[-1].filter == {}


@pytest.mark.parametrize("classic", [True, False])
async def test_a_stopped_question_carries_category_and_severity(
    azure: AzureSimulator, connect: Connect, classic: bool
) -> None:
    azure.fail("blocked", categories=("violence", "jailbreak"))
    deltas, error = await heard(connect(classic=classic).chat(asks("Hello")))
    assert deltas == []
    assert isinstance(error, ContentFiltered)
    assert error.notes == {
        "question violence": "medium, stopped",
        "question jailbreak": "detected, stopped",
    }
    assert "violence (medium severity)" in str(error)


async def test_a_stopped_answer_carries_all_that_was_noted(azure: AzureSimulator, connect: Connect) -> None:
    azure.answer = lambda messages: Answer(
        text="The battle began", filtered=("violence",), asked_noted=("violence",)
    )
    _, error = await heard(connect().chat(asks("A story")))
    assert isinstance(error, ContentFiltered)
    assert error.notes == {"question violence": "low", "answer violence": "medium, stopped"}


async def test_a_blocked_image_has_the_same_message(azure: AzureSimulator, connect: Connect) -> None:
    azure.fail("blocked", categories=("sexual",))
    with pytest.raises(ContentFiltered, match="sexual content") as caught:
        await connect(capability="image", family="gpt-image").draw(asks("a cat", "image"))
    assert caught.value.notes == {"question sexual": "medium, stopped"}


# ------------------------------------------------------------------ kept on the turn


async def test_what_was_noted_is_kept_on_the_turn(harness: Harness) -> None:
    last = Delta(usage=Usage(deployment="a"), finish="stop", filter={"answer violence": "low"})
    harness.model.script = lambda prompt: [Delta(text="The battle began"), last]
    (turn,) = await harness.answer(received("A story"))
    assert (turn.outcome, turn.filter) == ("answered", {"answer violence": "low"})


async def test_blocked_text_is_recorded_but_not_in_prompts(harness: Harness) -> None:
    stopped = blocked("question", {"violence": {"filtered": True, "severity": "high"}})
    harness.model.script = lambda prompt: [stopped]
    (turn,) = await harness.answer(received("A story"))
    assert (turn.outcome, turn.messages) == ("refused", ())
    assert turn.filter == {"question violence": "high, stopped"}
    assert "violence (high severity)" in harness.adapter.texts[0]
