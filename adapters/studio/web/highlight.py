"""Highlights code in HTML by classes, as the content security policy allows no inline style."""

import re
from functools import lru_cache
from html import escape, unescape
from typing import Any, cast

from pygments import highlight  # pyright: ignore[reportUnknownVariableType]
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name  # pyright: ignore[reportUnknownVariableType]
from pygments.util import ClassNotFound

MOST_CHARACTERS = 8_000
"""A longer block stays plain: some lexers need more than linear time."""
MOST_IN_ALL = 50_000
"""Characters of code that are highlighted in one text."""
MOST_UNFINISHED = 2_000
"""A longer block stays plain while it is streamed."""

_CODE = re.compile(r'<pre><code class="language-([\w+#.-]{1,40})">(.*?)</code></pre>', re.DOTALL)
_formatter = cast("Any", HtmlFormatter(nowrap=True, classprefix="h-"))


@lru_cache(maxsize=256)
def _lexer(language: str) -> Any:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def code(text: str, language: str) -> str:
    """A text as a block of highlighted code."""
    return coloured(f'<pre><code class="language-{language}">{escape(text.rstrip())}\n</code></pre>')


def coloured(html: str, whole: bool = True) -> str:
    """The HTML with its code in known languages highlighted, within the limits above."""
    left = MOST_IN_ALL

    def colour(found: re.Match[str]) -> str:
        nonlocal left
        left -= len(found[2])
        if left < 0 or len(found[2]) > (MOST_CHARACTERS if whole else MOST_UNFINISHED):
            return found[0]
        return _coloured(found[1], found[2]) or found[0]

    return _CODE.sub(colour, html)


@lru_cache(maxsize=64)
def _coloured(language: str, escaped: str) -> str:
    """A highlighted block; empty for an unknown language."""
    lexer = _lexer(language.lower())
    if lexer is None:
        return ""
    body = str(highlight(unescape(escaped), lexer, _formatter))
    return f'<pre><code class="language-{language}">{body}</code></pre>'
