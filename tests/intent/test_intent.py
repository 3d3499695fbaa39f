"""A part of the sentences through the whole bot, on every surface; `make intent` takes all of them."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.intent.hold import hold_all
from tests.intent.pictures import change_all, request_all, wrong_pictures
from tests.intent.report import broken_limits, misfires
from tests.intent.sentences import after_pictures, picture_requests, sentences
from tests.intent.stage import Measurement, measurement

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERY = 15
"""A fifteenth of the sentences: about forty, of every language and most meanings."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncGenerator[Measurement]:
    """One bot for all."""
    async with measurement() as town:
        yield town


async def test_people_get_what_they_mean(town: Measurement) -> None:
    """Field faults 104 and 106: no word of an ordinary sentence runs a command, and what is meant happens."""
    held = await hold_all(town, sentences()[::EVERY], town.surfaces)
    assert not list(broken_limits(held)), "\n".join(misfires(held))
    assert not town.model.invalid


async def test_options_of_pictures_are_kept(town: Measurement) -> None:
    """Field fault 107: 46 of 60 requests lost their options."""
    results = await request_all(town, picture_requests()[::6], ["Slack DM", "Teams group"])
    assert not list(wrong_pictures(results, []))


async def test_changes_and_new_pictures_differ(town: Measurement) -> None:
    """Field fault 107: "in blue" made a new picture, "a boy and his dog; it is raining" changed the last one."""
    changes = await change_all(town, after_pictures()[::6], ["Slack mention", "Studio"])
    assert not list(wrong_pictures([], changes))
