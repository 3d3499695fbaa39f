"""The Teams app package: what an administrator uploads so that people find the bot."""

import io
import json
import uuid
import zipfile
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from bot.domain.adapter import MenuCommand

VERSION = "1.29"
"""Of the manifest schema: the first that has commands by slash, whose answers only one person sees."""
PLAIN = "1.25"
"""For clouds of Microsoft whose Teams knows no newer one."""
APP_VERSION = "1.2.0"
"""To be raised with each change of the manifest: else Teams takes the package for the one that it has."""
ACCENT = "#4F46E5"
_SCHEMA = "https://developer.microsoft.com/json-schemas/teams/v{}/MicrosoftTeams.schema.json"

_WORDS = (
    "Parley answers in one-to-one chats, and in group chats and channels when it is mentioned. It uses your "
    "organisation's own Azure OpenAI deployments, keeps the thread of a conversation, and draws pictures. "
    "Write help to see what it can do."
)
_SETTINGS = ("settings", "Choose how I answer, and which model does")
_SUMMARY = ("summarise this thread", "What was said, as far as I may read it")
_STARTERS = [
    ("Draw a picture", "A red bicycle, for example", "/image a red bicycle"),
    ("Summarise a text", "Paste it, or attach a file", "Summarise this in three sentences: "),
    ("Translate", "Into the language that you name", "Translate into French: "),
]
_EXTENSION = [
    ("sent", "What did you send?", "What went to the model for this answer", "message"),
    ("settings", "Settings", "Choose how I answer, see what you used", "compose"),
]
_ALL_MESSAGES = ("ChannelMessage.Read.Group", "ChatMessage.Read.Chat")
"""Resource-specific consent: an owner of the team or chat gives it when the app is added there."""


def package(
    app_id: str,
    public_host: str,
    commands: Sequence[MenuCommand],
    *,
    all_messages: bool = False,
    plain: bool = False,
) -> bytes:
    """A zip with the manifest and both icons; `public_host` is the bot's host name, without a scheme."""
    out = io.BytesIO()
    told = (
        json.dumps(manifest(app_id, public_host, commands, all_messages=all_messages, plain=plain), indent=2)
        + "\n"
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", told)
        archive.writestr("color.png", _png(_color()))
        archive.writestr("outline.png", _png(_outline()))
    return out.getvalue()


def manifest(
    app_id: str,
    public_host: str,
    commands: Sequence[MenuCommand],
    *,
    all_messages: bool = False,
    plain: bool = False,
) -> dict[str, Any]:
    """The manifest; its own id follows from the bot's, so that a new package updates the old app.

    With `all_messages` the bot also receives what is said where it is a member without a mention, so that
    it can follow a thread; every organisation has to allow that. A `plain` one is of an older version,
    without commands by slash.
    """
    site, version = f"https://{public_host}", PLAIN if plain else VERSION
    return {
        "$schema": _SCHEMA.format(version),
        "manifestVersion": version,
        "version": APP_VERSION,
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"parley:{app_id}")),
        "developer": {
            "name": "Parley",
            "websiteUrl": site,
            "privacyUrl": site,
            "termsOfUseUrl": site,
        },
        "name": {"short": "Parley", "full": "Parley, answers from your own Azure OpenAI"},
        "description": {
            "short": "Ask, translate, summarise and draw with your organisation's own models.",
            "full": _WORDS,
        },
        "icons": {"color": "color.png", "outline": "outline.png"},
        "accentColor": ACCENT,
        "bots": [_bot(app_id, commands, plain)],
        "composeExtensions": [{"botId": app_id, "commands": [_dialog(*command) for command in _EXTENSION]}],
        "permissions": ["identity", "messageTeamMembers"],
        "validDomains": [public_host],
        **(_consent(app_id, site) if all_messages else {}),
    }


def _bot(app_id: str, commands: Sequence[MenuCommand], plain: bool) -> dict[str, Any]:
    starters = [_starter(*one, plain) for one in _STARTERS]
    alone = [(one.name, one.description) for one in commands if not one.channels_only]
    together = [(one.name, one.description) for one in commands if one.channels_only]
    return {
        "botId": app_id,
        "scopes": ["personal", "team", "groupChat"],
        "supportsFiles": True,
        "isNotificationOnly": False,
        **({} if plain else {"supportsTargetedMessages": True}),
        "commandLists": [
            {"scopes": ["personal"], "commands": [*starters, *map(_command, [_SETTINGS, *alone])]},
            {
                "scopes": ["team", "groupChat"],
                **({} if plain else {"triggers": ["mention", "slash"]}),
                "commands": [*map(_command, [*alone, _SETTINGS, _SUMMARY, *together])],
            },
        ],
    }


def _dialog(id: str, title: str, description: str, context: str) -> dict[str, Any]:
    """A command of the message extension that opens a dialog which the bot fills."""
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


def _command(command: tuple[str, str]) -> dict[str, Any]:
    """Words that are sent as they are."""
    return {"title": command[0], "description": command[1]}


def _starter(title: str, description: str, words: str, plain: bool) -> dict[str, Any]:
    """A card in an empty chat, whose words a person may finish before sending them."""
    if plain:
        return {"title": words.strip(), "description": title}
    return {"type": "prompt", "title": title, "description": description, "prompt": words}


def _bubbles(draw: ImageDraw.ImageDraw, unit: float, front: str, back: str | None, width: int) -> None:
    """Two speech bubbles on a grid of 32 units, filled or in outline."""

    def at(*points: float) -> list[float]:
        return [point * unit for point in points]

    outline = None if back else front
    draw.rounded_rectangle(at(11, 5, 28, 17), at(4)[0], fill=back, outline=outline, width=width)
    draw.rounded_rectangle(
        at(4, 11, 21, 23), at(4)[0], fill=front if back else "#FFFFFF00", outline=outline, width=width
    )
    tail = at(8, 22, 8, 28, 14, 22.5)
    if back:
        draw.polygon(tail, fill=front)
    else:
        draw.line(tail, fill=front, width=width)


def _color() -> Image.Image:
    """192 x 192, full bleed, as Teams asks."""
    icon = Image.new("RGB", (768, 768), ACCENT)
    _bubbles(ImageDraw.Draw(icon), 24, "#FFFFFF", "#A5B4FC", 0)
    icon.thumbnail((192, 192))
    return icon


def _outline() -> Image.Image:
    """32 x 32, white on transparent, as Teams asks."""
    icon = Image.new("RGBA", (256, 256), (255, 255, 255, 0))
    _bubbles(ImageDraw.Draw(icon), 8, "#FFFFFF", None, 14)
    icon.thumbnail((32, 32))
    return icon


def _png(icon: Image.Image) -> bytes:
    out = io.BytesIO()
    icon.save(out, "PNG", optimize=True)
    return out.getvalue()
