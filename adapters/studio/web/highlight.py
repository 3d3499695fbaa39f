"""Colours the code in an answer, by classes: the page's policy allows no inline style."""

import re
from functools import lru_cache
from html import escape, unescape
from typing import Any, cast

from pygments import highlight  # pyright: ignore[reportUnknownVariableType]
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name  # pyright: ignore[reportUnknownVariableType]
from pygments.util import ClassNotFound

MOST_CHARACTERS = 8_000
"""A longer piece stays plain: some lexers take more than linear time."""
MOST_IN_ALL = 50_000
"""Characters of code that are coloured in one text, the first ones."""
MOST_UNFINISHED = 2_000
"""A longer piece stays plain while it is being written."""

_CODE = re.compile(r'<pre><code class="language-([\w+#.-]{1,40})">(.*?)</code></pre>', re.DOTALL)
_formatter = cast("Any", HtmlFormatter(nowrap=True, classprefix="h-"))


@lru_cache(maxsize=256)
def _lexer(language: str) -> Any:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def code(text: str, language: str) -> str:
    """A text as a block of coloured code."""
    return coloured(f'<pre><code class="language-{language}">{escape(text.rstrip())}\n</code></pre>')


def coloured(html: str, whole: bool = True) -> str:
    """The HTML with its pieces of code in known languages coloured, within the limits above."""
    room = MOST_IN_ALL

    def colour(found: re.Match[str]) -> str:
        nonlocal room
        room -= len(found[2])
        if room < 0 or len(found[2]) > (MOST_CHARACTERS if whole else MOST_UNFINISHED):
            return found[0]
        return _coloured(found[1], found[2]) or found[0]

    return _CODE.sub(colour, html)


@lru_cache(maxsize=64)
def _coloured(language: str, escaped: str) -> str:
    """A piece of code with its colours; nothing where the language is unknown."""
    lexer = _lexer(language.lower())
    if lexer is None:
        return ""
    body = str(highlight(unescape(escaped), lexer, _formatter))
    return f'<pre><code class="language-{language}">{body}</code></pre>'
