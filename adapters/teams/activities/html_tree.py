"""HTML of Teams messages as a tree, parsed in time proportional to its length."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

MAX_CHARACTERS = 120_000
"""Teams limits a message to about 100 KB, its HTML included."""
MAX_TAGS = 6_000
"""Tags and attributes; a page of coloured code has about 3,000. More would block the process for too long."""
MAX_DEPTH = 50
"""Elements inside more than this many others are taken for text of the innermost one."""

_SLICE = 8_192
_MAX_TAG = 8_000
_UNCLOSED = re.compile(rf"<(?![^<>]{{0,{_MAX_TAG}}}>)")
_DECLARATION = re.compile(r"<[!?][^<>]*>")
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr")
)
_CELLS = frozenset(("td", "th"))
_ENDED_BY = {
    "li": frozenset(("li",)),
    "p": frozenset(("p",)),
    "td": _CELLS,
    "th": _CELLS,
    "tr": frozenset(("tr",)) | _CELLS,
    "option": frozenset(("option",)),
}
"""For each tag, the open elements that it ends without an end tag (HTML, "Optional tags")."""
_SCOPES = frozenset(("", "ul", "ol", "table", "blockquote"))
"""Elements outside of which nothing is ended in this way."""


@dataclass(slots=True)
class Element:
    """An element; the root has an empty tag. `children` are elements and texts."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    children: "list[Element | str]" = field(default_factory=list["Element | str"])

    @property
    def kind(self) -> str:
        """The last part of its `itemtype`: `Reply`, `Forward`, `Mention`, `AMSImage`; empty without one."""
        return self.attributes.get("itemtype", "").rstrip("/").rpartition("/")[2]

    def walk(self) -> "list[Element]":
        """This element and all below it, in the order of the text."""
        found: list[Element] = []
        waiting = [self]
        while waiting:
            element = waiting.pop()
            found.append(element)
            waiting += [child for child in reversed(element.children) if isinstance(child, Element)]
        return found

    @property
    def text(self) -> str:
        """All text in it, with spaces collapsed."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> list[str]:
        texts: list[str] = []
        for child in self.children:
            texts += [child] if isinstance(child, str) else child._texts()
        return texts


def parse_html(html: str) -> tuple[Element, bool]:
    """The root of the tree, and whether all of the HTML is in it; the end of what exceeds the limits is not."""
    builder = _TreeBuilder()
    # A tag without an end, or with too long a one, is text: for each unclosed tag or comment, the parser would
    # search the rest for its end.
    source = _DECLARATION.sub("", _without_comments(html[:MAX_CHARACTERS]))
    source = _UNCLOSED.sub("&lt;", source)
    for at in range(0, len(source), _SLICE):
        if builder.tags > MAX_TAGS:
            break
        builder.feed(source[at : at + _SLICE])
    builder.close()
    return builder.root, len(html) <= MAX_CHARACTERS and builder.tags <= MAX_TAGS


def _without_comments(html: str) -> str:
    first, *rest = html.split("<!--")
    kept = [first]
    for piece in rest:
        _, end, after = piece.partition("-->")
        kept.append(after if end else f"&lt;!--{piece}")
    return "".join(kept)


class _TreeBuilder(HTMLParser):
    """Builds the tree. Scripts and styles are elements like any other."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self.tags = 0
        self._open = [self.root]
        self._ignored = 0

    def set_cdata_mode(self, *given: Any, **named: Any) -> None:
        """Do nothing: a script without an end would be searched for it."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags += 1 + len(attrs)
        if self.tags > MAX_TAGS:
            return
        self._end_implied(_ENDED_BY.get(tag, frozenset()))
        if len(self._open) > MAX_DEPTH and tag not in _VOID:
            self._ignored += 1
            return
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.tags > MAX_TAGS or tag in _VOID:
            return
        if self._ignored:
            self._ignored -= 1
            return
        for at in range(len(self._open) - 1, 0, -1):
            if self._open[at].tag == tag:
                del self._open[at:]
                return

    def handle_data(self, data: str) -> None:
        if self.tags <= MAX_TAGS:
            self._open[-1].children.append(data)

    def _end_implied(self, ended: frozenset[str]) -> None:
        if not ended:
            return
        for at in range(len(self._open) - 1, 0, -1):
            if self._open[at].tag in _SCOPES:
                return
            if self._open[at].tag in ended:
                del self._open[at:]
                return
