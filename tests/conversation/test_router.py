"""The choice of the template."""

import pytest
from msgspec.structs import replace

from bot.conversation import router
from bot.domain.errors import NotAllowed
from bot.domain.prompts import Match, Template
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
        ("TL;DR: the thread", "summarise", "the thread"),
        ("tl;dr the thread", "default", "tl;dr the thread"),
        ("summarise requirements into test cases", "default", "summarise requirements into test cases"),
        ("/frobnicate now", "default", "/frobnicate now"),
        ("/24 subnet - how many hosts?", "default", "/24 subnet - how many hosts?"),
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


def test_an_unknown_slash_command_of_the_app() -> None:
    """`/parley frobnicate` is a mistake; `/parley why is the sky blue?` asks."""
    with pytest.raises(NotAllowed, match=r"`/frobnicate`.*`help`"):
        router.choose(ALL, replace(received("/frobnicate"), registered=True))
    asked = replace(received("/why is the sky blue?"), registered=True)
    assert router.choose(ALL, asked) == (DEFAULT, "why is the sky blue?")
    asked = replace(received("/reset the router, how?"), registered=True)
    assert router.choose(ALL, asked, question=True) == (DEFAULT, "reset the router, how?")


def test_a_workspace_template_replaces_only_the_default() -> None:
    assert router.choose(ALL, received("hello"), usual="support")[0] is SUPPORT
    assert router.choose(ALL, received("hello"), chosen="summarise", usual="support")[0] is SUMMARISE
    assert router.choose(ALL, received("/image a cat"), usual="support")[0] is DRAW
    assert router.choose(ALL, received("hello"), usual="gone")[0].match.default
