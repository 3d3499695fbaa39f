"""Office files that try to hang whoever opens them, or to fill the memory; each is made on the spot."""

import io
import zipfile
from collections.abc import Callable, Mapping

import pptx

from tests.support.documents import sheet, slides, word

Builder = Callable[[], bytes]

_MB = 1024 * 1024
_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_PIC = "application/vnd.openxmlformats-officedocument"


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    """A ZIP archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def changed(data: bytes, parts: Mapping[str, str | bytes]) -> bytes:
    """An archive with some of its files replaced, or others added."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    return packed({**kept, **parts})


def _package(main: str, kind: str, parts: Mapping[str, str | bytes]) -> bytes:
    """An Office file whose main part has this name."""
    types = (
        f'{_XML}<Types xmlns="{_TYPES}"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main}" ContentType="{_PIC}.{kind}.main+xml"/></Types>'
    )
    relations = (
        f'{_XML}<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" '
        f'Type="{_R}/officeDocument" Target="{main}"/></Relationships>'
    )
    return packed({"[Content_Types].xml": types, "_rels/.rels": relations, **parts})


# ------------------------------------------------------------------ Word


def docx(body: str, head: str = "") -> bytes:
    """A document of this body; `head` stands before it, for a DOCTYPE."""
    document = f"<?xml version='1.0'?>{head}<w:document {_W}><w:body>{body}</w:body></w:document>"
    return _package("word/document.xml", "wordprocessingml.document", {"word/document.xml": document})


def _table(rows: str) -> str:
    return f"<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/></w:tblGrid>{rows}</w:tbl>"


def _cell(content: str = "<w:p/>", span: int = 1, merged: bool = False) -> str:
    merge = "<w:vMerge/>" if merged else ""
    return f'<w:tc><w:tcPr><w:gridSpan w:val="{span}"/>{merge}</w:tcPr>{content}</w:tc>'


def grid_span(columns: int = 300_000_000) -> bytes:
    return docx(_table(f"<w:tr>{_cell('<w:p><w:r><w:t>x</w:t></w:r></w:p>', columns)}</w:tr>"))


def empty_paragraphs(count: int = 20_000_000) -> bytes:
    """About 205 KB."""
    return docx("<w:p/>" * count)


def _nested_tables(depth: int) -> bytes:
    opened = "<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/></w:tblGrid><w:tr><w:tc>"
    return docx(opened * depth + "<w:p/>" + "<w:p/></w:tc></w:tr></w:tbl>" * depth)


def _merged_rows(count: int) -> bytes:
    first = '<w:tr><w:tc><w:tcPr><w:vMerge w:val="restart"/></w:tcPr><w:p/></w:tc></w:tr>'
    return docx(_table(first + f"<w:tr>{_cell(merged=True)}</w:tr>" * count))


def _long_text(size: int) -> bytes:
    return docx(f"<w:p><w:r><w:t>{'lorem ipsum ' * (size // 12)}</w:t></w:r></w:p>")


_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "ha">' for n in range(10))


def _entities(kind: str) -> str:
    """A DOCTYPE of that kind; what it defines is `&x;`."""
    return {
        "laughs": f'<!DOCTYPE d [{_LAUGHS}<!ENTITY x "&l9;">]>',
        "quadratic": f'<!DOCTYPE d [<!ENTITY x "{"a" * 100_000}">]>',
        "external": '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        "remote": '<!DOCTYPE d SYSTEM "http://127.0.0.1:9/never.dtd" [<!ENTITY x "y">]>',
    }[kind]


def _told(times: int = 1) -> str:
    return f"<w:p><w:r><w:t>{'&x;' * times}</w:t></w:r></w:p>"


def zip_with_absurd_sizes(data: bytes) -> bytes:
    """Every size in the directory of the archive says four gigabytes."""
    out = bytearray(data)
    at = 0
    while (at := out.find(b"PK\x01\x02", at)) >= 0:
        out[at + 20 : at + 28] = b"\xfe\xff\xff\xff" * 2
        at += 4
    return bytes(out)


def zip_that_understates(data: bytes) -> bytes:
    """The directory of the archive says that every file unpacks to ten bytes."""
    out = bytearray(data)
    at = 0
    while (at := out.find(b"PK\x01\x02", at)) >= 0:
        out[at + 24 : at + 28] = (10).to_bytes(4, "little")
        at += 4
    return bytes(out)


def _many_parts(data: bytes, count: int) -> bytes:
    return changed(data, {f"word/part{number}.xml": "<a/>" for number in range(count)})


def _nested_zips(name: str) -> bytes:
    inner = packed({"zeros": bytes(20 * _MB)})
    for _ in range(6):
        inner = packed({f"{number}.zip": inner for number in range(10)})
    return packed({name: "<a/>", "inner.zip": inner})


def _relations_loop(data: bytes, part: str) -> bytes:
    """Parts that refer to each other, thousands of times."""
    relations = "".join(
        f'<Relationship Id="rId{9000 + n}" Type="{_R}/loop" Target="/{part}"/>' for n in range(50_000)
    )
    folder, _, name = part.rpartition("/")
    path = f"{folder}/_rels/{name}.rels"
    return changed(data, {path: f'{_XML}<Relationships xmlns="{_RELATIONS}">{relations}</Relationships>'})


def _sum_of_attributes(count: int) -> bytes:
    attributes = " ".join(f'a{n}="{n}"' for n in range(count))
    return docx(f"<w:p {attributes}/>")


WORD: dict[str, Builder] = {
    "gridSpan of 300 million": grid_span,
    "205 KB of empty paragraphs": empty_paragraphs,
    "gridSpan of 20,000 in 20,000 rows": lambda: docx(_table(f"<w:tr>{_cell(span=20_000)}</w:tr>" * 20_000)),
    "gridSpan below zero": lambda: grid_span(-1),
    "gridSpan of 200 digits": lambda: grid_span(10**199),
    "tables in tables, 100 deep": lambda: _nested_tables(100),
    "tables in tables, 100,000 deep": lambda: _nested_tables(100_000),
    "20,000 merged rows": lambda: _merged_rows(20_000),
    "a cell in 200,000 rows": lambda: docx(_table(f"<w:tr>{_cell()}</w:tr>" * 200_000)),
    "100 million characters in one paragraph": lambda: _long_text(100_000_000),
    "2 million runs in one paragraph": lambda: docx(f"<w:p>{'<w:r><w:t>x</w:t></w:r>' * 2_000_000}</w:p>"),
    "billion laughs": lambda: docx(_told(), _entities("laughs")),
    "quadratic entities": lambda: docx(_told(20_000), _entities("quadratic")),
    "an external entity": lambda: docx(_told(), _entities("external")),
    "a remote DTD": lambda: docx(_told(), _entities("remote")),
    "140 MB of zeros": lambda: changed(word(), {"word/document.xml": bytes(140 * _MB)}),
    "unpacks to 320 MB": lambda: packed(
        {"word/document.xml": b"<a/>", **{f"{n}": bytes(40 * _MB) for n in range(8)}}
    ),
    "absurd sizes in the directory": lambda: zip_with_absurd_sizes(word()),
    "understated sizes in the directory": lambda: zip_that_understates(empty_paragraphs()),
    "20,000 parts": lambda: _many_parts(word(), 20_000),
    "archives in archives": lambda: _nested_zips("word/document.xml"),
    "50,000 relations to itself": lambda: _relations_loop(word(), "word/document.xml"),
    "an element of 300,000 attributes": lambda: _sum_of_attributes(300_000),
    "truncated": lambda: word()[:-200],
    "a workbook in its place": lambda: changed(sheet(), {"word/document.xml": "<a/>"}),
}

# ------------------------------------------------------------------ Excel


def xlsx(rows: str, dimension: str = "A1", strings: str = "", head: str = "", after: str = "") -> bytes:
    """A workbook of one sheet."""
    workbook = (
        f'{_XML}<workbook {_S} xmlns:r="{_R}"><sheets>'
        '<sheet name="One" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    relations = (
        f'{_XML}<Relationships xmlns="{_RELATIONS}">'
        f'<Relationship Id="rId1" Type="{_R}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_R}/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
    )
    one = (
        f"<?xml version='1.0'?>{head}<worksheet {_S}><dimension ref=\"{dimension}\"/>"
        f"<sheetData>{rows}</sheetData>{after}</worksheet>"
    )
    made = _package(
        "xl/workbook.xml",
        "spreadsheetml.sheet",
        {
            "xl/workbook.xml": workbook,
            "xl/_rels/workbook.xml.rels": relations,
            "xl/worksheets/sheet1.xml": one,
            "xl/sharedStrings.xml": strings or f"{_XML}<sst {_S}/>",
        },
    )
    types = zipfile.ZipFile(io.BytesIO(made)).read("[Content_Types].xml").decode()
    more = "".join(
        f'<Override PartName="/xl/{name}" ContentType="{_PIC}.spreadsheetml.{kind}+xml"/>'
        for name, kind in (("worksheets/sheet1.xml", "worksheet"), ("sharedStrings.xml", "sharedStrings"))
    )
    return changed(made, {"[Content_Types].xml": types.replace("</Types>", f"{more}</Types>")})


def _number(reference: str, value: str = "1") -> str:
    return f'<c r="{reference}"><v>{value}</v></c>'


def _strings(count: int, text: str) -> str:
    return f"{_XML}<sst {_S}>{f'<si><t>{text}</t></si>' * count}</sst>"


def _word_cell(index: int) -> str:
    return f'<row r="1"><c r="A1" t="s"><v>{index}</v></c></row>'


def _words_in_cells(text: str) -> str:
    return f'<row r="1"><c r="A1" t="inlineStr"><is><t>{text}</t></is></c></row>'


def _sparse(rows: int) -> str:
    return "".join(f'<row r="{n}">{_number(f"XFD{n}")}</row>' for n in range(1, rows + 1))


EXCEL: dict[str, Builder] = {
    "dimension A1:XFD1048576": lambda: xlsx(f'<row r="1">{_number("A1")}</row>', "A1:XFD1048576"),
    "only its last cell": lambda: xlsx(f'<row r="1048576">{_number("XFD1048576")}</row>', "A1:XFD1048576"),
    "row number of 2 billion": lambda: xlsx(f'<row r="2000000000">{_number("A2000000000")}</row>'),
    "row number of 200 digits": lambda: xlsx(f'<row r="{10**199}"><c><v>1</v></c></row>'),
    "columns ZZZZZZ": lambda: xlsx(f'<row r="1">{_number("ZZZZZZ1")}</row>'),
    "dimension A1:ZZZ999999999": lambda: xlsx(f'<row r="1">{_number("A1")}</row>', "A1:ZZZ999999999"),
    "100,000 rows, each with its last cell alone": lambda: xlsx(_sparse(100_000), "A1:XFD100000"),
    "2 million empty rows": lambda: xlsx("<row/>" * 2_000_000, "A1:XFD1048576"),
    "3 million cells": lambda: xlsx(f"<row>{'<c><v>1</v></c>' * 3_000_000}</row>"),
    "4 million shared strings": lambda: xlsx(_word_cell(3), strings=_strings(4_000_000, "a")),
    "a shared string of 120 MB": lambda: xlsx(_word_cell(0), strings=_strings(1, "a" * (120 * _MB))),
    "a shared string that is not there": lambda: xlsx(_word_cell(10**9)),
    "a cell of 100 MB": lambda: xlsx(_words_in_cells("a" * (100 * _MB))),
    "a million merged cells": lambda: xlsx(
        f'<row r="1">{_number("A1")}</row>',
        after="<mergeCells>" + '<mergeCell ref="A1:XFD1048576"/>' * 1_000_000 + "</mergeCells>",
    ),
    "a number of a million digits": lambda: xlsx(f'<row r="1">{_number("A1", "9" * 1_000_000)}</row>'),
    "billion laughs": lambda: xlsx(_words_in_cells("&x;"), head=_entities("laughs")),
    "quadratic entities": lambda: xlsx(_words_in_cells("&x;" * 20_000), head=_entities("quadratic")),
    "an external entity": lambda: xlsx(_words_in_cells("&x;"), head=_entities("external")),
    "elements 200,000 deep": lambda: xlsx("<row>" * 200_000 + "</row>" * 200_000),
    "140 MB of spaces": lambda: changed(sheet(), {"xl/worksheets/sheet1.xml": b" " * (140 * _MB)}),
    "1.5 million styles": lambda: changed(
        sheet(),
        {"xl/styles.xml": f"{_XML}<styleSheet {_S}><cellXfs>{'<xf/>' * 1_500_000}</cellXfs></styleSheet>"},
    ),
    "20,000 sheets": lambda: changed(
        sheet(),
        {
            "xl/workbook.xml": f'{_XML}<workbook {_S} xmlns:r="{_R}"><sheets>'
            + "".join(f'<sheet name="s{n}" sheetId="{n}" r:id="rId1"/>' for n in range(1, 20_001))
            + "</sheets></workbook>"
        },
    ),
    "300,000 defined names": lambda: changed(
        sheet(),
        {
            "xl/workbook.xml": f'{_XML}<workbook {_S} xmlns:r="{_R}"><sheets><sheet name="s" sheetId="1" '
            'r:id="rId1"/></sheets><definedNames>'
            + "".join(f'<definedName name="n{n}">s!$A$1:$XFD$1048576</definedName>' for n in range(300_000))
            + "</definedNames></workbook>"
        },
    ),
    "absurd sizes in the directory": lambda: zip_with_absurd_sizes(sheet()),
    "archives in archives": lambda: _nested_zips("xl/workbook.xml"),
    "truncated": lambda: sheet()[: len(sheet()) // 2],
}

# ------------------------------------------------------------------ PowerPoint

_P = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    f'xmlns:r="{_R}" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
)


def _shape(text: str) -> str:
    return (
        '<p:sp><p:nvSpPr><p:cNvPr id="2" name="x"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>'
        f"<p:txBody><a:bodyPr/>{text}</p:txBody></p:sp>"
    )


def _paragraph(text: str) -> str:
    return f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>"


def _slide(shapes: str, head: str = "") -> bytes:
    group = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    tree = f"<p:cSld><p:spTree>{group}{shapes}</p:spTree></p:cSld>"
    xml = f"<?xml version='1.0'?>{head}<p:sld {_P}>{tree}</p:sld>"
    return changed(slides(), {"ppt/slides/slide1.xml": xml})


def _grid(rows: int, columns: int) -> str:
    cells = "<a:tc><a:txBody><a:bodyPr/><a:p/></a:txBody></a:tc>" * columns
    return (
        '<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="3" name="t"/><p:cNvGraphicFramePr/><p:nvPr/>'
        "</p:nvGraphicFramePr><p:xfrm/><a:graphic><a:graphicData "
        'uri="http://schemas.openxmlformats.org/drawingml/2006/table"><a:tbl><a:tblGrid/>'
        f"{f'<a:tr>{cells}</a:tr>' * rows}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    )


def _groups(depth: int) -> str:
    return "<p:grpSp>" * depth + _shape(_paragraph("deep")) + "</p:grpSp>" * depth


def _repeated_slides(count: int) -> bytes:
    """A presentation that lists its one slide many times."""
    show = pptx.Presentation(io.BytesIO(slides()))
    part = show.part
    listed = "".join(f'<p:sldId id="{256 + n}" r:id="{{}}"/>' for n in range(count))
    relation = next(key for key, rel in part.rels.items() if rel.reltype.endswith("/slide"))
    with zipfile.ZipFile(io.BytesIO(slides())) as archive:
        xml = archive.read("ppt/presentation.xml").decode()
    start, end = xml.index("<p:sldIdLst>"), xml.index("</p:sldIdLst>")
    xml = xml[:start] + "<p:sldIdLst>" + listed.replace("{}", relation) + xml[end:]
    return changed(slides(), {"ppt/presentation.xml": xml})


SLIDES: dict[str, Builder] = {
    "a million shapes": lambda: _slide(_shape(_paragraph("x")) * 400_000),
    "a million paragraphs": lambda: _slide(_shape(_paragraph("x") * 1_000_000)),
    "3 million empty paragraphs": lambda: _slide(_shape("<a:p/>" * 3_000_000)),
    "a million runs": lambda: _slide(_shape(f"<a:p>{'<a:r><a:t>x</a:t></a:r>' * 1_000_000}</a:p>")),
    "100 million characters": lambda: _slide(_shape(_paragraph("lorem ipsum " * 8_000_000))),
    "a table of 1,000 by 1,000": lambda: _slide(_grid(1000, 1000)),
    "a table row of 500,000 cells": lambda: _slide(_grid(1, 500_000)),
    "groups 100,000 deep": lambda: _slide(_groups(100_000)),
    "billion laughs": lambda: _slide(_shape(_paragraph("&x;")), _entities("laughs")),
    "quadratic entities": lambda: _slide(_shape(_paragraph("&x;" * 20_000)), _entities("quadratic")),
    "an external entity": lambda: _slide(_shape(_paragraph("&x;")), _entities("external")),
    "its slide listed 200,000 times": lambda: _repeated_slides(200_000),
    "50,000 relations to itself": lambda: _relations_loop(slides(), "ppt/slides/slide1.xml"),
    "140 MB of zeros": lambda: changed(slides(), {"ppt/presentation.xml": bytes(140 * _MB)}),
    "absurd sizes in the directory": lambda: zip_with_absurd_sizes(slides()),
    "understated sizes in the directory": lambda: zip_that_understates(
        _slide(_shape(_paragraph("x") * 1_000_000))
    ),
    "archives in archives": lambda: _nested_zips("ppt/presentation.xml"),
    "20,000 parts": lambda: _many_parts(slides(), 20_000),
    "truncated": lambda: slides()[: len(slides()) // 2],
}
