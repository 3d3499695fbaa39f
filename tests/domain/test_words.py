"""Messages in the language of their reader, and the readers that platforms name."""

import asyncio
from datetime import UTC, datetime

import pytest

from bot.domain import formats
from bot.domain.errors import NotAllowed
from bot.domain.events import UnreadPart
from bot.domain.words import in_every_language, reader, tr, trn, write_for
from tests.support.languages import written_for

EMPTY = UnreadPart(name="plan.pdf", reason="is empty.")


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        *(("de-DE", "de"), ("de_AT", "de"), ("DE-ch", "de"), ("fr-CA", "fr"), ("ja-JP", "ja"), ("ja", "ja")),
        *(("es-ES", "es"), ("es-LA", "es"), ("en-GB", "en"), ("en", "en"), ("de-XX", "de"), ("de-Latn-DE", "de")),
        *(("pt-BR", "en"), ("", "en"), ("-", "en"), ("../../etc", "en"), ("d" * 1000, "en"), ("de-" * 99, "de")),
    ],
)  # fmt: skip
def test_a_locale_names_a_language(locale: str, language: str) -> None:
    """Field fault 112: the locales of Slack and Teams, and what nobody translated yet."""
    with written_for(locale):
        assert reader().locale.language == language


@pytest.mark.parametrize("zone", ["", "Europe", "../passwd", "Mars/Base", "x" * 999, "\0"])
def test_times_without_a_known_zone_are_in_utc(zone: str) -> None:
    with written_for("de-DE", zone):
        assert formats.clock(datetime(2026, 12, 1, 14, 5, tzinfo=UTC)) == "14:05 UTC"


def test_a_message_is_in_the_reader_s_language() -> None:
    """Field fault 112: every word of Parley was English."""
    assert tr("_Stopped at your request._") == "_Stopped at your request._"
    with written_for("de-DE"):
        assert tr("_Stopped at your request._") == "_Auf Ihren Wunsch gestoppt._"
        assert (
            tr("Words that nobody translated: {count}", count=1234) == "Words that nobody translated: 1.234"
        )
    assert "_Auf Ihren Wunsch gestoppt._" in in_every_language("_Stopped at your request._")


@pytest.mark.parametrize(
    ("locale", "none", "one", "many"),
    [
        ("en-US", "0 answers", "1 answer", "1,234 answers"),
        ("de-DE", "0 Antworten", "1 Antwort", "1.234 Antworten"),
        ("fr-FR", "0 réponse", "1 réponse", "1\u202f234 réponses"),
        ("ja-JP", "0 件の回答", "1 件の回答", "1,234 件の回答"),
    ],
)
def test_counts_have_the_reader_s_plural(locale: str, none: str, one: str, many: str) -> None:
    """Field fault 112: counts had no separators; in French, nothing is singular."""
    with written_for(locale):
        assert [trn("{count} answer", "{count} answers", count) for count in (0, 1, 1234)] == [
            none,
            one,
            many,
        ]


def test_braces_of_people_stay() -> None:
    with written_for("de-DE"):
        assert (
            tr("“{name}” was deleted in Slack.", name="{name}.txt") == "„{name}.txt“ wurde in Slack gelöscht."
        )
        assert tr("{0} {unknown} {}") == "{0} {unknown} {}"


def test_a_refusal_keeps_its_english_for_models() -> None:
    with written_for("ja-JP"):
        refused = NotAllowed("was not read: the limit is {limit} files per message.", limit=10)
    assert str(refused) == "は読まれませんでした。1 つのメッセージのファイルは最大 10 件です。"
    assert refused.english == "was not read: the limit is 10 files per message."


def test_an_unread_part_is_told_in_both_languages() -> None:
    """It is stored in English, read by the model, and shown to the person."""
    assert (EMPTY.sentence, EMPTY.worded) == ("“plan.pdf” is empty.", "“plan.pdf” is empty.")
    video = UnreadPart(name="The GIF “{title}”", reason="was deleted.", values=(("title", "A {reason}.gif"),))
    with written_for("de-DE"):
        assert (EMPTY.sentence, EMPTY.worded) == ("“plan.pdf” is empty.", "„plan.pdf“ ist leer.")
        assert video.worded == "Das GIF „A {reason}.gif“ wurde gelöscht."
        assert video.sentence == "The GIF “A {reason}.gif” was deleted."
    with written_for("ja-JP"):
        assert EMPTY.worded == "「plan.pdf」は空です。"


def test_an_unread_part_of_an_older_version_stays() -> None:
    with written_for("fr-FR"):
        part = UnreadPart(name="a.txt", reason="was written before.")
        assert part.worded == "«\xa0a.txt\xa0» was written before."


async def test_each_task_has_its_own_reader() -> None:
    async def one(locale: str) -> str:
        write_for(locale)
        await asyncio.sleep(0)
        return tr("_Stopped at your request._")

    german, english = await asyncio.gather(one("de-DE"), one(""))
    assert (german, english) == ("_Auf Ihren Wunsch gestoppt._", "_Stopped at your request._")
