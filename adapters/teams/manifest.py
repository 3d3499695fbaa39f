"""The Teams app package that an administrator uploads: manifest and icons."""

import io
import json
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bot.domain.adapter import MenuCommand

VERSION = "1.29"
"""The manifest schema: the first version with slash commands and targeted messages."""
PLAIN = "1.25"
"""The manifest schema for Microsoft clouds whose Teams supports no newer one."""
APP_VERSION = "1.4.0"
"""Raise it with each change of the manifest, else Teams keeps the installed package."""
ACCENT = "#4F46E5"
_ICONS = [Path(__file__).with_name("icons") / name for name in ("color.png", "outline.png")]
"""192 x 192 pixels in ACCENT, and 32 x 32 pixels in white on transparent, as the schema requires."""
_SCHEMA = "https://developer.microsoft.com/json-schemas/teams/v{}/MicrosoftTeams.schema.json"

_WORDS = (
    "Parley answers in one-on-one chats, and in group chats and channels when it is mentioned. It uses your "
    "organisation's own Azure OpenAI deployments, remembers the conversation, and creates images. "
    "Send help to see what it can do."
)
_SETTINGS = {"title": "settings", "description": "Choose a prompt and a model"}
_SUMMARY = {"title": "summarise this thread", "description": "Needs permission to read messages"}
"""Commands: a title is sent as it is."""
_STARTERS = [
    ("Create an image", "For example, a red bicycle", "/image a red bicycle"),
    ("Summarise a text", "Paste it, or attach a file", "Summarise this in three sentences: "),
    ("Translate", "Into a language of your choice", "Translate into French: "),
]
_EXTENSION = [
    ("sent", "What did you send?", "The prompt that was sent to the model", "message"),
    ("settings", "Settings", "Choose a prompt and a model, see usage", "compose"),
]
_CHANNELS = {
    "supportsChannelFeatures": "tier1",
    "supportedChannelTypes": ["sharedChannels", "privateChannels"],
}
"""Shared and private channels. From version 1.25 on Teams refuses an app for teams without the first."""
_ALL_MESSAGES = ("ChannelMessage.Read.Group", "ChatMessage.Read.Chat", "ChatMember.Read.Chat")
"""Resource-specific consent, granted by an owner of the team or chat when adding the app."""


class Developer(NamedTuple):
    """Who offers the app, as Teams shows it. Empty addresses are the bot's own site."""

    name: str = "Parley"
    website_url: str = ""
    privacy_url: str = ""
    terms_url: str = ""


PARLEY = Developer()


def package(manifest: dict[str, Any]) -> bytes:
    """A zip file with the manifest and both icons."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest, indent=2) + "\n")
        for icon in _ICONS:
            archive.writestr(icon.name, icon.read_bytes())
    return out.getvalue()


def manifest(
    app_id: str,
    public_host: str,
    commands: Sequence[MenuCommand],
    *,
    all_messages: bool = False,
    plain: bool = False,
    developer: Developer = PARLEY,
) -> dict[str, Any]:
    """The manifest for the host `public_host`. Its id follows from the bot's: a new package updates the app.

    With `all_messages` the bot also receives messages without a mention, so that it can follow threads;
    each organisation has to allow this. `plain` uses the older schema, without slash commands.
    """
    site, version = f"https://{public_host}", PLAIN if plain else VERSION
    return {
        "$schema": _SCHEMA.format(version),
        "manifestVersion": version,
        "version": APP_VERSION,
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"parley:{app_id}")),
        "developer": {
            "name": developer.name,
            "websiteUrl": developer.website_url or site,
            "privacyUrl": developer.privacy_url or site,
            "termsOfUseUrl": developer.terms_url or site,
        },
        "name": {"short": "Parley", "full": "Parley, answers from your own Azure OpenAI"},
        "description": {
            "short": "Ask, translate, summarise, create images with your organisation's models.",
            "full": _WORDS,
        },
        "icons": {"color": "color.png", "outline": "outline.png"},
        "accentColor": ACCENT,
        "bots": [_bot(app_id, commands, plain)],
        "composeExtensions": [{"botId": app_id, "commands": [_dialog(*command) for command in _EXTENSION]}],
        "permissions": ["identity", "messageTeamMembers"],
        "validDomains": [public_host],
        **_CHANNELS,
        **(_consent(app_id, site) if all_messages else {}),
    }


def _bot(app_id: str, commands: Sequence[MenuCommand], plain: bool) -> dict[str, Any]:
    starters = [_starter(*starter, plain) for starter in _STARTERS]
    alone = [{"title": one.name, "description": one.description} for one in commands if not one.channels_only]
    together = [{"title": one.name, "description": one.description} for one in commands if one.channels_only]
    return {
        "botId": app_id,
        "scopes": ["personal", "team", "groupChat"],
        "supportsFiles": True,
        "isNotificationOnly": False,
        **({} if plain else {"supportsTargetedMessages": True}),
        "commandLists": [
            {"scopes": ["personal"], "commands": [*starters, _SETTINGS, *alone]},
            {
                "scopes": ["team", "groupChat"],
                **({} if plain else {"triggers": ["mention", "slash"]}),
                "commands": [*alone, _SETTINGS, _SUMMARY, *together],
            },
        ],
    }


def _dialog(id: str, title: str, description: str, context: str) -> dict[str, Any]:
    """A command of the message extension that opens a dialog."""
    return {
        "id": id,
        "type": "action",
        "title": title,
        "description": description,
        "context": [context],
        "fetchTask": True,
    }


def _consent(app_id: str, site: str) -> dict[str, Any]:
    permissions = [{"name": name, "type": "Application"} for name in _ALL_MESSAGES]
    return {
        "webApplicationInfo": {"id": app_id, "resource": site},
        "authorization": {"permissions": {"resourceSpecific": permissions}},
    }


def _starter(title: str, description: str, words: str, plain: bool) -> dict[str, Any]:
    """A prompt starter; people can complete its text before they send it."""
    if plain:
        return {"title": words.strip(), "description": title}
    return {"type": "prompt", "title": title, "description": description, "prompt": words}
