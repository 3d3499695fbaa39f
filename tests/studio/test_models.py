"""Images and embeddings, tried in the studio."""

import pytest
from playwright.async_api import Page, expect

from adapters.studio.nearness import plane, similarities
from tests.studio.conftest import Complaints, Whole


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_wish_becomes_a_picture_in_the_gallery(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/images")
    await expect(page.get_by_text("The pictures of this visit are shown here")).to_be_visible()
    await page.get_by_label("How many").select_option("2")
    await page.get_by_label("What shall be drawn?").fill("a green boat")
    await page.keyboard.press("Enter")
    pictures = page.get_by_role("img", name="a green boat")
    await expect(pictures).to_have_count(2)
    width = "image => image.decode().then(() => image.naturalWidth)"
    assert await pictures.first.evaluate(width) > 100
    await expect(page.locator(".gallery .note").first).to_contain_text("demo-image")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_texts_are_compared_in_a_matrix_and_on_a_plane(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/embeddings")
    texts = "reset my password\nforgot my password\nwhen does the canteen open"
    await page.get_by_label("Texts, one on each line").fill(texts)
    await page.get_by_role("button", name="Compare").click()
    await expect(page.locator(".plot circle")).to_have_count(3)
    cells = [float(text) for text in await page.locator(".matrix td").all_inner_texts()]
    assert [cells[0], cells[4], cells[8]] == [1.0, 1.0, 1.0]
    assert cells[1] == cells[3] > cells[2]


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_pool_shows_its_nearest_examples_for_a_question(page: Page, whole: Whole) -> None:
    await page.goto(f"{whole.url}/studio/embeddings")
    await page.get_by_label("Question").fill("I forgot my password")
    await page.get_by_role("button", name="Show the nearest examples").click()
    await expect(page.locator(".nearest li").first).to_contain_text("password")
    shown = [float(text) for text in await page.locator(".nearest .tag").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_single_text_is_refused_in_words(page: Page, whole: Whole, complaints: Complaints) -> None:
    await page.goto(f"{whole.url}/studio/embeddings")
    await page.get_by_label("Texts, one on each line").fill("alone")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_role("alert")).to_contain_text("from 2 to 20")


def test_the_plane_keeps_what_is_near_together() -> None:
    points = plane(similarities([(1.0, 0.0, 0.0), (0.96, 0.28, 0.0), (0.0, 0.0, 1.0)]))

    def apart(a: int, b: int) -> float:
        return sum((x - y) ** 2 for x, y in zip(points[a], points[b], strict=True))

    assert apart(0, 1) < apart(0, 2) / 4
    assert max(abs(value) for point in points for value in point) == pytest.approx(1.0)


def test_equal_texts_lie_on_one_point() -> None:
    assert plane(similarities([(1.0, 0.0), (1.0, 0.0)])) == [(0.0, 0.0), (0.0, 0.0)]
