"""Tokens of images in prompts, as OpenAI documents them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from bot.domain.prompts import Image
from bot.llm.catalog.catalog import families
from bot.llm.tokens.image_tokens import Detail, ImageRule, image_size, image_tokens, tokens_of

SIZES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("family", "width", "height", "detail", "tokens"),
    [
        ("gpt-4o", 1024, 1024, "high", 765),
        ("gpt-4o", 2048, 4096, "high", 1105),
        ("gpt-4o", 4096, 8192, "low", 85),
        ("gpt-4o", 512, 512, "auto", 255),
        ("gpt-4.1", 1024, 1024, "auto", 765),
        ("gpt-5", 1024, 1024, "auto", 630),
        ("o3", 1024, 1024, "auto", 675),
        ("gpt-4o-mini", 1024, 1024, "auto", 25_501),
        ("gpt-4o-mini", 2048, 4096, "auto", 36_835),
        ("gpt-4o-mini", 4096, 4096, "low", 2833),
        ("gpt-4.1-mini", 1024, 1024, "auto", 1659),
        ("gpt-4.1-mini", 1800, 2400, "auto", 2353),
        ("gpt-5-nano", 1024, 1024, "auto", 2520),
        ("o4-mini", 1024, 1024, "low", 1762),
    ],
)
def test_images_cost_what_is_documented(
    family: str, width: int, height: int, detail: Detail, tokens: int
) -> None:
    """Field fault 116: a picture reserved 800 tokens, and gpt-4o-mini takes 25,000 to 37,000."""
    assert image_tokens(families()[family].image_tokens, width, height, detail) == tokens


@given(st.sampled_from(sorted(families())), SIZES, SIZES)
def test_every_size_has_a_bounded_cost(family: str, width: int, height: int) -> None:
    rule = families()[family].image_tokens
    most = tokens_of(Image(mime="image/png"), rule)
    assert 0 < image_tokens(rule, width, height) <= most


def drawn(format: str, size: tuple[int, int], **options: object) -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", size, "teal").save(out, format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "comment": b"a comment"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0 not much"}),
    ],
)
def test_sizes_are_read_from_headers(format: str, options: dict[str, object]) -> None:
    data = drawn(format, (301, 77), **options)
    assert image_size(data) == (301, 77)
    for end in range(30):
        image_size(data[:end])


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"RIFFxxxxWEBPVP8 "]),
)
def test_damaged_headers_have_no_size(data: bytes, begins: bytes) -> None:
    found = image_size(begins + data)
    assert found is None or min(found) > 0


def test_an_unreadable_image_costs_the_most() -> None:
    unread = Image(mime="image/png", data=b"no image")
    assert tokens_of(unread, ImageRule(base=2833, tile=5667)) == 48_169
    assert tokens_of(unread, ImageRule(patch=2.46)) == 3779
    assert tokens_of(Image(mime="image/png", data=drawn("PNG", (32, 32))), ImageRule(patch=2.0)) == 2
