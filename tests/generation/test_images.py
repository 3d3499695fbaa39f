"""Images in a conversation: options, the draw tool, edits, variations, vision."""

import asyncio
import json

import pytest
from msgspec.structs import replace

from bot.domain.errors import BotError
from bot.domain.events import Attachment, PostedMessage
from bot.domain.prompts import Image, Parameters, Prompt, ToolCall, ToolResult
from bot.domain.turns import Delta, Usage
from bot.generation import image_generation, image_options
from bot.llm.protocol import ImageInterrupted, ImageNotDownloaded, OnPartialImage
from bot.storage.usage.quota import Estimate
from tests.support.acts import pressed, received, stopped
from tests.support.charges import reserve
from tests.support.documents import picture
from tests.support.fake_adapter import FakeAdapter, Script, spoken, words
from tests.support.harness import ASSISTANT, CONVERSATION, DRAW, Harness

USUAL = Parameters(size="1024x1024")


# ------------------------------------------------------------------ options


def chosen(text: str, family: str = "gpt-image-1") -> image_options.ImageOptions:
    """What is drawn for a text without a chat model."""
    return image_options.resolve(image_options.read(text), USUAL, family)


@pytest.mark.parametrize(
    ("text", "rest", "found"),
    [
        ("a red bicycle", "a red bicycle", {}),
        ("a red bicycle --landscape", "a red bicycle", {"size": "1536x1024"}),
        ("--tall a red bicycle", "a red bicycle", {"size": "1024x1536"}),
        ("a cat --wide --quality high", "a cat", {"size": "1536x1024", "quality": "high"}),
        ("a bicycle --quality=low --n 3", "a bicycle", {"quality": "low", "images": 3}),
        ("a logo --transparent", "a logo", {"background": "transparent"}),
        ("a bicycle --size 1024x1536", "a bicycle", {"size": "1024x1536"}),
        ("ein Fahrrad, 1024 x 1536", "ein Fahrrad", {"size": "1024x1536"}),
        ("自転車 3:2", "自転車", {"size": "1536x1024"}),
        ("a clock that shows 10:10", "a clock that shows 10:10", {}),
        ("a cat --style watercolour", "a cat\n\nStyle: watercolour", {}),
        ("image of a lighthouse", "image of a lighthouse", {}),
        ("a mountain landscape with a portrait on it", "a mountain landscape with a portrait on it", {}),
        ("a road sign that says --stop", "a road sign that says --stop", {}),
    ],
)
def test_options_without_a_chat_model_need_no_words(
    text: str, rest: str, found: dict[str, str | int]
) -> None:
    """Field fault 107: "image of a lighthouse" was drawn as "of a lighthouse"."""
    options = chosen(text)
    assert (options.words, options.parameters, options.notes) == (rest, replace(USUAL, **found), ())


@pytest.mark.parametrize(
    ("text", "family", "note"),
    [
        ("x --transparent", "dall-e-3", "on a transparent background"),
        ("x --style vivid", "gpt-image-1", "in the style vivid"),
        ("x --landscape", "dall-e-2", "in the format landscape"),
        ("x --quality low", "dall-e-3", "in the quality low"),
        ("x --n 2", "dall-e-3", "one image at a time"),
    ],
)
def test_unsupported_options_become_notes(text: str, family: str, note: str) -> None:
    options = chosen(text, family)
    assert note in options.notes[0].english
    assert options.words == "x"
    assert options.parameters in (USUAL, replace(USUAL, images=1))


@pytest.mark.parametrize(
    ("family", "asked", "size", "exact"),
    [
        ("gpt-image-1", {"aspect_ratio": "16:9"}, "1536x1024", False),
        ("gpt-image-1", {"aspect_ratio": "9:16"}, "1024x1536", False),
        ("gpt-image-1", {"aspect_ratio": "2:3"}, "1024x1536", True),
        ("gpt-image-1", {"size": "640x480"}, "1536x1024", False),
        ("dall-e-3", {"aspect_ratio": "16:9"}, "1792x1024", True),
        ("dall-e-3", {"aspect_ratio": "landscape"}, "1792x1024", True),
        ("dall-e-2", {"size": "500x500"}, "512x512", False),
        ("dall-e-2", {"aspect_ratio": "1:1"}, "1024x1024", True),
        ("gpt-image-2", {"aspect_ratio": "16:9"}, "1792x1008", True),
        ("gpt-image-2.5-flare", {"size": "1920x1088"}, "1920x1088", True),
        ("gpt-image-2", {"size": "1920x1080"}, "1920x1088", False),
        ("gpt-image-2", {"size": "4096x1024"}, "3552x1184", False),
        ("gpt-image-2", {"size": "99999x10"}, "1728x576", False),
    ],
)
def test_a_shape_becomes_the_nearest_size(family: str, asked: dict[str, str], size: str, exact: bool) -> None:
    """Field fault 107: 16:9 was lost without a word."""
    request = image_options.ImageRequest(words="x", **asked)  # pyright: ignore[reportArgumentType]
    options = image_options.resolve(request, USUAL, family)
    assert options.parameters.size == size
    assert exact == (not options.notes)
    assert exact or size in options.notes[0].english


async def test_options_are_sent_and_ignored_ones_reported(harness: Harness) -> None:
    harness.family = "dall-e-3"
    await harness.answer(received("/image a red bicycle --landscape --transparent"))
    (prompt,) = harness.model.prompts
    assert (prompt.messages[-1].text, prompt.parameters.size) == ("a red bicycle", "1792x1024")
    assert harness.adapter.texts[0].startswith(
        "a red bicycle\n\n_This model can't generate images on a transparent"
    )


# ------------------------------------------------------------------ variations


def given(prompt: Prompt) -> list[bytes]:
    return [part.data for part in prompt.messages[-1].parts if isinstance(part, Image)]


async def test_a_variation_is_a_new_answer(
    harness: Harness,
) -> None:
    await harness.answer(received("/image a red bicycle", event="a"), received("variations", event="b"))
    first, second = harness.model.prompts
    assert (first.vary, second.vary, second.capability) == (False, True, "image")
    assert given(second) == [harness.model.pictures[0].data]
    assert harness.adapter.texts == ["a red bicycle", f"Another one: {harness.model.pictures[0].alt}"]
    assert [reply.rate for reply in harness.adapter.replies] == [True, True]


async def test_several_variations_of_an_older_image(harness: Harness) -> None:
    await harness.answer(received("/image a cat", event="a"))
    harness.model.pictures = (Image(mime="image/png", data=b"dog", alt="a dog"),)
    await harness.answer(
        received("/image a dog", event="b"),
        pressed("/variations post of a", event="c"),
        received("/variations 3", event="d"),
    )
    _, _, older, last = harness.model.prompts
    assert given(older) != given(last) == [b"dog"]
    assert (older.parameters.images, last.parameters.images) == (None, 3)


async def test_a_redelivered_click_makes_one_variation(harness: Harness) -> None:
    click = received("/variations", event="click")
    turns = await harness.answer(received("/image a cat", event="a"), click, click)
    assert len(turns) == len(harness.model.prompts) == 2


async def test_a_variation_can_be_varied_and_regenerated(harness: Harness) -> None:
    turns = await harness.answer(
        received("/image a cat", event="a"),
        received("/variations", event="b"),
        pressed("/again post of b", event="c"),
    )
    assert [turn.id for turn in turns] == ["a", "b"]
    assert [prompt.vary for prompt in harness.model.prompts] == [False, True, True]


async def test_without_an_image_there_is_nothing_to_vary(harness: Harness) -> None:
    await harness.answer(received("/variations", event="a"))
    harness.templates = (ASSISTANT,)
    await harness.answer(received("/variations", event="b"))
    assert "Request one: `/image" in harness.adapter.texts[0]
    assert "Image generation isn't set up" in harness.adapter.texts[1]


# ------------------------------------------------------------------ what a family can't change


async def test_a_model_without_editing_generates_a_new_image(harness: Harness) -> None:
    harness.family = "dall-e-3"
    harness.model.pictures = (replace(harness.model.pictures[0], alt="a red bicycle at the sea"),)
    await harness.answer(
        received("/image a red bicycle", event="a"), received("/image make it blue --change", event="b")
    )
    prompt = harness.model.prompts[-1]
    assert (prompt.messages[-1].text, given(prompt)) == ("a red bicycle at the sea, make it blue", [])
    assert "so I generated a new one" in harness.adapter.texts[-1]


async def test_an_uploaded_image_is_never_regenerated_unseen(harness: Harness) -> None:
    harness.family = "dall-e-3"
    harness.adapter.files["f"] = picture()
    photo = Attachment(id="f", name="photo.png", mime="image/png")
    (turn,) = await harness.answer(replace(received("/image make it brighter"), attachments=(photo,)))
    assert (turn.outcome, harness.model.prompts) == ("refused", [])
    assert "can't edit images" in harness.adapter.texts[0]


async def test_an_edit_keeps_the_shape_only(harness: Harness) -> None:
    """Field fault 111: descriptions grew with every edit."""
    harness.model.pictures = (Image(mime="image/png", data=picture(size=(300, 200)), alt="a red bicycle"),)
    await harness.answer(received("/image a red bicycle", event="a"))
    harness.model.pictures = (replace(harness.model.pictures[0], alt="make it blue"),)
    (_, turn) = await harness.answer(received("/image make it blue --change", event="b"))
    assert harness.model.prompts[-1].parameters.size == "1536x1024"
    assert turn.reply.images[0].alt == "make it blue"


async def test_a_change_can_ask_for_another_shape(harness: Harness) -> None:
    """Field fault 107: the original's shape stays only if none is asked for, even if that is the template's."""
    harness.templates = (ASSISTANT, replace(DRAW, parameters=USUAL))
    harness.model.pictures = (Image(mime="image/png", data=picture(size=(300, 200)), alt="a red bicycle"),)
    await harness.answer(received("/image a red bicycle", event="a"))
    await harness.answer(received("/image the same --change --square", event="b"))
    assert harness.model.prompts[-1].parameters.size == "1024x1024"


# ------------------------------------------------------------------ while it draws


async def test_elapsed_seconds_are_shown_while_generating(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_generation, "_TICK_S", 0.001)
    draw = harness.model.draw

    async def slow(prompt: Prompt, on_partial_image: object) -> object:
        await harness.until(lambda: any("(0 s)_" in text for _, text in harness.adapter.history))
        return await draw(prompt)

    monkeypatch.setattr(harness.model, "draw", slow)
    await harness.answer(received("/image a cat"))
    assert harness.adapter.history[1][1] == "_Generating: a cat…_"
    assert harness.adapter.texts == ["a cat"]


async def test_image_generation_can_be_stopped(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing_now = asyncio.Event()

    async def forever(prompt: Prompt, on_partial_image: object) -> object:
        drawing_now.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(harness.model, "draw", forever)
    await harness.accept(received("/image a cat"))
    async with harness.working():
        await drawing_now.wait()
        await harness.accept(stopped(CONVERSATION))
        await harness.until(harness.idle)
    assert harness.adapter.texts == ["_Stopped at your request._"]
    (turn,) = await harness.turns.turns(CONVERSATION)
    assert [(one.usd, one.estimated) for one in turn.usage] == [(None, True)]


class Gallery(FakeAdapter):
    """A room that also shows partial images."""

    def __init__(self) -> None:
        super().__init__()
        self.sketches: list[tuple[str, Image]] = []

    async def show_partial_image(self, post: PostedMessage, picture: Image) -> None:
        self.sketches.append((post.id, picture))


async def test_partial_images_are_shown_where_supported(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Image(mime="image/png", data=b"half")
    watched: list[bool] = []
    draw = harness.model.draw

    async def in_steps(prompt: Prompt, on_partial_image: OnPartialImage | None = None) -> object:
        watched.append(on_partial_image is not None)
        if on_partial_image is not None:
            await on_partial_image(half)
        return await draw(prompt)

    monkeypatch.setattr(harness.model, "draw", in_steps)
    await harness.answer(received("/image a cat", event="a"))
    harness.adapter = gallery = Gallery()
    turns = await harness.answer(received("/image a dog", event="b"))
    assert watched == [False, True]
    assert gallery.sketches == [("post of b", half)]
    kept = await harness.turns.image(CONVERSATION, turns[-1].reply.images[0].ref)
    assert kept is not None
    assert kept.data == harness.model.pictures[0].data


async def test_an_image_interrupted_twice_names_a_next_step(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def torn(prompt: Prompt, on_partial_image: object) -> object:
        raise ImageInterrupted("The connection broke.")

    monkeypatch.setattr(harness.model, "draw", torn)
    (turn,) = await harness.answer(received("/image a cat"))
    assert (turn.outcome, turn.reason, turn.messages) == ("failed", "The connection broke.", ())
    assert harness.adapter.texts[0].endswith("Send `again` to retry.")
    assert [(one.outcome, one.estimated) for one in turn.usage] == [("failed", True)]


async def test_a_lost_download_is_told_and_charged(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event is not repeated, because that would buy the image again."""
    paid = Usage(deployment="test-image", images=1, usd=0.04)

    async def lost(prompt: Prompt, on_partial_image: object) -> object:
        raise ImageNotDownloaded(paid)

    monkeypatch.setattr(harness.model, "draw", lost)
    (turn,) = await harness.answer(received("/image a cat"))
    assert (turn.outcome, [(one.images, one.usd) for one in turn.usage]) == ("refused", [(1, 0.04)])
    assert "could not be downloaded" in harness.adapter.texts[0]


# ------------------------------------------------------------------ the draw tool


def artist(**arguments: object) -> Script:
    """A chat model that calls the tool and then quotes its result."""

    def script(prompt: Prompt) -> list[Delta | Exception]:
        last = prompt.messages[-1].parts[0]
        if isinstance(last, ToolResult):
            return words(f"Here you are: {'no' if last.failed else 'yes'}. {last.text}")
        call = ToolCall(id="c1", name="draw", arguments=json.dumps(arguments))
        return [Delta(call=call), *words(finish="tool_calls")]

    return script


@pytest.fixture
def pen(harness: Harness) -> Harness:
    """A bench whose chat template has the tool `draw`."""
    harness.templates = (replace(ASSISTANT, tools=("draw",)), DRAW)
    return harness


async def test_a_chat_model_calls_the_draw_tool(pen: Harness) -> None:
    pen.model.script = artist(prompt="a red bicycle", aspect_ratio="landscape")
    (turn,) = await pen.answer(received("I would love to see a red bicycle"))
    chat, picture_, again = pen.model.prompts
    assert [tool.name for tool in chat.tools] == ["draw"]
    assert (picture_.capability, picture_.messages[-1].text) == ("image", "a red bicycle")
    assert picture_.parameters.size == "1536x1024"
    assert again.messages[-1].text == ""
    assert pen.adapter.replies[0].text.startswith("Here you are: yes.")
    (image,) = pen.adapter.replies[0].images
    assert image.data
    stored = await pen.turns.image(CONVERSATION, turn.reply.images[0].ref)
    assert stored is not None
    assert [usage.images for usage in turn.usage] == [0, 1, 0]


async def test_the_tool_edits_the_last_image(pen: Harness) -> None:
    """Field note 39: "make it brighter" edits the last image of this conversation."""
    await pen.answer(received("/image a red bicycle", event="a"))
    pen.model.script = artist(prompt="make it blue", change_last_picture=True)
    await pen.answer(received("could it be blue?", event="b"))
    given = [part for part in pen.model.prompts[2].messages[-1].parts if isinstance(part, Image)]
    assert [image.data for image in given] == [pen.model.pictures[0].data]


async def test_the_tool_edits_the_image_just_sent(pen: Harness) -> None:
    pen.accepts_images = True
    await pen.answer(received("/image a red bicycle", event="a"))
    pen.adapter.files["f"] = data = picture()
    photo = Attachment(id="f", name="photo.png", mime="image/png")
    pen.model.script = artist(prompt="make it blue", change_last_picture=True)
    await pen.answer(replace(received("could this be blue?", event="b"), attachments=(photo,)))
    assert given(pen.model.prompts[2]) == [data]
    await pen.answer(received("and now that one?", event="c"))
    assert given(pen.model.prompts[5]) == [pen.model.pictures[0].data]


async def test_the_model_learns_that_there_is_no_image(pen: Harness) -> None:
    pen.model.script = artist(prompt="make it blue", change_last_picture=True)
    await pen.answer(received("could it be blue?"))
    assert "Here you are: no. There is no image" in pen.adapter.texts[0]


async def test_the_tool_needs_an_image_deployment(pen: Harness) -> None:
    pen.family = None
    await pen.answer(received("draw me a cat"))
    assert pen.model.prompts[0].tools == ()


async def test_tool_images_count_against_the_same_budget(pen: Harness) -> None:
    pen.ledger = pen.limited("person: $0.025/day")
    pen.model.script = artist(prompt="a cat")
    await pen.answer(received("a cat, please", event="a"))
    assert "Here you are: no. Your budget for today" in pen.adapter.texts[0]
    with pytest.raises(BotError):
        await reserve(pen.ledger, received(), "later", Estimate(usd=0.025))


async def test_sent_shows_the_prompt_of_the_image(pen: Harness) -> None:
    pen.model.script = artist(prompt="a cat")
    pen.model.pictures = (replace(pen.model.pictures[0], alt="A tabby cat on a sill"),)
    await pen.answer(received("a cat, please", event="a"), received("/sent", event="b"))
    text = pen.adapter.texts[-1]
    assert "Call 2 of 3" in text
    assert "- Image prompt: A tabby cat on a sill" in text
    assert text.count("You help the person") == 1


# ------------------------------------------------------------------ models that see


async def test_a_vision_model_gets_earlier_images_again(harness: Harness) -> None:
    harness.accepts_images = True
    harness.adapter.files["f"] = data = picture()
    photo = Attachment(id="f", name="photo.png", mime="image/png")
    await harness.answer(
        replace(received("what is this?", event="a"), attachments=(photo,)),
        received("and on the left?", event="b"),
        received("thanks", event="c"),
        received("tell me a joke", event="d"),
        received("another one", event="e"),
        received("back to the picture", event="f"),
    )
    seen = [
        [part.data for part in prompt.messages[-1].parts if isinstance(part, Image)]
        for prompt in harness.model.prompts
    ]
    assert seen == [[data], [data], [data], [data], [], [data]]


async def test_a_recalled_image_is_stored_once(
    harness: Harness,
) -> None:
    harness.accepts_images = True
    await harness.answer(received("/image a cat", event="a"), received("what is in the picture?", event="b"))
    turns = await harness.answer(received("and now?", event="c"))
    (question, _) = turns[1].messages
    assert not [part for part in question.parts if isinstance(part, Image)]
    second, third = harness.model.prompts[1:]
    assert third.messages[: len(second.messages) - 1] == second.messages[:-1]


async def test_earlier_images_are_calls_of_the_tool(harness: Harness) -> None:
    """Field fault 111: models imitated "[a picture: a red bicycle]" instead of calling the tool."""
    await harness.answer(received("/image a cat", event="a"), received("what is in the picture?", event="b"))
    called, result = spoken(harness.model.prompts[1])[-3:-1]
    (call,) = called.parts
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments) == {"prompt": "a cat"}
    assert result.parts == (ToolResult(id=call.id, text="Done: 1 picture. It shows: a picture"),)
    assert not [part for part in harness.model.prompts[1].messages[-1].parts if isinstance(part, Image)]
