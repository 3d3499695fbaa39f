"""The HTML of a Teams message as Markdown, with its quotes, pictures and unreadable parts apart."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from adapters.teams.activities.html_tree import Element, parse_html
from adapters.teams.activities.quotes import Quote
from bot.domain.events import UnreadPart
from bot.domain.words import marked

LOOP = UnreadPart(name="The Loop component", reason="can't be opened by apps. Please paste its text.")
_QUOTES = {"Reply": "quoted", "Message": "quoted", "Forward": "forwarded"}
_PARTS = frozenset(("comment", "copy", "preview", "mri", "sender"))
"""The `itemprop` of the parts of a quoted message; older clients give no `itemtype`."""
_BLOCK = re.compile(
    "address|article|div|dl|dt|dd|fieldset|figure|footer|form|h[1-6]|header|hr|main|nav|p|section"
)
_SKIPPED = frozenset(("script", "style", "head", "title", "template", "systemeventmessage"))
_OBJECT = re.compile(r"/v\d/(?:objects|attachments)/([\w.-]{1,200})(?:/|$)")
_ID = re.compile(r"[\w-]{3,200}")
_LANGUAGE = re.compile(r"\blanguage-([a-z0-9+#.-]{1,20})")
_GENERIC = frozenset(("", "media", "image", "video", "audio", "gif", "sticker", "picture"))
_UNSEEN = marked("can't be opened by me. I only know this description of it.")
_UNDESCRIBED = marked("can't be opened by me, and has no description.")
_TITLED = {
    "image": marked("The image “{title}”"),
    "GIF": marked("The GIF “{title}”"),
    "sticker": marked("The sticker “{title}”"),
}
_UNTITLED = {
    "image": marked("The image"),
    "GIF": marked("The GIF"),
    "sticker": marked("The sticker"),
    "file": marked("The file"),
    "embedded page": marked("The embedded page"),
}
_MEDIA = {
    "video": marked("is a video, which I can't watch."),
    "recording": marked("is a recording, which I can't listen to. Please write down what it says."),
    "file": marked("reached me without its content. Please attach the file again."),
    "embedded page": marked("is embedded in the message, and I can't open it. Please paste its text."),
}
_MAX_NAME = 200
_GIF_SUFFIX = re.compile(r"\s*\(GIF Image\)$", re.I)
_GIF = re.compile(r"\bgif\b|giphy|tenor", re.I)


@dataclass(slots=True)
class HtmlContent:
    """What the HTML of a message says; `text` is the sender's own words as Markdown.

    `structured` is set if it has tables, lists or code, which plain text loses. `pictures` are the ids of the
    pictures that Teams stores, `links` all addresses. `attachments` counts the places of attachments, `extensions`
    those of what apps and the recorder of voice messages insert. `complete` is false if the end was not read.
    """

    text: str = ""
    complete: bool = True
    structured: bool = False
    quotes: list[Quote] = field(default_factory=list[Quote])
    pictures: list[str] = field(default_factory=list[str])
    links: list[str] = field(default_factory=list[str])
    unread: list[UnreadPart] = field(default_factory=list[UnreadPart])
    attachments: int = 0
    extensions: int = 0


def html_to_text(html: str) -> str:
    """The text of a message as Markdown: quotes first, images and videos in brackets."""
    content = read_html(html, media=True)
    quotes = [_indented(quote) for quote in content.quotes]
    return "\n".join(part for part in [*quotes, content.text] if part)


def read_html(html: str, hidden: Iterable[Element] = (), *, media: bool = False) -> HtmlContent:
    """The content of a message. With `media`, images, videos and the like are named in its text, too."""
    root, complete = parse_html(html)
    return render(root, complete, hidden, media=media)


def render(
    root: Element, complete: bool = True, hidden: Iterable[Element] = (), *, media: bool = False
) -> HtmlContent:
    """The content of a parsed message, without the elements of `hidden`."""
    content = HtmlContent(complete=complete)
    writer = _Writer(content, {id(element) for element in hidden}, media)
    if len(root.children) == 1 and isinstance(root.children[0], str):
        content.text = "\n".join(line.strip() for line in root.children[0].splitlines() if line.strip())
        return content
    writer.write(root)
    content.text = "\n".join(writer.finished()).strip("\n")
    return content


def mentions(root: Element) -> list[list[Element]]:
    """The elements of each mention, in order. Teams divides long names into several with the same id."""
    found: list[list[Element]] = []
    for element in root.walk():
        if element.tag != "at" and element.kind != "Mention":
            continue
        known = element.attributes.get("itemid") or element.attributes.get("id")
        last = found[-1][-1].attributes if found else {}
        if known and known in (last.get("itemid"), last.get("id")):
            found[-1].append(element)
        else:
            found.append([element])
    return found


def _indented(quote: Quote) -> str:
    author = f"> {quote.author}:\n" if quote.author else ""
    return author + "\n".join(f"> {line}" for line in quote.text.split("\n"))


class _Writer:
    """Collects the lines of one block; blocks inside it have writers of their own."""

    def __init__(self, content: HtmlContent, hidden: set[int], media: bool) -> None:
        self._content = content
        self._hidden = hidden
        self._media = media
        self._lines: list[str] = []
        self._line: list[str] = []

    def finished(self) -> list[str]:
        """The lines, without empty ones except in code."""
        self._break()
        return self._lines

    def write(self, element: Element) -> None:
        """Write what is in an element."""
        for child in element.children:
            if isinstance(child, str):
                self._line.append(child)
            elif id(child) not in self._hidden and child.tag not in _SKIPPED:
                self._element(child)

    def _break(self) -> None:
        line = " ".join("".join(self._line).split())
        self._line.clear()
        if line:
            self._lines.append(line)

    def _inner(self, element: Element) -> list[str]:
        writer = _Writer(self._content, self._hidden, self._media)
        writer.write(element)
        return writer.finished()

    def _flat(self, element: Element) -> str:
        return " ".join(self._inner(element))

    def _element(self, element: Element) -> None:
        if element.tag == "blockquote":
            self._blockquote(element)
        elif _BLOCK.fullmatch(element.tag):
            self._break()
            self.write(element)
            self._break()
        elif element.tag == "br":
            self._break()
        elif element.tag in ("ul", "ol"):
            self._list(element)
        elif element.tag in ("pre", "codeblock"):
            self._code(element)
        elif element.tag == "table":
            self._table(element)
        elif element.tag == "a":
            self._link(element)
        elif element.tag == "code" and element.text:
            self._line.append(f"`{element.text}`")
        else:
            self._inline(element)

    def _inline(self, element: Element) -> None:
        kind = element.kind
        if element.tag == "emoji" or (element.tag == "img" and kind in ("Emoji", "CustomEmoji")):
            self._line.append(_first(element, "alt", "title", "itemid"))
        elif element.tag == "img":
            self._image(element)
        elif element.tag in ("video", "audio", "uriobject", "iframe", "object", "embed"):
            self._unreadable(element)
        elif element.tag == "attachment":
            self._content.attachments += 1
        elif kind == "InputExtension":
            self._content.extensions += 1
        elif kind.startswith("Fluid"):
            self._content.unread.append(LOOP)
        else:
            self.write(element)

    # ------------------------------------------------------------------ blocks

    def _blockquote(self, element: Element) -> None:
        self._break()
        kind = _QUOTES.get(element.kind)
        if kind is None and any(part.attributes.get("itemprop") in _PARTS for part in element.walk()[1:]):
            kind = "quoted"
        if kind is None:
            self._lines += [f"> {line}" for line in self._inner(element)]
            return
        author, apart = _author(element, kind)
        self._hidden.update(map(id, apart))
        text = "\n".join(self._inner(element))
        quote = Quote(kind, author, text, element.attributes.get("itemid", ""))
        self._content.quotes.append(quote)

    def _list(self, element: Element) -> None:
        self._break()
        self._content.structured = True
        number = _first(element, "start")
        at = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
        for child in element.children:
            if not isinstance(child, Element) or id(child) in self._hidden:
                continue
            sign = f"{at}. " if element.tag == "ol" else "- "
            lines = self._inner(child)
            if child.tag != "li":  # a list directly in a list
                self._lines += [f"  {line}" for line in lines]
                continue
            at += 1
            self._lines += [sign + lines[0]] if lines else []
            self._lines += [" " * len(sign) + line for line in lines[1:]]

    def _code(self, element: Element) -> None:
        self._break()
        self._content.structured = True
        code = "".join(_raw(element)).replace("\xa0", " ").replace("\r\n", "\n").strip("\n")
        if not code.strip():
            return
        classes = " ".join(part.attributes.get("class", "") for part in element.walk()[:2])
        language = _LANGUAGE.search(classes)
        fence = "````" if "```" in code else "```"
        self._lines += [f"{fence}{language[1] if language else ''}", *code.split("\n"), fence]

    def _table(self, element: Element) -> None:
        self._break()
        self._content.structured = True
        rows: list[list[str]] = []
        for row in _rows(element):
            cells = [child for child in row.children if isinstance(child, Element)]
            rows.append([self._flat(cell).replace("|", "\\|") for cell in cells])
        rows = [row for row in rows if any(row)]
        width = max(map(len, rows), default=0)
        for at, row in enumerate(rows):
            self._lines.append(f"| {' | '.join([*row, *[''] * (width - len(row))])} |")
            if at == 0:
                self._lines.append(f"|{'---|' * width}")

    # ------------------------------------------------------------------ inside of lines

    def _link(self, element: Element) -> None:
        address, label = element.attributes.get("href", "").strip(), self._flat(element)
        if address:
            self._content.links.append(address)
        if element.kind.startswith("Fluid"):
            self._content.unread.append(LOOP)
        bare = address.removeprefix("mailto:").removeprefix("tel:").rstrip("/")
        same = label.rstrip("/").endswith(bare.partition("://")[2] or bare) if bare else True
        if label and (same or not address.startswith(("https://", "http://"))):
            self._line.append(label)
        else:
            self._line.append(f"[{label}]({address})" if label else address)

    def _image(self, element: Element) -> None:
        named = _first(element, "alt", "title")
        name = "" if named.casefold() in _GENERIC else _GIF_SUFFIX.sub("", named)[:_MAX_NAME]
        source = _first(element, "src", "target-src", "href")
        stored = _OBJECT.search(source)
        known = (
            stored[1]
            if stored
            else element.attributes.get("itemid", "")
            if element.kind == "AMSImage"
            else ""
        )
        gif = _GIF.search(f"{named} {source}") is not None
        word = "sticker" if element.kind == "Sticker" else "GIF" if gif and not known else "image"
        if known and _ID.fullmatch(known) and element.kind != "Sticker":
            self._content.pictures.append(known)
            if not self._media:
                return
        elif not self._media:
            title = (_TITLED if name else _UNTITLED)[word]
            reason = _UNSEEN if name else _UNDESCRIBED
            self._content.unread.append(UnreadPart(name=title, reason=reason, values=(("title", name),)))
        self._line.append(f"[{word}: {name}]" if name else f"[{word}]")

    def _unreadable(self, element: Element) -> None:
        named = [part.attributes.get("v", "") for part in element.walk() if part.tag == "originalname"]
        name = next((name for name in [*named, _first(element, "title", "alt"), element.text] if name), "")
        name = "" if name.casefold() in _GENERIC else name[:_MAX_NAME]
        word = {"video": "video", "audio": "recording", "uriobject": "file"}.get(element.tag, "embedded page")
        self._content.unread.append(media_part(name, word))
        if self._media:
            self._line.append(f"[{word}: {name}]" if name else f"[{word}]")


def media_part(name: str, word: str) -> UnreadPart:
    """An unreadable video, recording, file or embedded page."""
    if not name and word == "video":
        return UnreadPart(name="The video", reason="can't be watched by me. Please describe it in words.")
    if not name and word == "recording":
        return UnreadPart(name="The recording", reason="can't be heard by me. Please describe it in words.")
    return UnreadPart(name=name or _UNTITLED[word], reason=_MEDIA[word])


def _first(element: Element, *names: str) -> str:
    return next((value for name in names if (value := element.attributes.get(name, "").strip())), "")


def _author(quote: Element, kind: str) -> tuple[str, list[Element]]:
    """The author of a quote, and the elements that are no part of its text."""
    named: dict[str, Element] = {}
    for element in quote.walk()[1:]:
        named.setdefault(element.attributes.get("itemprop", ""), element)
    apart = [named[name] for name in ("mri", "name", "sender", "time") if name in named]
    author = next((named[name].text for name in ("name", "mri", "sender") if name in named), "")
    first = next((child for child in quote.children if not isinstance(child, str) or child.strip()), None)
    if kind == "quoted" and not author and isinstance(first, Element) and first.tag in ("strong", "b"):
        return first.text, [*apart, first]
    return author, apart


def _raw(element: Element) -> list[str]:
    """The text of code, in pieces: spaces stay, and each line ends."""
    pieces: list[str] = []
    for child in element.children:
        if isinstance(child, str):
            pieces.append(child)
        elif child.tag == "br":
            pieces.append("\n")
        else:
            pieces += _raw(child)
            pieces += ["\n"] if child.tag in ("div", "p", "li") else []
    return pieces


def _rows(table: Element) -> list[Element]:
    """The rows of a table, without those of tables inside it."""
    rows: list[Element] = []
    for child in table.children:
        if isinstance(child, Element):
            rows += [child] if child.tag == "tr" else _rows(child) if child.tag != "table" else []
    return rows
