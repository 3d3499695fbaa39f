"""Colours the code in an answer, by classes: the page's policy allows no inline style."""

import re
from functools import cache
from html import escape, unescape
from typing import Any, cast

from pygments import highlight  # pyright: ignore[reportUnknownVariableType]
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name  # pyright: ignore[reportUnknownVariableType]
from pygments.util import ClassNotFound

MOST_CHARACTERS = 20_000
"""A longer piece stays plain: colouring it would hold up the answers of others."""

_CODE = re.compile(r'<pre><code class="language-([\w+#.-]{1,40})">(.*?)</code></pre>', re.DOTALL)
_formatter = cast("Any", HtmlFormatter(nowrap=True, classprefix="h-"))


@cache
def _lexer(language: str) -> Any:
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def code(text: str, language: str) -> str:
    """A text as a block of coloured code."""
    return coloured(f'<pre><code class="language-{language}">{escape(text.rstrip())}\n</code></pre>')


def coloured(html: str) -> str:
    """The HTML with every piece of code in a known language coloured."""
    return _CODE.sub(_colour, html)


def _colour(found: re.Match[str]) -> str:
    lexer = _lexer(found[1].lower())
    if lexer is None or len(found[2]) > MOST_CHARACTERS:
        return found[0]
    body = str(highlight(unescape(found[2]), lexer, _formatter))
    return f'<pre><code class="language-{found[1]}">{body}</code></pre>'
