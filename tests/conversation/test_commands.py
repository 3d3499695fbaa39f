"""The commands: what each does, when a text is a command, what help shows."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from msgspec.structs import replace

from bot.conversation.commands.registry import COMMANDS, clash, is_stop
from bot.conversation.personal_data import find
from bot.domain.errors import ModelUnavailable
from bot.domain.prompts import Match, Prompt, Template
from bot.domain.turns import Delta, Deployment
from tests.support.acts import ADA, BOB, edited, pressed, received, stopped
from tests.support.fake_adapter import words
from tests.support.harness import ASSISTANT, CONVERSATION, DRAW, Harness

UNSAID = "You help the person who is named before each message."
"""The assistant's system message where several people speak."""
PIRATE = Template(name="pirate", digest="2" * 12, description="Talks like a pirate", system="Arr.")


def deployment(name: str) -> Deployment:
    return Deployment(
        name=name,
        capability="chat",
        model=f"{name}-model",
        family="gpt-4o",
        endpoint="",
        wire="v1",
        context_tokens=8000,
        output_tokens=100,
    )


@pytest.fixture
def two(harness: Harness) -> Harness:
    """A bench with two templates and two deployments to choose from."""
    harness.templates = (ASSISTANT, DRAW, PIRATE)
    harness.deployments = (deployment("big"), deployment("small"))
    return harness


# ------------------------------------------------------------------ help


async def test_help_lists_only_available_commands(harness: Harness) -> None:
    await harness.answer(received("/help"))
    (text,) = harness.adapter.texts
    assert "`usage`" in text
    for absent in ("`prompt`", "`model`", "`compare`", "`mute`"):
        assert absent not in text, absent


async def test_help_in_a_channel_lists_all_choices(two: Harness) -> None:
    await two.answer(received("/help", channel="C1"))
    (text,) = two.adapter.texts
    assert [one.name for one in COMMANDS if f"`{one.name}`" not in text] == []


def test_templates_cannot_claim_built_in_commands() -> None:
    assert clash(replace(PIRATE, match=Match(commands=("ahoy", "usage")))) == "usage"
    assert clash(replace(PIRATE, match=Match(commands=("ahoy",)))) == ""


# ------------------------------------------------------------------ prompt and model


async def test_a_channel_s_template_answers_everyone_there(two: Harness) -> None:
    await two.answer(
        received("/prompt pirate", event="a", channel="C1"),
        received("hello", event="b", channel="C1", user=BOB),
        received("hello", event="c", channel="C2"),
    )
    assert [prompt.messages[0].text for prompt in two.model.prompts] == ["Arr.", UNSAID]


async def test_a_personal_template_applies_in_all_direct_messages(two: Harness) -> None:
    await two.answer(
        replace(received("prompt pirate", event="a", channel="D1"), direct=True),
        received("hello", event="b", channel="C1"),
        received("hello", event="c", channel="C1", user=BOB),
    )
    assert [prompt.messages[0].text for prompt in two.model.prompts] == ["Arr.", UNSAID]


@pytest.mark.parametrize("word", ["auto", "automatic", "default"])
async def test_a_choice_can_be_reset(two: Harness, word: str) -> None:
    back, hi = received(f"prompt {word}", event="b"), received("hi", event="c")
    await two.answer(received("/prompt pirate", event="a"), back, hi)
    assert two.model.prompts[-1].messages[0].text.startswith("You help ")
    assert (await two.personal_data.profile(ADA, "")).template == ""


async def test_template_commands_override_a_choice(two: Harness) -> None:
    turns = await two.answer(received("/prompt pirate", event="a"), received("/image a cat", event="b"))
    assert turns[-1].template == DRAW.version


async def test_prompt_alone_lists_the_choices(two: Harness) -> None:
    await two.answer(received("prompt"))
    assert "`pirate`: talks like a pirate" in two.adapter.texts[0]
    assert "`assistant` (default)" in two.adapter.texts[0]
    await two.answer(received("prompt assistant", event="b"), received("prompt", event="c"))
    assert "`assistant` (chosen)" in two.adapter.texts[-1]


async def test_a_template_s_own_model_overrides_a_choice(two: Harness) -> None:
    two.templates = (ASSISTANT, replace(PIRATE, deployment="big", match=Match(commands=("pirate",))))
    await two.answer(
        received("/model small", event="a"),
        received("hello", event="b"),
        received("/pirate hello", event="c"),
    )
    assert [prompt.deployment for prompt in two.model.prompts] == ["small", "big"]


async def test_an_unknown_model_lists_the_available_ones(two: Harness) -> None:
    (turn,) = await two.answer(received("/model huge"))
    assert turn.outcome == "refused"
    assert "`big`, `small`" in two.adapter.texts[0]


async def test_a_question_may_begin_like_a_command(two: Harness) -> None:
    questions = ("model railways are fun", "prompt replies please", "compare apples and pears", "stop it")
    await two.answer(*(received(text, event=f"e{number}") for number, text in enumerate(questions)))
    assert tuple(prompt.messages[-1].text for prompt in two.model.prompts) == questions


# ------------------------------------------------------------------ compare


async def test_compare_labels_answers_of_several_models(two: Harness) -> None:
    two.model.script = lambda prompt: words(f"I am {prompt.deployment}.")
    (turn,) = await two.answer(received("/compare who are you?"))
    assert two.adapter.texts == ["**big**\n\nI am big.\n\n---\n\n**small**\n\nI am small."]
    assert {prompt.messages[-1].text for prompt in two.model.prompts} == {"who are you?"}
    assert len(turn.usage) == 2
    assert "I am small." in turn.messages[-1].text


async def test_compare_tells_nothing_private(two: Harness) -> None:
    """In a quiet channel, what the models are asked to compare has nothing of what only somebody else has seen."""
    await two.preferences.store.choose(ADA, "C1", mode="mute")
    await two.answer(received("my secret plan", event="a", channel="C1"))
    await two.answer(received("compare: what was said?", event="b", channel="C1", user=BOB))
    assert len(two.model.prompts) == 3
    for prompt in two.model.prompts[1:]:
        assert "secret" not in " ".join(message.text for message in prompt.messages)


async def test_compare_shows_the_one_that_answers(two: Harness) -> None:
    def script(prompt: Prompt) -> list[Delta | Exception]:
        return [ModelUnavailable("key 123 is wrong")] if prompt.deployment == "big" else words("fine")

    two.model.script = script
    (turn,) = await two.answer(received("compare: well?"))
    assert turn.outcome == "answered"
    assert "_This deployment is unavailable at the moment._" in two.adapter.texts[0]
    assert "123" not in two.adapter.texts[0]


async def test_compare_needs_two_models(harness: Harness) -> None:
    (turn,) = await harness.answer(received("/compare well?"))
    assert turn.outcome == "refused"


# ------------------------------------------------------------------ again, sent, stop


async def test_again_regenerates_in_place(harness: Harness) -> None:
    answers = iter(("first", "second"))
    harness.model.script = lambda prompt: words(next(answers))
    (turn,) = await harness.answer(received("well?", event="a"), received("/again", event="b"))
    assert harness.adapter.shown == {"post of a": "second"}
    assert (turn.id, turn.messages[-1].text) == ("a", "second")
    assert harness.model.prompts[0].messages == harness.model.prompts[1].messages


async def test_again_skips_commands(harness: Harness) -> None:
    await harness.answer(
        received("one", event="a"),
        received("two", event="b"),
        received("/help", event="c"),
        received("again", event="d"),
    )
    assert harness.model.prompts[-1].messages[-1].text == "two"
    await harness.answer(pressed("/again post of a", event="e"))
    assert harness.model.prompts[-1].messages[-1].text == "one"
    assert "two" not in " ".join(message.text for message in harness.model.prompts[-1].messages)


async def test_again_uses_the_edited_question(harness: Harness) -> None:
    await harness.answer(received("old", event="a"), edited("a", "new"), received("try again", event="b"))
    assert harness.model.prompts[-1].messages[-1].text == "new"


async def test_an_unchanged_answer_says_so(harness: Harness) -> None:
    asked = (received("well?", event="a"), received("again", event="b"), received("again", event="c"))
    (turn,) = await harness.answer(*asked)
    (shown,) = harness.adapter.texts
    assert shown.startswith("You said: well?\n\n_Regenerated at ")
    assert shown.count("the answer is the same") == 1
    assert turn.messages[-1].text == "You said: well?", "the model is not told"


async def test_only_author_and_operators_regenerate(harness: Harness) -> None:
    await harness.answer(received("well?", event="a"), received("again", event="b", user=BOB))
    assert len(harness.model.prompts) == 1
    assert "Only the person who asked" in harness.adapter.texts[-1]
    harness.operators.add("bob")
    await harness.answer(received("again", event="c", user=BOB))
    assert len(harness.model.prompts) == 2


async def test_again_needs_a_question(harness: Harness) -> None:
    await harness.answer(received("again"))
    assert "no answer to regenerate" in harness.adapter.texts[0]


async def test_sent_shows_messages_model_and_price(harness: Harness) -> None:
    """Field note 41: `sent` shows exactly what was sent."""
    turns = await harness.answer(
        received("what is up?", event="a"), received("What did you send?", event="b")
    )
    text = harness.adapter.texts[-1]
    for part in ("You help the person", "what is up?", "assistant@000000000000", "`test`", "$0.001"):
        assert part in text, part
    assert harness.adapter.replies[-1].private
    assert [turn.id for turn in turns] == ["a"], "what was shown is not kept a second time"


async def test_sent_shows_what_was_left_out(harness: Harness) -> None:
    """Field note 41: `sent` also shows what was left out, and why."""
    harness.context_tokens = 400
    await harness.answer(
        *(received(f"{n} " + "word " * 20, event=f"e{n}") for n in range(12)), received("/sent", event="x")
    )
    assert "- Left out: " in harness.adapter.texts[-1]
    assert "exceeds its limit" in harness.adapter.texts[-1]


async def test_only_author_and_operators_see_sent(harness: Harness) -> None:
    """Field note 41: prompts contain private messages."""
    await harness.answer(received("my secret", event="a"), pressed("/sent post of a", event="b", user=BOB))
    assert "my secret" not in harness.adapter.texts[-1]
    harness.operators = {BOB.id}
    await harness.answer(pressed("/sent post of a", event="c", user=BOB))
    assert "my secret" in harness.adapter.texts[-1]


async def test_sent_shows_only_the_names_of_images(harness: Harness) -> None:
    await harness.answer(received("/image a cat", event="a"), received("/sent", event="b"))
    assert "user:\n```\na cat\n```" in harness.adapter.texts[-1]
    assert "1 image," in harness.adapter.texts[-1]


@pytest.mark.parametrize("text", ["stop", "Stop", " /stop "])
def test_a_stop_request_is_recognised_at_once(text: str) -> None:
    assert is_stop(received(text))


@pytest.mark.parametrize("text", ["stop words are what?", "stop!", "Stop.", "stop?", "/stop it", "/stop!"])
def test_other_text_is_no_stop_request(text: str) -> None:
    """Field fault 81: "stop!" is a question."""
    assert not is_stop(received(text))


async def test_a_stopped_comparison_keeps_its_text(two: Harness) -> None:
    both = asyncio.Barrier(3)

    async def forever(prompt: Prompt) -> AsyncGenerator[Delta]:
        yield Delta(text=f"{prompt.deployment} began")
        await both.wait()
        await asyncio.Event().wait()

    two.model.script = forever
    await two.accept(received("/compare well?"))
    async with two.working():
        await both.wait()
        await two.accept(stopped(CONVERSATION))
        await two.until(two.idle)
    assert "big began" in two.adapter.texts[0]
    assert two.adapter.texts[0].endswith("_Stopped at your request._")


async def test_replies_are_marked_as_generated(two: Harness) -> None:
    two.model.script = lambda prompt: words("By me.")
    asked = ("/help", "/usage", "/model nonesuch", "well?", "/compare well?", "/image a cat")
    await two.answer(*(received(text, event=text) for text in asked))
    assert [reply.generated for reply in two.adapter.replies] == [False, False, False, True, True, True]
    assert [reply.rate for reply in two.adapter.replies] == [reply.generated for reply in two.adapter.replies]


async def test_filtered_answers_are_not_marked_as_generated(harness: Harness) -> None:
    harness.model.script = lambda prompt: words("x", finish="content_filter")
    await harness.answer(received("well?", event="a"))
    harness.model.script = lambda prompt: [Delta(text="Half of"), ModelUnavailable("gone")]
    await harness.answer(received("well?", event="b"))
    assert [(reply.generated, reply.rate) for reply in harness.adapter.replies] == [
        (False, False),
        (True, False),
    ]


# ------------------------------------------------------------------ the desk


async def test_a_person_sees_their_own_data(two: Harness) -> None:
    await two.answer(received("hello", event="a"))
    await two.preferences.choose(ADA, "", template="pirate", deployment="small")
    profile = await two.personal_data.profile(ADA, "")
    assert (profile.template, profile.deployment) == ("pirate", "small")
    assert profile.templates == (("assistant", "assistant"), ("pirate", "Talks like a pirate"))
    assert profile.deployments == (("big", "big-model"), ("small", "small-model"))
    assert (profile.conversations, profile.answers) == (1, 1)
    assert "| Today | 1 |" in profile.usage
    assert "your preferences" in await two.personal_data.forget(ADA)
    assert (await two.personal_data.profile(ADA, "")).answers == 0


@pytest.mark.parametrize(("text", "template"), [("/compare why?", ""), ("/prompt nothing", "/prompt")])
async def test_again_repeats_a_refused_comparison(harness: Harness, text: str, template: str) -> None:
    (turn,) = await harness.answer(received(text))
    assert (turn.outcome, turn.template) == ("refused", template)
    assert (find([turn]) is None) == bool(template)
