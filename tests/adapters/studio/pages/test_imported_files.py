"""What the studio says of template files that were written for other tools, without a browser."""

from pathlib import Path

from aiohttp import ClientSession, CookieJar
from msgspec.structs import replace

from bot.prompts.editing import PromptEditor
from tests.adapters.studio.conftest import whole_parley

WRITE = {"X-Parley": "studio"}
FOREIGN = "---\nname: a\noutputs: {answer: {type: string}}\n---\nsystem:\n{% if true %}Be brief.{% endif %}\n"
DEFAULT = "---\nmetadata: {parley: {match: {default: true}}}\n---\nHi.\n"


async def test_notes_outlast_an_edit(tmp_path: Path) -> None:
    """Field fault 72: what is not used of a file is shown, also when an edited version was published over it."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    (folder / "a.prompty").write_text(FOREIGN)
    (folder / "zz.prompty").write_text(DEFAULT)
    async with (
        whole_parley(tmp_path / "data", parley_prompts=folder) as whole,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as http,
    ):
        note = "line 3: &#39;outputs&#39; is not used"
        assert note in await (await http.get(f"{whole.url}/studio/prompts/a")).text()
        editor = PromptEditor(whole.services.library)
        template = next(one for one in whole.services.templates if one.name == "a")
        await editor.publish(replace(template, system="Be very brief."), author="Ada", reason="shorter")
        page = await (await http.get(f"{whole.url}/studio/prompts/a")).text()
        assert "Be very brief." in page
        assert note in page
        assert "Notes on the file" not in await (await http.get(f"{whole.url}/studio/prompts/zz")).text()


async def test_an_import_says_what_is_not_used(tmp_path: Path) -> None:
    """Field fault 72: the notes on a file are shown when it is imported, at most ten of them."""
    many = FOREIGN.replace("---\nsystem", "".join(f"odd{each}: 1\n" for each in range(12)) + "---\nsystem")
    async with (
        whole_parley(tmp_path / "data") as whole,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as http,
    ):
        given = {"template": "summarise", "base": "", "file": "a.prompty", "text": many}
        await http.get(f"{whole.url}/studio/playground")
        answer = await http.post(f"{whole.url}/studio/playground/import", json=given, headers=WRITE)
        words = (await answer.json())["words"]
    assert words.startswith(
        "Imported “a.prompty”. Line 3: 'outputs' is not used. Line 4: 'odd0' is not used."
    )
    assert words.endswith("'odd8' is not used. And 3 more notes.")
