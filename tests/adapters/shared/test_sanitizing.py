"""HTML that skips the sanitizer is what the sanitizer would have left of it."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from adapters.shared.markdown import html, to_html
from tests.support.hostile_texts import HOSTILE, ORDINARY

WORDS = (
    *(
        "a",
        " ",
        "\n",
        "\n\n",
        "*",
        "**",
        "_",
        "`",
        "```",
        "~~",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        '"',
        "'",
        "&",
        "\\",
        "|",
    ),
    *(
        "- ",
        "1. ",
        "> ",
        "# ",
        "|-|-:|",
        "- [x] ",
        "![",
        "](https://a.b ",
        '"t"',
        "](javascript:a)",
        "<script>",
    ),
    *(
        "<b a='",
        '```x" y="',
        "&lt;",
        "&#60;",
        "<https://a.b>",
        "<a@b.c>",
        "mailto:",
        "$x<y$",
        "\u0301",
        "ש",
        "\x00",
        "\r",
        "\x0c",
        "\ufdd0",
        "\ud800",
        "\\(x_1<y\\)",
    ),
)


class Refusing:
    """A sanitizer that must not be needed."""

    def clean(self, given: str) -> str:
        raise AssertionError(given)


class Reader(HTMLParser):
    """The tags, attributes and words of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.found.append([data])


def read(text: str) -> list[object]:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader.found


def same(text: str) -> None:
    """Entities and attributes may be written differently; what they say may not."""
    shown = to_html(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(html, "_SHORT", -1)
        assert read(shown) == read(to_html(text))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_as_sanitized(name: str) -> None:
    same(HOSTILE[name](4_000))


@given(st.lists(st.sampled_from(WORDS), max_size=30).map("".join))
@examples(max_examples=1_500, deadline=None)
def test_any_markdown_is_as_sanitized(text: str) -> None:
    same(text)


@pytest.mark.parametrize("path", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_whole_documents_are_as_sanitized(path: str) -> None:
    text = (Path(__file__).parents[3] / path).read_text()
    for at in range(0, len(text), 3_000):
        same(text[at : at + 3_000])


def test_an_ordinary_answer_needs_no_sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "SANITIZER", Refusing())
    assert "<table>" in to_html(ORDINARY)


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<p onclick=alert(1)>",
        '<p onclick="a()">',
        "<P>",
        "<p/onclick=a()>",
        "<img src=x>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" https://a.b">x</a>',
        '<a href="https://a.b" onclick="a()">x</a>',
        '<a href="https://a.b" target="_top">x</a>',
        '<a href="https://a.b"onclick="a()">x</a>',
        "<a href='https://a.b'>x</a>",
        '<a href="https://a.b><p onclick="a()">x</a>',
        '<code class="a" style="b">x</code>',
        '<code class="language-a b">x</code>',
        '<td style="position:fixed">x</td>',
        '<td style="text-align:center;position:fixed">x</td>',
        '<input type="text">',
        '<input type="checkbox" disabled="" autofocus onfocus=a()>',
        "<style>p{}</style>",
        "<svg><a></svg>",
        "<!-- x -->",
        "<p",
        "x<",
        "</div>",
        "<iframe>",
    ],
)
def test_other_tags_are_sanitized(hostile: str) -> None:
    for around in (hostile, f"<p>a</p>\n{hostile}", f"{hostile}<p>a</p>"):
        assert html.sanitized(around) == html.SANITIZER.clean(around)
