"""Markdown whose images are links, because loading one from a foreign host could leak data to it."""

import re
from bisect import bisect_right

from adapters.shared.markdown.marks import code_spans
from adapters.shared.markdown.scanner import Scanner
from adapters.shared.markdown.tree import Node, parse

JOINER = "\u2060"
"""An invisible character (word joiner) that keeps `![` and `<img` from being markup."""

BROKEN, ESCAPED = f"<{JOINER}", "&lt;"
"""What replaces the `<` of HTML. Comments and declarations are only escaped: they load nothing."""

_SIGN = re.compile(
    r"<(?P<link>[a-z][a-z0-9+.-]{1,31}:[^\s<>]*>|[^\s<>@]+@[^\s<>@]+>)|!(?=\[)|<(?=[a-z/!?])", re.I
)
"""Links, which stay; else the start of an image, or of HTML."""
_HTML = re.compile(r"<(?=[a-z/])", re.I)
_SMALL = 2_000
"""Characters of an unfinished block up to which it is parsed each time that it has grown."""
_IMAGE_OR_HTML = re.compile(r"!\[|<[a-z/!?]", re.I)
"""Text without any of these is not parsed."""


def without_images(text: str, less_than: str = BROKEN) -> str:
    """The text with images as links and HTML as text, outside of code; `less_than` replaces the `<` of HTML."""
    if not _IMAGE_OR_HTML.search(text):
        return text
    lines = text.split("\n")
    disarm(parse(text), lines, less_than)
    return "\n".join(lines)


def disarm(tree: Node, lines: list[str], less_than: str) -> None:
    """The same in place, for the lines of a parsed text.

    Each sign is replaced by what stands before it, so that a growing text stays a prefix of its final form.
    """
    done_until = 0
    for node in tree.walk():
        start, stop = node.start, node.stop
        if start < done_until:
            continue
        if node.type == "inline":
            lines[start:stop] = inline("\n".join(lines[start:stop]), less_than).split("\n")
            done_until = stop
        elif node.type == "code_block":  # platforms don't agree on code without a fence
            lines[start:stop] = map(_broken, lines[start:stop])
            done_until = stop


def inline(text: str, less_than: str) -> str:
    """Inline text with images as links and HTML as text."""
    if "<" not in text and "!" not in text:
        return text
    pieces: list[str] = []
    at = 0
    for start, stop in [*code_spans(text), (len(text), len(text))]:
        for sign in _SIGN.finditer(text, at, start):
            harmless = less_than == BROKEN and text[sign.end() : sign.end() + 1] in ("!", "?")
            if not (sign["link"] or harmless):
                before = text[sign.start() - 1 : sign.start()]
                pieces += [text[at : sign.start()], less_than if sign[0] == "<" else _instead(before)]
                at = sign.end()
        code = text[start:stop]
        pieces += [text[at:start], _broken(code) if "\n" in code else code]
        at = stop
    return "".join(pieces)


def _instead(before: str) -> str:
    """What replaces the `!` of an image; an exclamation mark after a word, or an escaped one, stays."""
    return f"!{JOINER}" if before and (before.isalnum() or before in "\\!") else ""


def _broken(code: str) -> str:
    """Code that a platform may not take for code: what would be an image there is none."""
    return code.replace("![", f"!{JOINER}[")


class ImageRemover:
    """`without_images` of one growing text. Its finished blocks are processed once."""

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._text = ""
        self._done = -1  # the end of the blocks in `_shown`; nothing is to be removed if it is negative
        self._shown = ""

    def removed(self, text: str) -> str:
        """The text so far with images as links and HTML as text."""
        if not text.startswith(self._text):
            self.__init__()
        before, self._text = len(self._text), text
        if self._done < 0:
            found = _IMAGE_OR_HTML.search(text, max(before - 1, 0))
            if not found:
                return text
            self._begin(text, found.start())
        self._scanner.read(text)
        if (stable := self._scanner.stable) > self._done:
            self._shown += without_images(text[self._done : stable])
            self._done = stable
        code_at = max(self._scanner.fence_at, self._done) if self._scanner.fence else len(text)
        tail, code = text[self._done : code_at], text[code_at:]
        if len(tail) > _SMALL:  # broken everywhere, until its end shows what is code
            return self._shown + _HTML.sub(BROKEN, _broken(tail)) + code
        return self._shown + without_images(tail) + code

    def _begin(self, text: str, first: int) -> None:
        """Leave the blocks before that of the first image or HTML as they are."""
        self._scanner.read(text)
        borders = self._scanner.borders
        self._done = borders[bisect_right(borders, first) - 1]
        self._shown = text[: self._done]
