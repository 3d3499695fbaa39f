"""Markdown as safe HTML."""

import re

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token


def _tasks(state: StateCore) -> None:
    """`- [ ] this` and `- [x] that` become check boxes."""
    tokens = state.tokens
    for at in range(2, len(tokens)):
        children = tokens[at].children
        if tokens[at].type != "inline" or tokens[at - 2].type != "list_item_open" or not children:
            continue
        mark = re.match(r"\[([ xX])\] ", children[0].content)
        if mark and children[0].type == "text":
            children[0].content = children[0].content[4:]
            box = Token("checkbox", "input", 0, {"type": "checkbox", "disabled": ""})
            if mark[1] != " ":
                box.attrs["checked"] = ""
            children.insert(0, box)


def _images(state: StateCore) -> None:
    """A picture becomes a link to it: showing one would tell its server who reads, and what was asked."""
    for token in state.tokens:
        for at, child in reversed([*enumerate(token.children or [])]):
            if child.type == "image" and token.children is not None:
                link = Token("link_open", "a", 1, {"href": str(child.attrs.get("src", ""))})
                words = Token("text", "", 0, content=child.content or str(child.attrs.get("src", "")))
                token.children[at : at + 1] = [link, words, Token("link_close", "a", -1)]


_html = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_html.core.ruler.push("tasks", _tasks)
_html.core.ruler.push("images", _images)

_TAGS = {
    "p",
    "br",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "pre",
    "code",
    "em",
    "strong",
    "s",
}
_TAGS_OF_LISTS = {"a", "ul", "ol", "li", "input", "table", "thead", "tbody", "tr", "th", "td"}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "code": {"class"},
    "ol": {"start"},
    "input": {"type", "disabled", "checked"},
    "th": {"style"},
    "td": {"style"},
}


def to_html(text: str) -> str:
    """Safe HTML: no raw HTML, no scripts, no pictures from elsewhere, links that give nothing away."""
    return nh3.clean(
        _html.render(text),
        tags=_TAGS | _TAGS_OF_LISTS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        filter_style_properties={"text-align"},
        attribute_filter=lambda tag, name, value: (
            value if (tag, name) != ("code", "class") or value.startswith("language-") else None
        ),
    )
