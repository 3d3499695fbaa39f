"""An operator in Slack and one in Teams learn that a limit is nearly, and then fully, used up."""

import pytest

from tests.story.conftest import Town
from tests.story.test_people import direct, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = {
    "PARLEY_LIMITS": "tenant: 5 requests/day",
    "PARLEY_OPERATORS": "U0ALICE, 29:kenji",
}
KENJI = "a:kenji"


async def restart(town: Town) -> None:
    """Kill the bot, and start it with limits."""
    town.settings.update(LIMITS)
    await town.kill()
    await town.begin()


def told(town: Town) -> tuple[list[str], list[str]]:
    """What Alice in Slack and Kenji in Teams read about limits."""
    alice = [
        m["markdown"] for (channel, _), m in town.slack.workspace.messages.items() if channel == "D0ALICE"
    ]
    kenji = [message.text for message in town.teams.answers(KENJI) if "T0SIM" in message.text]
    return alice, kenji


async def test_operators_are_told_on_their_platforms(town: Town) -> None:
    """Issue 14: operators are told at 80 % and 100 % of tenant limits, once, also if the bot is killed."""
    town.slack.workspace.zones["U0ALICE"] = "Europe/Berlin"
    town.slack.workspace.locales["U0ALICE"] = "de-DE"
    town.teams.locales["kenji"] = ("ja-JP", "Asia/Tokyo")
    # Whom Slack doesn't know is of another organisation, and has limits of their own.
    town.slack.workspace.people["U0ADA"] = "ada"
    await restart(town)
    await town.teams.say(KENJI, "kenji", "hello")
    await town.teams.answered(KENJI)
    channel = direct(town)
    for number in range(4):
        ts = await town.slack.say(channel, "U0ADA", f"question {number}")
        await whole(town, channel, ts)
    await town.slack.until(lambda: len(told(town)[0]) == 1)
    await town.teams.until(lambda: len(told(town)[1]) == 1)
    await restart(town)
    ts = await town.slack.say(channel, "U0ADA", "the last question")
    await whole(town, channel, ts)
    ts = await town.slack.say(channel, "U0ADA", "one too many")
    (refused,) = await whole(town, channel, ts)
    assert "Your organisation's questions for today (5) are used up." in refused["markdown"]
    await town.slack.until(lambda: len(told(town)[0]) == 2)
    await town.teams.until(lambda: len(told(town)[1]) == 2)
    (near, full), (near_in_teams, full_in_teams) = told(town)
    assert near.startswith(
        "**Ein Limit der Organisation T0SIM ist fast aufgebraucht:** 4 von 5 Fragen pro Tag (80"
    )
    assert full.startswith("**Die Organisation T0SIM hat ein Limit erreicht:** 5 von 5 Fragen pro Tag (100")
    assert "um 01:00" in full or "um 02:00" in full
    assert near_in_teams.startswith("**組織 T0SIM の上限にまもなく達します:**")
    assert "9:00" in full_in_teams
