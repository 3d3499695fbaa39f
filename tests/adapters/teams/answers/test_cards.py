"""Adaptive Cards: complete, valid, and with the texts that people need."""

import json
from typing import Any

import pytest

from adapters.teams.answers import cards
from bot.domain.turns import UserProfile
from tests.adapters.teams.card_rules import findings, problems, renderer

Fields = dict[str, Any]

USAGE = """What you have used (days in UTC):

| | Answers | Tokens in | Tokens out | Pictures | Cost |
|---|---|---|---|---|---|
| Today | 3 | 1200 | 450 | 1 | $0.0450 |
| This month | 31 | 21200 | 8450 | 4 | $0.9350 |
"""
ABOUT = UserProfile(
    templates=(("default", "Answers questions"), ("translator", "Translates " + "at length " * 20)),
    template="translator",
    deployments=(("quick", ""), ("slow", "slow and thorough")),
    usage=USAGE,
    conversations=2,
    answers=31,
)
SENT = """**Deployment** `quick`, 812 tokens in.

## Messages

1. **system**

```
You are Parley.
Answer briefly.
```

> quoted

| what | left out | why |
|---|---|---|
| turns | 3 | no `room` |

| a | b | c | d | e |
|---|---|---|---|---|
| 1 | 2 | 3 | 4 | 5 |
| 1 | 2 | 3 | 4 | 5 |
| 1 | 2 | 3 | 4 | 5 |
| 1 | 2 | 3 | 4 | 5 |
"""

EVERY: dict[str, Fields] = {
    "settings": cards.settings(ABOUT, direct=True, note="Saved.", viewer="29:alice"),
    "nothing to choose": cards.settings(UserProfile(), direct=False),
    "dialog": cards.in_dialog(cards.settings(ABOUT, direct=False, viewer="29:alice")),
    "door": cards.group_settings_card("29:alice"),
    "welcome": cards.welcome(has_settings=True),
    "sent": cards.sent(SENT),
    "nothing sent": cards.sent(""),
    "said": cards.text_card("Sorry."),
    "forgetting": cards.forgetting("This deletes 12 answers. Reply `forget me now`."),
    "confirming": cards.confirming("forget me now"),
}


def texts(card: Fields) -> str:
    return json.dumps(card, ensure_ascii=False)


@pytest.mark.parametrize("name", EVERY)
def test_every_card_is_within_the_schema(name: str) -> None:
    assert not problems(EVERY[name])


def test_the_rules_find_errors() -> None:
    wrong = {
        "type": "AdaptiveCard",
        "body": [{"type": "TextBlock", "bogus": 1, "color": "Pink"}, {"type": "Nope"}],
    }
    assert len(problems(wrong)) == 4


@pytest.mark.skipif(not renderer(), reason="npm adaptivecards is not on this machine")
def test_microsofts_renderer_finds_no_errors() -> None:
    assert not findings(list(EVERY.values()))
    assert findings([{"type": "AdaptiveCard", "version": "1.5", "body": [{"type": "Input.Text"}]}])


def test_current_choices_are_selected() -> None:
    """Automatic lets any model answer."""
    choices = [element for element in EVERY["settings"]["body"] if element["type"] == "Input.ChoiceSet"]
    assert [(item["id"], item["value"]) for item in choices] == [
        ("template", "translator"),
        ("deployment", cards.AUTOMATIC),
    ]
    templates, deployments = choices
    assert [choice["value"] for choice in templates["choices"]] == ["-", "default", "translator"]
    assert [choice["value"] for choice in deployments["choices"]] == [cards.AUTOMATIC, "quick", "slow"]
    assert all(len(choice["title"]) <= 80 for item in choices for choice in item["choices"])


def test_a_withdrawn_choice_shows_as_automatic() -> None:
    profile = UserProfile(templates=(("default", ""),), template="gone")
    (choice,) = [
        element
        for element in cards.settings(profile, direct=True)["body"]
        if element["type"] == "Input.ChoiceSet"
    ]
    assert choice["value"] == cards.AUTOMATIC


def test_a_wide_table_is_transposed_for_phones() -> None:
    (table,) = [element for element in EVERY["settings"]["body"] if element["type"] == "Table"]
    rows = [[cell["items"][0]["text"] for cell in row["cells"]] for row in table["rows"]]
    assert rows[0] == [" ", "Today", "This month"]
    assert rows[1] == ["Answers", "3", "31"]
    assert len(table["columns"]) == 3


def test_a_wide_and_long_table_is_listed() -> None:
    assert sum(element["type"] == "FactSet" for element in EVERY["sent"]["body"]) == 4


def test_code_blocks_have_a_fallback_without_backticks() -> None:
    (code,) = [element for element in EVERY["sent"]["body"] if element["type"] == "CodeBlock"]
    assert code["codeSnippet"] == "You are Parley.\nAnswer briefly."
    assert code["fallback"]["fontType"] == "Monospace"
    assert "`" not in texts(EVERY["sent"])


def test_deleting_asks_a_second_time() -> None:
    assert [action["verb"] for action in EVERY["settings"]["actions"]][-1] == "forget"
    assert [action["verb"] for action in EVERY["forgetting"]["actions"]] == ["forget_now", "settings"]
    assert "12 answers" in texts(EVERY["forgetting"])


def test_the_group_card_holds_no_personal_data() -> None:
    assert "31" not in texts(EVERY["door"])
    assert EVERY["door"]["refresh"]["userIds"] == ["29:alice"]


def test_a_dialog_submits_and_refreshes_nothing() -> None:
    dialog = texts(EVERY["dialog"])
    assert "Action.Execute" not in dialog
    assert "refresh" not in EVERY["dialog"]
    assert {action["data"]["verb"] for action in EVERY["dialog"]["actions"] if "data" in action} == {
        "choose",
        "forget",
        "settings",
    }


def test_an_oversized_text_in_a_card_says_so() -> None:
    card = cards.sent("word " * 10_000)
    assert len(texts(card)) < 28_000
    assert "the full text is too long for Teams" in texts(card)


def test_lines_of_a_card_stay_apart() -> None:
    """Field fault 73: cards show a single newline as a space, too."""
    (text,) = cards.text_card("Stored:\n- 2 answers\n- 1 image\nDelete them?\nSure?\n\nBye")["body"]
    assert text["text"] == "Stored:\n- 2 answers\n- 1 image\n\nDelete them?\n\nSure?\n\nBye"
