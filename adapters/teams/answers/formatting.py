"""Formats replies for Teams: Markdown that it supports, tables as code or lists, images, entities, size limits."""

import base64
import io
import logging
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from PIL import Image as Picture

from adapters.shared.markdown import Growing, blocks, images, parse, plain, split, utf16
from adapters.teams.activities.parser import AGAIN, SENT
from adapters.teams.answers.blocks import bold, from_plain_words, inline, table, tick
from adapters.teams.answers.line_breaks import has_single_newlines, with_line_breaks
from adapters.teams.api.connector import Fields
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Source
from bot.domain.words import marked, tr

log = logging.getLogger(__name__)

TEXT_LIMIT = 24_000
"""UTF-16 units. Teams accepts about 100 KB of UTF-16 including the JSON, and recommends 80 KB."""
MAX_PIXELS = 16_777_216
"""Larger images are not decoded; models produce half as many pixels."""
PICTURE_SIDE = 1024
PICTURE_BYTES = 1_000_000
"""The limits of inline images: 1024 x 1024 pixels and 1 MB."""
SMALLEST_PICTURE_BYTES = 60_000
"""Images are not shrunk below this when Teams rejects a message as too large."""
SOURCES = 20
NO_IMAGE = marked("_Teams didn't accept the image. Ask for it again, or tell your administrator._")
_REWRITTEN = re.compile(r"\n {0,3}(?:#|[-=]+[ \t]*$)|\||\[[ xX]\] |!\[|<[a-z/!?]", re.M | re.I)
"""Text without any of these is not parsed. Each alternative begins with a certain character, which is found quickly."""
_EXTENDS = re.compile(r"<[a-z/!?]|```|~~~", re.I)
"""What may go on to the end of the text that is parsed with it: HTML, and code that the parser does not see end."""
_BATCH = 200
"""Blocks that are parsed together."""
_MAX_UNFINISHED = 200
_UNFINISHED = re.compile(rf"(?:<[^\s<>]{{0,{_MAX_UNFINISHED}}}|!|(?:\n|\A)[ \t>]{{0,20}}\d{{1,9}})$")
"""What may become HTML, an image, or a list item."""


# ------------------------------------------------------------------ activities


def message(text: str) -> Fields:
    """A message activity with Markdown."""
    return {"type": "message", "text": text, "textFormat": "markdown"}


def messages(reply: Reply, pictures: Sequence[Fields], limit: int, sensitivity: str = "") -> list[Fields]:
    """The activities that show a complete reply, at least one.

    The first one has the feedback buttons, each the sources that it cites, the last one with text the first
    image. Further images follow one by one, so that no activity is too large.
    """
    answered = f"{reply.text.rstrip()}\n\n_{tr('Prompt')}: {reply.prompt}_" if reply.prompt else reply.text
    text, borders = _converted(answered)
    text = _with_marks(text.rstrip(), reply.sources)
    parts = [message(part) for part in split(text, limit, utf16, borders)] or [message("")]
    if not parts[0]["text"] and not pictures:
        parts[0]["text"] = "…"
    if pictures:
        parts[-1]["attachments"] = [pictures[0]]
        parts += [{**message(""), "attachments": [picture]} for picture in pictures[1:]]
    for part in parts:
        cited = _cited(part["text"], reply.sources)
        if reply.generated or cited or sensitivity:
            part["entities"] = [_about(reply.generated, cited, sensitivity)]
    if reply.rate:
        parts[0]["channelData"] = {"feedbackLoop": {"type": "default"}}
    return parts


def simplified(reply: Reply, label: str) -> Reply | None:
    """The reply without something that Teams may refuse: labels, citations, buttons; then images. None if nothing is
    left to leave out. Sources and the sensitivity `label` become text.
    """
    if reply.generated or reply.rate or reply.sources or reply.confirm or label:
        listed = [_listed(at, source) for at, source in enumerate(reply.sources[:SOURCES], 1)]
        confirm = tr("To confirm, send “{command}”.", command=reply.confirm) if reply.confirm else ""
        text = "\n\n".join(filter(None, [reply.text, confirm, "\n".join(listed), label]))
        return replace(reply, text=text, generated=False, rate=False, sources=(), confirm="")
    if reply.images:
        return replace(reply, text="\n\n".join(filter(None, [reply.text, tr(NO_IMAGE)])), images=())
    return None


def _listed(at: int, source: Source) -> str:
    title = source.title or source.url or tr("Source {number}", number=at)
    return f"{at}. [{title}]({source.url})" if source.url.startswith("https://") else f"{at}. {title}"


def _about(generated: bool, cited: Sequence[Fields], sensitivity: str) -> Fields:
    """The one root entity that a message may have: AI label, citations, sensitivity label."""
    profile: Fields = {
        "type": "https://schema.org/Message",
        "@type": "Message",
        "@context": "https://schema.org",
        "@id": "",
    }
    if generated:
        profile["additionalType"] = ["AIGeneratedContent"]
    if cited:
        profile["citation"] = [*cited]
    if sensitivity:
        profile["usageInfo"] = _usage_info(sensitivity)
    return profile


def add_buttons(part: Fields, person: str) -> None:
    """Add suggested actions, which Teams shows in one-on-one chats to messages without attachments."""
    if "attachments" not in part:
        actions = [{"type": "imBack", "title": tr(words), "value": tr(words)} for words in (AGAIN, SENT)]
        part["suggestedActions"] = {"to": [person], "actions": actions}


def is_plain(text: str) -> bool:
    """Whether a text has no Markdown except paragraphs."""
    paragraphs = all(node.type == "paragraph" for node in parse(text).children)
    return paragraphs and plain(text) == text.replace("\n", "")


def _usage_info(sensitivity: str) -> Fields:
    """The sensitivity label; text after a colon is its description."""
    name, _, description = (part.strip() for part in sensitivity.partition(":"))
    info: Fields = {"type": "https://schema.org/Message", "@type": "CreativeWork", "name": name}
    return {**info, "description": description} if description else info


def _cited(text: str, sources: Sequence[Source]) -> list[Fields]:
    """The citations of the sources whose marks are in `text`."""
    return [_claim(at, source) for at, source in enumerate(sources[:SOURCES], 1) if f"[{at}]" in text]


def _claim(position: int, source: Source) -> Fields:
    profile: Fields = {
        "@type": "DigitalDocument",
        "name": source.title[:80] or tr("Source {number}", number=position),
        "abstract": (source.excerpt or source.title or source.url)[:160] or "…",
    }
    if source.url.startswith("https://"):
        profile["url"] = source.url
    return {"@type": "Claim", "position": position, "appearance": profile}


def _with_marks(text: str, sources: Sequence[Source]) -> str:
    """The text with a mark for each source, because Teams only shows citations that have one."""
    marks = (f"[{position}]" for position in range(1, min(len(sources), SOURCES) + 1))
    missing = " ".join(mark for mark in marks if mark not in text)
    return f"{text}\n\n{tr('Sources:')} {missing}" if missing else text


# ------------------------------------------------------------------ Markdown


class GrowingText:
    """What may be shown of one growing text. Its finished blocks are processed once."""

    def __init__(self) -> None:
        self._growing = Growing()
        self._text = ""
        self._done = 0
        self._shown = ""

    def shown(self, text: str) -> str:
        """What may be shown of the text so far: always a prefix of later results. Empty if too long for a message."""
        if not text.startswith(self._text):
            self._done, self._shown = 0, ""
        self._text = text
        settled = self._growing.settled(text)
        if half := _UNFINISHED.search(settled, max(len(settled) - _MAX_UNFINISHED - 1, 0)):
            settled = settled[: half.start()]
        if len(settled) > TEXT_LIMIT:
            return ""
        boundaries = self._growing.scanner.borders
        stable = boundaries[bisect_right(boundaries, len(settled)) - 1]
        if stable > self._done:
            self._shown += to_teams(text[self._done : stable])
            self._done = stable
        return (self._shown + to_teams(settled[self._done :])).rstrip()


def growing(text: str) -> str:
    """What may be shown of an unfinished text; always a prefix of later results."""
    return GrowingText().shown(text)


def to_teams(text: str) -> str:
    """Markdown that Teams supports: headings as bold lines, tables as code or lists, tasks as boxes, hard line breaks.

    Works line by line, so that a growing text stays a prefix of its final form. A remote image becomes a
    link, because loading it could leak data to its server. HTML is escaped.
    """
    return _converted(text)[0]


def _converted(text: str) -> tuple[str, list[int] | None]:
    """The text of `to_teams`, and the positions at which its blocks begin if they are known."""
    if not (_REWRITTEN.search(f"\n{text}") or has_single_newlines(text)):
        return text, None
    pieces: list[str] = []
    borders: list[int] = []
    at = 0
    for batch in _batches(text):
        begins = set(batch.starts)
        for number, line in enumerate(batch.shown()):
            if number in begins:
                borders.append(at)
            if line is not None:
                pieces.append(line)
                at += len(line)
    return "".join(pieces), borders


@dataclass(slots=True)
class _Batch:
    """Blocks that are parsed together: their source, the lines to show, the numbers of the lines with which blocks
    begin, and whether any is changed. Without a source, the lines are shown as they are.
    """

    source: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    starts: list[int] = field(default_factory=list[int])
    changed: bool = False

    def shown(self) -> Sequence[str | None]:
        """The lines as Teams needs them; None follows where one has taken the place of several."""
        if self.changed:
            return _rewritten("".join(self.source), self.lines)
        return [f"{line}\n" for line in self.lines] if self.source else self.lines


def _batches(text: str) -> Iterator[_Batch]:
    """Batches of blocks, to save calls of the parser.

    In a batch each block means what it means alone: a blank line precedes it, and nothing before it could extend
    into it. Blocks that stay unchanged are parsed as a rule and empty lines, or not at all.
    """
    batch = _Batch()
    apart, changed = True, False
    for block in map(with_line_breaks, blocks(text)):
        ready = from_plain_words(block)
        before, changed = changed, ready is None and _REWRITTEN.search(f"\n{block}") is not None
        block = ready or block
        extends = changed and _EXTENDS.search(block)
        breaks = len(block) - len(block.rstrip("\n"))
        if not (apart and len(batch.source) < _BATCH and (not extends if changed else breaks > 1)):
            yield batch
            batch = _Batch()
        apart = True
        if changed:
            batch.changed = True
            batch.source.append(block)
            batch.starts.append(len(batch.lines))
            batch.lines += block.split("\n")[: -1 if breaks else None]
            apart = breaks > 1 and not extends
        elif breaks > 1:
            batch.source.append("***\n\n" if before else "\n\n")
            batch.starts.append(len(batch.lines))
            batch.lines += [block[:-2], ""]
        else:
            yield _Batch(lines=[block], starts=[0])
    yield batch


def _rewritten(source: str, lines: list[str]) -> list[str | None]:
    """The lines as Teams needs them, each with its newline. Several in place of one node are one, followed by None."""
    tree = parse(source)
    if "<" in source or "!" in source:
        images.disarm(tree, lines, images.ESCAPED)
    kept: list[str | None] = [f"{line}\n" for line in lines]
    if not source.endswith("\n"):
        kept[-1] = lines[-1]
    for node in tree.children:
        start, stop = node.start, node.stop
        if node.type == "table":
            new = table(node)
        elif node.type == "heading" and node.markup.startswith("#"):
            new = [bold(inline(node))]
        elif node.type == "heading":
            rule = ["", "---"] if node.markup == "-" else [""] * bool("".join(lines[stop : stop + 1]).strip())
            new = [*lines[start : stop - 1], *rule]
        else:
            if node.type in ("bullet_list", "ordered_list", "blockquote") and "] " in source:
                tick(node, kept)
            continue
        ending = "" if stop == len(lines) and not source.endswith("\n") else "\n"
        kept[start:stop] = ["\n".join(new) + ending, *[None] * (stop - start - 1)]
    return kept


# ------------------------------------------------------------------ images


def pictures_of(images: Sequence[Image], limit_bytes: int) -> list[Fields]:
    """Images as attachments; invalid ones are left out. Slow: call it in a thread."""
    attached: list[Fields] = []
    for image in images:
        try:
            attached.append(picture(image, limit_bytes))
        except (OSError, ValueError) as error:
            log.error("An image was left out of an answer: %s", type(error).__name__)
    return attached


def picture(image: Image, limit_bytes: int = PICTURE_BYTES) -> Fields:
    """An attachment within Teams' limits. Raises OSError if it is not an image, ValueError if it is too large."""
    with Picture.open(io.BytesIO(image.data)) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"{opened.width} x {opened.height} pixels")
        small = len(image.data) <= limit_bytes and max(opened.size) <= PICTURE_SIDE
        kept = image.data if small and opened.format in ("PNG", "JPEG", "GIF") else b""
        mime = f"image/{(opened.format or 'png').lower()}"
        data = kept or _shrunk(opened, limit_bytes)
    if not kept:
        mime = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return {"contentType": mime, "contentUrl": url, "name": (image.alt or "image")[:80]}


def _shrunk(opened: Picture.Image, limit_bytes: int) -> bytes:
    """The image as JPEG, or as PNG if it has transparency, shrunk until it fits."""
    side = PICTURE_SIDE
    while True:
        scaled = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
        scaled.thumbnail((side, side))
        out = io.BytesIO()
        if scaled.mode == "RGBA":
            scaled.save(out, "PNG")
        else:
            scaled.save(out, "JPEG", quality=85)
        if out.tell() <= limit_bytes or side == 1:
            return out.getvalue()
        side //= 2
