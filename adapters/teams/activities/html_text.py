"""The words of the HTML that Teams keeps messages in."""

import re
from html.parser import HTMLParser

_BREAKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "blockquote", "pre"}
_UNCLOSED = re.compile(r"<(?![^<>]*>)")
MOST_CHARACTERS = 60_000
"""Of one message; Teams keeps about half as much."""


def words(html: str) -> str:
    """The words of a message: lines apart, mentions as names, pictures and emojis as what they show."""
    reader = _TextParser(convert_charrefs=True)
    # The parser would look for the end of each unclosed tag in all of the text.
    reader.feed(_UNCLOSED.sub("&lt;", html[:MOST_CHARACTERS]))
    reader.close()
    lines = ("".join(reader.parts)).replace("\xa0", " ").split("\n")
    return "\n".join(line.strip() for line in lines if line.strip())


class _TextParser(HTMLParser):
    """Gathers the text of HTML."""

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "emoji"):
            self.parts.append(dict(attrs).get("alt") or ("[picture]" if tag == "img" else ""))
        elif tag in _BREAKS:
            self.parts.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
