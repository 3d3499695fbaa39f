"""Files that try to hang whoever reads them, or to fill the memory: at least twelve of each format.

A benchmark and tests read them all. None is kept in a file: each is made when it is asked for.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image as Pictures

from tests.support.documents import pdf, picture
from tests.support.hostile_archives import EXCEL, SLIDES, WORD, packed

Builder = Callable[[], bytes]

_MB = 1024 * 1024

# ------------------------------------------------------------------ PDF


def _stream(data: bytes, filters: str = "/FlateDecode", more: str = "", squeeze: int = 1) -> bytes:
    for _ in range(squeeze):
        data = zlib.compress(data, 9)
    return f"<< /Length {len(data)} /Filter {filters} {more} >>\nstream\n".encode() + data + b"\nendstream"


def _objects(
    bodies: Mapping[int, str | bytes], root: int = 1, more: str = "", size: int | None = None
) -> bytes:
    """A PDF of these objects, with a table that is right."""
    out = bytearray(b"%PDF-1.7\n")
    places: dict[int, int] = {}
    for number, body in bodies.items():
        places[number] = len(out)
        out += f"{number} 0 obj\n".encode() + (body.encode() if isinstance(body, str) else body)
        out += b"\nendobj\n"
    start = len(out)
    table = "".join(f"{number} 1\n{place:010} 00000 n \n" for number, place in places.items())
    out += f"xref\n0 1\n0000000000 65535 f \n{table}".encode()
    whole = size if size is not None else max(bodies) + 1
    out += f"trailer << /Size {whole} /Root {root} 0 R {more} >>\nstartxref\n{start}\n%%EOF".encode()
    return bytes(out)


def _pages(content: str | bytes, resources: str = "", more: Mapping[int, str | bytes] | None = None) -> bytes:
    """One page of this content stream, object 5; further objects begin at 10."""
    return _objects(
        {
            1: "<< /Type /Catalog /Pages 2 0 R >>",
            2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R "
            f"/Resources << /Font << /F1 4 0 R >> {resources} >> >>",
            4: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            5: content if isinstance(content, bytes) else _stream(content.encode()),
            **(more or {}),
        }
    )


def _page_tree(kids: str, count: int = 1, more: Mapping[int, str | bytes] | None = None) -> bytes:
    return _objects(
        {
            1: "<< /Type /Catalog /Pages 2 0 R >>",
            2: f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
            3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>",
            **(more or {}),
        }
    )


def _deep_page_tree(depth: int) -> bytes:
    nodes = {
        10 + n: f"<< /Type /Pages /Kids [{11 + n} 0 R] /Count 1 /Parent {9 + n} 0 R >>" for n in range(depth)
    }
    return _page_tree("10 0 R", 1, {**nodes, 10 + depth: "<< /Type /Page /Parent 2 0 R >>"})


def _wide_page_tree(levels: int, width: int) -> bytes:
    """Each node has the next one as its child, many times: pages without end in a small file."""
    nodes: dict[int, str | bytes] = {}
    for level in range(levels):
        kids = f"{11 + level} 0 R " * width
        nodes[10 + level] = f"<< /Type /Pages /Kids [{kids}] /Count {width ** (levels - level)} >>"
    nodes[10 + levels] = "<< /Type /Page /Parent 2 0 R >>"
    return _page_tree("10 0 R", width**levels, nodes)


def _forms(depth: int, calls: int) -> bytes:
    """Forms that draw the next one many times; the last draws the first."""
    forms: dict[int, str | bytes] = {}
    for n in range(depth):
        after = 10 + (n + 1) % depth
        forms[10 + n] = _stream(
            b"/X Do " * calls,
            more=f"/Type /XObject /Subtype /Form /Resources << /XObject << /X {after} 0 R >> >>",
        )
    return _pages("/X Do", "/XObject << /X 10 0 R >>", forms)


def _font(cmap: str, code: str = "0041") -> bytes:
    font = "<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-H /ToUnicode 11 0 R >>"
    whole = (
        "/CIDInit /ProcSet findresource begin begincmap "
        f"1 begincodespacerange <0000> <FFFF> endcodespacerange {cmap} endcmap"
    )
    more: dict[int, str | bytes] = {10: font, 11: _stream(whole.encode())}
    content = f"BT /F2 12 Tf <{code}> Tj ET"
    made = _pages(content, "", more)
    return made.replace(b"/F1 4 0 R", b"/F2 10 0 R")


def _object_stream_loop() -> bytes:
    """An object stream that extends itself, and holds the catalogue."""
    inner = b"1 0 << /Type /Catalog /Pages 2 0 R >>"
    body = _stream(inner, more="/Type /ObjStm /N 1 /First 4 /Extends 6 0 R")
    out = bytearray(b"%PDF-1.7\n")
    place = len(out)
    out += b"6 0 obj\n" + body + b"\nendobj\n"
    start = len(out)
    rows = b"".join(
        struct.pack("!BIH", *row)
        for row in [
            (0, 0, 0),
            (2, 6, 0),
            (2, 6, 0),
            (2, 6, 1),
            (0, 0, 0),
            (0, 0, 0),
            (1, place, 0),
            (1, start, 0),
        ]
    )
    table = _stream(rows, more="/Type /XRef /W [1 4 2] /Size 8 /Root 1 0 R")
    out += b"7 0 obj\n" + table + f"\nendobj\nstartxref\n{start}\n%%EOF".encode()
    return bytes(out)


def _table_of(size: int, entries: int = 1) -> bytes:
    """A cross-reference stream that says it has so many objects."""
    rows = b"\0" * 7 * entries
    table = _stream(rows, more=f"/Type /XRef /W [1 4 2] /Size {size} /Index [0 {size}] /Root 1 0 R")
    out = b"%PDF-1.7\n"
    return out + b"7 0 obj\n" + table + f"\nendobj\nstartxref\n{len(out)}\n%%EOF".encode()


def _previous_loop() -> bytes:
    """A table whose predecessor is itself."""
    made = _page_tree("3 0 R")
    start = made.rindex(b"xref\n0 1")
    return made.replace(b"trailer << ", f"trailer << /Prev {start} ".encode())


def _lzw(size: int) -> bytes:
    """Clear codes and the same byte, again and again."""
    data = b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01" * size
    return _pages(f"<< /Length {len(data)} /Filter /LZWDecode >>\nstream\n".encode() + data + b"\nendstream")


def _predictor(columns: int) -> bytes:
    return _pages(
        _stream(
            bytes(64 * _MB),
            more=f"/DecodeParms << /Predictor 15 /Columns {columns} /Colors 4 /BitsPerComponent 16 >>",
        )
    )


def _inline_images(count: int) -> bytes:
    return _pages("BI /W 1 /H 1 /BPC 8 /CS /G ID x EI " * count)


def _coded(filters: str, width: int) -> bytes:
    data = random.Random(1).randbytes(20_000)
    image = (
        (
            f"<< /Type /XObject /Subtype /Image /Width {width} /Height {width} /ColorSpace /DeviceGray "
            f"/BitsPerComponent 1 /Filter {filters} /Length {len(data)} "
            f"/DecodeParms << /K -1 /Columns {width} /Rows {width} >> >>\nstream\n"
        ).encode()
        + data
        + b"\nendstream"
    )
    return _pages("/I Do BT /F1 12 Tf (seen) Tj ET", "/XObject << /I 10 0 R >>", {10: image})


def _operators(count: int) -> str:
    return "BT /F1 12 Tf " + "1 0 0 1 0 0 Tm (a) Tj " * count + "ET"


def _text_of_pages(count: int) -> bytes:
    return pdf(*["A page of a long document."] * count)


PDF: dict[str, Builder] = {
    "a page tree that holds itself": lambda: _page_tree("2 0 R"),
    "a page tree 50,000 deep": lambda: _deep_page_tree(50_000),
    "ten to the twelfth pages": lambda: _wide_page_tree(12, 10),
    "a million kids": lambda: _page_tree("3 0 R " * 1_000_000, 1_000_000),
    "a count of two billion": lambda: _page_tree("3 0 R", 2_000_000_000),
    "2 million operators": lambda: _pages(_operators(2_000_000)),
    "100 million characters": lambda: _pages("BT /F1 12 Tf (" + "lorem ipsum " * 8_000_000 + ") Tj ET"),
    "4 GB behind two deflations": lambda: _pages(
        _stream(zlib.compress(bytes(256 * _MB), 9) * 16, "[/FlateDecode /FlateDecode]")
    ),
    "400 MB behind one deflation": lambda: _pages(_stream(bytes(400 * _MB))),
    "LZW without end": lambda: _lzw(1_000_000),
    "a predictor of one column": lambda: _predictor(1),
    "a predictor of 4 billion columns": lambda: _predictor(4_000_000_000),
    "forms that draw each other": lambda: _forms(12, 10),
    "a form that draws itself": lambda: _forms(1, 1000),
    "an object stream that extends itself": _object_stream_loop,
    "a table of 2 billion objects": lambda: _table_of(2_000_000_000),
    "a table of 8 million objects": lambda: _table_of(8_000_000, 8_000_000),
    "a table before itself": _previous_loop,
    "a character map of 4 billion codes": lambda: _font(
        "1 beginbfrange <00000000> <FFFFFFFF> <0000> endbfrange"
    ),
    "20,000 character maps of 65,536 codes": lambda: _font(
        "1 beginbfrange <0000> <FFFF> <0000> endbfrange " * 20_000
    ),
    "500,000 inline images": lambda: _inline_images(500_000),
    "an inline image without an end": lambda: _pages("BI /W 1 /H 1 ID " + "x " * 20_000_000),
    "brackets 500,000 deep": lambda: _objects({1: "<< /Type /Catalog /Pages " + "[" * 500_000 + " >>"}),
    "dictionaries 100,000 deep": lambda: _objects({1: "<< /A " * 100_000 + ">>" * 100_000}),
    "a JBIG2 image": lambda: _coded("/JBIG2Decode", 65_535),
    "a CCITT image": lambda: _coded("/CCITTFaxDecode", 65_535),
    "no table, 300,000 objects to look for": lambda: b"%PDF-1.4\n" + b"1 0 obj\n<< >>\nendobj\n" * 300_000,
    "a string without an end": lambda: b"%PDF-1.4\n1 0 obj\n(" + b"\\(" * 5_000_000,
    "20,000 pages": lambda: _text_of_pages(20_000),
    "truncated": lambda: pdf("Hello there.")[:-120],
}

# ------------------------------------------------------------------ HTML

_TOP = "<!doctype html>"


def _html(text: str) -> bytes:
    """At most what a page may have."""
    return (_TOP + text).encode()[: 3 * _MB - 16]


HTML: dict[str, Builder] = {
    "div, 500,000 deep": lambda: _html("<div>" * 500_000),
    "div, 900 deep, around lists": lambda: _html("<div>" * 900 + "<ul><li>x" * 900),
    "quotes, 300 deep, around 100,000 lines": lambda: _html("<blockquote>" * 300 + "x<br>" * 100_000),
    "lists, 250 deep, around 100,000 lines": lambda: _html("<ul><li>" * 250 + "x<br>" * 100_000),
    "700,000 unclosed tags": lambda: _html("<b>" * 700_000),
    "700,000 ends of tags": lambda: _html("<p>" + "</a>" * 700_000),
    "a start without an end": lambda: _html("<a " * 900_000),
    "300,000 attributes": lambda: _html("<a " + " ".join(f"a{n}=1" for n in range(300_000)) + ">"),
    "3 MB of <": lambda: _html("<" * 3 * _MB),
    "1.5 million <!": lambda: _html("<!" * 1_500_000),
    "700,000 <!--": lambda: _html("<!--" * 700_000),
    "1.5 million <?": lambda: _html("<?" * 1_500_000),
    "300,000 <![CDATA[": lambda: _html("<![CDATA[" * 300_000),
    "1.5 million &#": lambda: _html("&#" * 1_500_000),
    "600,000 entities": lambda: _html("&nbsp;" * 500_000),
    "200,000 nested links": lambda: _html("<a href=x>" * 200_000 + "y"),
    "a table of 300,000 cells": lambda: _html("<table><tr>" + "<td>x" * 300_000),
    "a table with colspan 300 million": lambda: _html(
        "<table><tr><td colspan=300000000>x<td rowspan=300000000>y"
    ),
    "tables in tables, 300 deep": lambda: _html("<table><tr><td>" * 300 + "x<br>" * 50_000),
    "2 MB of * and _": lambda: _html("<p>" + "*_" * 1_000_000),
    "3 million spaces": lambda: _html("<p>x" + " " * 2_900_000 + "y"),
    "3 million line ends": lambda: _html("<pre>" + "\n" * 2_900_000 + "</pre>"),
    "300,000 headings": lambda: _html("<h1>x</h1>" * 300_000),
    "100,000 <script>": lambda: _html("<script>" * 300_000),
    "20 MB of paragraphs": lambda: (_TOP + "<p>x" * 4_900_000).encode(),
    "truncated in a tag": lambda: _html("<p>Hello <a href='"),
}

# ------------------------------------------------------------------ CSV and text


def _text(unit: str, size: int = 19 * _MB, encoding: str = "utf-8") -> bytes:
    return (unit * (size // len(unit.encode(encoding)))).encode(encoding)


CSV: dict[str, Builder] = {
    "19 MB of commas": lambda: _text(","),
    "19 MB of quotes": lambda: _text('"'),
    "a quote without an end": lambda: b'name,"' + _text("a,b\n"),
    "19 MB of line ends": lambda: _text("\r\n"),
    "a row of 9 million cells": lambda: _text("1,"),
    "9 million rows": lambda: _text("1\n"),
    "one cell of 19 MB": lambda: b"a\n" + _text("lorem ipsum "),
    "formulas": lambda: _text('=HYPERLINK("http://x";"y")\n'),
    "semicolons in Windows' encoding": lambda: _text("Größe;Übermaß\r\n", encoding="cp1252"),
    "tabs in UTF-16": lambda: b"\xff\xfe" + _text("a\tb\n", encoding="utf-16-le"),
    "NUL in the middle": lambda: b"a,b\n" + bytes(1000) + b"c,d\n",
    "said to be a workbook": lambda: b"PK\x03\x04" + _text("a,b\n"),
    "said to be an old workbook": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + _text("a,b\n"),
}
TEXT: dict[str, Builder] = {
    "19 MB of stars": lambda: _text("*"),
    "brackets, 19 million deep": lambda: _text("["),
    "quotes, 9 million deep": lambda: _text("> "),
    "19 MB without a space": lambda: _text("a"),
    "19 MB of blanks": lambda: _text(" "),
    "combining marks on one letter": lambda: _text("\u0301"),
    "right-to-left marks": lambda: _text("\u202e"),
    "4-byte characters": lambda: _text("\U0001f600"),
    "UTF-16, of odd length": lambda: b"\xff\xfe" + _text("ab", encoding="utf-16-le") + b"a",
    "UTF-16 of lone surrogates": lambda: b"\xff\xfe" + b"\x00\xd8" * 100_000,
    "UTF-32": lambda: "Hello".encode("utf-32"),
    "UTF-8 with a broken end": lambda: _text("ü") + b"\xc3",
    "UTF-7": lambda: b"+ADw-script+AD4-" * 100_000,
    "Shift JIS": lambda: "日本語テキスト".encode("shift_jis") * 100_000,
    "EBCDIC": lambda: "Hello there".encode("cp037") * 100_000,
    "random bytes": lambda: random.Random(2).randbytes(19 * _MB),
    "control characters": lambda: b"\x1b[2J\x07\x08" * 100_000,
    "all zeros": lambda: bytes(19 * _MB),
}

# ------------------------------------------------------------------ pictures


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def _png(width: int, height: int, rows: bytes, extra: bytes = b"", colour: int = 0, depth: int = 8) -> bytes:
    head = _chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    )


def _zeros(width: int, height: int, bytes_each: int) -> bytes:
    return bytes((1 + width * bytes_each) * height)


def _profile(size: int) -> bytes:
    return _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(size), 9))


def _saved(made: Pictures.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    made.save(out, kind, **options)
    return out.getvalue()


def _gif(width: int, height: int, frames: int) -> bytes:
    """Frames of one pixel on a canvas of this size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\x00"
    return head + one * frames + b"\x3b"


def _tiff(tags: list[tuple[int, int, int, int]], rest: bytes = b"", following: int = 0) -> bytes:
    """A directory of these tags: number, type, count, value."""
    listed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + listed + struct.pack("<I", following) + rest


def _strip(width: int, height: int, compression: int, data: bytes) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 122), (278, 4, 1, height), (279, 4, 1, len(data))]
    tags += [(277, 3, 1, 1)]
    return _tiff(tags, data)


def _jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG that says it is larger."""
    data = bytearray(picture("JPEG", (16, 16)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack("!HH", height, width)
    return bytes(data)


def _many_scans(scans: int, side: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = _saved(Pictures.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def _many_segments(data: bytes, marker: int, count: int) -> bytes:
    segment = bytes([0xFF, marker]) + struct.pack("!H", 65_535) + bytes(65_533)
    return data[:2] + segment * count + data[2:]


def _exif(size: int) -> bytes:
    """A picture with a directory of tags that refer to each other."""
    entries = b"".join(struct.pack(">HHII", 0x8769, 4, 1, 8) for _ in range(size))
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, size) + entries + struct.pack(">I", 8)
    data = picture("JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack("!H", len(body) + 2) + body + data[2:]


def _webp_of(width: int, height: int) -> bytes:
    """An extended WebP header of this canvas, before a small picture."""
    inner = picture("WEBP")[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    return b"RIFF" + struct.pack("<I", 4 + len(head) + len(inner)) + b"WEBP" + head + inner


def _moving(kind: str, frames: int, side: int) -> bytes:
    first, *others = [Pictures.new("P", (side, side), n % 256) for n in range(frames)]
    return _saved(first, kind, save_all=True, append_images=others, duration=10)


PNG: dict[str, Builder] = {
    "65,535 x 65,535": lambda: _png(65_535, 65_535, bytes(1000), depth=1),
    "10,000 x 10,000": lambda: _png(10_000, 10_000, _zeros(10_000, 10_000, 1)),
    "10,000 x 9,999, with 16 bits and transparency": lambda: _png(
        10_000, 9_999, _zeros(10_000, 9_999, 8), colour=6, depth=16
    ),
    "2 billion x 2 billion": lambda: _png(2**31 - 1, 2**31 - 1, b"\0"),
    "0 x 0": lambda: _png(0, 0, b""),
    "1 x 90 million": lambda: _png(1, 90_000_000, bytes(180_000_000)),
    "90 million x 1": lambda: _png(90_000_000, 1, _zeros(90_000_000, 1, 1)),
    "8 x 8 with 300 MB of data": lambda: _png(8, 8, bytes(300 * _MB)),
    "a colour profile of 200 MB": lambda: _png(8, 8, _zeros(8, 8, 1), _profile(200 * _MB)),
    "a comment of 200 MB": lambda: _png(
        8, 8, _zeros(8, 8, 1), _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(200 * _MB), 9))
    ),
    "1,000 comments of 1 MB": lambda: _png(
        8, 8, _zeros(8, 8, 1), _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(_MB - 10), 9)) * 1000
    ),
    "a million chunks": lambda: _png(8, 8, _zeros(8, 8, 1), _chunk(b"abCd", b"") * 1_000_000),
    "a chunk that says it has 2 GB": lambda: (
        picture()[:33] + struct.pack("!I", 2**31 - 1) + b"IDAT" + bytes(100)
    ),
    "2,000 frames": lambda: _moving("PNG", 2000, 64),
    "truncated": lambda: picture(size=(300, 300))[:200],
}
JPEG: dict[str, Builder] = {
    "65,500 x 65,500": lambda: _jpeg_of(65_500, 65_500),
    "9,999 x 9,999, of which there is little": lambda: _jpeg_of(9_999, 9_999),
    "12,000 x 8,000": lambda: _saved(Pictures.new("RGB", (12_000, 8_000), "red"), "JPEG"),
    "9,000 x 9,000, progressive": lambda: _saved(
        Pictures.new("RGB", (9_000, 9_000)), "JPEG", progressive=True
    ),
    "9,000 x 9,000, CMYK": lambda: _saved(Pictures.new("CMYK", (9_000, 9_000)), "JPEG"),
    "8,000 scans": lambda: _many_scans(8000, 2048),
    "250,000 scans of a large picture": lambda: _many_scans(60_000, 9000),
    "19 MB of profiles": lambda: _many_segments(picture("JPEG"), 0xE2, 300),
    "19 MB of EXIF": lambda: _many_segments(picture("JPEG"), 0xE1, 300),
    "19 MB of comments": lambda: _many_segments(picture("JPEG"), 0xFE, 300),
    "EXIF that refers to itself": lambda: _exif(5000),
    "0 x 0": lambda: _jpeg_of(0, 0),
    "no end": lambda: picture("JPEG", (900, 900))[:-800],
    "a PNG's name": lambda: b"\xff\xd8\xff" + picture(),
    "19 MB of padding": lambda: b"\xff\xd8" + b"\xff" * (19 * _MB),
}
GIF: dict[str, Builder] = {
    "100,000 frames": lambda: _gif(64, 64, 100_000),
    "500,000 frames on 9,000 x 9,000": lambda: _gif(9_000, 9_000, 500_000),
    "65,535 x 65,535": lambda: _gif(65_535, 65_535, 1),
    "9,999 x 9,999": lambda: _gif(9_999, 9_999, 1),
    "0 x 0": lambda: _gif(0, 0, 1),
    "a frame outside the canvas": lambda: _gif(10, 10, 1).replace(
        b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1), b"\x2c" + struct.pack("<HHHH", 65_000, 65_000, 500, 500)
    ),
    "a frame of 65,535 x 1,500": lambda: _gif(10, 10, 1).replace(
        b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1), b"\x2c" + struct.pack("<HHHH", 0, 0, 65_535, 1_500)
    ),
    "a million comments": lambda: _gif(8, 8, 1)[:19] + b"\x21\xfe\x01x\x00" * 1_000_000 + _gif(8, 8, 1)[19:],
    "19 MB in one comment": lambda: (
        _gif(8, 8, 1)[:19] + b"\x21\xfe" + (b"\xff" + bytes(255)) * 75_000 + b"\0" + _gif(8, 8, 1)[19:]
    ),
    "no end": lambda: _gif(64, 64, 1000)[:-1],
    "no frames": lambda: _gif(64, 64, 0),
    "2,000 frames of 800 x 800": lambda: _gif(800, 800, 2000),
    "truncated": lambda: picture("GIF", (300, 300))[:60],
}
WEBP: dict[str, Builder] = {
    "16,383 x 16,383": lambda: _webp_of(16_383, 16_383),
    "16 million x 16 million": lambda: _webp_of(2**24, 2**24),
    "9,999 x 9,999": lambda: _saved(Pictures.new("RGB", (9_999, 9_999)), "WEBP", method=0),
    "9,999 x 9,999, lossless": lambda: _saved(
        Pictures.new("RGBA", (9_999, 9_999)), "WEBP", lossless=True, method=0, quality=0
    ),
    "1 x 16,383": lambda: _saved(Pictures.new("RGB", (1, 16_383)), "WEBP"),
    "600 frames": lambda: _moving("WEBP", 600, 200),
    "19 MB of EXIF": lambda: _saved(Pictures.new("RGB", (8, 8)), "WEBP", exif=b"Exif\0\0" + bytes(19 * _MB)),
    "19 MB of profile": lambda: _saved(Pictures.new("RGB", (8, 8)), "WEBP", icc_profile=bytes(19 * _MB)),
    "a length of 4 GB": lambda: b"RIFF\xff\xff\xff\xffWEBP" + picture("WEBP")[12:],
    "a length of nothing": lambda: b"RIFF\0\0\0\0WEBP" + picture("WEBP")[12:],
    "no picture": lambda: b"RIFF" + struct.pack("<I", 4) + b"WEBP",
    "random after the header": lambda: picture("WEBP")[:24] + random.Random(3).randbytes(100_000),
    "truncated": lambda: picture("WEBP", (300, 300))[:60],
}
TIFF: dict[str, Builder] = {
    "4 billion x 4 billion": lambda: _strip(2**32 - 1, 2**32 - 1, 1, bytes(100)),
    "9,999 x 9,999": lambda: _strip(9_999, 9_999, 8, zlib.compress(bytes(99_980_001), 9)),
    "9,999 x 9,999, of which there is nothing": lambda: _strip(9_999, 9_999, 1, bytes(100)),
    "8 x 8 with 300 MB of data": lambda: _strip(8, 8, 8, zlib.compress(bytes(300 * _MB), 9)),
    "a directory after itself": lambda: _tiff([(256, 4, 1, 8), (257, 4, 1, 8)], following=8),
    "a tag of 4 billion values": lambda: _tiff([(256, 4, 2**32 - 1, 8), (257, 4, 1, 8)]),
    "60,000 tags": lambda: _tiff([(300 + n, 4, 1, 8) for n in range(60_000)]),
    "4 million strips": lambda: _tiff(
        [
            *((256, 4, 1, 2000), (257, 4, 1, 2000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
            *((273, 4, 4_000_000, 200), (278, 4, 1, 1), (279, 4, 4_000_000, 200)),
        ],
        bytes(18_000_000),
    ),
    "LZW without an end": lambda: _strip(9_000, 9_000, 5, b"\x80\x00\x20" * 100_000),
    "CCITT of 9,999 x 9,999": lambda: _strip(9_999, 9_999, 4, random.Random(4).randbytes(100_000)),
    "JPEG of 9,999 x 9,999": lambda: _strip(9_999, 9_999, 7, picture("JPEG")),
    "400 pages": lambda: _moving("TIFF", 400, 8),
    "0 x 0": lambda: _strip(0, 0, 1, b""),
    "truncated": lambda: picture("TIFF", (300, 300))[:200],
}
OTHER: dict[str, Builder] = {
    "an archive of archives": lambda: packed({"a.zip": packed({"b.zip": packed({"c": bytes(100 * _MB)})})}),
    "a BMP of 2 billion lines": lambda: (
        picture("BMP")[:22] + struct.pack("<i", 2**31 - 1) + picture("BMP")[26:]
    ),
    "a BMP of 9,999 x 9,999, of which there is nothing": lambda: (
        picture("BMP")[:18] + struct.pack("<ii", 9_999, 9_999) + picture("BMP")[26:]
    ),
    "a BMP, run-length encoded": lambda: (
        picture("BMP", mode="P")[:18]
        + struct.pack("<iiHHI", 9_999, 9_999, 1, 8, 1)
        + picture("BMP", mode="P")[34:]
    ),
}

HOSTILE: Mapping[str, Mapping[str, Builder]] = {
    "docx": WORD,
    "xlsx": EXCEL,
    "pptx": SLIDES,
    "pdf": PDF,
    "html": HTML,
    "csv": CSV,
    "text": TEXT,
    "png": PNG,
    "jpeg": JPEG,
    "gif": GIF,
    "webp": WEBP,
    "tiff": TIFF,
    "other": OTHER,
}
"""By format and by what is hostile about them."""
