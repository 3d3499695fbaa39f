"""A German in Slack and a Japanese in Teams meet Parley in their own language."""

import re
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.story.conftest import Town
from tests.story.test_people import GENERAL, direct, fresh, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRETA = "U0GRETA"


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def people(town: Town) -> AsyncGenerator[None]:
    """Greta in Berlin, and Kenji in Tokyo."""
    town.slack.workspace.people[GRETA] = "greta"
    town.slack.workspace.locales[GRETA] = "de-DE"
    town.slack.workspace.zones[GRETA] = "Europe/Berlin"
    town.teams.locales["kenji"] = ("ja-JP", "Asia/Tokyo")
    yield


async def test_a_german_reads_an_error_in_slack(town: Town) -> None:
    """Field fault 112: every word of Parley was English."""
    channel = direct(town)
    town.azure.fail("blocked")
    ts = await town.slack.say(channel, GRETA, "Etwas Schlimmes")
    (answer,) = await whole(town, channel, ts)
    assert answer["markdown"].startswith(
        "Der Inhaltsfilter hat diese Frage gestoppt. Er hat gefunden: Gewalt"
    )


async def test_a_german_waits_for_a_busy_model(town: Town) -> None:
    channel = direct(town)
    town.azure.fail("rate_limited", retry_after_s=3)
    ts = await town.slack.say(channel, GRETA, "Geduld")
    await town.slack.until(lambda: "Das Modell ist ausgelastet." in "".join(town.slack.answers(channel, ts)))
    await town.slack.until(lambda: town.slack.answers(channel, ts) == ["You said: Geduld"])
    (answer,) = await whole(town, channel, ts)
    buttons = str(answer["blocks"])
    for words in ("Noch einmal", "Was wurde gesendet?", "Gut", "Schlecht", "Diese Antwort als gut bewerten"):
        assert f"'{words}'" in buttons


async def test_a_german_reads_their_usage_in_slack(town: Town) -> None:
    """Field fault 112: counts had no separators, money four decimals, days were UTC."""

    def seen() -> str:
        return str((town.slack.workspace.messages, town.slack.workspace.ephemeral))

    await town.slack.say(direct(town), GRETA, "usage")
    await town.slack.until(lambda: "Ihre Nutzung" in seen())
    shown = seen()
    assert re.search(r"Ihre Nutzung \(ein Tag endet um 0[12]:00\):", shown)
    assert "Eingabetoken" in shown
    assert "| Heute |" in shown
    assert "30 Fragen pro Minute" in shown
    assert re.search(r"\d,\d{2,}(?:\\xa0|\xa0)\$", shown), "money as Germans write it"


async def test_a_german_sees_a_german_home_tab(town: Town) -> None:
    await town.slack.open_home(GRETA, "home")
    await town.slack.until(lambda: GRETA in town.slack.workspace.views.homes)
    shown = str(town.slack.workspace.views.homes[GRETA])
    for words in ("Einstellungen", "Nutzung", "Ihre Daten", "Meine Daten löschen …", "Automatisch"):
        assert words in shown
    await town.slack.choose_at_home(GRETA, "forget")
    await town.slack.until(lambda: "Behalten" in str(town.slack.workspace.views.homes[GRETA]))
    asked = str(town.slack.workspace.views.homes[GRETA])
    assert "Damit werden alle Ihre Daten in allen Unterhaltungen gelöscht" in asked
    assert "innerhalb von 10 Minuten" in asked


async def test_a_german_command_is_acknowledged_in_german(town: Town) -> None:
    answer = await town.slack.command(GENERAL, GRETA, "/parley", "usage")
    assert answer["text"] == "Einen Moment …"


async def test_others_beside_a_german_read_english(town: Town) -> None:
    channel = direct(town)
    town.azure.fail("blocked")
    ts = await town.slack.say(channel, "U0ADA", "something bad")
    (answer,) = await whole(town, channel, ts)
    assert answer["markdown"].startswith("The content filter stopped this question.")


async def test_a_japanese_person_is_welcomed_in_teams(town: Town) -> None:
    chat = fresh("a:kenji-")
    await town.teams.install(chat, "kenji")
    welcome = await town.teams.answered(chat)
    assert welcome.text.startswith("こんにちは。")
    assert "赤い自転車を描いて" in str(welcome.activity)


async def test_a_japanese_person_reads_usage_in_teams(town: Town) -> None:
    """Field fault 112: with the end of the day in Tokyo."""
    chat = fresh("a:kenji-")
    await town.teams.say(chat, "kenji", "usage")
    text = (await town.teams.answered(chat)).text
    assert text.startswith("使用状況 (1 日の区切りは 9:00):")
    assert "入力トークン" in text
    assert "1 分あたり 30 件の質問" in text


async def test_a_japanese_person_reads_an_error_in_teams(town: Town) -> None:
    chat = fresh("a:kenji-")
    town.azure.fail("blocked")
    await town.teams.say(chat, "kenji", "よくないこと")
    text = (await town.teams.answered(chat)).text
    assert text.startswith("コンテンツフィルターがこの質問を停止しました。検出された内容: 暴力")


async def test_a_japanese_person_confirms_in_teams(town: Town) -> None:
    chat = fresh("a:kenji-")
    await town.teams.say(chat, "kenji", "forget me")
    asked = await town.teams.answered(chat)
    assert "すべての会話から、あなたのデータがすべて削除されます" in asked.text
    assert "'削除'" in str(asked.activity)
    await town.teams.say(chat, "kenji", "forget me now")
    done = await town.teams.answered(chat, 2)
    assert done.text.startswith("完了しました。削除したもの: ")


async def test_the_settings_in_teams_are_japanese(town: Town) -> None:
    chat = fresh("a:kenji-")
    await town.teams.say(chat, "kenji", "settings")
    shown = str((await town.teams.answered(chat)).activity)
    for words in ("設定", "使用状況", "あなたのデータ", "自分のデータを削除…", "最新の情報に更新"):
        assert words in shown


async def test_japanese_buttons_are_understood(town: Town) -> None:
    """The text of a suggested action comes back as a message."""
    chat = fresh("a:kenji-")
    await town.teams.say(chat, "kenji", "こんにちは")
    answer = await town.teams.answered(chat)
    actions = [action["value"] for action in answer.activity["suggestedActions"]["actions"]]
    assert actions == ["もう一度", "何を送信しましたか?"]
    await town.teams.say(chat, "kenji", actions[1])
    assert "**Sent for “こんにちは”**" in (await town.teams.answered(chat, 2)).text
