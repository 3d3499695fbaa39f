"""The Teams app package."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adapters.teams.manifest import VERSION, manifest, package

APP_ID = "11111111-2222-4333-8444-555555555555"


def opened() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(package(APP_ID, "bot.example.com")))


def test_the_package_holds_the_manifest_and_both_icons() -> None:
    with opened() as archive:
        assert sorted(archive.namelist()) == ["color.png", "manifest.json", "outline.png"]
        assert json.loads(archive.read("manifest.json")) == manifest(APP_ID, "bot.example.com")


@pytest.mark.parametrize(("name", "side"), [("color.png", 192), ("outline.png", 32)])
def test_the_icons_have_the_sizes_that_teams_asks_for(name: str, side: int) -> None:
    with opened() as archive, Image.open(io.BytesIO(archive.read(name))) as icon:
        assert (icon.format, icon.size) == ("PNG", (side, side))
        if name == "outline.png":
            colours = {pixel[:3] for _, pixel in icon.getcolors(4096) or [] if pixel[3]}  # type: ignore[index]
            assert colours == {(255, 255, 255)}


def test_the_bot_serves_every_scope_and_takes_files() -> None:
    (bot,) = manifest(APP_ID, "bot.example.com")["bots"]
    assert bot["botId"] == APP_ID
    assert set(bot["scopes"]) == {"personal", "team", "groupChat"}
    assert bot["supportsFiles"]
    assert {scope for commands in bot["commandLists"] for scope in commands["scopes"]} == set(bot["scopes"])


def test_a_new_package_updates_the_same_app_and_another_bot_is_another_app() -> None:
    assert manifest(APP_ID, "a.example.com")["id"] == manifest(APP_ID, "b.example.com")["id"]
    assert manifest(APP_ID, "a.example.com")["id"] != manifest("another", "a.example.com")["id"]


def test_the_manifest_is_within_the_published_limits() -> None:
    one: dict[str, Any] = manifest(APP_ID, "bot.example.com")
    assert one["manifestVersion"] == VERSION
    assert len(one["name"]["short"]) <= 30
    assert len(one["name"]["full"]) <= 100
    assert len(one["description"]["short"]) <= 80
    for commands in one["bots"][0]["commandLists"]:
        assert len(commands["commands"]) <= 12
        assert all(len(command["title"]) <= 128 for command in commands["commands"])


SCHEMAS = (
    Path.home() / ".cache/parley-emulators/n-schemas/node_modules/@microsoft/app-manifest/build/json-schemas"
)


@pytest.mark.skipif(not SCHEMAS.exists(), reason="npm @microsoft/app-manifest is not on this machine")
def test_the_manifest_has_only_fields_of_microsofts_schema_and_all_that_it_demands() -> None:
    schema = json.loads((SCHEMAS / f"teams/v{VERSION}/MicrosoftTeams.schema.json").read_text())
    one: dict[str, Any] = manifest(APP_ID, "bot.example.com")
    assert set(schema["required"]) <= set(one) <= set(schema["properties"])
    bot = schema["properties"]["bots"]["items"]
    assert set(bot["required"]) <= set(one["bots"][0]) <= set(bot["properties"])
    assert one["manifestVersion"] == schema["properties"]["manifestVersion"]["const"]
