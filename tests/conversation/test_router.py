"""The choice of the template, and edits of the last image."""

import pytest
from msgspec.structs import replace

from bot.conversation import router
from bot.domain.errors import NotAllowed
from bot.domain.prompts import Match, Template
from bot.generation.image_options import is_change
from tests.support.acts import received

DEFAULT = Template(name="default", digest="0", match=Match(default=True, commands=("ask",)))
DRAW = Template(name="draw", digest="1", match=Match(commands=("image", "draw")))
SUMMARISE = Template(name="summarise", digest="2", match=Match(prefixes=("summarise", "tl;dr")))
SUPPORT = Template(name="support", digest="3", match=Match(channels=("C1",)))
ALL = (DEFAULT, DRAW, SUMMARISE, SUPPORT)


@pytest.mark.parametrize(
    ("text", "name", "question"),
    [
        ("what is up?", "default", "what is up?"),
        ("/ask what is up?", "default", "what is up?"),
        ("/IMAGE a red bicycle", "draw", "a red bicycle"),
        ("/draw\na red\nbicycle", "draw", "a red\nbicycle"),
        ("Summarise: all of this", "summarise", "all of this"),
        ("summarised already", "default", "summarised already"),
        ("summarise", "default", "summarise"),
        ("TL;DR the thread", "summarise", "the thread"),
        ("/etc/hosts is missing", "default", "/etc/hosts is missing"),
        ("/", "default", "/"),
    ],
)
def test_a_text_chooses_its_template(text: str, name: str, question: str) -> None:
    template, rest = router.choose(ALL, received(text))
    assert (template.name, rest) == (name, question)


def test_commands_override_a_channel_s_template() -> None:
    there = received("hello", channel="C1")
    assert router.choose(ALL, there)[0] is SUPPORT
    assert router.choose(ALL, replace(there, text="/image a cat"))[0] is DRAW


def test_an_unserved_command_is_refused() -> None:
    with pytest.raises(NotAllowed, match=r"`/frobnicate`.*`/help`"):
        router.choose(ALL, received("/frobnicate now"))


@pytest.mark.parametrize(
    "picture_request", ["make it brighter", "Same but at night", "now with a hat", "crop the picture"]
)
def test_edits_of_the_last_image_are_recognised(picture_request: str) -> None:
    """Field note 39: "make it brighter" is an edit."""
    assert is_change(picture_request)


@pytest.mark.parametrize(
    "picture_request", ["a red bicycle", "a cat that sleeps", "paint a house", "make a poster for Ada"]
)
def test_a_new_image_is_no_edit(picture_request: str) -> None:
    assert not is_change(picture_request)


def test_a_workspace_template_replaces_only_the_default() -> None:
    assert router.choose(ALL, received("hello"), usual="support")[0] is SUPPORT
    assert router.choose(ALL, received("hello"), chosen="summarise", usual="support")[0] is SUMMARISE
    assert router.choose(ALL, received("/image a cat"), usual="support")[0] is DRAW
    assert router.choose(ALL, received("hello"), usual="gone")[0].match.default
