"""Markdown as every platform needs it: split at its borders, tidied while it grows, and shown as HTML."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

Measure = Callable[[str], int]

# Runs of text are left alone: they cost two thirds of the time, and borders lie between blocks.
_blocks = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_blocks.disable(["inline", "text_join"])

# Without the two joining rules an emphasis sign that found no partner stays a token of its own.
_loose = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_loose.disable(["fragments_join", "text_join"])

_FENCE_LINE = re.compile(r"^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})([^\n]*)$", re.M)
_ONLY_SIGNS = re.compile(r"[ \t>]*(?:[-+*_=#>`~|:]+|\d{1,9}[.)]|[-+*] \[[ xX]?\]?)[ \t]*$")
_HALF_LINK = re.compile(
    r"(?:!?\[[^\[\]\n]{0,200}(?:\](?:\([^()\n]{0,2000}(?:\([^()\n]*\)?)?)?)?|<https?:[^>\s]*)$"
)
_SIGNS = "*_~`"


def parse(text: str) -> SyntaxTreeNode:
    """The blocks of CommonMark with tables; `map` is a block's range of lines.

    What a block says is one `inline` node, whose `content` is Markdown.
    """
    return SyntaxTreeNode(_blocks.parse(text))


def plain(markdown: str) -> str:
    """The words of one run of text, without its signs."""
    tree = SyntaxTreeNode(_loose.parseInline(markdown))
    return "".join(node.content for node in tree.walk() if node.type in ("text", "code_inline"))


# ------------------------------------------------------------------ splitting


def split(text: str, limit: int, measure: Measure = len) -> list[str]:
    """Cut into parts of at most `limit`, as `measure` counts, at the best borders there are.

    Paragraphs first, then lines, sentences, words, and inside a word between two graphemes. A code fence
    stays whole where it fits, else every part of it is a fence with its language; a table's parts repeat
    its head. Nothing but white space at the borders is lost.
    """
    text = text.strip("\n")
    if measure(text) <= limit:
        return [text] if text.strip() else []
    lines = text.split("\n")
    parts = _pack(_pieces(parse(text), lines, limit, measure), limit, measure)
    return [part for part in parts if part.strip()]


def _pack(pieces: Iterable[str], limit: int, measure: Measure) -> Iterator[str]:
    """Join neighbours, whose joints are their own white space, while they fit."""
    current = ""
    for piece in pieces:
        if current and measure((current + piece).rstrip()) > limit:
            yield current.rstrip()
            current = piece.lstrip("\n")
        else:
            current += piece
    yield current.rstrip()


def _pieces(node: SyntaxTreeNode, lines: Sequence[str], limit: int, measure: Measure) -> Iterator[str]:
    """The blocks of a node, each with the lines up to the next; together they are the node's text."""
    start, stop = (0, len(lines)) if node.is_root else _map(node)
    children = [child for child in node.children if not child.is_root and child.map]
    if not children or node.type in ("table", "paragraph", "heading"):
        yield from _cut_lines(lines[start:stop], limit, measure)
        return
    for child, after in zip(children, [*children[1:], None], strict=True):
        first = start if child is children[0] else _map(child)[0]
        end, until = _map(child)[1], _map(after)[0] if after else stop
        whole = "\n".join([*lines[first:until], ""])
        if measure(whole.rstrip()) <= limit:
            yield whole
            continue
        if child.type in ("fence", "code_block"):
            yield from _cut_fence(child, limit, measure)
        elif child.type == "table":
            yield from _cut_table(lines[first:end], limit, measure)
        else:
            yield from _pieces(child, lines, limit, measure)
        yield from _cut_lines(lines[end:until], limit, measure)


def _map(node: SyntaxTreeNode) -> tuple[int, int]:
    assert node.map is not None  # noqa: S101 - only nodes with a map come here
    return node.map


def _cut_fence(node: SyntaxTreeNode, limit: int, measure: Measure) -> Iterator[str]:
    """Fences of their own, outside of any list or quote that held the long one."""
    markup = node.markup or "```"
    head = f"{markup}{node.info}\n"
    room = max(limit - measure(f"{head}\n{markup}"), 1)
    for part in _pack(_cut_lines(node.content.rstrip("\n").split("\n"), room, measure), room, measure):
        yield f"{head}{part}\n{markup}\n"


def _cut_table(rows: Sequence[str], limit: int, measure: Measure) -> Iterator[str]:
    head = "\n".join(rows[:2]) + "\n"
    room = limit - measure(head)
    if room < limit // 4:
        yield from _cut_lines(rows, limit, measure)
        return
    for part in _pack(_cut_lines(rows[2:], room, measure), room, measure):
        yield f"{head}{part}\n\n"


def _cut_lines(lines: Iterable[str], limit: int, measure: Measure) -> Iterator[str]:
    for line in lines:
        rest = line + "\n"
        while measure(rest.rstrip()) > limit:
            end = _border(rest, _fitting(rest, limit, measure))
            yield rest[:end]
            rest = rest[end:]
        yield rest


def _fitting(text: str, limit: int, measure: Measure) -> int:
    """The length in characters of the longest prefix within `limit`, at least 1."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(text[:middle]) <= limit else (low, middle - 1)
    return low


def _border(text: str, end: int) -> int:
    """The best place to cut at or before `end`: a sentence's end, a word's end, or between graphemes."""
    for signs in (". ", "! ", "? ", "。", "！", "？", " "):
        at = text.rfind(signs, end // 2, end)
        if at > 0:
            return at + len(signs)
    at = end
    while at > 1 and _joined(text, at):
        at -= 1
    return at if at > 1 else end


def _joined(text: str, at: int) -> bool:
    """Whether the characters on both sides of `at` belong to one grapheme (the common cases of UAX 29)."""
    if at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    flags = 0
    while at - flags > 0 and "\U0001f1e6" <= text[at - flags - 1] <= "\U0001f1ff":
        flags += 1
    return flags % 2 == 1 and "\U0001f1e6" <= after <= "\U0001f1ff"


# ------------------------------------------------------------------ while it grows


def tidy(text: str) -> str:
    """Half-finished text without raw signs: fences and emphasis are closed, half links and tables wait."""
    text, fence = _open_fence(text)
    if fence:
        return f"{text.rstrip()}\n{fence}"
    start = _tail(text)
    tail = _without_halves(text[start:], rows=True)
    closers = _unmatched(tail)
    if closers:
        tail = tail.rstrip(_SIGNS + " \n")
        closers = _unmatched(tail)
    return text[:start] + (tail.rstrip() + closers if closers else tail)


def settled(text: str) -> str:
    """The part of a growing text that is sure not to look different later: always a prefix of `text`.

    An open code fence stays open, as CommonMark shows it; open emphasis, links, tables and headings wait.
    """
    shown, fence = _open_fence(text)
    if fence:
        return shown
    start = _tail(shown)
    tail = _without_halves(shown[start:], rows=False)
    if tail.rpartition("\n")[2].lstrip().startswith("#"):
        tail = tail.rpartition("\n")[0]
    while tail and _unmatched(tail):
        tail = tail[: max(tail.rfind(sign) for sign in _SIGNS)].rstrip(_SIGNS)
    return shown[:start] + _without_halves(tail, rows=False)


def _open_fence(text: str) -> tuple[str, str]:
    """The text without a fence line that is only half there, and the sign that would close an open fence."""
    fence, opened_at = "", 0
    for line in _FENCE_LINE.finditer(text):
        if not fence and not (line[1][0] == "`" and "`" in line[2]):
            fence, opened_at = line[1], line.start()
        elif fence and line[1].startswith(fence) and not line[2].strip():
            fence = ""
    if not fence:
        return text, ""
    if "\n" not in text[opened_at:]:
        return text[:opened_at].rstrip(), ""
    before, _, last = text.rpartition("\n")
    half_closed = last.strip() and not last.strip().strip(fence[0])
    return (before if half_closed else text), fence


def _tail(text: str) -> int:
    """Where the last block begins; what lies before it is finished, so only the rest needs parsing."""
    return max(text.rfind("\n\n"), *(line.end() for line in [*_FENCE_LINE.finditer(text)][-1:]), -1) + 1


def _without_halves(tail: str, rows: bool) -> str:
    """The last block without a line of signs, a link that isn't whole, or a table that may still grow.

    With `rows` a table's finished rows stay.
    """
    before, _, last = tail.rpartition("\n")
    if _ONLY_SIGNS.fullmatch(last):
        tail = before
    lines = tail.rstrip("\n").split("\n")
    table = 0
    while table < len(lines) and lines[-1 - table].lstrip(" >").startswith("|"):
        table += 1
    if table:
        finished = table - (not tail.endswith("\n"))
        return "\n".join(lines[: len(lines) - table + (finished if rows and finished > 2 else 0)])
    half = _HALF_LINK.search(tail)
    return tail[: half.start()] if half else tail


def _unmatched(tail: str) -> str:
    """The signs that would close what is still open in the last line of text, innermost first."""
    inlines = [token for token in _loose.parse(tail) if token.type == "inline"]
    if not inlines or not tail.strip():
        return ""
    closers: list[str] = []
    children = [child for child in inlines[-1].children or [] if child.content or child.type != "text"]
    for number, child in enumerate(children):
        if child.type != "text":
            continue
        before = children[number - 1].content[-1:] if number else ""
        after = _first_sign(children, number + 1)
        if child.content in ("*", "_", "~~", "~"):
            inside_word = child.content == "_" and before.isalnum()
            if not after.isspace() and not inside_word and not (child.content == "~" and after):
                closers.append(child.content)
        elif "`" in child.content:
            ticks = re.findall(r"`+", child.content)
            return "".join(reversed([*closers, ticks[0]]))
    return "".join(reversed(closers))


def _first_sign(children: Sequence[Token], start: int) -> str:
    """The first character after a run of emphasis signs: a space means that the run opens nothing."""
    for child in children[start:]:
        if child.type in ("softbreak", "hardbreak"):
            return "\n"
        if child.content not in ("*", "_", "~~"):
            return child.content[:1] or "x"
    return ""


# ------------------------------------------------------------------ as HTML


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
