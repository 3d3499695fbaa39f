"""Texts that readers of Markdown are slow at, each of any size, and the surfaces that show a text.

They are used by the tests that count steps and by `tests.benchmarks.markdown`.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from adapters.shared.markdown import aside
from adapters.slack.formatting import blocks
from adapters.slack.formatting.growing_text import GrowingMessages as InSlack
from adapters.studio.chat.frames import rendered
from adapters.studio.chat.growing_text import GrowingHtml as InStudio
from adapters.teams.answers.formatting import TEXT_LIMIT, messages
from adapters.teams.answers.formatting import GrowingText as InTeams
from adapters.terminal import TerminalAdapter
from bot.domain.events import PostedMessage
from bot.domain.turns import Reply

Build = Callable[[int], str]
"""A text of about so many characters."""

ORDINARY = """# A heading

A first paragraph with **bold words**, `code`, a [link](https://example.com/a) and some more words, so that it is
about as long as paragraphs are, with a second sentence and a third one. Most of an answer is like this.

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

"""


def _again(piece: str, end: str = "") -> Build:
    return lambda size: piece * (size // len(piece)) + end


def _halves(first: str, second: str, between: str = "") -> Build:
    def build(size: int) -> str:
        times = size // (len(first) + len(second))
        return first * times + between + second * times

    return build


def _rising(line: Callable[[int], str]) -> Build:
    """Line after line, each for a number that is one more."""

    def build(size: int) -> str:
        lines: list[str] = []
        while size > 0:
            lines.append(line(len(lines)))
            size -= len(lines[-1])
        return "".join(lines)

    return build


def _wide_table(size: int) -> str:
    columns = size // 20
    return "a|" * columns + "a\n" + "-|" * columns + "-\n" + "b\n" * (size // 4)


HOSTILE: Mapping[str, Build] = {
    "ordinary": _again(ORDINARY),
    "one word": _again("a"),
    "one long line": _again("words and more words "),
    "open stars": _again("*a "),
    "open double stars": _again("**a *b "),
    "open underscores": _again(" _a"),
    "open tildes": _again("~~a "),
    "closing stars": _again("a* b** "),
    "stars inside each other": _halves("*a **b ", " c** d*"),
    "backticks of all lengths": _rising(lambda number: "`" * (number % 400 + 1) + "a"),
    "open code in every paragraph": _again("`a **b\n\n"),
    "open brackets": _again("["),
    "closing brackets": _again("]"),
    "brackets inside each other": _halves("[", "](b)", "a"),
    "open pictures": _again("!["),
    "half links": _again("[a]("),
    "half links with titles": _again('[a](b "'),
    "links": _again("[a](b) "),
    "definitions of links": _halves("[a]: b\n", "[a]", "\n"),
    "quotes inside each other": _again(">", "a"),
    "deep quotes, then lines": _halves(">", "a\n", "a\n"),
    "lists inside each other": _again("- ", "a"),
    "deep lists, then lines": _halves("- ", "a\n", "a\n"),
    "numbers inside each other": _again("1. ", "a"),
    "lists by indentation": _rising(lambda number: "  " * (number % 300) + "- a\n"),
    "one long list": _again("- an item\n"),
    "long items": _again("- " + "words " * 700 + "\n"),
    "a wide table": _wide_table,
    "many wide tables": lambda size: (_wide_table(1_000) + "\n") * (size // 1_000),
    "a long table": _again("| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 40),
    "a table of nothing": _again("|"),
    "dashes and pipes": _again("-|"),
    "open tags": _again("<a "),
    "open comments": _again("<!--\n"),
    "open CDATA": _again("<![CDATA[\n"),
    "tags": _again("<b>x</b>\n\n<div>\n"),
    "autolinks without an end": _again("<https:a"),
    "fences of all lengths": _rising(lambda number: "`" * (number % 300 + 3) + "\n"),
    "an open fence": lambda size: "```python\n" + _again("x = '*a' # `b` @here\n")(size),
    "fences in a list": _again("- a\n  ```py\n  x = 1\n  ```\n"),
    "a long fence in a list": lambda size: "- a\n  ```py\n" + _again("  x = 1\n")(size),
    "open fences of two kinds": _again("```\n~~~\n"),
    "code of one line": lambda size: "```python\n" + _again("'a ")(size) + "\n```\n",
    "entities": _again("&#"),
    "backslashes": _again("\\*"),
    "spaces": _again(" ", "a"),
    "lines of nothing": _again("\n", "a"),
    "hashes": _again("# "),
    "headings without space between": _again("# a\nb\n"),
    "underlined headings": _again("a\n===\n"),
    "rules": _again("- - -\n"),
    "mentions": _again("<@U1"),
    "handles": _again(",@here"),
    "handles in an address": lambda size: "https://" + _again("@here/")(size),
    "emoji": _again("😀"),
    "flags": _again("🇩"),
    "combining marks": _again("\u0301"),
    "signs that mean nothing": _again("\ufdd0\ufdd1<a"),
}
"""By name. Each is to cost no more for its size than any other."""

UPDATE = 3_000
"""Characters between two updates of an answer that is being written."""


async def grown(text: str) -> AsyncIterator[str]:
    """The text as it is offered while it is written; between two updates others have their turn."""
    for end in range(UPDATE, len(text) + UPDATE, UPDATE):
        yield text[:end]
        await asyncio.sleep(0)


async def in_slack_by_stream(text: str) -> None:
    growth = InSlack()

    def prepare(written: str) -> None:
        growth.parts(growth.lasting(growth.safe(written)), blocks.MESSAGE_LIMIT)

    async for written in grown(text):
        await aside(len(written), prepare, written)


async def in_slack_by_edits(text: str) -> None:
    growth = InSlack()

    def prepare(written: str) -> list[str]:
        return growth.parts(growth.safe(written), blocks.MESSAGE_LIMIT)

    async for written in grown(text):
        for part in (await aside(len(written), prepare, written))[-1:]:
            blocks.preview(part)


async def in_slack_at_the_end(text: str) -> None:
    safe = await aside(len(text), blocks.defused, text)
    await aside(len(text), InSlack().parts, safe, blocks.MESSAGE_LIMIT)


async def in_teams_by_stream(text: str) -> None:
    growth = InTeams()
    async for written in grown(text):
        await aside(len(written), growth.shown, written)


async def in_teams_at_the_end(text: str) -> None:
    await aside(len(text), messages, Reply(text=text), [], TEXT_LIMIT)


async def in_studio_by_stream(text: str) -> None:
    growth = InStudio()
    async for written in grown(text):
        await growth.html(written)


async def in_studio_at_the_end(text: str) -> None:
    await rendered(text)


async def in_terminal(text: str) -> None:
    terminal = TerminalAdapter("bench", Path(), reader=io.StringIO(), writer=io.StringIO())
    post = PostedMessage(id="terminal:1")
    async for written in grown(text):
        await terminal.update(post, written)
    await terminal.close(post, Reply(text=text))


SURFACES: Mapping[str, Callable[[str], Awaitable[None]]] = {
    "Slack, stream": in_slack_by_stream,
    "Slack, edits": in_slack_by_edits,
    "Slack, end": in_slack_at_the_end,
    "Teams, stream": in_teams_by_stream,
    "Teams, end": in_teams_at_the_end,
    "studio, stream": in_studio_by_stream,
    "studio, end": in_studio_at_the_end,
    "terminal": in_terminal,
}
"""Everything that is done with a text on each surface, but for sending it."""
