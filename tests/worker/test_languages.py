"""What a worker tells people is in the language of whoever asked."""

import re

from msgspec.structs import replace

from bot.domain.errors import ContentFiltered, ModelUnavailable
from bot.domain.events import Attachment, UnreadPart
from tests.support.acts import ADA, edited, received
from tests.support.harness import Harness

GRETA = replace(ADA, id="greta", name="Greta", locale="de-DE", zone="Europe/Berlin")
KENJI = replace(ADA, id="kenji", name="Kenji", locale="ja-JP", zone="Asia/Tokyo")


async def test_a_limit_is_explained_in_german(harness: Harness) -> None:
    """Field fault 112: words, numbers and times are those of the asker."""
    harness.ledger = harness.limited("person: 1 requests/day, $0.005/day, 1200k tokens/month")
    (dear,) = await harness.answer(received(event="e1", user=GRETA))
    assert dear.reply.text.startswith(
        "Das kann bis zu 0,01\xa0$ kosten, aber das Limit ist 0,005\xa0$ pro Tag."
    )
    harness.ledger = harness.limited("person: 1 requests/day")
    turns = await harness.answer(*(received(event=f"e{number}", user=GRETA) for number in (2, 3)))
    spent = r"Ihre Fragen für heute \(1\) sind aufgebraucht\. Sie werden in .+, um 0[12]:00 zurückgesetzt\."
    assert re.match(spent, turns[-1].reply.text), "midnight in UTC, in the time of Berlin"


async def test_people_side_by_side_read_their_languages(harness: Harness) -> None:
    """Field fault 112: one worker writes for several people."""
    harness.model.script = lambda prompt: [
        ContentFiltered("The content filter stopped this answer. Please rephrase your message.")
    ]
    turns = await harness.answer(
        received(event="e1", user=GRETA), received(event="e2", user=KENJI), received(event="e3", user=ADA)
    )
    german, japanese, english = (turn.reply.text for turn in turns)
    assert german.startswith("Der Inhaltsfilter hat diese Antwort gestoppt.")
    assert japanese.startswith("コンテンツフィルターがこの回答を停止しました。")
    assert english.startswith("The content filter stopped this answer.")


async def test_an_unreadable_file_is_told_in_two_languages(harness: Harness) -> None:
    """Field fault 112: the person reads Japanese, the model English."""
    harness.adapter.files["f1"] = b""
    empty = Attachment(id="f1", name="計画.pdf", mime="application/pdf")
    old = UnreadPart(name="The voice message", reason="was deleted.")
    asked = replace(received(user=KENJI), attachments=(empty,), unread=(old,))
    (turn,) = await harness.answer(asked)
    assert "_「計画.pdf」は空です。_" in turn.reply.text
    assert "_音声メッセージは削除されました。_" in turn.reply.text
    told = harness.model.prompts[-1].messages[-1].text
    assert "“計画.pdf” is empty." in told
    assert "The voice message was deleted." in told


async def test_an_apology_is_in_the_asker_s_language(harness: Harness) -> None:
    """Field fault 112: also for an edit, of which the platform may not say who it is by."""
    await harness.answer(received(user=GRETA))

    def fails(prompt: object) -> list[Exception]:
        raise ModelUnavailable("away", 500)

    harness.model.script = fails
    (turn,) = await harness.answer(replace(edited("e1", "Another question?"), user=replace(GRETA, locale="")))
    assert (
        "_Das ist die Antwort auf Ihre Frage, bevor Sie sie bearbeitet haben. Leider kann ich"
        in turn.reply.text
    )
