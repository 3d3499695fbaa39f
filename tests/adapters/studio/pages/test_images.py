"""Images and embeddings, tried in the studio."""

from itertools import combinations
from math import hypot

import pytest
from playwright.async_api import Page, expect

from adapters.studio.web.projection import apart, plane, similarities
from tests.adapters.studio.conftest import Complaints, Whole, red_picture

_PIXELS = """async image => {
    await image.decode();
    const sheet = new OffscreenCanvas(64, 64);
    const pen = sheet.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, 64, 64);
    const places = [[6, 6], [40, 6], [6, 40], [40, 40]];
    return places.map(([x, y]) => [...pen.getImageData(x, y, 1, 1).data].join());
}"""


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_wish_becomes_a_picture_in_the_gallery(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/images")
    await expect(page.get_by_text("Images appear here")).to_be_visible()
    await page.get_by_label("Number of images").select_option("2")
    await page.get_by_label("Prompt").fill("a green boat")
    await page.keyboard.press("Enter")
    pictures = page.get_by_role("img", name="a green boat")
    await expect(pictures).to_have_count(2)
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert await pictures.first.evaluate(width) > 100
    await expect(page.locator(".gallery .note").first).to_contain_text("demo-image")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_only_the_selected_area_changes(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/images")
    await page.get_by_label("Prompt").fill("a green boat")
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Edit image").click()
    await expect(page.get_by_label("Describe the change")).to_be_focused()
    for name, value in (("Left", 0), ("Top", 0), ("Width", 30), ("Height", 30)):
        await page.get_by_label(name).fill(str(value))
    await page.get_by_role("button", name="Select area").click()
    await expect(page.get_by_text("Only the selected area will change")).to_be_visible()
    await page.get_by_label("Describe the change").fill("a yellow sun")
    await page.get_by_role("button", name="Apply change").click()
    pictures = page.locator(".gallery figure img")
    await expect(pictures).to_have_count(2)
    changed, before = [await pictures.nth(n).evaluate(_PIXELS) for n in (0, 1)]
    assert changed[0] != before[0]
    assert changed[1:] == before[1:]


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_an_uploaded_image_is_edited_or_refused(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/images")
    own = page.get_by_label("Upload an image to edit")
    await own.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    await expect(page.get_by_role("alert")).to_contain_text("Choose a PNG")
    await own.set_input_files({"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"})
    await expect(page.get_by_role("alert")).to_contain_text("damaged")
    await own.set_input_files({"name": "red.png", "mimeType": "image/png", "buffer": red_picture()})
    marks = page.locator("#marks")
    box = await marks.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 20, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 80, box["y"] + 40, steps=4)
    await page.mouse.up()
    await expect(page.get_by_text("Only the selected area will change")).to_be_visible()
    await page.get_by_role("button", name="Clear selection").click()
    await expect(page.get_by_text("No area selected.")).to_be_visible()
    await page.get_by_label("Describe the change").fill("make it darker")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("img", name="make it darker")).to_be_visible()


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_chat_image_is_varied_and_regenerated(page: Page, whole: Whole) -> None:
    await page.goto(whole.url)
    words = page.get_by_role("textbox", name="Message")
    await words.fill("/image a green boat")
    await words.press("Enter")
    await expect(page.get_by_role("img", name="a green boat (in progress)")).to_be_visible()
    drawn = page.get_by_role("img", name="a green boat", exact=True)
    await expect(drawn).to_have_count(1)
    await expect(page.locator(".partial")).to_have_count(0)
    await page.get_by_role("button", name="Create a variation").click()
    await expect(drawn).to_have_count(2)
    await expect(page.get_by_text("/variations", exact=True)).to_be_visible()
    before = await drawn.first.get_attribute("src")
    await page.get_by_role("button", name="Regenerate").last.click()
    await expect(page.locator(".partial")).to_have_count(1)
    await expect(drawn).to_have_count(2)
    assert await drawn.first.get_attribute("src") == before
    await page.reload()
    await expect(drawn).to_have_count(2)


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_embedded_texts_are_compared(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/embeddings")
    texts = "reset my password\nforgot my password\nwhen does the canteen open"
    await page.get_by_label("Texts, one per line").fill(texts)
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_role("img", name="The texts on a plane").locator("circle")).to_have_count(3)
    cells = [float(text) for text in await page.locator(".matrix td").all_inner_texts()]
    assert [cells[0], cells[4], cells[8]] == [1.0, 1.0, 1.0]
    assert cells[1] == cells[3] > cells[2]


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_pool_shows_examples_similar_to_a_question(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/embeddings")
    await page.get_by_label("Question").fill("I forgot my password")
    await page.get_by_role("button", name="Find similar examples").click()
    await expect(page.locator(".nearest li").first).to_contain_text("password")
    shown = [float(text) for text in await page.locator(".nearest .tag").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_single_text_is_refused_in_words(page: Page, whole: Whole, complaints: Complaints) -> None:
    await page.goto(f"{whole.url}/studio/embeddings")
    await page.get_by_label("Texts, one per line").fill("alone")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_role("alert")).to_contain_text("from 2 to 20")


def test_dots_on_the_plane_do_not_overlap() -> None:
    places = apart([(0.0, 0.0), (1.0, 1.0), *[(0.0, 0.0)] * 10], 0.1, 0.2)
    assert places[:2] == [(0.0, 0.0), (1.0, 1.0)]
    for (left, up), (x, y) in combinations(places, 2):
        assert hypot((left - x) / 0.1, (up - y) / 0.2) > 0.98
    crowd = apart([(1.0, 1.0)] * 20, 0.5, 0.5)
    assert all(max(abs(x), abs(y)) <= 1.1 for x, y in crowd)


def test_the_plane_keeps_what_is_near_together() -> None:
    points = plane(similarities([(1.0, 0.0, 0.0), (0.96, 0.28, 0.0), (0.0, 0.0, 1.0)]))

    def apart(a: int, b: int) -> float:
        return sum((x - y) ** 2 for x, y in zip(points[a], points[b], strict=True))

    assert apart(0, 1) < apart(0, 2) / 4
    assert max(abs(value) for point in points for value in point) == pytest.approx(1.0)


def test_equal_texts_lie_on_one_point() -> None:
    assert plane(similarities([(1.0, 0.0), (1.0, 0.0)])) == [(0.0, 0.0), (0.0, 0.0)]
