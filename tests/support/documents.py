"""Ordinary documents and pictures, made on the spot: the smallest of each format."""

import io
import zipfile

import docx
import openpyxl  # pyright: ignore[reportMissingModuleSource]
import pptx
import pypdf
from PIL import Image as Pictures


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Pictures.new(mode, size, "red" if mode != "RGBA" else (255, 0, 0, 128)).save(out, kind)
    return out.getvalue()


def noise(side: int) -> bytes:
    out = io.BytesIO()
    Pictures.effect_noise((side, side), 200).convert("RGB").save(out, "BMP")
    return out.getvalue()


def pdf(*pages: str) -> bytes:
    """A PDF of these pages, written by hand as the reader's package can't write text."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    out, places = "%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    trailer = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF"
    return f"{out}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def locked(data: bytes) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt("secret", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.add_heading("The plan", 2)
    document.add_paragraph("We begin on Monday.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "who", "Ada"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def slides() -> bytes:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = "Results"  # pyright: ignore[reportOptionalMemberAccess]
    slide.notes_slide.notes_text_frame.text = "Speak slowly."  # pyright: ignore[reportOptionalMemberAccess]
    out = io.BytesIO()
    show.save(out)
    return out.getvalue()


def sheet() -> bytes:
    book = openpyxl.Workbook()
    book.create_sheet("Sums", 0).append(["apples", 3, None, 4.5])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name.replace("__", "/") + ".xml", data)
    return out.getvalue()
