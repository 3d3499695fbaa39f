"""The templates of a process: files that can't be used are skipped, and the check fails."""

from pathlib import Path

import pytest

from bot.app import server
from bot.app.prompt_files import read_prompts, read_usable
from bot.app.settings import Settings
from bot.domain.errors import TemplateError
from bot.storage.redis.client import Redis

DEFAULT = "---\nmetadata: {parley: {match: {default: true}}}\n---\nHi.\n"


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, text in {"zz": DEFAULT, **files}.items():
        (tmp_path / f"{name}.prompty").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_template_without_its_tool_is_skipped(tmp_path: Path) -> None:
    """Field fault 72: what a template lacks in this installation does not stop the others."""
    folder = folder_with(tmp_path, a="---\nmetadata: {parley: {tools: [nothing]}}\n---\nHi.\n")
    found = read_usable(folder)
    assert [template.name for template in found.templates] == ["zz"]
    assert "there is no tool 'nothing'" in found.problems[0]
    with pytest.raises(TemplateError, match="no tool 'nothing'"):
        read_prompts(folder)


async def test_the_check_names_skipped_files(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 72: the bot starts, logs what is wrong with a file, and `parley check` fails."""
    folder = folder_with(tmp_path, a="---\nname: [\n---\nHi.\n", b="system:\nHi {{nmae}}.\n")
    given = {"redis_url": redis.url, "parley_data_dir": tmp_path / "data", "parley_prompts": folder}
    found = await server.check(Settings.model_validate(given))
    errors = [each.words for each in found if (each.level, each.subject) == ("error", "templates")]
    assert ["a.prompty:" in errors[0], "b.prompty:2: " in errors[1], len(errors)] == [True, True, 2]
    assert caplog.text.count("Skipped: ") == 2


async def test_a_bad_line_of_a_pool_stops_nothing(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 72: the bot starts with the other examples, logs the line, and `parley check` fails."""
    folder = folder_with(tmp_path, a="---\nmetadata: {parley: {pool: mine, shots: 1}}\n---\nHi.\n")
    (folder / "pools").mkdir()
    messages = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    (folder / "pools" / "mine.jsonl").write_text(f"{messages}\n{messages[:-1]}\n")
    given = {"redis_url": redis.url, "parley_data_dir": tmp_path / "data", "parley_prompts": folder}
    found = await server.check(Settings.model_validate(given))
    (error,) = (each.words for each in found if (each.level, each.subject) == ("error", "templates"))
    assert "pools/mine.jsonl:2: not a valid chat example" in error
    assert caplog.text.count("pools/mine.jsonl:2: ") == 1
    with pytest.raises(TemplateError, match=r"mine\.jsonl:2: "):
        read_prompts(folder)
