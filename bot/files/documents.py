"""Extracts the text of PDF, Office, HTML and plain text documents. Runs in a reader process."""

import io
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from bot.domain.errors import NotAllowed
from bot.domain.words import marked

Kind = Literal["pdf", "word", "slides", "sheet", "html", "text"]

_UNPACKED_BYTES = 150 * 1024 * 1024
"""Office files are ZIP archives; one that declares a larger content is not opened."""
_HTML_BYTES = 3 * 1024 * 1024
_OFFICE: Mapping[str, Kind] = {
    "word/document.xml": "word",
    "ppt/presentation.xml": "slides",
    "xl/workbook.xml": "sheet",
}
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UNKNOWN = marked(
    "has an unsupported format. Send a PDF, an Office file, a web page, plain text or an image."
)
_HTML = (b"<!doctype html", b"<html")


def kind_of(data: bytes) -> Kind:
    """The type of a document, by its bytes. Raises NotAllowed for unsupported ones."""
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return _office(data)
    if data.startswith(_OLD_OFFICE):
        raise NotAllowed("has the Office format from before 2007. Save it as .docx, .pptx or .xlsx.")
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML):
        return "html"
    decode(data)
    return "text"


def _office(data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {entry.filename: entry.file_size for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError) as error:
        raise NotAllowed("is damaged and can't be opened. Save it again and resend it.") from error
    if sum(names.values()) > _UNPACKED_BYTES:
        raise NotAllowed("is too large after unpacking. Send a smaller file.")
    for name, kind in _OFFICE.items():
        if name in names:
            return kind
    raise NotAllowed("is an archive. Send the files that it contains instead.")


def decode(data: bytes) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or Windows-1252. Raises NotAllowed."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        if text.count("\N{REPLACEMENT CHARACTER}") or _control_characters(text) > len(text) // 100:
            raise NotAllowed(_UNKNOWN) from None
    if "\x00" in text or _control_characters(text) > len(text) // 20:
        raise NotAllowed(_UNKNOWN)
    return text


def _control_characters(text: str) -> int:
    """How many characters of the beginning do not occur in text files."""
    sample = text[:20_000]
    return sum(character < " " and character not in "\t\r\n\f\x1b" for character in sample)


def text_of(kind: Kind, data: bytes, limit: int, time_s: float) -> str:
    """The text of a document, at most slightly over `limit` characters. Raises NotAllowed if there is none.

    The time limit is checked between pages, slides and rows; the text so far is returned.
    """
    until = time.monotonic() + time_s
    found: list[str] = []
    length = 0
    for piece in _READERS[kind](data):
        found.append(piece)
        length += len(piece) + 1
        if length > limit or time.monotonic() > until:
            break
    text = "\n".join(found).replace("\x00", "").strip()
    if not text:
        raise NotAllowed("has no text. If it is a scan, send it as an image.")
    return text


def _pdf(data: bytes) -> Iterator[str]:
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise NotAllowed("is protected with a password. Remove the password and send it again.")
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text().strip()
        if text:
            yield f"[page {number}]\n{text}"


def _word(data: bytes) -> Iterator[str]:
    import docx
    from docx.table import Table

    for block in docx.Document(io.BytesIO(data)).iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                yield _row(cell.text for cell in row.cells)
            continue
        style = (block.style.name if block.style else "") or ""
        level = style.removeprefix("Heading ")
        yield f"{'#' * int(level)} {block.text}" if style != level and level.isdigit() else block.text


def _slides(data: bytes) -> Iterator[str]:
    import pptx

    # python-pptx declares hardly any types.
    slides: Any = pptx.Presentation(io.BytesIO(data)).slides
    for number, slide in enumerate(slides, 1):
        lines = [f"[slide {number}]"]
        for shape in slide.shapes:
            if shape.has_text_frame:
                lines.append(shape.text_frame.text)
            elif shape.has_table:
                lines += [_row(cell.text for cell in row.cells) for row in shape.table.rows]
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            lines.append(f"Notes: {slide.notes_slide.notes_text_frame.text}")
        yield "\n".join(line for line in lines if line.strip())


def _spreadsheet(data: bytes) -> Iterator[str]:
    import openpyxl  # pyright: ignore[reportMissingModuleSource]

    book: Any = cast(Any, openpyxl).load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        for worksheet in book.worksheets:
            yield f"[sheet {worksheet.title}]"
            for row in worksheet.iter_rows(values_only=True):
                cells = ["" if cell is None else str(cell) for cell in row]
                if any(cells):
                    yield _row(cells)
    finally:
        book.close()


def _html(data: bytes) -> Iterator[str]:
    if len(data) > _HTML_BYTES:
        raise NotAllowed("is a web page of more than 3 MB. Copy the relevant part into your message.")
    import bs4
    from markdownify import MarkdownConverter

    page = bs4.BeautifulSoup(data, "html.parser")
    for hidden in page(["script", "style", "template", "noscript", "svg"]):
        hidden.decompose()
    converter: Any = MarkdownConverter(heading_style="ATX", strip=["img"])
    lines = (line.rstrip() for line in str(converter.convert_soup(page)).splitlines())
    previous = ""
    for line in lines:
        if line or previous:
            yield line
        previous = line


def _plain(data: bytes) -> Iterator[str]:
    yield decode(data)


def _row(cells: Iterable[str]) -> str:
    return " | ".join(" ".join(cell.split()) for cell in cells)


_READERS: Mapping[Kind, Callable[[bytes], Iterator[str]]] = {
    "pdf": _pdf,
    "word": _word,
    "slides": _slides,
    "sheet": _spreadsheet,
    "html": _html,
    "text": _plain,
}
