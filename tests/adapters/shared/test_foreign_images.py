"""Field fault 103: no surface loads an image from a host that an answer names."""

import re

import pyromark
import pytest

from adapters.shared.markdown import ImageRemover, to_html, without_images
from adapters.slack.formatting import blocks
from adapters.slack.formatting.growing_text import GrowingMessages
from adapters.studio.chat.growing_text import GrowingHtml
from adapters.teams.answers import cards
from adapters.teams.answers.formatting import growing, to_teams

U = "https://foreign.example/?q=secret"
SPELLINGS = (
    f"![x]({U})",
    f"![x](<{U}>)",
    f'![x]({U} "a title")',
    f"![]({U})",
    f"![a [nested] alt]({U})",
    f"![two\nlines]({U})",
    f"![x][1]\n\n[1]: {U}",
    f"![x][]\n\n[x]: {U}",
    f"![x]\n\n[x]: {U}",
    f"Great![x]\n\n[x]: <{U}>",
    f"word![x]({U})",
    f"a price: `5 ![x]({U})",
    f"`a\n![x]({U})\nb`",
    f"\\\\![x]({U})",
    f"[![x]({U})](https://contoso.example)",
    f"- item\n  > ![x]({U})",
    f"# ![x]({U})",
    f"| a | b |\n|---|---|\n| ![x]({U}) | c |",
    f"para\n\n    ![x]({U})",
    f'<img src="{U}" alt="x">',
    f"<IMG\nsrc='{U}'>",
    f'<picture><source srcset="{U} 2x"><img src="{U}"></picture>',
    f'<svg><image href="{U}"/></svg>',
    f'<p style="background:url({U})">x</p>',
    f'<input type="image" src="{U}">',
    f'<video poster="{U}"></video><iframe src="{U}"></iframe><object data="{U}"></object>',
    f"![x](data:image/svg+xml;base64,PHN2Zz4=) ![y]({U})",
    f'<a href="{U}"><img src="{U}" alt="x"></a>',
    f'**bold <img src="{U}">** and `code`',
)
LOADS = re.compile(r"<(?:img|image|picture|source|svg|video|iframe|object|input[^>]*src|link|style)\b", re.I)


def loads(markdown: str) -> bool:
    """Whether a renderer of CommonMark that passes HTML on would load something."""
    html = pyromark.html(markdown, options=pyromark.Options.ENABLE_TABLES)
    return bool(LOADS.search(html) or "url(" in re.sub(r"&lt;.*?&gt;|&lt;.*?>", "", html))


@pytest.mark.parametrize("text", SPELLINGS)
def test_no_spelling_of_an_image_is_loaded(text: str) -> None:
    assert loads(text) or "    !" in text or "`a\n" in text
    assert not loads(without_images(text))
    assert not loads(blocks.defused(text))
    assert not loads(to_teams(text))
    assert not LOADS.search(to_html(text))
    body = cards.sent(text)["body"]
    assert not any(loads(part["text"]) for part in body if part["type"] == "TextBlock")


@pytest.mark.parametrize("text", SPELLINGS)
def test_no_chunk_of_a_stream_is_an_image(text: str) -> None:
    slack, remover, written = GrowingMessages(), ImageRemover(), f"Before.\n\n{text}\n\nAfter."
    lasting = ""
    for end in range(len(written) + 1):
        assert not loads(growing(written[:end]))
        assert not loads(remover.removed(written[:end]))
        frame = slack.lasting(slack.safe(written[:end]))
        assert frame.startswith(lasting)
        assert not loads(frame)
        lasting = frame
    assert blocks.defused(written).startswith(lasting)


@pytest.mark.parametrize("text", SPELLINGS)
async def test_the_studio_shows_no_image_while_streaming(text: str) -> None:
    html = GrowingHtml()
    for end in range(0, len(text) + 1, 3):
        _, shown = await html.html(text[:end], whole=True) or (0, "")
        assert not LOADS.search(shown)


@pytest.mark.parametrize(
    "text",
    [
        "```rust\nlet a = vec![1];\n```",
        "Use `vec![1]` and `<img>`.",
        "~~~md\n![x](https://foreign.example)\n~~~",
        "5! and 3 < 4",
        "<https://contoso.example> and [a link](https://contoso.example/?q=1)",
    ],
)
def test_code_and_links_stay_unchanged(text: str) -> None:
    assert without_images(text) == blocks.defused(text) == to_teams(text) == text


def test_the_alternative_text_stays_as_a_link() -> None:
    assert without_images(f"See ![a chart]({U}).") == f"See [a chart]({U})."
    assert to_html(f"![a chart]({U})") == (
        f'<p><a href="{U}" rel="noopener noreferrer nofollow">a chart</a></p>\n'
    )


def test_no_message_asks_slack_for_previews() -> None:
    assert blocks.message(U)["unfurl_links"] is blocks.message(U)["unfurl_media"] is False
