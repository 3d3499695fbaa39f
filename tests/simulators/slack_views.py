"""Slack's forms, home tabs and installations, with their limits."""

import time
from collections.abc import Mapping
from typing import Any

View = dict[str, Any]

TRIGGER_LIFE_S = 3.0
SECTION_LIMIT, OPTION_LIMIT, VALUE_LIMIT, METADATA_LIMIT = 3_000, 75, 2_000, 3_000


class Views:
    """What is open, by person, and the triggers by which something may be opened once."""

    def __init__(self) -> None:
        self.homes: dict[str, View] = {}
        self.forms: dict[str, View] = {}
        self.triggers: dict[str, tuple[str, float]] = {}

    def trigger(self, user: str) -> str:
        """What comes with an act of a person: good for one form, within three seconds."""
        trigger = f"{len(self.triggers) + 1}.{time.time_ns()}.abc"
        self.triggers[trigger] = (user, time.monotonic() + TRIGGER_LIFE_S)
        return trigger

    def open(self, args: Mapping[str, Any]) -> dict[str, Any] | str:
        """An answer, or the code of an error."""
        user, until = self.triggers.pop(args["trigger_id"], ("", 0.0))
        if time.monotonic() > until:
            return "expired_trigger_id" if user else "exchanged_trigger_id"
        view: View = args["view"]
        if error := _wrong(view) or _wrong_form(view):
            return error
        self.forms[user] = view | {"id": f"V{len(self.triggers)}{time.time_ns()}"}
        return {"view": self.forms[user]}

    def publish(self, args: Mapping[str, Any]) -> dict[str, Any] | str:
        """An answer, or the code of an error."""
        view: View = args["view"]
        if error := _wrong(view):
            return error
        self.homes[args["user_id"]] = view
        return {"view": view}


def _wrong_form(view: View) -> str:
    titles = (view["title"], view["submit"], view["close"])
    long = any(len(title["text"]) > 24 for title in titles)
    return "invalid_arguments" if long or len(view["private_metadata"]) > METADATA_LIMIT else ""


def _wrong(view: View) -> str:
    blocks: list[View] = view["blocks"]
    return "" if 0 < len(blocks) <= 100 and all(map(_is_valid, blocks)) else "invalid_arguments"


def _is_valid(block: View) -> bool:
    match block["type"]:
        case "section":
            accessory: View = block.get("accessory", {})
            options: list[View] = accessory.get("options", [])
            texts = [option["text"] for option in options] + [
                option["description"] for option in options if "description" in option
            ]
            fit = all(0 < len(text["text"]) <= OPTION_LIMIT for text in texts)
            chosen = accessory.get("initial_option")
            known = chosen is None or chosen in options
            valued = all(0 < len(option["value"]) <= VALUE_LIMIT for option in options)
            return 0 < len(block["text"]["text"]) <= SECTION_LIMIT and fit and known and valued
        case "header":
            return 0 < len(block["text"]["text"]) <= 150
        case "actions":  # docs.slack.dev/reference/block-kit/blocks/actions-block: messages, forms, home tabs
            elements: list[View] = block["elements"]
            return 0 < len(elements) <= 25 and all(len(element["text"]["text"]) <= 75 for element in elements)
        case "context" | "input" | "divider":
            return True
        case _:
            return False  # a markdown block is for messages only
