"""Adaptive Cards 1.5: what a person may choose, what they used, what was sent for an answer."""

import re
from collections.abc import Sequence
from typing import Any, cast

from adapters.shared.markdown import Node, parse, split
from adapters.teams.activities.parser import ABOUT, AGAIN, SENT, VARY
from adapters.teams.api.connector import Fields
from bot.domain.turns import UserProfile

CARD = "application/vnd.microsoft.card.adaptive"
WORDS = "application/vnd.microsoft.activity.message"
AUTOMATIC = "-"
"""The value of "no choice": a choice set takes no empty one, and no template or deployment is called so."""
TEXT_LIMIT = 16_000
"""Characters of text in a card; Teams takes about 28 KB of card in a dialog."""
_TICKS = re.compile(r"(?<!`)(`+)([^`\n]+)\1(?!`)")
_TITLE = 80
_COLUMNS = 4
"""A card is narrow, on a telephone more so: a table with more columns is turned, or shown row by row."""


# ------------------------------------------------------------------ whole cards


def attached(card: Fields) -> Fields:
    """A card as an attachment of a message."""
    return {"contentType": CARD, "content": card}


def welcome(has_settings: bool) -> Fields:
    """Buttons that say something for the person, in a chat with nobody else in it."""
    says = [("What can you do?", "help"), ("Draw a red bicycle", "/image a red bicycle")]
    if has_settings:
        says.append(("Settings", "settings"))
    actions = [
        {"type": "Action.Submit", "title": title, "data": {"msteams": {"type": "imBack", "value": words}}}
        for title, words in says
    ]
    return _card([_text("Try one of these, or just ask:", isSubtle=True)], actions)


def group_settings_card(viewer: str) -> Fields:
    """What a group sees in the place of settings; to `viewer`, who asked, Teams shows theirs by itself."""
    words = "Settings and usage are shown to you alone. What you choose here counts for everybody here."
    return _card([_title("Settings"), _text(words)], [_execute("Show mine", "settings")], viewer)


def confirming(command: str) -> Fields:
    """The button that says the command which confirms what the message asks about."""
    text_card = {"type": "messageBack", "text": command, "displayText": command, "value": {ABOUT: "command"}}
    return _card([], [{"type": "Action.Submit", "title": "Delete", "data": {"msteams": text_card}}])


def of_picture() -> Fields:
    """Buttons under a picture, where Teams shows none of its own: words about the answer they are in."""
    actions = [
        {
            "type": "Action.Submit",
            "title": words,
            "data": {
                "msteams": {
                    "type": "messageBack",
                    "text": words,
                    "displayText": words,
                    "value": {ABOUT: "answer"},
                }
            },
        }
        for words in (VARY, AGAIN, SENT)
    ]
    return _card([], actions)


def forgetting(words: str) -> Fields:
    """What would be deleted, and the choice to delete it or not."""
    delete = _execute("Delete it all", "forget_now", style="destructive")
    return _card(
        [_title("Delete everything?"), _text(_words(words))], [delete, _execute("Keep it", "settings")]
    )


def settings(profile: UserProfile, *, direct: bool, note: str = "", viewer: str = "") -> Fields:
    """What is chosen and what was used. `viewer` is for whom Teams keeps the card fresh, by itself."""
    scope = "Your choices, in every chat with me:" if direct else "The choices here, for everybody here:"
    body = [_title("Settings")]
    if note:
        body.append(_text(note, color="Good", weight="Bolder"))
    chosen = [
        # A template always answers, if only the default one; without a choice any model may.
        *_choice("template", "How I answer", profile.templates, profile.template),
        *_choice("deployment", "Which model answers", profile.deployments, profile.deployment),
    ]
    if chosen:
        body += [_text(scope, isSubtle=True), *chosen]
    body += [_part("Usage"), *_shown(profile.usage)] if profile.usage else []
    body += [_part("Memory"), _text(_memory(profile))]
    actions = [_execute("Save", "choose", style="positive")] if chosen else []
    actions += [_execute("Refresh", "settings"), _execute("Forget me…", "forget", associatedInputs="none")]
    return _card(body, actions, viewer)


def sent(markdown: str) -> Fields:
    """What went to the model for one answer."""
    first, *more = split(markdown, TEXT_LIMIT) or ["Nothing is kept about this message."]
    rest = "This is the beginning; the whole of it is too long for Teams." if more else ""
    return _card([*_shown(first), *([_text(rest, isSubtle=True)] if rest else [])], [])


def text_card(words: str) -> Fields:
    """A card of a few words."""
    return _card([_text(words)], [])


def in_dialog(card: Fields) -> Fields:
    """The same card for a dialog, where buttons submit, and nothing is refreshed."""

    def changed(part: Any) -> Any:
        if isinstance(part, list):
            return [changed(one) for one in cast("list[Any]", part)]
        if not isinstance(part, dict):
            return part
        fields = {name: changed(value) for name, value in cast("Fields", part).items() if name != "refresh"}
        if fields.get("type") == "Action.Execute":
            fields |= {"type": "Action.Submit", "data": {"verb": fields.pop("verb")}}
        return fields

    return changed(card)


# ------------------------------------------------------------------ their parts


def _card(body: list[Fields], actions: list[Fields], viewer: str = "") -> Fields:
    card: Fields = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.5",
        "body": body,
    }
    if actions:
        card["actions"] = actions
    if viewer:
        card["refresh"] = {"action": _execute("Refresh", "settings"), "userIds": [viewer]}
    return card


def _text(text: str, **look: object) -> Fields:
    return {"type": "TextBlock", "text": text, "wrap": True, **look}


def _title(text: str) -> Fields:
    return _text(text, size="Large", weight="Bolder", style="heading")


def _part(text: str) -> Fields:
    return _text(text, weight="Bolder", separator=True, spacing="Medium")


def _execute(title: str, verb: str, **look: object) -> Fields:
    return {"type": "Action.Execute", "title": title, "verb": verb, **look}


def _choice(name: str, label: str, offered: Sequence[tuple[str, str]], chosen: str) -> list[Fields]:
    """A list to choose from; nothing where there is nothing to choose."""
    if not offered:
        return []
    choices = [
        {"title": _shortened(f"{one}: {what}" if what else one), "value": one} for one, what in offered
    ]
    choices.insert(0, {"title": "Automatic", "value": AUTOMATIC})
    known = chosen if chosen in dict(offered) else AUTOMATIC
    return [{"type": "Input.ChoiceSet", "id": name, "label": label, "choices": choices, "value": known}]


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE else title[: _TITLE - 1].rstrip() + "…"


def _memory(profile: UserProfile) -> str:
    if not profile.answers:
        return "I keep nothing about you."
    answers = f"{profile.answers} answer{'' if profile.answers == 1 else 's'}"
    where = f"{profile.conversations} conversation{'' if profile.conversations == 1 else 's'}"
    return f"I keep {answers} with your questions, in {where}."


# ------------------------------------------------------------------ Markdown in a card


def _shown(markdown: str) -> list[Fields]:
    """A `TextBlock` knows emphasis, links and simple lists; the rest is built from other elements."""
    lines = markdown.split("\n")
    shown: list[Fields] = []
    for node in parse(markdown).children:
        start, stop = node.start, node.stop
        if node.type == "table":
            shown += _table(node)
        elif node.type == "heading":
            shown.append(_part(_words(_inline(node))))
        elif node.type in ("fence", "code_block"):
            shown.append(_code(node.content.rstrip("\n")))
        elif node.type != "rule":
            shown.append(_text(_words("\n".join(lines[start:stop]).strip())))
    return shown


def _inline(node: Node) -> str:
    return next((child.content for child in node.children if child.type == "inline"), "")


def _words(text: str) -> str:
    """A card would show the ticks of code within a line."""
    return _TICKS.sub(r"\2", text)


def _code(text: str) -> Fields:
    """Teams' own element; where a client lacks it, text of fixed width, its lines kept apart."""
    plain = _text("\n\n".join(text.split("\n")), fontType="Monospace", spacing="Small")
    return {"type": "CodeBlock", "codeSnippet": text, "language": "PlainText", "fallback": plain}


def _table(node: Node) -> list[Fields]:
    rows = [[_words(_inline(cell)) for cell in row.children] for row in node.walk() if row.type == "tr"]
    if len(rows[0]) > _COLUMNS >= len(rows):
        rows = [list(column) for column in zip(*rows, strict=True)]
    if len(rows[0]) > _COLUMNS:
        return [element for row in rows[1:] for element in _row_by_row(rows[0], row)]
    shown = [
        {"type": "TableRow", "cells": [{"type": "TableCell", "items": [_text(cell or " ")]} for cell in row]}
        for row in rows
    ]
    columns = [{"width": 1} for _ in rows[0]]
    return [{"type": "Table", "columns": columns, "rows": shown, "firstRowAsHeaders": True}]


def _row_by_row(head: Sequence[str], row: Sequence[str]) -> list[Fields]:
    facts = [{"title": name, "value": cell} for name, cell in zip(head, row, strict=False) if name and cell]
    named = [] if head[0] else [_text(row[0], weight="Bolder", spacing="Small")]
    return [*named, {"type": "FactSet", "facts": facts, "spacing": "Small"}]
