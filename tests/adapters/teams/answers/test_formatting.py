"""Formatting of replies for Teams."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.shared.markdown import blocks
from adapters.shared.markdown.aside import aside
from adapters.teams.answers import formatting
from adapters.teams.answers.formatting import (
    TEXT_LIMIT,
    GrowingText,
    growing,
    is_plain,
    messages,
    to_teams,
    utf16,
)
from bot.domain.turns import Reply
from bot.domain.words import tr
from tests.support.languages import written_for

TABLE = "| name | size |\n|------|-----:|\n| **red** | 1 |\n| blau 漢字 | `20` |"


def test_headings_are_bold_lines() -> None:
    """Field note 15."""
    assert to_teams("# One\n\ntext\n## **Two**\n### Three `x` ###") == (
        "**One**\n\ntext\n\n**Two**\n\n**Three `x`**"
    )


def test_a_table_is_a_block_of_columns() -> None:
    """Field note 15."""
    assert to_teams(f"Look:\n\n{TABLE}\n\nDone.") == (
        "Look:\n\n```\nname      | size\n----------+-----\nred       |    1\nblau 漢字 |   20\n```\n\nDone."
    )


async def test_long_answers_keep_their_readers_language() -> None:
    """A thread formats them, which must know for whom."""
    with written_for("de-DE"):
        for size in (10, 5_000):
            assert await aside(size, lambda: tr("Prompt")) == "Prompt"
            assert await aside(size, lambda: tr("Sources:")) == "Quellen:"


def test_cells_keep_what_begins_a_block_elsewhere() -> None:
    """A number with a point, a minus, a quote sign: in a cell they are what they are."""
    table = "| step | by |\n|---|---|\n| 1. Buy | - 5 % |\n| > 3 | _red_ |"
    assert to_teams(table) == "```\nstep   | by\n-------+------\n1. Buy | - 5 %\n> 3    | red\n```"


MARKUP = [
    "1.",
    "-",
    "**b**",
    "*e*",
    "_u_",
    "`c`",
    "~~s~~",
    "[l](http://x)",
    "[ ]",
    "[x] y",
    "<b>",
    "!",
    "\\|",
    "|",
]
WORDS = st.sampled_from(["a", "two words", "日本", "é", "&amp;", "#", ">", "\t", *MARKUP])
LINES = st.lists(WORDS, max_size=3).map(" ".join)
ITEMS = st.tuples(
    st.sampled_from([" " * depth for depth in range(8)]),
    st.sampled_from(["- ", "* ", "1. ", "-  "]),
    st.sampled_from(["", "[ ] ", "[x] ", "[X] "]),
    LINES,
).map("".join)
ROWS = st.lists(LINES, min_size=1, max_size=3).map(lambda cells: f"|{'|'.join(cells)}|")
SIDES = st.lists(st.sampled_from(["---", " :-: ", "--:", ":-"]), min_size=1, max_size=3)
TABLES = st.tuples(
    ROWS, SIDES.map(lambda sides: f"|{'|'.join(sides)}|"), st.lists(ROWS, max_size=3).map("\n".join)
).map("\n".join)
HEADINGS = LINES.map(lambda words: f"## {words}")
BLOCKS = st.one_of(TABLES, st.lists(ITEMS, min_size=1, max_size=5).map("\n".join), HEADINGS, LINES)


def not_plain(block: str) -> None:
    """No block is rewritten without the parser."""


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(BLOCKS, st.sampled_from(["\n\n", "\n", ""])), max_size=4))
def test_blocks_of_plain_words_are_as_parsed(pieces: list[tuple[str, str]]) -> None:
    """What is rewritten without the parser is what the parser would have made of it."""
    text = "".join(block + end for block, end in pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formatting, "from_plain_words", not_plain)
        parsed = to_teams(text)
    assert to_teams(text) == parsed


def test_most_tables_and_tasks_need_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time for an ordinary answer was spent on them."""
    monkeypatch.delattr(formatting, "parse")
    tasks = "- one\n- two with *emphasis*\n  - [x] nested\n- [ ] a task\n\n"
    rows = "| name | size |\n|------|-----:|\n| red  |    1 |\n\n"
    assert to_teams(f"# A heading\n\n{tasks}{rows}") == (
        "**A heading**\n\n- one\n- two with *emphasis*\n  - ☑ nested\n- ☐ a task\n\n"
        "```\nname | size\n-----+-----\nred  |    1\n```\n\n"
    )


def test_a_wide_table_is_a_list() -> None:
    """Field note 15."""
    wide = f"| name | words |\n|---|---|\n| one | {'word ' * 20}|\n| two | short |"
    assert to_teams(wide).split("\n") == [
        f"- **name:** one; **words:** {'word ' * 20}".rstrip(),
        "- **name:** two; **words:** short",
    ]


def test_a_wide_table_of_few_rows_is_transposed() -> None:
    """Field note 15."""
    head = ["", *(f"column number {at}" for at in range(6))]
    row = ["Today", *map(str, range(6))]
    lines = to_teams("\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * 7, row))).split("\n")
    assert lines[1].split() == ["|", "Today"]
    assert lines[3] == "column number 0 | 0"
    assert len(lines) == 10


def test_tasks_have_boxes() -> None:
    """Field note 15."""
    assert to_teams("- [ ] open\n- [x] done [x]\n  - [X] nested\n\n1. [ ] first") == (
        "- ☐ open\n- ☑ done [x]\n  - ☑ nested\n\n1. ☐ first"
    )


@pytest.mark.parametrize(
    "text", ["plain", "- a\n- b", "```\n# not a heading\n| a |\n- [ ] x\n```", "> quote", "a\n\n---\n\nb", ""]
)
def test_other_markdown_stays_unchanged(text: str) -> None:
    assert to_teams(text) == text


def test_text_above_a_rule_is_no_heading() -> None:
    assert to_teams("Words\n---\nmore") == "Words\n\n---\nmore"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![a cat](https://x.example/c.png)", "[a cat](https://x.example/c.png)"),
        ("- see ![a cat][1] here", "- see [a cat][1] here"),
        ("> # x ![a](https://x.example)", "> # x [a](https://x.example)"),
        ("# ![a](https://x.example)", "**[a](https://x.example)**"),
        (
            'before <IMG src="https://x.example/?q=1"> after',
            'before &lt;IMG src="https://x.example/?q=1"> after',
        ),
        ("<at>Bob</at> <!-- x --> a < b, 1<2", "&lt;at>Bob&lt;/at> &lt;!-- x --> a < b, 1<2"),
        ("<https://x.example> <bob@x.example> `<b>`", "<https://x.example> <bob@x.example> `<b>`"),
        ("| a |\n|---|\n| <b>x</b> |", "```\na\n--------\n<b>x</b>\n```"),
        ("Great![1] and `![a](b)` and ``<img>``", "Great!\u2060[1] and `![a](b)` and ``<img>``"),
        ("```\n![a](b) <img>\n```", "```\n![a](b) <img>\n```"),
    ],
)
def test_remote_images_and_html_are_not_rendered(text: str, shown: str) -> None:
    assert to_teams(text) == shown


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Status: open\nOwner: Ann", "Status: open  \nOwner: Ann"),
        ("one\ntwo\nthree\n\nfour", "one  \ntwo  \nthree\n\nfour"),
        ("# T\ntext\nmore", "**T**\n\ntext  \nmore"),
        ("text\n## T\ntext", "text\n\n**T**\n\ntext"),
        ("- a\n# H\nz", "- a\n\n**H**\n\nz"),
        ("Title\n===\nx\ny", "Title\n\nx  \ny"),
        ("Intro:\n- a\n- b\nlazy", "Intro:\n- a\n- b\nlazy"),
        ("x\n1. y\n2. z", "x\n1. y\n2. z"),
        ("x\n2. y", "x  \n2. y"),
        ("1. a\n   b\n\n   c\n   d", "1. a\n   b\n\n   c\n   d"),
        ("> a\n> b\n> - c\n> - d", "> a  \n> b\n> - c\n> - d"),
        ("a\n> q", "a\n> q"),
        ("```\na\nb\n```\nx\ny", "```\na\nb\n```\n\nx  \ny"),
        ("a\n  ```\n  c\n  d\n  ```", "a\n  ```\n  c\n  d\n  ```"),
        ("    code\n    more", "    code\n    more"),
        ("a\\\nb", "a\\\nb"),
        ("a  \nb", "a  \nb"),
        ("**Name**\nValue: *x*\n`code`", "**Name**  \nValue: *x*  \n`code`"),
        ("-5 degrees\n+3 tomorrow\n12 later", "-5 degrees  \n+3 tomorrow  \n12 later"),
        ("Dear Ann,\nthanks!\n\nBest\nBob", "Dear Ann,  \nthanks!\n\nBest  \nBob"),
        ("😀\n日本語\n第二行", "😀  \n日本語  \n第二行"),
        ("- a\nb\n---\nc\nd", "- a\nb\n\n---\n\nc  \nd"),
        ("---\nc", "---\n\nc"),
        ("a\n***\nb", "a\n\n***\n\nb"),
    ],
)
def test_single_newlines_are_line_breaks(text: str, sent: str) -> None:
    """Field fault 73: outside code, lists and tables; each update is a prefix of the next."""
    assert to_teams(text) == sent
    shown = ""
    for end in range(len(text) + 1):
        frame = growing(text[:end])
        assert frame.startswith(shown)
        shown = frame
    assert sent.startswith(shown)


def test_a_growing_text_stays_a_prefix() -> None:
    pictures = "a < b <img src=x>\n\nsee ![this](https://x.example/a.png) and `![that](y)`."
    lists = f"{TABLE}\n\n- [ ] task\n- two"
    text = f"# Title\n\nWords and **bold** `code`.\n\n{pictures}\n\n{lists}\n\n## End\n\nLast.\n\n"
    shown = ""
    for end in range(len(text) + 1):
        frame = growing(text[:end])
        assert frame.startswith(shown) or shown.startswith(frame)
        shown = max(shown, frame, key=len)
    assert shown.rstrip() == to_teams(text).rstrip()


def test_sizes_are_counted_as_teams_counts_them() -> None:
    assert utf16("a😀é") == len("a😀é".encode("utf-16-le")) // 2 == 4


def test_every_message_has_exactly_one_root_entity() -> None:
    parts = messages(Reply(text="word " * 20_000, generated=True), [], 24_000)
    assert len(parts) > 3
    for part in parts:
        assert [entity["type"] for entity in part["entities"]] == ["https://schema.org/Message"]
        assert utf16(part["text"]) <= 24_000


def test_nested_lists_keep_indentation_and_boxes() -> None:
    """Field note 15."""
    text = "1. first\n   - [ ] nested\n     - deeper\n2. second\n   - [x] done"
    assert to_teams(text) == "1. first\n   - ☐ nested\n     - deeper\n2. second\n   - ☑ done"


def test_a_long_fence_continues_in_the_next_message() -> None:
    """Field note 14."""
    code = "\n".join(f"print({number:05})" for number in range(3_000))
    texts = [str(part["text"]) for part in messages(Reply(text=f"```python\n{code}\n```"), [], TEXT_LIMIT)]
    assert len(texts) == 2
    assert all(utf16(text) <= TEXT_LIMIT for text in texts)
    assert all(text.count("```python\n") == 1 and text.endswith("\n```") for text in texts)
    lines = [line for text in texts for line in text.split("\n") if line.startswith("print")]
    assert lines == code.split("\n")


@pytest.mark.parametrize("text", ["", "Yes.", "One.\n\nTwo,\nthree: 2 * 3."])
def test_text_without_markup_is_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text", ["**84**", "`code`", "- one", "# Title", "[a](https://b)", "> quote", "```\nx\n```"]
)
def test_markdown_is_not_plain(text: str) -> None:
    assert not is_plain(text)


PIECES = (
    "# head\n",
    "para!\n\n",
    "- [ ] task\n",
    "2. two\n",
    "> quote\n",
    "| a | b |\n|---|--:|\n| 1 | <b> |\n",
    "title\n---\n",
    "***\n",
    "```\ncode # |\n```\n",
    "~~~\n",
    "<script>\n",
    "text <i>x</i>\n",
    "![p](http://x/y)\n",
    "[r]: http://a\n\n",
    "\n",
    "    code\n",
)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=400, deadline=None)
def test_blocks_mean_together_what_they_mean_alone(text: str) -> None:
    """Field fault 92: blocks are parsed together to save calls, and a stream shows them one by one."""
    assert to_teams(text) == "".join(map(to_teams, blocks(text)))


@given(
    st.lists(st.sampled_from((*PIECES, "two\n", "12\n", "-5\n", "**b** x\n", "===\n")), max_size=8).map(
        "".join
    )
)
@settings(max_examples=100, deadline=None)
def test_any_growing_text_stays_a_prefix(text: str) -> None:
    """Field fault 73: line breaks depend on nothing that comes later. Tables are shown when they are complete."""
    text = text.replace("|", "/")
    growth, shown = GrowingText(), ""
    for end in range(len(text) + 1):
        frame = growth.shown(text[:end])
        assert frame.startswith(shown) or shown.startswith(frame)
        shown = max(shown, frame, key=len)
    assert to_teams(text).startswith(shown)
