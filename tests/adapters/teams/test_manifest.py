"""The Teams app package."""

import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adapters.teams.manifest import PLAIN, VERSION, Developer, manifest, package
from bot.conversation.commands.registry import COMMANDS, menu
from tests.support.patience import PATIENCE_S

APP_ID = "11111111-2222-4333-8444-555555555555"


def opened() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(package(manifest(APP_ID, "bot.example.com", menu()))))


def test_the_package_holds_the_manifest_and_both_icons() -> None:
    with opened() as archive:
        assert sorted(archive.namelist()) == ["color.png", "manifest.json", "outline.png"]
        assert json.loads(archive.read("manifest.json")) == manifest(APP_ID, "bot.example.com", menu())


@pytest.mark.parametrize(("name", "side"), [("color.png", 192), ("outline.png", 32)])
def test_the_icons_have_the_required_sizes(name: str, side: int) -> None:
    with opened() as archive, Image.open(io.BytesIO(archive.read(name))) as icon:
        assert (icon.format, icon.size) == ("PNG", (side, side))
        if name == "outline.png":
            colours = {pixel[:3] for _, pixel in icon.getcolors(4096) or [] if pixel[3]}  # type: ignore[index]
            assert colours == {(255, 255, 255)}


def test_the_bot_serves_every_scope_and_takes_files() -> None:
    (bot,) = manifest(APP_ID, "bot.example.com", menu())["bots"]
    assert bot["botId"] == APP_ID
    assert set(bot["scopes"]) == {"personal", "team", "groupChat"}
    assert bot["supportsFiles"]
    assert {scope for commands in bot["commandLists"] for scope in commands["scopes"]} == set(bot["scopes"])


@pytest.mark.parametrize("plain", [False, True])
def test_shared_and_private_channels_are_supported(plain: bool) -> None:
    """Field fault 78: without these Teams offers the app in standard channels only, or refuses the package."""
    made = manifest(APP_ID, "bot.example.com", menu(), plain=plain)
    assert made["supportsChannelFeatures"] == "tier1"
    assert made["supportedChannelTypes"] == ["sharedChannels", "privateChannels"]


def test_the_publisher_of_the_app_can_be_set() -> None:
    """Field fault 78: administrators look for the privacy statement and the terms of their own organisation."""
    site = "https://bot.example.com"
    own = {"name": "Parley", "websiteUrl": site, "privacyUrl": site, "termsOfUseUrl": site}
    assert manifest(APP_ID, "bot.example.com", menu())["developer"] == own
    developer = Developer(
        "Contoso IT", "https://contoso.example", privacy_url="https://contoso.example/privacy"
    )
    assert manifest(APP_ID, "bot.example.com", menu(), developer=developer)["developer"] == {
        "name": "Contoso IT",
        "websiteUrl": "https://contoso.example",
        "privacyUrl": "https://contoso.example/privacy",
        "termsOfUseUrl": site,
    }


def test_a_new_package_updates_the_same_app() -> None:
    assert manifest(APP_ID, "a.example.com", menu())["id"] == manifest(APP_ID, "b.example.com", menu())["id"]
    assert (
        manifest(APP_ID, "a.example.com", menu())["id"] != manifest("another", "a.example.com", menu())["id"]
    )


def test_the_manifest_is_within_the_published_limits() -> None:
    made: dict[str, Any] = manifest(APP_ID, "bot.example.com", menu())
    assert made["manifestVersion"] == VERSION
    assert len(made["name"]["short"]) <= 30
    assert len(made["name"]["full"]) <= 100
    assert len(made["description"]["short"]) <= 80
    for commands in made["bots"][0]["commandLists"]:
        assert len(commands["commands"]) <= 12
        assert all(len(command["title"]) <= 128 for command in commands["commands"])


def test_slash_commands_of_groups_are_known_commands() -> None:
    (bot,) = manifest(APP_ID, "bot.example.com", menu())["bots"]
    assert bot["supportsTargetedMessages"]
    alone, together = bot["commandLists"]
    assert together["triggers"] == ["mention", "slash"]
    offered = [command["title"] for item in (alone, together) for command in item["commands"]]
    starters = [command["prompt"] for command in alone["commands"] if command.get("type") == "prompt"]
    known = {"settings", *(command.name for command in COMMANDS)}
    assert len(starters) == 3
    assert {title for title in offered if " " not in title and title != "Translate"} <= known


def test_the_message_extensions_are_handled() -> None:
    (extension,) = manifest(APP_ID, "bot.example.com", menu())["composeExtensions"]
    assert extension["botId"] == APP_ID
    offered = {command["id"]: command["context"] for command in extension["commands"]}
    assert offered == {"sent": ["message"], "settings": ["compose"]}
    assert all(command["type"] == "action" and command["fetchTask"] for command in extension["commands"])


def test_reading_all_messages_is_optional() -> None:
    assert "authorization" not in manifest(APP_ID, "bot.example.com", menu())
    everything = manifest(APP_ID, "bot.example.com", menu(), all_messages=True)
    asked = everything["authorization"]["permissions"]["resourceSpecific"]
    assert {request["name"] for request in asked} == {
        "ChannelMessage.Read.Group",
        "ChatMessage.Read.Chat",
        "ChatMember.Read.Chat",
    }
    assert everything["webApplicationInfo"]["id"] == APP_ID
    with zipfile.ZipFile(io.BytesIO(package(everything))) as archive:
        assert json.loads(archive.read("manifest.json")) == everything


CACHE = Path(os.environ.get("PARLEY_EMULATORS", Path.home() / ".cache/parley-emulators"))
MODULES = CACHE / "n-schemas/node_modules"
SCHEMAS = MODULES / "@microsoft/app-manifest/build/json-schemas/teams"
_SCRIPT = """
const [modules, schema] = process.argv.slice(1);
const Ajv = require(modules + "/ajv-draft-04");
const ajv = new Ajv({ strict: false, allErrors: true });
require(modules + "/ajv-formats")(ajv);
const check = ajv.compile(JSON.parse(require("fs").readFileSync(schema, "utf8")));
check(JSON.parse(require("fs").readFileSync(0, "utf8")));
console.log(JSON.stringify((check.errors || []).map((one) => one.instancePath + " " + one.message)));
"""


def problems(one: dict[str, Any]) -> list[str]:
    """The errors that Microsoft's schema finds in a manifest."""
    schema = SCHEMAS / f"v{one['manifestVersion']}" / "MicrosoftTeams.schema.json"
    done = subprocess.run(
        ["node", "-e", _SCRIPT, str(MODULES), str(schema)],
        input=json.dumps(one),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(
    not SCHEMAS.exists() or shutil.which("node") is None,
    reason="npm @microsoft/app-manifest or Node is not on this machine",
)
@pytest.mark.parametrize(("all_messages", "plain"), [(False, False), (True, True)])
def test_the_manifest_is_valid_by_microsofts_schema(all_messages: bool, plain: bool) -> None:
    made = manifest(APP_ID, "bot.example.com", menu(), all_messages=all_messages, plain=plain)
    assert made["manifestVersion"] == (PLAIN if plain else VERSION)
    assert problems(made) == []
    assert problems({**made, "accentColor": "blue", "surprise": 1})
