"""The shared Markdown module: nothing is lost, torn, shown raw, or unsafe."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from adapters.shared.markdown import Scanner, Splitter, parse, plain, settled, split, tidy, to_html

SAMPLE = """# A heading

A first paragraph with **bold words**, `code`, a [link](https://example.com/a) and some more words.

```python
for number in range(10):
    print(number)
```

- one
- two with *emphasis*
  - nested
- [ ] a task

| name | size |
|------|-----:|
| red  |    1 |
| blue |    2 |

> a quote
> of two lines

1. first
2. second ~~struck~~

The end."""


def words(text: str) -> list[str]:
    """The words of a text, without the markup that a split may repeat."""
    return re.findall(r"\w+", text)


def test_a_short_text_stays_as_it_is() -> None:
    assert split("Hello\n\nworld", 100) == ["Hello\n\nworld"]
    assert split("", 10) == []
    assert split("\n\n \n", 10) == []


@pytest.mark.parametrize("limit", [40, 60, 100, 200, 400])
def test_every_part_fits_and_every_word_survives(limit: int) -> None:
    parts = split(SAMPLE, limit)
    assert all(len(part) <= limit for part in parts)
    assert set(words(SAMPLE)) == set(words(" ".join(parts)))
    plain = SAMPLE.partition("```python")[0]
    assert words(plain) == words("\n".join(split(plain, limit)))


def test_code_after_many_definitions_survives() -> None:
    """A short block that is too long together with what precedes it, and so has to be read after all."""
    definitions = [f"[name{number}]: https://example.com/{number}" for number in range(20)]
    text = "- " + "\n  ".join([*definitions, "```", "code", "```"])
    assert split(text, 200)[-1].endswith("```\ncode\n```")


def test_cuts_prefer_paragraphs_then_lines_then_sentences() -> None:
    assert split("one one\n\ntwo two\n\nthree", 16) == ["one one\n\ntwo two", "three"]
    assert split("line one\nline two\nline three", 18) == ["line one\nline two", "line three"]
    assert split("First one here. Second one here.", 20) == ["First one here.", "Second one here."]
    assert split("alpha beta gamma", 12) == ["alpha beta", "gamma"]


def test_a_fence_that_fits_stays_whole() -> None:
    """Field note 14."""
    fence = "```js\nlet a = 1\n\nlet b = 2\n```"
    assert split(f"Some words before it.\n\n{fence}\n\nSome words after.", 40) == [
        "Some words before it.",
        fence,
        "Some words after.",
    ]


def test_a_long_fence_is_reopened_with_its_language() -> None:
    """Field note 14."""
    code = [f"line_{number} = {number}" for number in range(40)]
    parts = split("Look:\n\n```python\n" + "\n".join(code) + "\n```\n\nDone.", 120)
    fences = [node for part in parts for node in parse(part).children if node.type == "fence"]
    assert len(fences) > 3
    assert {node.info for node in fences} == {"python"}
    assert "".join(node.content for node in fences).split("\n")[:-1] == code
    assert all(part.count("```") % 2 == 0 and len(part) <= 120 for part in parts)


def test_a_long_fence_in_a_list_stays_code() -> None:
    """Field note 14."""
    code = [f"let x{number}" for number in range(30)]
    text = "- first\n- second\n  ```js\n" + "\n".join(f"  {line}" for line in code) + "\n  ```\n- third"
    parts = split(text, 80)
    fences = [node for part in parts for node in parse(part).walk() if node.type == "fence"]
    assert "".join(node.content for node in fences).split() == " ".join(code).split()
    assert words(" ".join(parts)).count("third") == 1


def test_a_long_table_repeats_its_head() -> None:
    rows = "\n".join(f"| {number} | cell {number} |" for number in range(30))
    parts = split(f"| a | b |\n|---|---|\n{rows}", 150)
    assert len(parts) > 2
    assert all(part.startswith("| a | b |\n|---|---|\n") and len(part) <= 150 for part in parts)


@pytest.mark.parametrize("grapheme", ["👨‍👩‍👧‍👦", "🇩🇪", "e\u0301", "👍🏽", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"])
def test_a_grapheme_is_never_torn(grapheme: str) -> None:
    whole = grapheme * 20
    parts = split(whole, len(grapheme) * 2 + 1)
    assert "".join(parts) == whole
    assert all(len(part) % len(grapheme) == 0 for part in parts)


def test_the_measure_is_the_callers() -> None:
    def utf16(text: str) -> int:
        return len(text.encode("utf-16-le")) // 2

    parts = split("😀" * 50, 20, utf16)
    assert "".join(parts) == "😀" * 50
    assert {utf16(part) for part in parts} == {20}


def test_link_definitions_between_blocks_are_kept() -> None:
    text = "A [link][1] in words.\n\n[1]: https://example.com/one\n\n" + "More words. " * 20
    assert "https://example.com/one" in "\n".join(split(text, 60))


def test_random_texts_lose_nothing() -> None:
    chance = random.Random(7)
    pieces = [
        "word ",
        "**bold** ",
        "\n",
        "\n\n",
        "```\ncode\n```\n",
        "- item\n",
        "> quote\n",
        "😀",
        "x" * 50,
        "`c` ",
    ]
    for _ in range(150):
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 60)))
        limit = chance.choice([20, 40, 90])
        parts = split(text, limit)
        assert all(len(part) <= limit for part in parts)
        assert "".join(words(text)) == "".join(words(" ".join(parts)))


@pytest.mark.parametrize(
    ("half", "shown"),
    [
        ("a **bo", "a **bo**"),
        ("**bold*", "**bold**"),
        ("***both", "***both***"),
        ("a **b `co", "a **b `co`**"),
        ("an _it", "an _it_"),
        ("~~go", "~~go~~"),
        ("wait **", "wait"),
        ("see [lab", "see "),
        ("see [label](htt", "see "),
        ("see <https://ex", "see "),
        ("![alt](http", ""),
        ("!", ""),
        ("a cat: !", "a cat: "),
        ("a cat: ![", "a cat: "),
        ("- one\n- ", "- one"),
        ("Words\n-", "Words"),
        ("Words\n##", "Words"),
        ("```py", ""),
        ("```py\nx = 1", "```py\nx = 1\n```"),
        ("```py\nx = 1\n``", "```py\nx = 1\n```"),
        ("Words\n\n| a | b", "Words\n"),
        ("| a | b |\n|--", ""),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3", "| a | b |\n|---|---|\n| 1 | 2 |"),
    ],
)
def test_unfinished_text_shows_no_raw_markup(half: str, shown: str) -> None:
    assert tidy(half) == shown


@pytest.mark.parametrize(
    "whole",
    [
        "2 * 3 = 6",
        "snake_case_name",
        "* a\n* b",
        r"a \*b",
        "`a`",
        "**a** b",
        "Hi!",
        "5 < 6",
        "x[0] = 1",
        "~5",
    ],
)
def test_complete_text_stays_as_it_is(whole: str) -> None:
    assert tidy(whole) == whole


def test_settled_text_is_a_growing_prefix() -> None:
    assert settled("a cat: !") == "a cat: ", "a picture may begin there"
    before = ""
    for end in range(len(SAMPLE) + 1):
        shown = settled(SAMPLE[:end])
        assert SAMPLE.startswith(shown)
        assert shown.startswith(before) or before.startswith(shown)
        before = shown if len(shown) > len(before) else before
    assert len(before) > len(SAMPLE) - 12


def test_while_growing_no_frame_shows_open_marks() -> None:
    for end in range(len(SAMPLE) + 1):
        for frame in (tidy(SAMPLE[:end]), settled(SAMPLE[:end])):
            for block in (node for node in parse(frame).walk() if node.type == "inline"):
                words = plain(block.content)
                assert "**" not in words
                assert "`" not in words
                assert "](" not in words


def test_html_has_tables_tasks_and_strikethrough() -> None:
    html = to_html("- [ ] open\n- [x] done\n\n~~old~~\n\n| a |\n|:-:|\n| 1 |\n\n```py\nx < 1\n```")
    assert '<input type="checkbox" disabled="">open' in html
    assert '<input type="checkbox" disabled="" checked="">done' in html
    assert "<s>old</s>" in html
    assert '<td style="text-align:center">1</td>' in html
    assert '<code class="language-py">x &lt; 1' in html


@pytest.mark.parametrize(
    "bad",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html;base64,AAAA)",
        '<a href="https://x" onclick="y">z</a>',
        '```"><script>alert(1)</script>\nx\n```',
    ],
)
def test_html_is_safe(bad: str) -> None:
    html = to_html(bad)
    assert "<script" not in html
    assert "<img" not in html
    assert not re.search(r"<[^>]*(onerror|onclick|javascript:|data:)", html)


def test_remote_images_become_links() -> None:
    html = to_html("![chart](https://example.com/c.png?q=secret)")
    assert "<img" not in html
    assert 'href="https://example.com/c.png?q=secret"' in html
    assert 'rel="noopener noreferrer nofollow"' in html


LINES = (
    *(
        "",
        "",
        " ",
        "text",
        "**bold** text",
        "_text_",
        "`code` text",
        "***",
        "- - -",
        "===",
        "# heading",
        "#",
        "#tag",
    ),
    *(
        "- item",
        "* item",
        "  - nested",
        "   1. nested",
        " - item",
        "-",
        "- # a",
        "- ```",
        "  text",
        "\ttext",
        "text\r",
    ),
    *("1. item", "2. item", "10) item", "1.", "| a | b |", "  | a", "> quote", "> - item", "> ```", ">"),
    *(
        "```",
        "```py",
        "~~~",
        "````",
        "  ```",
        "`````",
        "    code",
        "2026 text",
        "\u00b2 text",
        "\u0663. text",
    ),
)


def positions(text: str, cuts: list[int]) -> list[object]:
    """What a scanner finds in a text that grows in these steps."""
    scanner = Scanner()
    found: list[object] = []
    for end in (*sorted(cuts), len(text)):
        found.append([*scanner.borders_of(text[:end])])
        found.append(
            (scanner.at, scanner.fence, scanner.fence and scanner.fence_at, scanner.run, scanner.table)
        )
    return found


@given(st.lists(st.sampled_from(LINES), max_size=12).map("\n".join), st.lists(st.integers(0, 80), max_size=3))
@examples(max_examples=600, deadline=None)
def test_lines_mean_together_what_they_mean_alone(text: str, cuts: list[int]) -> None:
    """Usual lines are read together, to save time."""
    together = positions(text, cuts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("adapters.shared.markdown.scanner._USUAL", re.compile("(?!)"))
        assert together == positions(text, cuts)


@given(st.lists(st.integers(0, 12_000), max_size=30), st.sampled_from([300, 1_000, 2_500]))
@examples(max_examples=40, deadline=None)
def test_parts_of_a_stream_stay(cuts: list[int], limit: int) -> None:
    """They are final once a whole block follows, and the same as if the text had come at once."""
    text = "\n\n".join([SAMPLE.strip()] * 20)
    splitter = Splitter(limit)
    parts = split(text, limit)
    for end in sorted(cuts):
        shown = splitter.split(text[:end].strip("\n"))[:-2]
        assert shown == parts[: len(shown)]
    assert splitter.split(text) == parts
