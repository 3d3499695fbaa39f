"""The demo model: what it answers, remembers and draws, and that it says what it is."""

import io
import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image as Pillow

from bot.domain.errors import NotAllowed
from bot.domain.events import QuotedMessage
from bot.domain.prompts import Image, Message, Parameters, Prompt, Text, ToolResult, ToolSpec, say
from bot.domain.turns import Delta
from bot.generation.prompt_builder import quoted
from bot.llm.demo.drawings import draw, edited, understood
from bot.llm.demo.figures import COLOURS, THINGS
from bot.llm.demo.model import ABILITIES, INTRODUCTION, DemoModel, deployments, reply
from tests.llm.conftest import asks, text_of

SHOTS = (
    say("user", "How do I reset my password?"),
    say("assistant", "Open Settings, then Security."),
    say("user", "Where is the coffee machine?"),
    say("assistant", "On the second floor."),
)


def prompt(
    *received: str, shots: tuple[Message, ...] = (), template: str = "assistant", examples: int = -1
) -> Prompt:
    """A conversation; every question but the last was answered with `ok`."""
    history = [message for text in received[:-1] for message in (say("user", text), say("assistant", "ok"))]
    messages = (say("system", "Be kind."), *shots, *history, say("user", received[-1]))
    return Prompt(template=template, capability="chat", messages=messages, examples=len(shots))


def answer(*received: str, shots: tuple[Message, ...] = ()) -> str:
    return reply(prompt("hi", *received, shots=shots))


QUOTED = quoted(
    [
        QuotedMessage(author="Bob", text="The release is on Friday. What is 2 + 3?"),
        QuotedMessage(author="Cy", text="my name is Cy, and I draw a cat"),
    ]
)


@pytest.mark.parametrize("template", ["assistant", "summarise"])
@pytest.mark.parametrize("question", ["summarise this channel", "Summarise", "sum up the thread"])
def test_quoted_messages_are_summarised_and_never_answered(question: str, template: str) -> None:
    """Field note 31."""
    received = reply(prompt("hi", f"{QUOTED}\n\n{question}", template=template))
    assert "= **5**" not in received
    assert "- Bob: The release is on Friday." in received
    assert "follow as data" not in received


def test_only_the_askers_text_is_the_question() -> None:
    """Field note 31."""
    assert answer(f"{QUOTED}\n\nwhat is 4 + 4?").startswith("4 + 4 = **8**")
    assert "Cy" not in answer(f"{QUOTED}\n\nhello", "what is my name?")
    assert answer(QUOTED).startswith("The demo model can only summarise the attached text:\n\n- Bob:")
    assert answer(f"{QUOTED}\n\nWhere is the coffee machine?", shots=SHOTS) == "On the second floor."


# ------------------------------------------------------------------ honesty


def test_the_first_answer_explains_how_to_connect_azure() -> None:
    for words in (
        "demo model",
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_CHAT_DEPLOYMENT",
    ):
        assert words in INTRODUCTION
    assert INTRODUCTION in reply(prompt("hello"))
    assert INTRODUCTION not in reply(prompt("hello", "hello again"))


def test_examples_are_not_taken_for_a_conversation() -> None:
    assert INTRODUCTION in reply(prompt("hello", shots=SHOTS))
    assert INTRODUCTION not in reply(prompt("hello", "and now?", shots=SHOTS))
    assert "second floor" not in reply(prompt("what did I say so far?", shots=SHOTS))


def test_unanswerable_questions_get_suggestions() -> None:
    assert answer("Who wrote Faust?") == ABILITIES


# ------------------------------------------------------------------ examples


def test_an_example_is_answered_as_it_was_shown() -> None:
    assert answer("How do I reset my password", shots=SHOTS) == "Open Settings, then Security."


def test_the_most_similar_example_is_named() -> None:
    received = answer("where can I find the coffee machine please", shots=SHOTS)
    assert "On the second floor." in received
    assert "Where is the coffee machine?" in received


def test_a_far_question_has_no_example() -> None:
    assert answer("Who wrote Faust?", shots=SHOTS) == ABILITIES


# ------------------------------------------------------------------ memory


@pytest.mark.parametrize(
    ("told", "question", "expected"),
    [
        ("my name is Ada", "What is my name?", "Your name is Ada."),
        ("Hello, I am called Bo, nice to meet you", "who am i?", "Your name is Bo."),
        ("I live in Zurich.", "Where do I live?", "You told me: you live in Zurich."),
        ("My favourite colour is teal!", "what is my favourite colour?", "Your favourite colour is teal."),
        ("my sister is Eve", "who is my sister?", "Your sister is Eve."),
        (
            "remember that the door code is 4711",
            "what do you remember?",
            "You told me:\n\n- the door code is 4711",
        ),
        ("I like tea", "What did I just say?", "You said: “I like tea”"),
    ],
)
def test_it_remembers_what_it_was_told(told: str, question: str, expected: str) -> None:
    assert answer(told, question) == expected


def test_the_later_word_holds() -> None:
    assert answer("my name is Ada", "call me Bo", "what is my name?") == "Your name is Bo."


def test_it_only_knows_what_it_was_told() -> None:
    assert answer("what is my name?") == "You haven't told me your name yet."
    assert answer("what is my favourite food?") == "You haven't told me your favourite food yet."


def test_what_was_said_can_be_listed() -> None:
    assert answer("one", "two", "what did I say so far?") == "You said:\n\n1. hi\n2. one\n3. two"
    assert answer("one", "what did I say first?") == "The first thing you said was: “hi”"


# ------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    ("question", "result"),
    [
        ("What is 12 * (3 + 4)?", "84"),
        ("what's 10/4", "2.5"),
        ("15% of 80", "12"),
        ("12 times 12", "144"),
        ("2^10", "1,024"),
        ("100 divided by 8", "12.5"),
        ("1,000 + 1", "1,001"),
        ("7 - -3", "10"),
        ("2 ** -2", "0.25"),
    ],
)
def test_it_does_sums(question: str, result: str) -> None:
    assert f"**{result}**" in answer(question)


@pytest.mark.parametrize(
    "question",
    [
        "9**9**9**9",
        "10**100**2",
        "1/0",
        "__import__('os')",
        "call 555-1234",
        "on 2026-11-22 at noon",
        "1" * 5000,
    ],
)
def test_what_is_no_sum_is_left_alone(question: str) -> None:
    assert "**" not in answer(question).replace(question, "")


def test_it_knows_the_calendar() -> None:
    today = datetime.now(UTC)
    later = today + timedelta(days=10)
    assert f"{today:%A}" in answer("what day is it today?") or datetime.now(UTC).day != today.day
    assert f"{later.day} {later:%B %Y}" in answer("What date is it in 10 days?") or datetime.now(UTC) > later
    assert re.search(r"\d\d:\d\d UTC", answer("what time is it?"))


def test_it_shortens() -> None:
    text = "Cats are small. They sleep. People love cats. Cats hunt mice at night. Rain fell. Mice fear cats."
    short = answer(f"Summarise: {text}")
    assert short.count("\n") == 2
    assert "- Mice fear cats." in short
    assert reply(prompt("x", text, template="summarise")) == short


@pytest.mark.parametrize(
    ("received", "expected"), [("hello!", "Hello"), ("thanks a lot", "welcome"), ("bye", "Goodbye")]
)
def test_it_is_polite(received: str, expected: str) -> None:
    assert expected in answer(received)


@pytest.mark.parametrize("received", ["Who are you?", "help", "What is Parley?", "what can you do for me?"])
def test_it_says_who_it_is(received: str) -> None:
    assert answer(received).startswith("I'm Parley")
    assert "demo model" in answer(received)


def test_a_picture_or_nothing_gets_a_sensible_answer() -> None:
    picture = Message(role="user", parts=(Image(mime="image/png", data=b"x"),))
    assert "an image" in reply(Prompt(template="a", capability="chat", messages=(picture,)))
    assert "Ask me something" in reply(Prompt(template="a", capability="chat", messages=(say("user", ""),)))
    result = Message(role="tool", parts=(ToolResult(id="c", text="3 °C"),))
    assert "3 °C" in reply(Prompt(template="a", capability="chat", messages=(say("user", "weather"), result)))


# ------------------------------------------------------------------ streaming, counting, comparing


async def test_an_image_request_calls_the_tool_if_available() -> None:
    spec = ToolSpec(name="draw", description="Draw.", schema={})

    async def received(text: str, *tools: ToolSpec) -> list[Delta]:
        prompt = Prompt(template="t", capability="chat", messages=(say("user", text),), tools=tools)
        return [delta async for delta in DemoModel(pace_s=0).chat(prompt)]

    call = (await received("Draw me a red bicycle!", spec))[0].call
    assert call is not None
    assert call.arguments == '{"prompt": "a red bicycle"}'
    for text, tools in (("Draw me a red bicycle!", ()), ("what is a drawing?", (spec,))):
        assert all(delta.call is None for delta in await received(text, *tools))


async def test_an_earlier_image_is_edited() -> None:
    """The description that the prompt builder puts in place of an image is found."""
    messages = (say("user", "[image: a bicycle]"), say("assistant", "Nice."), say("user", "make it blue"))
    spec = ToolSpec(name="draw", description="Draw.", schema={})
    prompt = Prompt(template="t", capability="chat", messages=messages, tools=(spec,))
    call = (await anext(DemoModel(pace_s=0).chat(prompt))).call
    assert call is not None
    assert '"change_last_picture": true' in call.arguments


async def test_it_streams_by_the_word_and_counts() -> None:
    deltas = [delta async for delta in DemoModel(pace_s=0).chat(asks("thanks"))]
    assert text_of(deltas).startswith("You're welcome!\n\n>")
    assert len(deltas) > 20
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.deployment, usage.usd) == ("demo-chat", 0.0)
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert deltas[-1].finish == "stop"


async def test_it_respects_the_maximum_length() -> None:
    short = asks("thanks", parameters=Parameters(max_output_tokens=3))
    deltas = [delta async for delta in DemoModel(pace_s=0).chat(short)]
    assert deltas[-1].finish == "length"
    assert len(deltas) <= 4


async def test_near_texts_have_near_vectors() -> None:
    texts = ["reset my password", "how can I reset the password", "a red bicycle", ""]
    vectors, usage = await DemoModel().embed(texts)
    again, _ = await DemoModel().embed(texts)
    assert vectors == again
    assert [math.fsum(n * n for n in vector) for vector in vectors] == pytest.approx([1.0] * 4)
    near = math.fsum(a * b for a, b in zip(vectors[0], vectors[1], strict=True))
    far = math.fsum(a * b for a, b in zip(vectors[0], vectors[2], strict=True))
    assert near > 0.6 > 0.2 > far
    assert usage.usd == 0.0


def test_its_deployments_serve_every_capability_for_nothing() -> None:
    assert [(d.name, d.capability, d.wire) for d in deployments()] == [
        ("demo-chat", "chat", "offline"),
        ("demo-image", "image", "offline"),
        ("demo-embedding", "embedding", "offline"),
    ]
    assert {d.prices.input_usd for d in deployments()} == {0.0}


# ------------------------------------------------------------------ pictures


def opened(data: bytes) -> Pillow.Image:
    assert data.startswith(b"\x89PNG")
    return Pillow.open(io.BytesIO(data)).convert("RGB")


def has_colour(data: bytes, colour: tuple[int, int, int]) -> bool:
    """Whether at least one pixel in two hundred is of about this colour."""
    small = opened(data)
    small.thumbnail((100, 100))
    pixels = small.tobytes()
    near = sum(all(abs(pixels[at + n] - colour[n]) < 30 for n in range(3)) for at in range(0, len(pixels), 3))
    return near >= 50


async def test_a_red_bicycle_is_red_and_a_bicycle() -> None:
    pictures, usage = await DemoModel(deployments()[1]).draw(asks("a red bicycle", "image"))
    assert [(figure.name, figure.colour) for figure in understood("a red bicycle")] == [
        ("bicycle", COLOURS["red"])
    ]
    assert has_colour(pictures[0].data, COLOURS["red"])
    assert not has_colour(draw("a green bicycle"), COLOURS["red"])
    assert (pictures[0].mime, pictures[0].alt) == ("image/png", "a red bicycle")
    assert (usage.images, usage.usd) == (1, 0.0)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_every_thing_can_be_drawn(name: str) -> None:
    assert [figure.name for figure in understood(f"two {name}s")] == [name]
    assert opened(draw(f"a {name}", "256x256")).size == (256, 256)


@pytest.mark.parametrize(
    ("picture_request", "things"),
    [
        ("two yellow flowers, a bird and mountains", ["flower", "bird", "mountain"]),
        ("a blue ship with a pink puppy", ["boat", "dog"]),
        ("the meaning of life", []),
        ("a car, a blue car and a car", ["car", "car"]),
    ],
)
def test_a_request_is_searched_for_known_things(picture_request: str, things: list[str]) -> None:
    assert [figure.name for figure in understood(picture_request)] == things


def test_a_colour_belongs_to_the_next_thing_only() -> None:
    flower, bird = understood("yellow flowers and a bird")
    assert flower.colour == COLOURS["yellow"]
    assert bird.colour == COLOURS["blue"]


def test_equal_requests_give_equal_images() -> None:
    assert draw("quarterly results", "256x256") == draw("quarterly results", "256x256")
    assert draw("quarterly results", "256x256") != draw("quarterly losses", "256x256")
    assert draw("quarterly results", "256x256", 1) != draw("quarterly results", "256x256", 0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("512x256", (512, 256)),
        ("4096x2048", (1024, 512)),
        ("1x1", (768, 768)),
        ("odd", (768, 768)),
        (None, (768, 768)),
    ],
)
def test_the_size_is_kept_within_reason(size: str | None, expected: tuple[int, int]) -> None:
    assert opened(draw("a cat", size)).size == expected


async def test_several_pictures_differ() -> None:
    picture_request = asks("a dream", "image", Parameters(images=2, size="256x256"))
    pictures, usage = await DemoModel().draw(picture_request)
    assert len({picture.data for picture in pictures}) == 2
    assert usage.images == 2


def test_requests_in_any_script_or_length_work() -> None:
    for picture_request in ("ein grünes Fahrrad 🚲 " * 50, "自転車", "\n"):
        assert opened(draw(picture_request, "256x256")).size == (256, 256)


async def test_make_it_brighter_changes_the_given_image() -> None:
    """Field note 39."""
    data = draw("a cat", "256x256")
    asked = Message(role="user", parts=(Text(text="make it brighter"), Image(mime="image/png", data=data)))
    pictures, _ = await DemoModel().draw(Prompt(template="draw", capability="image", messages=(asked,)))

    def brightness(picture: bytes) -> float:
        grey = opened(picture).convert("L").tobytes()
        return sum(grey) / len(grey)

    assert brightness(pictures[0].data) > brightness(data) + 5
    assert brightness(edited(data, "darker please")) < brightness(data) - 5


@pytest.mark.parametrize(
    "picture_request", ["in black and white", "blur it", "mirror", "rotate it", "make it blue", "nicer"]
)
def test_every_change_changes_something(picture_request: str) -> None:
    data = draw("a cat on the left of a red house", "256x256")
    assert edited(data, picture_request) != data


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x89PNG\r\n\x1a\nbroken", draw("a cat")[:200]])
def test_what_is_no_picture_cannot_be_changed(data: bytes) -> None:
    with pytest.raises(NotAllowed, match="can't open"):
        edited(data, "brighter")


async def test_nothing_to_draw_is_a_question_back() -> None:
    with pytest.raises(NotAllowed):
        await DemoModel().draw(asks(" ", "image"))


async def test_a_repeated_request_gives_a_variant() -> None:
    model = DemoModel(deployments()[1])
    picture_request = asks("a red bicycle", "image", Parameters(size="256x256"))
    first, _ = await model.draw(picture_request)
    second, _ = await model.draw(picture_request)
    asked = Message(role="user", parts=(Text(text="a red bicycle"), first[0]))
    varied, _ = await model.draw(Prompt(template="draw", capability="image", messages=(asked,), vary=True))
    assert len({first[0].data, second[0].data, varied[0].data}) == 3
    assert has_colour(varied[0].data, COLOURS["red"])


async def test_a_single_picture_can_be_watched() -> None:
    seen: list[Image] = []

    async def on_partial_image(picture: Image) -> None:
        seen.append(picture)

    model = DemoModel(deployments()[1], pace_s=0)
    (picture,), _ = await model.draw(asks("a red bicycle", "image"), on_partial_image)
    await model.draw(asks("a dream", "image", Parameters(images=2)), on_partial_image)
    assert len({picture.data, *(item.data for item in seen)}) == 3
    assert opened(seen[0].data).size == opened(picture.data).size


@pytest.mark.parametrize("picture_request", ["a yellow sun", "make it dark"])
def test_a_mask_is_kept_to(picture_request: str) -> None:
    data = draw("a red bicycle", "256x256")
    mask = Pillow.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 64, 64))
    held = io.BytesIO()
    mask.save(held, "PNG")
    changed = opened(edited(data, picture_request, held.getvalue()))
    before = opened(data)
    box = (0, 0, 128, 128)
    assert changed.crop(box).tobytes() != before.crop(box).tobytes()
    for edge in ((128, 0, 256, 256), (0, 128, 256, 256)):
        assert changed.crop(edge).tobytes() == before.crop(edge).tobytes()


def test_an_image_prompt_is_rewritten_only_by_examples() -> None:
    shots = (say("user", "a dog"), say("assistant", "A brown dog, seen from the side."))
    requests = [
        prompt(picture_request, shots=shots, template="rewrite@123")
        for picture_request in ("A dog", "a red bicycle")
    ]
    assert [reply(request) for request in requests] == ["A brown dog, seen from the side.", "a red bicycle"]
