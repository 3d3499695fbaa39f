"""No text holds up the process: what is done with one is in proportion to its length, counted in steps, not seconds."""

import re
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import nh3
import pyromark
import pytest

from adapters.shared.markdown import Splitter, aside, blocks, growing, parse, split, to_html, utf16
from adapters.shared.markdown.bounds import MOST_COLUMNS, MOST_NESTED
from adapters.shared.markdown.marks import code_spans, open_marks
from adapters.slack.formatting import blocks as slack_format
from adapters.slack.formatting.mrkdwn import from_markdown
from adapters.studio.chat import growing_text as studio_growth
from adapters.teams.activities.html_text import words as words_of_html
from adapters.teams.answers import formatting as teams_format
from bot.domain.prompts import Parameters, Prompt, say
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
"""Characters, where the limits of the surfaces are a tenth of what they are, so that every one of them is met."""
LARGE = 60_000
MANY = 400_000
"""Signs in a row, so many that work in proportion to their square does not end within the time limit of a test."""
LIMITS = (
    (slack_format, "MESSAGE_LIMIT"),
    (teams_format, "TEXT_LIMIT"),
    (hostile_texts, "TEXT_LIMIT"),
    (hostile_texts, "UPDATE"),
    (growing, "MOST_RUN"),
    (studio_growth, "SMALL"),
)


class Steps:
    """Counts calls of functions, in Python and in C, and the characters that parsers and scanners are handed."""

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
    """Counts, with everything done in this thread."""
    steps = Steps()
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["adapters.shared.markdown.aside"], "MOST_CHARACTERS", sys.maxsize)
        for module, name in LIMITS:
            patched.setattr(module, name, getattr(module, name) // 10)
        for module, name in (
            (pyromark, "html"),
            (pyromark, "events"),
            (pyromark, "events_with_range"),
            (nh3, "clean"),
        ):
            patched.setattr(module, name, steps.handed(getattr(module, name)))
        patched.setattr("adapters.shared.markdown.growing.open_marks", steps.handed(open_marks))
        before = sys.getprofile()
        sys.setprofile(steps.profile)
        try:
            yield steps
        finally:
            sys.setprofile(before)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", HOSTILE)
async def test_field_fault_92_twice_the_text_takes_about_twice_the_steps(
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
async def test_field_fault_92_a_long_hostile_text_comes_to_its_end_on_every_surface(name: str) -> None:
    """Field fault 92: at the true limits of every surface; the steps are counted by the test above."""
    text = HOSTILE[name](LARGE)
    for show in SURFACES.values():
        await show(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_field_fault_92_a_long_answer_becomes_a_bounded_number_of_messages(name: str) -> None:
    """Field fault 92: an answer as long as the setting allows, in whatever shape."""
    text = HOSTILE[name](200_000)
    parts = split(text, 11_000, utf16)
    assert all(utf16(part) <= 11_000 for part in parts)
    assert len(parts) <= 3 * utf16(text) // 11_000 + 2


def test_field_fault_92_parts_that_are_settled_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 92: a long answer was parsed from its start for each of its messages."""
    text = "\n\n".join(["- an item of a long list " * 20, *["- another one\n" * 40] * 80])
    splitter = Splitter(3_000)
    with counting(monkeypatch) as steps:
        for end in range(1_000, len(text), 1_000):
            splitter.split(text[:end])
        splitter.split(text)
    assert splitter.split(text) == split(text, 3_000)
    assert steps.characters < 30 * len(text)


@pytest.mark.parametrize("limit", [700, 3_000])
def test_a_text_that_grows_is_split_as_if_it_had_been_whole(limit: int) -> None:
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
    assert to_html("> " * 10_000 + "a").count("<blockquote>") == MOST_NESTED
    assert to_html("- " * 10_000 + "a").count("<ul>") == MOST_NESTED
    assert "&gt; &gt; a" in to_html("> " * 10_000 + "a")
    wide = "|".join("a" * 1000) + "\n" + "|".join("-" * 1000) + "\n" + "b\n" * 1000
    assert "<table>" not in to_html(wide)
    fits = "|".join("a" * MOST_COLUMNS) + "\n" + "|".join("-" * MOST_COLUMNS) + "\nb\n"
    assert to_html(fits).count("<th>") == MOST_COLUMNS
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
def test_what_the_limits_need_does_not_show(text: str, html: str) -> None:
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
        lambda: image_options.read(" " * MANY + "x", Parameters(), "gpt-image"),
        lambda: from_markdown("**a " * MANY),
        lambda: from_markdown("# " + " #" * MANY + " a"),
        lambda: PLACEHOLDER.findall("{{" * MANY),
        lambda: example_images.PICTURE.findall("![" * MANY),
        lambda: example_images.PICTURE.findall("![](" * MANY),
        lambda: checks.plainly("```\n" + "\n" * MANY, Checks(fits=lambda value: None)),
        lambda: rules.answer("what " * MANY, []),
        lambda: rules.answer("how many words " * MANY, []),
        lambda: rules.answer("how many sentences: " + "." * MANY + "x", []),
        lambda: model.reply(_asking('<file name="a">\n' * 20_000)),
    ],
)
def test_field_fault_92_no_pattern_is_slow_on_what_people_and_models_write(
    read: Callable[[], object],
) -> None:
    """Field fault 92: each of these took time in proportion to the square of the text."""
    read()


def test_field_fault_92_the_end_of_an_unclosed_tag_is_not_looked_for_again(
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


def test_field_fault_92_an_answer_that_is_told_again_is_compared_once() -> None:
    """Field fault 92: the second part of a broken answer was looked for in the first one at each of its pieces."""
    shown = "".join(f"word{number} " for number in range(40_000))
    seam = ContinuationDeduper(shown)
    pieces = re.findall(r".{1,5}", shown + "and the rest.")
    assert "".join([*map(seam.feed, pieces), seam.end()]) == "and the rest."
    seam = ContinuationDeduper(shown)
    assert "".join([seam.feed(shown[-3_000:]), seam.feed("and on."), seam.end()]) == "and on."


async def test_a_long_text_is_worked_on_beside_the_loop() -> None:
    assert await aside(10, threading.current_thread) is threading.main_thread()
    assert await aside(1_000_000, threading.current_thread) is not threading.main_thread()
