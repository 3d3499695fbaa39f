"""Plain text from the HTML of Teams messages."""

import re
from html.parser import HTMLParser

_BREAKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "blockquote", "pre"}
_UNCLOSED = re.compile(r"<(?![^<>]*>)")
MAX_CHARACTERS = 60_000
"""Of one message; Teams allows about half as many."""


def html_to_text(html: str) -> str:
    """The text of a message: one line per block, mentions as names, images and emojis as their alt text."""
    reader = _TextParser(convert_charrefs=True)
    # For each unclosed tag, the parser would search the rest of the text for its end.
    reader.feed(_UNCLOSED.sub("&lt;", html[:MAX_CHARACTERS]))
    reader.close()
    lines = ("".join(reader.parts)).replace("\xa0", " ").split("\n")
    return "\n".join(line.strip() for line in lines if line.strip())


class _TextParser(HTMLParser):
    """Collects the text of HTML."""

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "emoji"):
            self.parts.append(dict(attrs).get("alt") or ("[image]" if tag == "img" else ""))
        elif tag in _BREAKS:
            self.parts.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
