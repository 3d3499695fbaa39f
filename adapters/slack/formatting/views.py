"""Views of Slack: modals, and the Home tab."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from adapters.slack.formatting.blocks import Block
from adapters.slack.formatting.mrkdwn import escaped, from_markdown
from adapters.slack.payloads import Payload, part
from bot.domain.turns import UserProfile
from bot.domain.words import tr, trn

View = dict[str, Any]

ASK_VIEW, ASK_ABOUT_VIEW, COMMENT_VIEW = "ask", "ask_about", "comment"
CHOOSE_TEMPLATE, CHOOSE_DEPLOYMENT = "choose_template", "choose_deployment"
CHOOSE_CHANNEL, CHOOSE_MODE = "choose_channel", "choose_mode"
FORGET, FORGET_NOW, KEEP = "forget", "forget_now", "keep"

# docs.slack.dev/reference/block-kit: characters of a section and an option, options of a menu.
SECTION_LIMIT = 3_000
OPTION_LIMIT = 75
OPTIONS_LIMIT = 100
QUOTE_BLOCKS = 14  # enough for the longest message
_INPUT, _QUOTE = "words", "quote"


def plain_text(text: str) -> Block:
    """A plain_text object."""
    return {"type": "plain_text", "text": text}


# ------------------------------------------------------------------ modals


def ask() -> View:
    """The modal for a long question."""
    question = _input(tr("Your question"), tr("The answer arrives as a direct message."))
    return _form(ASK_VIEW, tr("Ask Parley"), tr("Ask"), {}, [question])


def ask_about(text: str, known: Mapping[str, str]) -> View:
    """The modal for a question about a message; `known` holds its place and author."""
    pieces = [text[at : at + SECTION_LIMIT] for at in range(0, len(text), SECTION_LIMIT)][:QUOTE_BLOCKS]
    author: Block = {"type": "context", "elements": [plain_text(tr("{name} wrote:", name=known["author"]))]}
    quote: list[Block] = [
        {"type": "section", "block_id": f"{_QUOTE}{number}", "text": plain_text(piece)}
        for number, piece in enumerate(pieces)
    ]
    question = _input(tr("Your question"), tr("The answer appears in the message's thread."))
    return _form(ASK_ABOUT_VIEW, tr("Ask about this"), tr("Ask"), known, [author, *quote, question])


def comment(known: Mapping[str, str]) -> View:
    """The modal for a comment on a bad answer."""
    words = _input(tr("What was wrong with it?"), tr("Stored with the answer, to help improve this bot."))
    return _form(COMMENT_VIEW, tr("Feedback"), tr("Send"), known, [words | {"optional": True}])


def _form(kind: str, title: str, send: str, known: Mapping[str, str], blocks: Sequence[Block]) -> View:
    return {
        "type": "modal",
        "callback_id": kind,
        "title": plain_text(title),
        "submit": plain_text(send),
        "close": plain_text(tr("Cancel")),
        "private_metadata": msgspec.json.encode(known).decode(),
        "blocks": list(blocks),
    }


def _input(label: str, hint: str) -> Block:
    element = {"type": "plain_text_input", "action_id": _INPUT, "multiline": True, "focus_on_load": True}
    return {
        "type": "input",
        "block_id": _INPUT,
        "label": plain_text(label),
        "hint": plain_text(hint),
        "element": element,
    }


def typed(view: Payload) -> str:
    """The text that was typed into a modal."""
    values = part(part(view, "state"), "values")
    return str(part(part(values, _INPUT), _INPUT).get("value") or "").strip()


def quoted(view: Payload) -> str:
    """The message that a modal quotes."""
    blocks: list[Payload] = view.get("blocks") or []
    quote = [block for block in blocks if str(block.get("block_id", "")).startswith(_QUOTE)]
    return "".join(str(block["text"]["text"]) for block in quote)


# ------------------------------------------------------------------ Home tab


def home(
    profile: UserProfile,
    words: str = "",
    *,
    asks: bool = False,
    channel: str = "",
    there: UserProfile | None = None,
) -> View:
    """The Home tab: a person's settings, usage, and stored data, and the participation mode of a channel.

    `words` report what was done or, with `asks`, what would be deleted. `there` is the profile for the `channel` that
    they have picked.
    """
    blocks: list[Block] = _sections(from_markdown(words)) if words else []
    if asks:
        delete = _button(tr("Delete"), FORGET_NOW) | {"style": "danger"}
        blocks.append({"type": "actions", "elements": [delete, _button(tr("Keep it"), KEEP)]})
    blocks.append(_header(tr("Settings")))
    usual = tr("Default: {name}", name=profile.usual) if profile.usual else ""
    templates = _menu(tr("Prompt"), CHOOSE_TEMPLATE, profile.templates, profile.template, usual)
    deployments = _menu(tr("Model"), CHOOSE_DEPLOYMENT, profile.deployments, profile.deployment)
    blocks += templates + deployments or [_section(tr("There are no settings to choose from."))]
    blocks += _channel_settings(channel, there)
    blocks += [_header(tr("Usage")), *_sections(from_markdown(profile.usage) or tr("No usage yet."))]
    blocks += [_header(tr("Your data")), _stored_data(profile)]
    view: View = {"type": "home", "blocks": blocks}
    return view | {"private_metadata": channel} if channel else view


def notice(words: str) -> View:
    """A Home tab that only shows a text."""
    return {"type": "home", "blocks": [_section(escaped(words))]}


def chosen(action: Payload) -> str:
    """The name that was chosen from a menu; empty for Automatic."""
    return str(part(action, "selected_option")["value"]).removeprefix("=")


def picked_channel(action: Payload) -> str:
    """The id of the channel that was picked from a menu of channels; empty if none."""
    return str(action.get("selected_conversation") or "")


def _channel_settings(channel: str, there: UserProfile | None) -> list[Block]:
    """A menu of channels and, for the one that was picked, the menu of its participation modes."""
    picker: Block = {
        "type": "conversations_select",
        "action_id": CHOOSE_CHANNEL,
        "placeholder": plain_text(tr("Pick a channel")),
        "filter": {"include": ["public", "private"], "exclude_bot_users": True},
    }
    if channel:
        picker["initial_conversation"] = channel
    pick = f"*{tr('Participation in a channel')}*\n{tr('What I answer there without a mention.')}"
    blocks: list[Block] = [_header(tr("Channels")), _section(pick) | {"accessory": picker}]
    if there is None:
        return blocks
    usual = tr("Default: {name}", name=there.usual_mode) if there.usual_mode else ""
    menu = _menu(tr("Mode"), CHOOSE_MODE, there.modes, there.mode, usual)
    described = "\n".join(f"• *{name}*: {description}" for name, description in there.modes)
    return [*blocks, *menu, _section(described)] if menu else blocks


def _header(text: str) -> Block:
    return {"type": "header", "text": plain_text(text)}


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _sections(text: str) -> list[Block]:
    return [_section(text[at : at + SECTION_LIMIT]) for at in range(0, len(text), SECTION_LIMIT)]


def _menu(
    label: str, action: str, choices: Sequence[tuple[str, str]], chosen: str, usual: str = ""
) -> list[Block]:
    """A menu whose first option is Automatic. Values begin with `=`, because Slack allows no empty ones."""
    if not choices:
        return []
    options = [_option(tr("Automatic"), usual) | {"value": "="}]
    options += [_option(name, description) for name, description in choices[: OPTIONS_LIMIT - 1]]
    menu: Block = {"type": "static_select", "action_id": action, "options": options}
    menu["initial_option"] = next(
        (option for option in options if option["value"] == f"={chosen}"), options[0]
    )
    return [_section(f"*{label}*") | {"accessory": menu}]


def _option(name: str, description: str) -> Block:
    option: Block = {"text": plain_text(_short(name)), "value": f"={name}"}
    return option | {"description": plain_text(_short(description))} if description else option


def _short(text: str) -> str:
    return text if len(text) <= OPTION_LIMIT else text[: OPTION_LIMIT - 1] + "…"


def _stored_data(profile: UserProfile) -> Block:
    text = tr(
        "{answers} in {conversations}.",
        answers=trn("{count} answer", "{count} answers", profile.answers),
        conversations=trn("{count} conversation", "{count} conversations", profile.conversations),
    )
    return _section(text) | {"accessory": _button(tr("Delete my data…"), FORGET)}


def _button(words: str, action: str) -> Block:
    return {"type": "button", "text": plain_text(words), "action_id": action}
