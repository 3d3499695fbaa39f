"""Image requests that a chat model rewrites first."""

import pytest
from msgspec.structs import replace

from bot.domain.errors import ContentFiltered, ModelUnavailable, TemplateError
from bot.domain.events import QuotedMessage
from bot.domain.prompts import Example, Prompt
from bot.domain.turns import Delta
from bot.llm.tokens.counter import TokenCounter
from bot.prompts import formats, prompty
from tests.support.acts import received
from tests.support.fake_adapter import echo, words
from tests.support.harness import ASSISTANT, DRAW, Harness

FULLER = "An oil painting of a red bicycle that leans on a harbour wall."
PAINTER = replace(
    DRAW,
    system="Describe it as an oil painting.",
    examples=(Example(user="a cat", assistant="An oil painting of a cat."),),
    rewrite="fast",
)


@pytest.fixture
def painting(harness: Harness) -> Harness:
    """A bench whose image requests are rewritten."""
    harness.templates = (ASSISTANT, PAINTER)
    harness.model.script = lambda prompt: words(FULLER)
    return harness


async def test_a_request_is_rewritten_before_generating(painting: Harness) -> None:
    (turn,) = await painting.answer(received("/image a red bicycle --landscape"))
    asked, drawn = painting.model.prompts
    assert [message.text for message in asked.messages] == [
        "Describe it as an oil painting.",
        "a cat",
        "An oil painting of a cat.",
        "a red bicycle",
    ]
    assert asked.template == f"rewrite@{PAINTER.digest}"
    assert (asked.capability, asked.deployment, asked.parameters.max_output_tokens) == ("chat", "fast", 2000)
    assert [message.text for message in drawn.messages] == [FULLER]
    assert drawn.parameters.size == "1536x1024"
    assert drawn.input_tokens == TokenCounter().messages(drawn.messages)
    assert painting.adapter.texts == ["a red bicycle"]
    assert [message.text for message in turn.messages] == ["a red bicycle", "", ""]
    assert [usage.deployment for usage in turn.usage] == ["test", "test-image"]


async def test_the_rewritten_request_is_kept_and_shown(painting: Harness) -> None:
    painting.model.pictures = (replace(painting.model.pictures[0], alt=""),)
    (turn,) = await painting.answer(received("/image a red bicycle", event="a"), received("/sent", event="b"))
    assert turn.reply.images[0].alt == FULLER
    sent = painting.adapter.texts[-1]
    assert f"- Image prompt: {FULLER}" in sent
    assert "Call 1 of 2" in sent
    assert "Describe it as an oil painting." in sent


async def test_rewriting_is_reserved_together_with_the_image(
    painting: Harness,
) -> None:
    painting.ledger = painting.limited("person: $0.015/day")  # each of the two calls may take $0.01
    (turn,) = await painting.answer(received("/image a red bicycle"))
    assert (turn.outcome, painting.model.prompts) == ("refused", [])


@pytest.mark.parametrize(
    "deltas",
    [
        [ModelUnavailable("away")],
        [ContentFiltered("no")],
        [Delta(text="An oil"), ModelUnavailable("gone")],
        words("An oil", finish="length"),
        words("  "),
    ],
)
async def test_a_failed_rewrite_uses_the_original_request(
    painting: Harness, deltas: list[Delta | Exception]
) -> None:
    painting.model.script = lambda prompt: deltas
    (turn,) = await painting.answer(received("/image a red bicycle"))
    assert turn.outcome == "answered"
    assert [message.text for message in painting.model.prompts[-1].messages] == ["a red bicycle"]


async def test_a_rewrite_that_is_too_long_is_cut(painting: Harness) -> None:
    painting.model.script = lambda prompt: words("é" * 3000)
    await painting.answer(received("/image a red bicycle"))
    assert painting.model.prompts[-1].messages[-1].text == "é" * 500


async def test_edits_and_variations_are_not_rewritten(painting: Harness) -> None:
    await painting.answer(
        received("/image a red bicycle", event="a"),
        received("/image make it blue --change", event="b"),
        received("variations", event="c"),
    )
    assert [prompt.capability for prompt in painting.model.prompts] == ["chat", "image", "image", "image"]
    assert [message.text for message in painting.model.prompts[2].messages] == ["make it blue"]


async def test_quotes_reach_the_rewriter_but_not_the_image(
    painting: Harness,
) -> None:
    quotes = (QuotedMessage(author="Bob", text="I want a poster"),)
    await painting.answer(replace(received("/image a red bicycle"), quotes=quotes))
    asked, drawn = painting.model.prompts
    assert "I want a poster" in asked.messages[-1].text
    assert [message.text for message in drawn.messages] == [FULLER]


async def test_the_image_model_gets_only_the_request(harness: Harness) -> None:
    quotes = (QuotedMessage(author="Bob", text="I want a poster"),)
    await harness.answer(replace(received("/image a red bicycle"), quotes=quotes))
    assert [message.text for message in harness.model.prompts[0].messages] == ["a red bicycle"]
    assert harness.adapter.texts == ["a red bicycle"]


async def test_a_rewrite_does_not_move_the_first_turn(painting: Harness) -> None:
    painting.context_tokens = 700

    def talk(prompt: Prompt) -> list[Delta | Exception]:
        return echo(prompt) if prompt.template.startswith("assistant") else words(FULLER)

    painting.model.script = talk
    turns = await painting.answer(*(received(f"{n} " + "x" * 250, event=f"e{n}") for n in range(6)))
    assert turns[-1].since
    turns = await painting.answer(received("/image a red bicycle", event="p"))
    assert (turns[-1].since, turns[-1].ahead) == (turns[-2].since, turns[-2].ahead)


# ------------------------------------------------------------------ the file

FILE = """---
metadata:
  parley:
    capability: {capability}
    rewrite: {rewrite}
    match: {{commands: [image]}}
---
{body}
"""


@pytest.mark.parametrize(("value", "found"), [("true", ""), ("false", None), ("fast", "fast")])
def test_a_template_names_its_rewriting_deployment(value: str, found: str | None) -> None:
    text = FILE.format(capability="image", rewrite=value, body="system:\nDescribe it.")
    template = prompty.read_text(text, "draw").template
    assert template.rewrite == found
    assert prompty.read_text(formats.to_prompty(template), "draw").template == template


@pytest.mark.parametrize(
    ("capability", "body", "why"),
    [("chat", "system:\nx", "needs 'capability: image'"), ("image", "", "template is empty")],
)
def test_an_invalid_rewrite_option_is_refused(capability: str, body: str, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        prompty.read_text(FILE.format(capability=capability, rewrite="true", body=body), "draw")
