"""What Slack shows beside conversations: forms, and the tab that tells a person about themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from adapters.slack.formatting.blocks import Block
from adapters.slack.formatting.mrkdwn import escaped, from_markdown
from adapters.slack.payloads import Payload, part
from bot.domain.turns import UserProfile

View = dict[str, Any]

ASK_VIEW, ASK_ABOUT_VIEW, COMMENT_VIEW = "ask", "ask_about", "comment"
CHOOSE_TEMPLATE, CHOOSE_DEPLOYMENT = "choose_template", "choose_deployment"
FORGET, FORGET_NOW, KEEP = "forget", "forget_now", "keep"

# docs.slack.dev/reference/block-kit: a section, an option, the options of a menu, an input.
SECTION_LIMIT = 3_000
OPTION_LIMIT = 75
OPTIONS_LIMIT = 100
QUOTE_BLOCKS = 14  # as many as the longest message needs
_INPUT, _QUOTE = "words", "quote"


def plain_text(text: str) -> Block:
    """A text object without any signs."""
    return {"type": "plain_text", "text": text}


# ------------------------------------------------------------------ forms


def ask() -> View:
    """A form for a long question."""
    known = _input("Your question", "The answer comes in your own messages with me.")
    return _form(ASK_VIEW, "Ask Parley", "Ask", {}, [known])


def ask_about(text: str, known: Mapping[str, str]) -> View:
    """A form for a question about a message; `known` says where that stands and who wrote it."""
    pieces = [text[at : at + SECTION_LIMIT] for at in range(0, len(text), SECTION_LIMIT)][:QUOTE_BLOCKS]
    profile: Block = {"type": "context", "elements": [plain_text(f"{known['author']} wrote:")]}
    quote: list[Block] = [
        {"type": "section", "block_id": f"{_QUOTE}{number}", "text": plain_text(piece)}
        for number, piece in enumerate(pieces)
    ]
    question = _input("Your question", "The answer comes in the thread of that message.")
    return _form(ASK_ABOUT_VIEW, "Ask about this", "Ask", known, [profile, *quote, question])


def comment(known: Mapping[str, str]) -> View:
    """A form for what was wrong with an answer."""
    words = _input("What was wrong with it?", "It is kept with the answer, for those who improve me.")
    return _form(COMMENT_VIEW, "Thank you", "Send", known, [words | {"optional": True}])


def _form(kind: str, title: str, send: str, known: Mapping[str, str], blocks: Sequence[Block]) -> View:
    return {
        "type": "modal",
        "callback_id": kind,
        "title": plain_text(title),
        "submit": plain_text(send),
        "close": plain_text("Cancel"),
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
    """What was typed into a form."""
    values = part(part(view, "state"), "values")
    return str(part(part(values, _INPUT), _INPUT).get("value") or "").strip()


def quoted(view: Payload) -> str:
    """The message that a form is about, as its blocks hold it."""
    blocks: list[Payload] = view.get("blocks") or []
    quote = [block for block in blocks if str(block.get("block_id", "")).startswith(_QUOTE)]
    return "".join(str(block["text"]["text"]) for block in quote)


# ------------------------------------------------------------------ the home tab


def home(profile: UserProfile, words: str = "", *, asks: bool = False) -> View:
    """What a person may choose, what they used, and what is remembered of them.

    `words` say what was done or, with `asks`, what would be deleted.
    """
    blocks: list[Block] = _sections(from_markdown(words)) if words else []
    if asks:
        delete = _pressed("Delete", FORGET_NOW) | {"style": "danger"}
        blocks.append({"type": "actions", "elements": [delete, _pressed("Keep it", KEEP)]})
    blocks.append(_header("Your choices"))
    usual = f"The usual: {profile.usual}" if profile.usual else ""
    templates = _menu("How I answer", CHOOSE_TEMPLATE, profile.templates, profile.template, usual)
    deployments = _menu("Which model answers", CHOOSE_DEPLOYMENT, profile.deployments, profile.deployment)
    blocks += templates + deployments or [_section("There is nothing to choose here.")]
    blocks += [_header("Usage"), *_sections(from_markdown(profile.usage) or "You have used nothing yet.")]
    blocks += [_header("What I remember"), _remembered(profile)]
    return {"type": "home", "blocks": blocks}


def notice(words: str) -> View:
    """A home tab that can't show more than words."""
    return {"type": "home", "blocks": [_section(escaped(words))]}


def chosen(action: Payload) -> str:
    """The name that was chosen from a menu; empty takes the choice back."""
    return str(part(action, "selected_option")["value"]).removeprefix("=")


def _header(text: str) -> Block:
    return {"type": "header", "text": plain_text(text)}


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _sections(text: str) -> list[Block]:
    return [_section(text[at : at + SECTION_LIMIT]) for at in range(0, len(text), SECTION_LIMIT)]


def _menu(
    label: str, action: str, choices: Sequence[tuple[str, str]], chosen: str, usual: str = ""
) -> list[Block]:
    """A sign stands before each name, since no value may be empty; the first entry takes the choice back."""
    if not choices:
        return []
    options = [_option("Automatic", usual) | {"value": "="}]
    options += [_option(name, description) for name, description in choices[: OPTIONS_LIMIT - 1]]
    menu: Block = {"type": "static_select", "action_id": action, "options": options}
    menu["initial_option"] = next((one for one in options if one["value"] == f"={chosen}"), options[0])
    return [_section(f"*{label}*") | {"accessory": menu}]


def _option(name: str, description: str) -> Block:
    option: Block = {"text": plain_text(_short(name)), "value": f"={name}"}
    return option | {"description": plain_text(_short(description))} if description else option


def _short(text: str) -> str:
    return text if len(text) <= OPTION_LIMIT else text[: OPTION_LIMIT - 1] + "…"


def _remembered(profile: UserProfile) -> Block:
    answers = f"{profile.answers} answer{'' if profile.answers == 1 else 's'}"
    talks = f"{profile.conversations} conversation{'' if profile.conversations == 1 else 's'}"
    button = _pressed("Delete everything about me…", FORGET)
    return _section(f"{answers} in {talks}.") | {"accessory": button}


def _pressed(words: str, action: str) -> Block:
    return {"type": "button", "text": plain_text(words), "action_id": action}
