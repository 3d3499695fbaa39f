"""The model's text in Slack's format, and people's text for the model."""

import itertools
from typing import Any

import pytest
from slack_sdk.models.blocks import Block, ContextActionsBlock, MarkdownBlock

from adapters.slack.formatting.blocks import Defusing, defused, growing, length, message, parts, trailer
from adapters.slack.formatting.mrkdwn import plain
from bot.domain.turns import Reply, Source
from tests.simulators.slack_rules import blocks_error

PAGES = "<!channel> <!here|here> <!subteam^S1> <@U012AB> <@W012AB|w> <#C012AB> @here @channel, (@everyone)"


def test_no_entity_and_no_handle_survives() -> None:
    """Field note 16."""
    safe = defused(PAGES)
    for sign in ("<!", "<@", "<#", " @here", " @channel", "(@everyone"):
        assert sign not in safe
    assert safe.replace("\u2060", "") == PAGES


@pytest.mark.parametrize(
    "text",
    [
        "`@here` and ``a @channel b``",
        "```\n@everyone\n```",
        "~~~\n@here\n```\n@here\n~~~",
        "bob@here.com and https://example.com/@channel and https://x.com/?q=@here",
        "`<b>` a < b, <!DOCTYPE html>, <!-- comment -->, x@y",
        "@hereafter".replace("here", "ther"),
    ],
)
def test_handles_in_code_and_urls_stay_unchanged(text: str) -> None:
    """Field note 16."""
    assert defused(text) == text


def test_entities_in_code_are_broken_too() -> None:
    """Field note 16."""
    assert "<!channel>" not in defused("`<!channel>` and ```\n<!channel>\n```")


def test_shown_text_never_changes_when_text_is_added() -> None:
    text = f"Hello {PAGES}\n\n```\n@here <!channel>\n```\nand `@here` a@b.com <https://example.com|x> end"
    shown = ""
    for end in range(len(text) + 1):
        grown = defused(growing(text[:end]))
        assert grown.startswith(shown)
        shown = grown
    assert defused(text).startswith(shown)


def test_growing_text_is_held_back_only_briefly() -> None:
    assert growing("a < b and c") == "a < b and c"
    assert growing("mail me @" + "x" * 60) == "mail me @" + "x" * 60
    assert growing("Hello @he") == "Hello "


def test_length_is_counted_in_utf16() -> None:
    """Field note 14."""
    bicycles = "🚲" * 12_000
    assert all(length(part) <= 11_000 for part in parts(bicycles))
    assert "".join(parts(bicycles)) == bicycles


def test_markdown_is_sent_to_slack_as_it_is() -> None:
    """Field note 15."""
    text = "# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n  - nested"
    body = message(text)
    assert body["blocks"] == [{"type": "markdown", "text": text}]
    assert body["text"].startswith("# Title")


def test_notification_texts_are_short_and_notify_nobody() -> None:
    assert message("a < b & c")["text"] == "a &lt; b &amp; c"
    for sign in ("c", "&", "🚲"):
        assert length(message(sign * 9_000)["text"]) < 4_000


def test_every_block_is_one_that_slack_knows() -> None:
    title, url = "Title " + "x" * 300, "https://example.com/" + "y" * 300
    sources = tuple(Source(title=f"{number} {title}", url=url) for number in range(99))
    blocks = message("text", trailer(Reply(text="", sources=sources, rate=True), "P1", "slack:T1:C1:1"))[
        "blocks"
    ]
    assert blocks_error(blocks) is None
    parse: Any = Block.parse_all  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    known = parse(blocks)
    assert [type(block) for block in known][::2] == [MarkdownBlock, ContextActionsBlock]
    assert [block.to_dict() for block in known] == blocks


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<@U0BOT> hi", "hi"),
        ("hi <@U0BOT|parley>!", "hi !"),
        ("<@U0ANN> and <@U0BOB|bob>", "@Ann and @bob"),
        ("<#C1|general> <#C2> <#C3|>", "#general #unknown-channel #unknown-channel"),
        (
            "<https://a.com> <http://a.com|a.com> <https://a.com|see>",
            "https://a.com a.com [see](https://a.com)",
        ),
        ("<mailto:x@y.z|x@y.z> <tel:+1|+1>", "x@y.z +1"),
        ("<!here> <!channel|channel> <!subteam^S1|@ops> <!subteam^S1>", "@here @channel @ops @unknown-group"),
        ("<!date^1392734382^{date}|18 February>", "18 February"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2"),
        ("&lt;@U0ANN&gt; is text", "<@U0ANN> is text"),
        ("a <b", "a <b"),
    ],
)
def test_mrkdwn_of_people_becomes_plain_text(written: str, read: str) -> None:
    assert plain(written, "U0BOT", {"U0ANN": "Ann"}) == read


def test_every_prefix_of_every_page_is_harmless() -> None:
    for first, second in itertools.product(PAGES.split(), repeat=2):
        safe = defused(f"{first} {second}")
        assert "<!" not in safe
        assert "<@" not in safe


@pytest.mark.parametrize("handle", ["here", "channel", "everyone"])
@pytest.mark.parametrize(
    "form",
    [
        *("_@{}_", "~@{}~", "*@{}*", "**@{}**", "***@{}***", "__@{}__", "_*@{}*_", "~_@{}_~"),
        *("[@{}](https://x.example)", "> _@{}_", "- _@{}_ hello", "# _@{}_", "| _@{}_ |", "(_@{}_)"),
        *("“_@{}_”", "-@{}", "@@{}", "||@{}||"),
    ],
)
def test_no_emphasis_makes_a_handle_notify(form: str, handle: str) -> None:
    """Field fault 49."""
    text = form.format(handle)
    for shown in (defused(text), defused(f"Hello {text}, bye"), growing_text(f"Hi {text} you")):
        assert f"@{handle}" not in shown
        assert "@\u2060" in shown


def growing_text(text: str) -> str:
    """A text that is defused while it grows, letter by letter."""
    defusing = Defusing()
    for end in range(len(text) + 1):
        defusing.defused(text[:end])
    return defusing.defused(text)


@pytest.mark.parametrize("text", ["ann_@here.com", "a.b@channel.example", "x-@everyone.org", "`_@here_`"])
def test_addresses_and_code_keep_their_handles(text: str) -> None:
    """Field note 16."""
    assert defused(text) == text
