"""Hostile files: each is read or refused within its limits, and the bot neither grows nor waits."""

import asyncio
from pathlib import Path

import pytest

from bot.domain.errors import NotAllowed
from bot.files.frames import ExtractedText
from bot.files.process_pool import ProcessPool
from tests.support.documents import word
from tests.support.hostile_documents import HOSTILE

GROWTH_MB = 150
"""What reading may add to the bot: the file itself, and what its platform keeps of it on the way."""

PLAIN: list[tuple[str, str, str]] = [
    ("docx", "gridSpan of 300 million", "memory|seconds"),
    ("docx", "205 KB of empty paragraphs", "memory|seconds"),
    ("xlsx", "only its last cell", "seconds"),
    ("xlsx", "2 million empty rows", "seconds"),
    ("xlsx", "3 million cells", "seconds|memory"),
    ("xlsx", "1.5 million styles", "seconds|memory"),
    ("html", "div, 500,000 deep", "seconds|memory"),
    ("html", "3 MB of <", "seconds|memory"),
    ("html", "lists, 250 deep, around 100,000 lines", "seconds|memory"),
    ("pdf", "2 million operators", "seconds|memory"),
    ("pdf", "forms that draw each other", "no text|seconds"),
    ("docx", "billion laughs", "damaged|seconds"),
    ("docx", "unpacks to 320 MB", "unpacking"),
    ("docx", "absurd sizes in the directory", "unpacking|damaged"),
    ("docx", "understated sizes in the directory", "damaged"),
    ("xlsx", "billion laughs", "damaged|seconds"),
    ("xlsx", "an external entity", "damaged"),
    ("pptx", "a million runs", "seconds|memory"),
    ("pptx", "billion laughs", "damaged|seconds"),
    ("pdf", "a page tree that holds itself", "damaged|seconds"),
    ("pdf", "4 GB behind two deflations", "damaged|seconds|memory"),
    ("text", "all zeros", "unsupported format"),
    ("csv", "NUL in the middle", "unsupported format"),
    ("png", "65,535 x 65,535", "pixels"),
    ("png", "a comment of 200 MB", "damaged"),
    ("jpeg", "8,000 scans", "seconds"),
    ("jpeg", "65,500 x 65,500", "pixels"),
    ("gif", "65,535 x 65,535", "pixels"),
    ("webp", "16,383 x 16,383", "pixels|damaged"),
    ("tiff", "4 billion x 4 billion", "pixels"),
    ("tiff", "4 million strips", "seconds|memory|damaged"),
]
"""Some of each format, and every kind that held the bot for more than a minute; the benchmark reads all."""


def resident_mb() -> float:
    """Memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1024**2


def test_each_format_has_a_dozen_hostile_files() -> None:
    """Field fault 90: the corpus for changes to how a format is read."""
    few = {kind: len(files) for kind, files in HOSTILE.items() if len(files) < 12 and kind != "other"}
    assert few == {}
    assert {
        "docx",
        "xlsx",
        "pptx",
        "pdf",
        "html",
        "csv",
        "text",
        "png",
        "jpeg",
        "gif",
        "webp",
        "tiff",
    } <= set(HOSTILE)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is looked up in /proc")
@pytest.mark.parametrize(("kind", "name", "words"), PLAIN, ids=[f"{kind}: {name}" for kind, name, _ in PLAIN])
async def test_a_hostile_file_is_refused_within_memory_limits(kind: str, name: str, words: str) -> None:
    """Field fault 90: a small document took gigabytes of memory, or a thread that could not be stopped."""
    data = await asyncio.to_thread(HOSTILE[kind][name])
    pool = ProcessPool(memory_mb=384, seconds=4)
    before = peak = resident_mb()
    reading = asyncio.create_task(pool.read(data, "", 60_000))
    while not reading.done():
        await asyncio.wait({reading}, timeout=0.02)
        peak = max(peak, resident_mb())
    try:
        with pytest.raises(NotAllowed, match=words):
            await reading
        assert peak - before < GROWTH_MB
        assert isinstance(await pool.read(word(), "", 60_000), ExtractedText)
    finally:
        await pool.close()
    assert pool.pids == []


@pytest.mark.parametrize("kind", ["docx", "xlsx", "pptx"])
async def test_external_entities_are_not_read(kind: str, pool: ProcessPool) -> None:
    """Field fault 90: nothing that a document refers to is opened."""
    try:
        found = await pool.read(HOSTILE[kind]["an external entity"](), "", 60_000)
    except NotAllowed as refusal:
        found = refusal
    assert "root:" not in str(found)


async def test_long_text_is_cut_while_reading(pool: ProcessPool) -> None:
    """Field fault 90: the bot receives only as much as it asked for, even of 100 MB."""
    found = await pool.read(HOSTILE["csv"]["one cell of 19 MB"](), "", 1000)
    assert isinstance(found, ExtractedText)
    assert len(found.text.encode()) <= 1000
    assert found.characters > 19_000_000
