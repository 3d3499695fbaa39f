"""Images in few-shot examples: loaded from files, sent to models with vision, kept by every format."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from adapters.studio.auth.guard import HttpError
from adapters.studio.playground.config import ExamplePair, PlaygroundConfig, setup_of, template_of, tokens_of
from bot.cli.preview import describe, describe_prompt
from bot.conversation.playground import Playground
from bot.domain.errors import TemplateError
from bot.domain.prompts import Image, Prompt, Template
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.llm.tokens import image_tokens
from bot.prompts.formats import from_studio, to_jsonl, to_prompty, to_studio
from bot.prompts.prompty import read, read_text
from bot.prompts.publisher import Publisher
from bot.prompts.registry import TemplateRegistry
from bot.storage.prompts.versions import Versions
from bot.storage.redis.client import Redis
from tests.llm.conftest import Connect, azure, clients, connect
from tests.simulators.azure import AzureSimulator
from tests.support.acts import received
from tests.support.harness import Harness

__all__ = ["azure", "clients", "connect"]

PNG = b"\x89PNG\r\n\x1a\n and a cup"
IMAGE_TOKENS = image_tokens.tokens_of(Image(mime="image/png", data=PNG), image_tokens.UNKNOWN)
INLINE = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
DEFAULT = "---\nmetadata:\n  parley: {match: {default: true}}\n---\n"


def text(address: str = "cup.png", head: str = DEFAULT) -> str:
    user = f"What is ![a cup]({address}) worth?"
    return f"{head}system:\nYou appraise.\n\nuser:\nLook.\n{user}\n\nassistant:\nTwo euros.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "cup.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    return prompts


def load(folder: Path, words: str) -> Template:
    path = folder / "appraise.prompty"
    path.write_text(words, encoding="utf-8")
    return read(path).template


def prompt(template: Template, *, accepts_images: bool = True) -> Prompt:
    inputs = PromptInputs(
        template=template,
        received=received("And this?"),
        question="And this?",
        examples=template.examples,
        accepts_images=accepts_images,
    )
    return build_prompt(inputs, TokenBudget(context_tokens=8000, output_tokens=1000))


@pytest.mark.parametrize("address", ["cup.png", "./cup.png", INLINE])
def test_an_example_shows_a_local_or_remote_image(folder: Path, address: str) -> None:
    (pair,) = load(folder, text(address)).examples
    assert pair.images == (Image(mime="image/png", data=PNG, alt="a cup"),)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mug.png", "was not found"),
        ("../secret.png", "is not allowed"),
        ("/etc/passwd", "is not allowed"),
        ("link.png", "is outside the template's folder"),
        ("https://example.org/cup.png", "is not downloaded"),
        ("file:cup.png", "is not downloaded"),
        ("notes.png", "has an unsupported format"),
        ("large.png", "has 1048577 bytes; the limit is 1048576"),
        ("data:image/png;base64,!!", "not valid base64"),
        ("data:text/plain,hello", "must begin with data:image/png"),
        ("data:image/png;base64,aGVsbG8=", "has an unsupported format"),
    ],
)
def test_an_invalid_image_is_reported_with_its_line(folder: Path, address: str, words: str) -> None:
    (folder / "notes.png").write_text("just words")
    (folder / "large.png").write_bytes(PNG.ljust(1024 * 1024 + 1))
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(TemplateError, match=rf"appraise\.prompty:10: the image .*{words}"):
        load(folder, text(address))


def test_images_of_a_template_are_limited(folder: Path) -> None:
    cups = "![](cup.png)\n\nassistant:\nA cup.\n\nuser:\n" * 4
    full = f"{DEFAULT}user:\n{cups}Hi.\n\nassistant:\nHello.\n"
    assert sum(len(pair.images) for pair in load(folder, full).examples) == 4
    with pytest.raises(TemplateError, match=r"appraise\.prompty:30: .*may have 4"):
        load(folder, full.replace("Hi.", "![](cup.png)"))
    drawing = "---\nmetadata:\n  parley: {capability: image, rewrite: true}\n---\n"
    with pytest.raises(TemplateError, match=r"appraise\.prompty:10: .*are text only"):
        load(folder, text(head=drawing))


def test_the_digest_covers_image_files(folder: Path) -> None:
    before = load(folder, text()).digest
    assert load(folder, text()).digest == before
    (folder / "cup.png").write_bytes(PNG + b" of gold")
    assert load(folder, text()).digest != before


async def test_an_image_is_sent_in_its_place(folder: Path, azure: AzureSimulator, connect: Connect) -> None:
    asked = prompt(load(folder, text()))
    async for _ in connect().chat(asked):
        pass
    assert azure.journal[-1].body["messages"][1] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look.\nWhat is "},
            {"type": "image_url", "image_url": {"url": INLINE}},
            {"type": "text", "text": " worth?"},
        ],
    }
    assert "[image: a cup]" in describe_prompt(asked)


def test_an_image_counts_tokens_or_is_described(folder: Path) -> None:
    template = load(folder, text())
    seen, unseen = prompt(template), prompt(template, accepts_images=False)
    assert IMAGE_TOKENS - 50 < seen.input_tokens - unseen.input_tokens < IMAGE_TOKENS + 50
    assert "What is [image: a cup] worth?" in unseen.messages[1].text
    assert not any(isinstance(part, Image) for part in unseen.messages[1].parts)
    assert "[image: a cup]" in describe(template)


@pytest.mark.parametrize("accepts_images", [True, False])
async def test_example_images_are_sent_but_not_stored(
    folder: Path, harness: Harness, accepts_images: bool
) -> None:
    harness.templates, harness.accepts_images = (load(folder, text()),), accepts_images
    (turn,) = await harness.answer(received("And this?"))
    example = harness.model.prompts[-1].messages[1]
    assert [part.data for part in example.parts if isinstance(part, Image)] == (
        [PNG] if accepts_images else []
    )
    (kept,) = await harness.turns.sent(turn.received.address.conversation, turn.id)
    assert all(part.data == b"" for part in kept.messages[1].parts if isinstance(part, Image))
    assert "a cup" in str(kept.messages[1])


@pytest.mark.parametrize("address", ["cup.png", INLINE])
def test_only_prompty_exports_image_examples(folder: Path, address: str) -> None:
    template = load(folder, text(address))
    written = to_prompty(template)
    assert f"![a cup]({address})" in written
    assert load(folder, written) == template
    for write in (to_studio, to_jsonl):
        with pytest.raises(TemplateError, match=r"has an image, which .* does not support"):
            write(template)


def test_an_imported_setup_must_contain_its_images() -> None:
    setup = '{"systemPrompt": "x", "fewShotExamples": [{"userInput": "![](%s)", "chatbotResponse": "y"}]}'
    (pair,) = from_studio((setup % INLINE).encode(), "x").examples
    assert pair.images[0].data == PNG
    with pytest.raises(TemplateError, match=r"x\.prompty:\d+: the image cup\.png is unknown"):
        from_studio((setup % "cup.png").encode(), "x")


async def test_publishing_keeps_the_images_of_files(folder: Path, redis: Redis) -> None:
    template = load(folder, text())
    versions = Versions(redis)
    registry = TemplateRegistry([template], {}, versions)
    better = replace(template, system="You appraise with care.")
    published = to_prompty(better)
    await Publisher(registry, versions).publish("appraise", published, author="Ada", reason="care")
    other = TemplateRegistry([template], {}, versions)
    await other.refresh()
    for one in (registry, other):
        (now,) = one.templates()
        assert now.system == "You appraise with care."
        assert now.examples == template.examples
    library = cast(Any, SimpleNamespace(registry=registry))
    nothing = cast(Any, None)
    harness = Playground(engine=nothing, library=library, model_info=nothing, charges=nothing)
    page = msgspec.convert(setup_of(template), PlaygroundConfig)
    assert template_of(page, harness).examples == template.examples
    reworded = replace(page, examples=[ExamplePair("Or ![this](cup.png)?", "Three.")])
    (pair,) = template_of(reworded, harness).examples
    assert pair.images == (Image(mime="image/png", data=PNG, alt="this"),)
    assert tokens_of(pair) > IMAGE_TOKENS
    with pytest.raises(HttpError, match=r"the image mug\.png is unknown"):
        template_of(replace(page, examples=[ExamplePair("![](mug.png)", "Four.")]), harness)
    with pytest.raises(TemplateError, match="is unknown"):
        read_text(published.replace("cup.png", "mug.png"), "appraise", registry.load_image)
