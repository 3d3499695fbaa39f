"""Limits of what is read in the bot's own process: templates and stored images."""

from datetime import UTC, datetime

import pytest

from adapters.studio.auth.guard import HttpError
from adapters.studio.chat.frames import milliseconds, partial_image_frame
from adapters.studio.pages.thumbnails import thumbnail
from adapters.teams.answers.formatting import picture as for_teams
from bot.domain.errors import NotAllowed, TemplateError
from bot.domain.prompts import Image, Template
from bot.llm.demo import drawings
from bot.llm.openai import edit_mask
from bot.prompts.body import PLACEHOLDER
from bot.prompts.example_images import PICTURE
from bot.prompts.formats import from_studio, to_prompty
from tests.support.documents import picture

LARGE = (4200, 4200)
"""Pixels: more than anything that Parley keeps, few enough for a test."""


def test_braces_are_read_in_one_pass() -> None:
    """Field fault 90: 64 KB of braces in an imported template held the event loop for minutes."""
    assert PLACEHOLDER.findall("{" * 500_000) == []
    assert PLACEHOLDER.findall("{{a" * 200_000) == []
    assert PLACEHOLDER.findall("Hi {{ name }}, {{{date}}}, {{ {{channel}}") == [" name ", "{date", "channel"]


def test_unclosed_images_are_read_in_one_pass() -> None:
    """Field fault 90: each `![` was searched for to the end of the line."""
    assert PICTURE.findall("![" * 300_000) == []
    assert PICTURE.findall("![a](" * 200_000) == []
    assert PICTURE.findall("See ![a cat](cat.png) and ![](dog.jpg)") == [
        ("a cat", "cat.png"),
        ("", "dog.jpg"),
    ]


def test_a_large_setup_is_not_written_as_yaml() -> None:
    """Field fault 90: writing YAML takes seconds for each megabyte."""
    template = Template(name="x", digest="", system="Hi.", extra={"list": list(range(50_000))})
    with pytest.raises(TemplateError, match="front matter would exceed"):
        to_prompty(template)
    with pytest.raises(TemplateError):
        from_studio(b'{"systemPrompt": "Hi.", "list": [' + b"1," * 30_000 + b"1]}", "x")


def test_a_large_mask_is_not_unpacked() -> None:
    """Field fault 90: a mask of a few KB may have any number of pixels."""
    with pytest.raises(NotAllowed, match="too many pixels"):
        edit_mask.fitted(picture(size=LARGE), picture())
    with pytest.raises(NotAllowed, match="too large"):
        drawings.edited(picture(size=LARGE), "brighter")


def test_a_large_stored_image_is_not_unpacked() -> None:
    """Field fault 90: the same for images that are only shown."""
    large = picture(size=LARGE)
    with pytest.raises(HttpError, match="too large"):
        thumbnail(large)
    assert (
        partial_image_frame("", "", milliseconds(datetime.now(UTC)), Image(mime="image/png", data=large))
        is None
    )
    with pytest.raises(ValueError, match="4200 x 4200"):
        for_teams(Image(mime="image/png", data=large))
