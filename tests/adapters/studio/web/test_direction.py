"""Field fault 88: right-to-left text is laid out right to left."""

import pytest

from adapters.studio.chat.frames import render


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("שלום", '<p dir="auto">'),
        ("# مرحبا", '<h1 dir="auto">'),
        ("- שלום\n- world", '<ul dir="rtl">\n<li dir="auto">'),
        ("1. 2024 مرحبا", '<ol dir="rtl">\n<li dir="auto">'),
        ("- hello\n- שלום", '<ul dir="ltr">\n<li dir="auto">'),
        ("- 1\n  - שלום", '<ul dir="rtl">\n<li dir="auto">1\n<ul dir="rtl">'),
        ("> שלום", '<blockquote dir="rtl">\n<p dir="auto">'),
        ("| א | b |\n|---|---|\n| c | d |", '<table dir="rtl"><thead><tr><th dir="auto">'),
        ("hello", '<p dir="auto">'),
        ("- hello", '<ul dir="auto">\n<li dir="auto">'),
        ("3. **سلام**", '<ol dir="rtl" start="3">'),
    ],
)
def test_every_block_has_a_direction(text: str, start: str) -> None:
    """Field fault 88."""
    assert start in render(text)


def test_code_stays_left_to_right() -> None:
    """Field fault 88."""
    assert '<pre dir="ltr">' in render("- שלום\n\n  ```\n  x = 1\n  ```")
