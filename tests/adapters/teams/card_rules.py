"""Checks cards against Adaptive Cards 1.5, and with Microsoft's renderer."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

from tests.support.patience import PATIENCE_S

Fields = dict[str, Any]

# The properties of each type, from https://adaptivecards.io/schemas/1.5.0/adaptive-card.json.
_ELEMENT = {"type", "id", "isVisible", "separator", "spacing", "fallback", "requires", "height"}
_ACTION = {"type", "id", "title", "iconUrl", "style", "fallback", "tooltip", "isEnabled", "mode", "requires"}
_INPUT = _ELEMENT | {"label", "errorMessage", "isRequired"}
PROPERTIES: dict[str, set[str]] = {
    "AdaptiveCard": {
        "type",
        "$schema",
        "version",
        "body",
        "actions",
        "refresh",
        "fallbackText",
        "speak",
        "lang",
    },
    "TextBlock": _ELEMENT
    | {"text", "color", "fontType", "isSubtle", "maxLines", "size", "weight", "wrap", "style"}
    | {"horizontalAlignment"},
    "FactSet": _ELEMENT | {"facts"},
    "Table": _ELEMENT | {"columns", "rows", "firstRowAsHeaders", "showGridLines", "gridStyle"},
    "TableRow": {"type", "cells", "style"},
    "TableCell": {"type", "items", "style", "verticalContentAlignment"},
    "Input.ChoiceSet": _INPUT | {"choices", "value", "style", "isMultiSelect", "placeholder", "wrap"},
    "Action.Execute": _ACTION | {"verb", "data", "associatedInputs"},
    "Action.Submit": _ACTION | {"data", "associatedInputs"},
    "Action.ShowCard": _ACTION | {"card"},
    # An element of Teams, so it needs a fallback (Teams, "Format cards", "CodeBlock in Adaptive Cards").
    "CodeBlock": _ELEMENT | {"codeSnippet", "language", "startLineNumber"},
}
_DEMANDED: dict[str, set[str]] = {
    "AdaptiveCard": {"type"},
    "TextBlock": {"text"},
    "FactSet": {"facts"},
    "Table": {"columns", "rows"},
    "Input.ChoiceSet": {"id", "choices"},
    "Action.Execute": {"title", "verb"},
    "Action.ShowCard": {"card"},
    "CodeBlock": {"codeSnippet", "fallback"},
}
_VALUES: dict[str, set[Any]] = {
    "color": {"Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"},
    "weight": {"Lighter", "Default", "Bolder"},
    "size": {"Default", "Small", "Medium", "Large", "ExtraLarge"},
    "spacing": {"Default", "None", "Small", "Medium", "Large", "ExtraLarge", "Padding"},
    "fontType": {"Default", "Monospace"},
    "associatedInputs": {"auto", "none"},
}


def problems(card: Fields) -> list[str]:
    """The errors of a card."""
    found: list[str] = []
    ids: list[str] = []

    def look(part: Any, path: str) -> None:
        if isinstance(part, list):
            for at, element in enumerate(cast("list[Any]", part)):
                look(element, f"{path}[{at}]")
        if not isinstance(part, dict):
            return
        fields = cast("Fields", part)
        kind = fields.get("type")
        if isinstance(kind, str) and kind not in ("imBack", "messageBack"):
            allowed = PROPERTIES.get(kind)
            if allowed is None:
                found.append(f"{path}: no type {kind}")
            else:
                found.extend(f"{path}: {kind} has no {name}" for name in set(fields) - allowed)
            found.extend(f"{path}: {kind} lacks {name}" for name in _DEMANDED.get(kind, set()) - set(fields))
            if kind.startswith("Input."):
                ids.append(str(fields.get("id")))
        for name, value in fields.items():
            if name in _VALUES and value not in _VALUES[name]:
                found.append(f"{path}: {name} is {value}")
            look(value, f"{path}.{name}")

    look(card, "card")
    if len(set(ids)) != len(ids):
        found.append(f"inputs with the same id: {ids}")
    return found


RENDERER = Path.home() / ".cache/parley-emulators/n-schemas/node_modules/adaptivecards/dist/adaptivecards.js"
_SCRIPT = """
const AC = require(process.argv[1]);
const found = [];
for (const json of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  const context = new AC.SerializationContext(AC.Versions.v1_5);
  const card = new AC.AdaptiveCard();
  card.parse(json, context);
  for (let at = 0; at < context.eventCount; at++) found.push(context.getEventAt(at).message);
  for (const event of card.validateProperties().validationEvents) found.push(event.message);
}
console.log(JSON.stringify(found));
"""


def renderer() -> bool:
    """Whether Node and npm's `adaptivecards` are installed."""
    return RENDERER.exists() and shutil.which("node") is not None


def findings(cards: list[Fields]) -> list[str]:
    """The errors that Microsoft's renderer reports, except for the element of Teams."""
    done = subprocess.run(
        ["node", "-e", _SCRIPT, str(RENDERER)],
        input=json.dumps(cards),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    received = cast("list[str]", json.loads(done.stdout))
    return [message for message in received if 'Unknown element type "CodeBlock"' not in message]
