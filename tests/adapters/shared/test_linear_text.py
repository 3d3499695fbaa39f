"""The work on a text is linear in its length, counted in steps, not seconds."""

import re
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pyromark
import pytest

from adapters.shared.markdown import Splitter, aside, blocks, growing, html, parse, split, to_html, utf16
from adapters.shared.markdown.bounds import MAX_COLUMNS, MAX_NESTED
from adapters.shared.markdown.marks import code_spans, open_marks
from adapters.slack.formatting import blocks as slack_format
from adapters.slack.formatting.mrkdwn import from_markdown
from adapters.studio.chat import growing_text as studio_growth
from adapters.teams.activities.html_text import html_to_text as words_of_html
from adapters.teams.answers import formatting as teams_format
from bot.domain.prompts import Prompt, say
from bot.evals import checks
from bot.evals.cases import Checks
from bot.generation import image_options
from bot.llm.demo import model, rules
from bot.llm.routing.continuation import ContinuationDeduper
from bot.prompts import example_images
from bot.prompts.body import PLACEHOLDER
from tests.support import hostile_texts
from tests.support.hostile_texts import HOSTILE, ORDINARY, SURFACES

SIZE = 7_000
"""Characters of a text, with the limits of the surfaces divided by ten, so that it exceeds all of them."""
LARGE = 40_000
MANY = 400_000
"""Repeated characters, so many that quadratic work exceeds the time limit of a test."""
LIMITS = (
    (slack_format, "MESSAGE_LIMIT"),
    (teams_format, "TEXT_LIMIT"),
    (hostile_texts, "TEXT_LIMIT"),
    (hostile_texts, "UPDATE"),
    (growing, "MAX_RUN"),
    (studio_growth, "SMALL"),
)


class Steps:
    """Counts function calls, in Python and in C, and the characters given to parsers and scanners."""

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0

    def profile(self, frame: object, event: str, argument: object) -> None:
        self.calls += event in ("call", "c_call")

    def handed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(text: str, *given: Any, **named: Any) -> Any:
            self.characters += len(text)
            return function(text, *given, **named)

        return counted


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Generator[Steps]:
    """Count steps, with all work done in this thread."""
    steps = Steps()
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["adapters.shared.markdown.aside"], "MAX_CHARACTERS", sys.maxsize)
        for module, name in LIMITS:
            patched.setattr(module, name, getattr(module, name) // 10)
        for module, name in (
            (pyromark, "html"),
            (pyromark, "events"),
            (pyromark, "events_with_range"),
        ):
            patched.setattr(module, name, steps.handed(getattr(module, name)))
        patched.setattr(html, "SANITIZER", SimpleNamespace(clean=steps.handed(html.SANITIZER.clean)))
        patched.setattr("adapters.shared.markdown.growing.open_marks", steps.handed(open_marks))
        before = sys.getprofile()
        sys.setprofile(steps.profile)
        try:
            yield steps
        finally:
            sys.setprofile(before)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", HOSTILE)
async def test_twice_the_text_takes_twice_the_steps(
    name: str, surface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 92: 15 KB of `*a ` kept the search for open marks busy for minutes."""
    counted: list[Steps] = []
    for size in (SIZE, 2 * SIZE):
        text = HOSTILE[name](size)
        with counting(monkeypatch) as steps:
            await SURFACES[surface](text)
        counted.append(steps)
    once, twice = counted
    assert twice.calls <= 2.8 * max(once.calls, 30 * SIZE)
    assert twice.characters <= 2.8 * max(once.characters, 8 * SIZE)
    assert once.calls <= 200 * SIZE
    assert once.characters <= 40 * SIZE, "no text is parsed again from its start for each update"


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_long_hostile_text_ends_on_every_surface(name: str) -> None:
    """Field fault 92: at the real limits of every surface; the steps are counted by the test above."""
    text = HOSTILE[name](LARGE)
    for show in SURFACES.values():
        await show(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_long_answer_becomes_few_messages(name: str) -> None:
    """Field fault 92: an answer as long as the setting allows, of any form."""
    text = HOSTILE[name](200_000)
    parts = split(text, 11_000, utf16)
    assert all(utf16(part) <= 11_000 for part in parts)
    assert len(parts) <= 3 * utf16(text) // 11_000 + 2


def test_final_parts_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 92: A long answer was parsed from its start for each of its messages."""
    text = "\n\n".join(["- an item of a long list " * 20, *["- another one\n" * 40] * 80])
    splitter = Splitter(3_000)
    with counting(monkeypatch) as steps:
        for end in range(1_000, len(text), 1_000):
            splitter.split(text[:end])
        splitter.split(text)
    assert splitter.split(text) == split(text, 3_000)
    assert steps.characters < 30 * len(text)


@pytest.mark.parametrize(
    ("name", "work", "calls"),
    [
        ("fences in a list", partial(split, limit=11_000, measure=utf16), 4.5),
        ("ordinary", teams_format.to_teams, 2.5),
    ],
)
def test_formatting_takes_few_calls(
    name: str, work: Callable[[str], object], calls: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field fault 92: 6.1 and 2.9 calls per character exceeded the limits of time."""
    text = HOSTILE[name](20_000)
    with counting(monkeypatch) as steps:
        work(text)
    assert steps.calls < calls * len(text)


@pytest.mark.parametrize(
    ("surface", "calls"),
    [("Slack, stream", 2.0), ("Slack, edits", 2.0), ("Teams, stream", 0.8), ("studio, stream", 1.3)],
)
async def test_showing_a_stream_takes_few_calls(
    surface: str, calls: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 4.6, 4.9, 0.9 and 1.6 calls per character, half a megabyte took up to 0.9 s instead of 0.3 s."""
    text = HOSTILE["ordinary"](40_000)
    await SURFACES[surface](ORDINARY)  # loads the lexer
    with counting(monkeypatch) as steps:
        await SURFACES[surface](text)
    assert steps.calls < calls * len(text)


@pytest.mark.parametrize("limit", [700, 3_000])
def test_a_growing_text_splits_like_a_complete_one(limit: int) -> None:
    code = "```python\n" + "".join(f"line_{number} = {number}\n" for number in range(300)) + "```\n\n"
    table = "| a | b |\n|---|---|\n" + "".join(f"| {number} | cell |\n" for number in range(300)) + "\n"
    text = (
        ORDINARY * 3 + code + "A sentence of some words. " * 200 + "\n\n" + table + "- an item\n" * 200 + "\n"
    ) * 2
    text = text.strip("\n")
    splitter = Splitter(limit)
    for end in range(500, len(text), 500):
        splitter.split(text[:end])
    assert splitter.split(text) == split(text, limit)


def test_nesting_and_tables_are_bounded() -> None:
    assert to_html("> " * 10_000 + "a").count("<blockquote>") == MAX_NESTED
    assert to_html("- " * 10_000 + "a").count("<ul>") == MAX_NESTED
    assert "&gt; &gt; a" in to_html("> " * 10_000 + "a")
    wide = "|".join("a" * 1000) + "\n" + "|".join("-" * 1000) + "\n" + "b\n" * 1000
    assert "<table>" not in to_html(wide)
    fits = "|".join("a" * MAX_COLUMNS) + "\n" + "|".join("-" * MAX_COLUMNS) + "\nb\n"
    assert to_html(fits).count("<th>") == MAX_COLUMNS
    assert max(len(to_html(build(20_000))) for build in HOSTILE.values()) < 1_000_000


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<div>\n**b**\n</div>", "<p>&lt;div&gt;\n<strong>b</strong>\n&lt;/div&gt;</p>\n"),
        ("`<b>` <b>", "<p><code>&lt;b&gt;</code> &lt;b&gt;</p>\n"),
        ("100~200, 300~400 and ~x~", "<p>100~200, 300~400 and ~x~</p>\n"),
        ("a\ud800b \ufdd0<i>", "<p>a?b &lt;i&gt;</p>\n"),
        ("- - - - - - - - - - - - - - - - - - - - - - - - -", "<hr>\n"),
        ("![a](https://x.y/z)", '<p><a href="https://x.y/z" rel="noopener noreferrer nofollow">a</a></p>\n'),
    ],
)
def test_the_placeholders_of_the_limits_are_invisible(text: str, html: str) -> None:
    assert to_html(text) == html


def test_blocks_are_those_of_the_tree() -> None:
    text = ORDINARY * 3
    assert "".join(blocks(text)) == text
    starts = {node.start for node in parse(text).children}
    at, lines = 0, set[int]()
    for block in blocks(text):
        lines.add(text.count("\n", 0, at))
        at += len(block)
    assert lines <= starts
    assert len(lines) >= len(starts) - 6, "only lists and what follows them closely may stay together"


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("*a **b", [(0, "*"), (3, "**")]),
        ("*a* **b** c", []),
        ("a `b *c", [(2, "`")]),
        ("\\*a \\`b", []),
        ("\\``a` b", []),
        ("*a [b](c_d*e) f", [(0, "*")]),
        ("2 * 3 snake_case 5~6", []),
        ("***a* b", [(0, "**")]),
        ("a ~~b", [(2, "~~")]),
        ("a **", [(2, "**")]),
    ],
)
def test_open_marks(text: str, marks: list[tuple[int, str]]) -> None:
    assert open_marks(text) == marks


def test_code_spans_are_those_of_commonmark() -> None:
    text = r"\``a` <b> `c` ``d`e`` `f"
    assert [text[start:stop] for start, stop in code_spans(text)] == ["`a`", "`c`", "``d`e``"]


@pytest.mark.parametrize(
    "read",
    [
        lambda: image_options.read(" " * MANY + "x"),
        lambda: from_markdown("**a " * MANY),
        lambda: from_markdown("# " + " #" * MANY + " a"),
        lambda: PLACEHOLDER.findall("{{" * MANY),
        lambda: example_images.PICTURE.findall("![" * MANY),
        lambda: example_images.PICTURE.findall("![](" * MANY),
        lambda: checks.check_text("```\n" + "\n" * MANY, Checks(fits=lambda value: None)),
        lambda: rules.answer("what " * MANY, []),
        lambda: rules.answer("summarise: " + "." * MANY + "x", []),
        lambda: model.reply(_asking('<file name="a">\n' * 20_000)),
    ],
)
def test_no_pattern_is_quadratic(
    read: Callable[[], object],
) -> None:
    """Field fault 92: each of these took time proportional to the square of the text."""
    read()


def test_unclosed_tags_are_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Field fault 92: for each of them the parser read the rest of a message from Teams."""
    read: list[int] = []
    look = HTMLParser.parse_starttag

    def counted(parser: HTMLParser, at: int) -> int:
        read.append(len(parser.rawdata) - at)
        return look(parser, at)

    monkeypatch.setattr(HTMLParser, "parse_starttag", counted)
    text = "<a <" * 2_000
    assert words_of_html(text) == text
    assert sum(read) <= 4 * len(text)
    assert words_of_html('<p>1 <b>2</b> <at id="0">Ann</at> < 3</p>') == "1 2 Ann < 3"


def _asking(text: str) -> Prompt:
    return Prompt(template="assistant@1", capability="chat", messages=(say("user", text),))


def test_a_repeated_answer_is_compared_once() -> None:
    """Field fault 92: the second part of a broken answer was searched for in the first one at each piece."""
    shown = "".join(f"word{number} " for number in range(40_000))
    seam = ContinuationDeduper(shown)
    pieces = re.findall(r".{1,5}", shown + "and the rest.")
    assert "".join([*map(seam.feed, pieces), seam.end()]) == "and the rest."
    seam = ContinuationDeduper(shown)
    assert "".join([seam.feed(shown[-3_000:]), seam.feed("and on."), seam.end()]) == "and on."


async def test_a_long_text_is_processed_in_a_thread() -> None:
    assert await aside(10, threading.current_thread) is threading.main_thread()
    assert await aside(1_000_000, threading.current_thread) is not threading.main_thread()
