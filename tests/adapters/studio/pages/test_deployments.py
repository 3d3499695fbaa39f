"""What the page of the deployments says agrees with what the bot does."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from msgspec.structs import replace
from playwright.async_api import Page, expect

from bot.app.price_watch import PriceWatch
from bot.domain.limits import read
from bot.domain.turns import Prices
from bot.storage.usage.price_tables import PriceTables
from tests.adapters.studio.conftest import Whole

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_green_test_does_not_hide_a_refusal(page: Page, whole: Whole) -> None:
    """Field fault 83: the test was answered, but the bot still refuses; the page says so, and what clears it."""
    candidate = cast("Any", whole.services.gateway)._pool[0]
    candidate.broken = "The deployment did not accept the key."
    try:
        await page.goto(f"{whole.url}/studio/deployments")
        await page.get_by_role("button", name="Test all").click()
        card = page.locator(".versions > li", has_text="Unavailable")
        await expect(card.locator(".alert.warning")).to_contain_text("answered the test")
        await expect(card.locator(".alert.warning")).to_contain_text("the bot doesn’t use it yet")
        await expect(card.locator(".alert.warning")).to_contain_text("cool-down")
        await expect(card.locator(".alert.ok")).to_have_count(0)
    finally:
        candidate.broken = ""


async def test_an_unknown_price_is_warned_of(page: Page, whole: Whole) -> None:
    """Field fault 114: the page says what is unknown, and what that means where limits are in dollars."""
    candidate = cast("Any", whole.services.gateway)._pool[0]
    known = candidate.deployment
    candidate.deployment = replace(known, prices=Prices(output_usd=9.0))
    try:
        await page.goto(f"{whole.url}/studio/deployments")
        card = page.locator(".versions > li").first
        await expect(card).to_contain_text("unknown")
        await expect(card.locator(".alert.warning")).to_have_count(0)
        with in_dollars(whole):
            await page.reload()
            await expect(card.locator(".alert.warning")).to_contain_text("The price (input) is unknown")
            await expect(card.locator(".alert.warning")).to_contain_text("are refused")
        candidate.deployment = replace(known, prices=Prices(input_usd=60.0, output_usd=60.0, id="ceiling"))
        await page.reload()
        await expect(card.locator(".note").first).to_contain_text("PARLEY_PRICE_CEILING stands in")
    finally:
        candidate.deployment = known


async def test_the_operator_s_prices_are_shown(page: Page, whole: Whole) -> None:
    """A table that was stored while the studio runs."""
    candidate = cast("Any", whole.services.gateway)._pool[0]
    known = candidate.deployment
    tables = PriceTables(whole.services.storage.redis)
    watch = PriceWatch(tables, whole.services.gateway)
    candidate.deployment = replace(known, model="gpt-4.1", stated_prices=Prices())
    try:
        await tables.write(
            "currency: EUR\nusd: 1.25\nprices: [{model: gpt-4.1, input: 8, output: 32}]", "own.yaml"
        )
        await watch.refresh()
        await page.goto(f"{whole.url}/studio/deployments")
        card = page.locator(".versions > li").first
        await expect(card).to_contain_text("gpt-4.1 (own)")
        await expect(card).to_contain_text("$10")
        await expect(card).to_contain_text("EUR at $1.25")
    finally:
        await tables.remove()
        await watch.refresh()
        candidate.deployment = known


@contextmanager
def in_dollars(whole: Whole) -> Generator[None]:
    """Limits in dollars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole.services.storage.ledger, "limits", read("person: $1/day"))
        yield
