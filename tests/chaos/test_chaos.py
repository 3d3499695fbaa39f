"""A short storm of chaos: the long one is `python -m tests.chaos --events 5000 --kills 200`."""

from pathlib import Path

from tests.chaos.storm import Options, storm


async def test_field_notes_01_to_10_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    report = await storm(Options(), tmp_path)
    assert not report.failures(), report.table()
    assert report.tally.accepted == report.options.events
    assert report.done["workers killed"] + report.done["web processes killed"] == report.options.kills
