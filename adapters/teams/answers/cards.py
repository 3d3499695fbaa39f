"""Adaptive Cards 1.5: settings, usage, sent prompts, buttons."""

import re
from collections.abc import Sequence
from typing import Any, cast

from adapters.shared.markdown import Node, parse, split, without_images
from adapters.teams.activities.parser import ABOUT, AGAIN, SENT, VARY
from adapters.teams.answers.line_breaks import in_card
from adapters.teams.api.connector import Fields
from bot.domain.turns import UserProfile
from bot.domain.words import tr, trn

CARD = "application/vnd.microsoft.card.adaptive"
WORDS = "application/vnd.microsoft.activity.message"
AUTOMATIC = "-"
"""The value of Automatic: values can't be empty, and no template or deployment has this name."""
TEXT_LIMIT = 16_000
"""Characters of text in a card; in a dialog, Teams accepts about 28 KB."""
_TICKS = re.compile(r"(?<!`)(`+)([^`\n]+)\1(?!`)")
_TITLE = 80
_COLUMNS = 4
"""Cards are narrow, mostly on phones: a table with more columns is transposed, or shown row by row."""


# ------------------------------------------------------------------ cards


def attached(card: Fields) -> Fields:
    """A card as an attachment of a message."""
    return {"contentType": CARD, "content": card}


def welcome(has_settings: bool) -> Fields:
    """Buttons that send a message for the person, in a one-on-one chat."""
    messages = [
        (tr("What can you do?"), "help"),
        (tr("Create an image of a red bicycle"), tr("Draw a red bicycle")),
    ]
    if has_settings:
        messages.append((tr("Settings"), "settings"))
    actions = [_submit(title, {"type": "imBack", "value": words}) for title, words in messages]
    return _card([_text(tr("Try one of these, or just ask:"), isSubtle=True)], actions)


def group_settings_card(viewer: str) -> Fields:
    """The settings card that a group sees; for `viewer`, who asked, Teams replaces it with their own."""
    words = tr(
        "Only you see your settings and usage. Choices made here apply to everybody in this conversation."
    )
    return _card([_title(tr("Settings")), _text(words)], [_execute(tr("Show settings"), "settings")], viewer)


def confirming(command: str, label: str = "Delete") -> Fields:
    """The button that confirms a command."""
    return _card([], [_submit(tr(label), _message_back(command, "command", tr(label)))])


def image_buttons() -> Fields:
    """Buttons below an image, where Teams shows no suggested actions."""
    return _card(
        [], [_submit(tr(words), _message_back(words, "answer", tr(words))) for words in (VARY, AGAIN, SENT)]
    )


def forgetting(words: str) -> Fields:
    """What would be deleted, with buttons to confirm or cancel."""
    buttons = [_execute(tr("Delete"), "forget_now", style="destructive"), _execute(tr("Keep it"), "settings")]
    return _card([_title(tr("Delete your data?")), _text(_words(words))], buttons)


def settings(profile: UserProfile, *, direct: bool, note: str = "", viewer: str = "") -> Fields:
    """Settings and usage. Teams refreshes the card automatically for `viewer`."""
    scope = tr("For all your chats with me:") if direct else tr("For everybody in this conversation:")
    body = [_title(tr("Settings"))]
    if note:
        body.append(_text(note, color="Good", weight="Bolder"))
    chosen = [
        *_choice("template", tr("Prompt"), profile.templates, profile.template),
        *_choice("deployment", tr("Model"), profile.deployments, profile.deployment),
        *_choice("mode", tr("Participation"), profile.modes, profile.mode, profile.usual_mode),
    ]
    if chosen:
        body += [_text(scope, isSubtle=True), *chosen]
    body += [_part(tr("Usage")), *_shown(profile.usage)] if profile.usage else []
    body += [_part(tr("Your data")), _text(_stored_data(profile))]
    actions = [_execute(tr("Save"), "choose", style="positive")] if chosen else []
    forget = _execute(tr("Delete my data…"), "forget", associatedInputs="none")
    actions += [_execute(tr("Refresh"), "settings"), forget]
    return _card(body, actions, viewer)


def sent(markdown: str) -> Fields:
    """The prompt of one answer."""
    first, *more = split(markdown, TEXT_LIMIT) or [tr("No data is stored for this message.")]
    note = tr("Shortened, because the full text is too long for Teams.") if more else ""
    return _card([*_shown(first), *([_text(note, isSubtle=True)] if note else [])], [])


def text_card(words: str) -> Fields:
    """A card with a short text."""
    return _card([_text(words)], [])


def in_dialog(card: Fields) -> Fields:
    """The same card for a dialog: buttons submit, and there is no refresh."""

    def changed(part: Any) -> Any:
        if isinstance(part, list):
            return [changed(item) for item in cast("list[Any]", part)]
        if not isinstance(part, dict):
            return part
        fields = {name: changed(value) for name, value in cast("Fields", part).items() if name != "refresh"}
        if fields.get("type") == "Action.Execute":
            fields |= {"type": "Action.Submit", "data": {"verb": fields.pop("verb")}}
        return fields

    return changed(card)


# ------------------------------------------------------------------ elements


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
        card["refresh"] = {"action": _execute(tr("Refresh"), "settings"), "userIds": [viewer]}
    return card


def _text(text: str, **look: object) -> Fields:
    return {"type": "TextBlock", "text": in_card(text), "wrap": True, **look}


def _title(text: str) -> Fields:
    return _text(text, size="Large", weight="Bolder", style="heading")


def _part(text: str) -> Fields:
    return _text(text, weight="Bolder", separator=True, spacing="Medium")


def _submit(title: str, message: Fields) -> Fields:
    """A button that sends a message for the person."""
    return {"type": "Action.Submit", "title": title, "data": {"msteams": message}}


def _message_back(text: str, about: str, shown: str) -> Fields:
    """A message of the person that the bot receives as `text`, and people see as `shown`."""
    return {"type": "messageBack", "text": text, "displayText": shown, "value": {ABOUT: about}}


def _execute(title: str, verb: str, **look: object) -> Fields:
    return {"type": "Action.Execute", "title": title, "verb": verb, **look}


def _choice(
    name: str, label: str, offered: Sequence[tuple[str, str]], chosen: str, usual: str = ""
) -> list[Fields]:
    """A choice set; empty without options. `usual` is what Automatic means."""
    if not offered:
        return []
    choices = [
        {"title": _shortened(f"{value}: {what}" if what else value), "value": value}
        for value, what in offered
    ]
    automatic = tr("Automatic ({name})", name=usual) if usual else tr("Automatic")
    choices.insert(0, {"title": automatic, "value": AUTOMATIC})
    known = chosen if chosen in dict(offered) else AUTOMATIC
    return [{"type": "Input.ChoiceSet", "id": name, "label": label, "choices": choices, "value": known}]


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE else title[: _TITLE - 1].rstrip() + "…"


def _stored_data(profile: UserProfile) -> str:
    if not profile.answers:
        return tr("No data is stored about you.")
    return tr(
        "Stored: {answers} with your questions, in {conversations}.",
        answers=trn("{count} answer", "{count} answers", profile.answers),
        conversations=trn("{count} conversation", "{count} conversations", profile.conversations),
    )


# ------------------------------------------------------------------ Markdown in a card


def _shown(markdown: str) -> list[Fields]:
    """Markdown as card elements, because a `TextBlock` only supports emphasis, links and simple lists."""
    lines = markdown.split("\n")
    shown: list[Fields] = []
    for node in parse(markdown).children:
        if node.type == "table":
            shown += _table(node)
        elif node.type == "heading":
            shown.append(_part(_words(_inline(node))))
        elif node.type in ("fence", "code_block"):
            shown.append(_code(node.content.rstrip("\n")))
        elif node.type != "rule":
            shown.append(_text(_words("\n".join(lines[node.start : node.stop]).strip())))
    return shown


def _inline(node: Node) -> str:
    return next((child.content for child in node.children if child.type == "inline"), "")


def _words(text: str) -> str:
    """Text without images, and without the backticks of inline code, which a card would show."""
    return without_images(_TICKS.sub(r"\2", text))


def _code(text: str) -> Fields:
    """A `CodeBlock` of Teams, with monospaced text as a fallback."""
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
