"""Pictures as a conversation: what a wish asks for, the draw tool, what is changed, what a model is shown."""

import asyncio
import json

import pytest
from msgspec.structs import replace

from bot.domain.errors import BotError
from bot.domain.events import Attachment, PostedMessage
from bot.domain.prompts import Image, Parameters, Prompt, ToolCall, ToolResult
from bot.domain.turns import Delta, Usage
from bot.generation import image_generation, image_options
from bot.llm.protocol import ImageInterrupted, OnPartialImage
from bot.storage.usage.quota import Estimate
from tests.support.acts import received, stopped
from tests.support.bench import ASSISTANT, DRAW, ROOM, Bench
from tests.support.documents import picture
from tests.support.room import Room, Script, words

USUAL = Parameters(size="1024x1024")


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("text", "rest", "chosen"),
    [
        ("a red bicycle", "a red bicycle", {}),
        ("a red bicycle --landscape", "a red bicycle", {"size": "1536x1024"}),
        ("--tall a red bicycle", "a red bicycle", {"size": "1024x1536"}),
        ("a bicycle in portrait format", "a bicycle", {"size": "1024x1536"}),
        ("a bicycle, in high quality", "a bicycle", {"quality": "high"}),
        ("a cat --wide, in high quality", "a cat", {"size": "1536x1024", "quality": "high"}),
        ("a bicycle --quality=low --n 3", "a bicycle", {"quality": "low", "images": 3}),
        ("two pictures of a bicycle", "a bicycle", {"images": 2}),
        ("a logo on a transparent background", "a logo", {"background": "transparent"}),
        ("a logo --transparent", "a logo", {"background": "transparent"}),
        ("a bicycle --size 1024x1536", "a bicycle", {"size": "1024x1536"}),
        ("a mountain landscape with a portrait on it", "a mountain landscape with a portrait on it", {}),
        ("a road sign that says --stop", "a road sign that says --stop", {}),
    ],
)
def test_options_are_taken_from_flags_and_from_words_that_are_no_subject(
    text: str, rest: str, chosen: dict[str, str | int]
) -> None:
    found = image_options.read(text, USUAL, "gpt-image-1")
    assert (found.words, found.parameters, found.notes) == (rest, replace(USUAL, **chosen), ())


@pytest.mark.parametrize(
    ("text", "family", "note"),
    [
        ("x --transparent", "dall-e-3", "on a transparent background"),
        ("x in a vivid style", "gpt-image-1", "in vivid style"),
        ("x --landscape", "dall-e-2", "in landscape format"),
        ("x --size 640x480", "gpt-image-1", "at 640x480 pixels"),
        ("x --size 4096x1024", "gpt-image-2", "at 4096x1024 pixels"),
        ("x --n 2", "dall-e-3", "1 at a time"),
    ],
)
def test_what_a_family_can_not_do_is_said_and_not_sent(text: str, family: str, note: str) -> None:
    found = image_options.read(text, USUAL, family)
    assert note in found.notes[0]
    assert found.words == "x"
    assert found.parameters in (USUAL, replace(USUAL, images=1))


def test_each_family_has_its_own_shapes() -> None:
    assert image_options.read("x --wide", USUAL, "dall-e-3").parameters.size == "1792x1024"
    assert (
        image_options.read("x --size 1920x1088", USUAL, "gpt-image-2.5-flare").parameters.size == "1920x1088"
    )


async def test_options_reach_the_model_and_what_was_left_out_reaches_the_person(bench: Bench) -> None:
    bench.family = "dall-e-3"
    await bench.answer(received("/image a red bicycle --landscape --transparent"))
    (prompt,) = bench.model.prompts
    assert (prompt.messages[-1].text, prompt.parameters.size) == ("a red bicycle", "1792x1024")
    assert bench.room.texts[0].startswith("a red bicycle\n\n_This model can't draw on a transparent")


# ------------------------------------------------------------------ variations


def given(prompt: Prompt) -> list[bytes]:
    return [part.data for part in prompt.messages[-1].parts if isinstance(part, Image)]


async def test_a_variation_is_drawn_from_the_last_picture_and_stands_in_an_answer_of_its_own(
    bench: Bench,
) -> None:
    await bench.answer(received("/image a red bicycle", event="a"), received("variations", event="b"))
    first, second = bench.model.prompts
    assert (first.vary, second.vary, second.capability) == (False, True, "image")
    assert given(second) == [bench.model.pictures[0].data]
    assert bench.room.texts == ["a red bicycle", f"Another one: {bench.model.pictures[0].alt}"]
    assert [reply.rate for reply in bench.room.replies] == [True, True]


async def test_a_variation_may_be_of_an_older_picture_and_there_may_be_several(bench: Bench) -> None:
    await bench.answer(received("/image a cat", event="a"))
    bench.model.pictures = (Image(mime="image/png", data=b"dog", alt="a dog"),)
    await bench.answer(
        received("/image a dog", event="b"),
        received("/variations post of a", event="c"),
        received("/variations 3", event="d"),
    )
    _, _, older, last = bench.model.prompts
    assert given(older) != given(last) == [b"dog"]
    assert (older.parameters.images, last.parameters.images) == (None, 3)


async def test_one_click_is_one_variation_however_often_it_is_delivered(bench: Bench) -> None:
    click = received("/variations", event="click")
    turns = await bench.answer(received("/image a cat", event="a"), click, click)
    assert len(turns) == len(bench.model.prompts) == 2


async def test_a_variation_can_be_varied_and_drawn_again_in_its_place(bench: Bench) -> None:
    turns = await bench.answer(
        received("/image a cat", event="a"),
        received("/variations", event="b"),
        received("/again post of b", event="c"),
    )
    assert [turn.id for turn in turns] == ["a", "b"]
    assert [prompt.vary for prompt in bench.model.prompts] == [False, True, True]


async def test_without_a_picture_there_is_nothing_to_vary(bench: Bench) -> None:
    await bench.answer(received("/variations", event="a"))
    bench.templates = (ASSISTANT,)
    await bench.answer(received("/variations", event="b"))
    assert "Ask for one: `/image" in bench.room.texts[0]
    assert "Nobody draws here" in bench.room.texts[1]


# ------------------------------------------------------------------ what a family can't change


async def test_a_model_that_can_not_change_a_picture_draws_it_anew_and_says_so(bench: Bench) -> None:
    bench.family = "dall-e-3"
    bench.model.pictures = (replace(bench.model.pictures[0], alt="a red bicycle at the sea"),)
    await bench.answer(
        received("/image a red bicycle", event="a"), received("/image make it blue", event="b")
    )
    prompt = bench.model.prompts[-1]
    assert (prompt.messages[-1].text, given(prompt)) == ("a red bicycle at the sea, make it blue", [])
    assert "so I drew it anew" in bench.room.texts[-1]


async def test_a_person_s_own_picture_is_not_drawn_anew_by_a_model_that_never_saw_it(bench: Bench) -> None:
    bench.family = "dall-e-3"
    bench.room.files["f"] = picture()
    photo = Attachment(id="f", name="photo.png", mime="image/png")
    (turn,) = await bench.answer(replace(received("/image make it brighter"), attachments=(photo,)))
    assert (turn.outcome, bench.model.prompts) == ("refused", [])
    assert "can't change a picture" in bench.room.texts[0]


async def test_a_change_keeps_the_shape_of_the_picture_and_says_what_it_shows(bench: Bench) -> None:
    bench.model.pictures = (Image(mime="image/png", data=picture(size=(300, 200)), alt="a red bicycle"),)
    await bench.answer(received("/image a red bicycle", event="a"))
    bench.model.pictures = (replace(bench.model.pictures[0], alt="make it blue"),)
    (_, turn) = await bench.answer(received("/image make it blue", event="b"))
    assert bench.model.prompts[-1].parameters.size == "1536x1024"
    assert turn.reply.images[0].alt == "a red bicycle; make it blue"


# ------------------------------------------------------------------ while it draws


async def test_while_it_draws_the_seconds_are_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_generation, "_TICK_S", 0.001)
    draw = bench.model.draw

    async def slow(prompt: Prompt, on_partial_image: object) -> object:
        await bench.until(lambda: any("(0 s)_" in text for _, text in bench.room.history))
        return await draw(prompt)

    monkeypatch.setattr(bench.model, "draw", slow)
    await bench.answer(received("/image a cat"))
    assert bench.room.history[1][1] == "_Drawing: a cat…_"
    assert bench.room.texts == ["a cat"]


async def test_drawing_can_be_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing_now = asyncio.Event()

    async def forever(prompt: Prompt, on_partial_image: object) -> object:
        drawing_now.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(bench.model, "draw", forever)
    await bench.accept(received("/image a cat"))
    async with bench.working():
        await drawing_now.wait()
        await bench.accept(stopped(ROOM))
        await bench.until(bench.idle)
    assert bench.room.texts == ["_Stopped, as you asked._"]
    (turn,) = await bench.turns.turns(ROOM)
    assert [(one.usd, one.estimated) for one in turn.usage] == [(None, True)]


class Gallery(Room):
    """A room that also shows pictures while they are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.sketches: list[tuple[str, Image]] = []

    async def show_partial_image(self, post: PostedMessage, picture: Image) -> None:
        self.sketches.append((post.id, picture))


async def test_a_platform_that_can_shows_the_picture_while_it_is_drawn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Image(mime="image/png", data=b"half")
    watched: list[bool] = []
    draw = bench.model.draw

    async def in_steps(prompt: Prompt, on_partial_image: OnPartialImage | None = None) -> object:
        watched.append(on_partial_image is not None)
        if on_partial_image is not None:
            await on_partial_image(half)
        return await draw(prompt)

    monkeypatch.setattr(bench.model, "draw", in_steps)
    await bench.answer(received("/image a cat", event="a"))
    bench.room = gallery = Gallery()
    turns = await bench.answer(received("/image a dog", event="b"))
    assert watched == [False, True]
    assert gallery.sketches == [("post of b", half)]
    kept = await bench.turns.image(ROOM, turns[-1].reply.images[0].ref)
    assert kept is not None
    assert kept.data == bench.model.pictures[0].data


async def test_a_drawing_that_broke_off_twice_says_so_and_what_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Usage(deployment="test-image", usd=0.03, estimated=True)

    async def torn(prompt: Prompt, on_partial_image: object) -> object:
        error = ImageInterrupted("The connection broke.")
        error.spent = (lost, lost)
        raise error

    monkeypatch.setattr(bench.model, "draw", torn)
    (turn,) = await bench.answer(received("/image a cat"))
    assert (turn.outcome, turn.reason, turn.messages) == ("failed", "The connection broke.", ())
    assert bench.room.texts[0].endswith("Say `again` to let me try once more.")
    assert turn.usage == (lost, lost)


# ------------------------------------------------------------------ the draw tool


def artist(**arguments: object) -> Script:
    """A chat model that calls the tool, and then says what came of it."""

    def script(prompt: Prompt) -> list[Delta | Exception]:
        last = prompt.messages[-1].parts[0]
        if isinstance(last, ToolResult):
            return words(f"Here you are: {'no' if last.failed else 'yes'}. {last.text}")
        call = ToolCall(id="c1", name="draw", arguments=json.dumps(arguments))
        return [Delta(call=call), *words(finish="tool_calls")]

    return script


@pytest.fixture
def pen(bench: Bench) -> Bench:
    """A bench whose chat template may draw."""
    bench.templates = (replace(ASSISTANT, tools=("draw",)), DRAW)
    return bench


async def test_a_chat_model_draws_what_it_is_asked_for(pen: Bench) -> None:
    pen.model.script = artist(wish="a red bicycle --landscape")
    (turn,) = await pen.answer(received("I would love to see a red bicycle"))
    chat, picture_, again = pen.model.prompts
    assert [tool.name for tool in chat.tools] == ["draw"]
    assert (picture_.capability, picture_.messages[-1].text) == ("image", "a red bicycle")
    assert picture_.parameters.size == "1536x1024"
    assert again.messages[-1].text == ""
    assert pen.room.replies[0].text.startswith("Here you are: yes.")
    (image,) = pen.room.replies[0].images
    assert image.data
    stored = await pen.turns.image(ROOM, turn.reply.images[0].ref)
    assert stored is not None
    assert [usage.images for usage in turn.usage] == [0, 1, 0]


async def test_field_note_39_the_tool_changes_the_last_picture(pen: Bench) -> None:
    await pen.answer(received("/image a red bicycle", event="a"))
    pen.model.script = artist(wish="make it blue", change_last_picture=True)
    await pen.answer(received("could it be blue?", event="b"))
    given = [part for part in pen.model.prompts[2].messages[-1].parts if isinstance(part, Image)]
    assert [image.data for image in given] == [pen.model.pictures[0].data]


async def test_the_tool_changes_the_picture_that_came_with_the_question(pen: Bench) -> None:
    pen.accepts_images = True
    await pen.answer(received("/image a red bicycle", event="a"))
    pen.room.files["f"] = data = picture()
    photo = Attachment(id="f", name="photo.png", mime="image/png")
    pen.model.script = artist(wish="make it blue", change_last_picture=True)
    await pen.answer(replace(received("could this be blue?", event="b"), attachments=(photo,)))
    assert given(pen.model.prompts[2]) == [data]
    await pen.answer(received("and now that one?", event="c"))
    assert given(pen.model.prompts[5]) == [pen.model.pictures[0].data]


async def test_without_a_picture_to_change_the_model_is_told(pen: Bench) -> None:
    pen.model.script = artist(wish="make it blue", change_last_picture=True)
    await pen.answer(received("could it be blue?"))
    assert "Here you are: no. There is no picture" in pen.room.texts[0]


async def test_the_tool_is_only_there_where_pictures_are_served(pen: Bench) -> None:
    pen.family = None
    await pen.answer(received("draw me a cat"))
    assert pen.model.prompts[0].tools == ()


async def test_a_picture_of_the_tool_is_paid_from_the_same_budget(pen: Bench) -> None:
    pen.ledger = pen.limited("person: $0.025/day")
    pen.model.script = artist(wish="a cat")
    await pen.answer(received("a cat, please", event="a"))
    assert "Here you are: no. Your budget for today" in pen.room.texts[0]
    with pytest.raises(BotError):
        await pen.ledger.reserve(received(), "later", [Estimate(usd=0.025)])


async def test_what_was_sent_shows_the_picture_s_own_prompt(pen: Bench) -> None:
    pen.model.script = artist(wish="a cat")
    pen.model.pictures = (replace(pen.model.pictures[0], alt="A tabby cat on a sill"),)
    await pen.answer(received("a cat, please", event="a"), received("/sent", event="b"))
    text = pen.room.texts[-1]
    assert "Round 2 of 3" in text
    assert "- Drawn as: A tabby cat on a sill" in text
    assert text.count("You help Ada.") == 1


# ------------------------------------------------------------------ models that see


async def test_a_model_that_sees_gets_the_picture_again_when_it_is_talked_about(bench: Bench) -> None:
    bench.accepts_images = True
    bench.room.files["f"] = data = picture()
    photo = Attachment(id="f", name="photo.png", mime="image/png")
    await bench.answer(
        replace(received("what is this?", event="a"), attachments=(photo,)),
        received("and on the left?", event="b"),
        received("thanks", event="c"),
        received("tell me a joke", event="d"),
        received("another one", event="e"),
        received("back to the picture", event="f"),
    )
    seen = [
        [part.data for part in prompt.messages[-1].parts if isinstance(part, Image)]
        for prompt in bench.model.prompts
    ]
    assert seen == [[data], [data], [data], [data], [], [data]]


async def test_a_recalled_picture_is_kept_once_and_the_history_stays_as_it_was(
    bench: Bench,
) -> None:
    bench.accepts_images = True
    await bench.answer(received("/image a cat", event="a"), received("what is in the picture?", event="b"))
    turns = await bench.answer(received("and now?", event="c"))
    (question, _) = turns[1].messages
    assert not [part for part in question.parts if isinstance(part, Image)]
    second, third = bench.model.prompts[1:]
    assert third.messages[: len(second.messages) - 1] == second.messages[:-1]


async def test_a_model_that_may_be_blind_gets_words_for_pictures(bench: Bench) -> None:
    await bench.answer(received("/image a cat", event="a"), received("what is in the picture?", event="b"))
    assert "[a picture: " in bench.model.prompts[1].messages[-2].text
    assert not [part for part in bench.model.prompts[1].messages[-1].parts if isinstance(part, Image)]
