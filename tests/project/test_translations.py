"""Every message to people is translated, with its placeholders, and every text that people see is a message."""

import ast
import re
from collections.abc import Iterator

import pytest

from bot.domain.words import LANGUAGES
from tests.translations import (
    REFUSALS,
    called,
    catalog_of,
    literal,
    messages,
    messages_in,
    modules,
    placeholders,
    texts_of,
)

_NOT_FOR_PEOPLE = re.compile(
    r"(?:Config|Template|Runtime|Value|Type|OS|Assertion)Error|DeploymentBroken|RequestRejected|CheckResult|Omission"
    r"|say|Tool(?:Result|Spec)|\w*Unavailable|ModelBusy|ServiceFault|ImageInterrupted|Slack(?:Unsure|Rejected)"
    r"|Malformed|Unauthentic|LeaseLost|debug|info|warning|error|exception|compile|Counter|Gauge|Histogram"
)
"""What is called with texts for operators, logs and models."""
FOR_MODELS_AND_OPERATORS = {
    "adapters/slack/manifest.py": "Slack has one text of its menus for everybody",
    "adapters/teams/manifest.py": "Teams has one text of its menus for everybody",
    "adapters/slack/workspaces/oauth.py": "pages for whoever installs the app, before a person is known",
    "adapters/slack/health_check.py": "parley check",
    "adapters/teams/api/credentials.py": "parley check",
    "adapters/slack/workspaces/installations.py": "for operators",
    "adapters/slack/inbound/http.py": "the answer to an invalid request",
    "adapters/slack/inbound/socket_mode.py": "for operators",
    "adapters/shared": "for operators",
    "bot/domain/telemetry.py": "for operators",
    "bot/storage": "for operators",
    "bot/llm/catalog": "for operators",
    "bot/llm/routing/attempts.py": "reasons of errors that people don't see",
    "bot/llm/routing/continuation.py": "for models",
    "bot/prompts": "for authors of templates",
    "bot/files/fenced_data.py": "for models",
    "bot/generation/image_options.py": "parameters of the tool draw; what people read is in notice()",
    "bot/generation/images.py": "the tool draw; what people read is in notice()",
    "bot/generation/prompt_builder.py": "for models",
    "bot/generation/prompt_report.py": "the English prompt and what was left out of it",
    "bot/tools/registry.py": "for models",
    "bot/worker/poison_messages.py": "reasons of dead letters",
    "bot/conversation/summarizer.py": "for models",
}
"""Paths whose sentences are not translated, and why."""
FOR_OPERATORS = (
    "PARLEY_LIMITS limits dollars",
    "\nState its `model` or its `prices`",
    "Your answers are shown in",  # for models
    "No x deployment is set up. Set x.",
    "The event can't be decoded.",
    " A direct message to the asker (x) failed, too",
    "Token validation is off",
)
"""The beginnings of further sentences for operators, as `text_of` returns them."""
_SENTENCE = re.compile(r"_?[A-Z“].*\s.*[.…?!:]_?\Z", re.DOTALL)
_PREDICATE = re.compile(r"(?:is|are|was|were|has|came|reached|can't|could) .*\.\Z", re.DOTALL)


def is_sentence(text: str) -> bool:
    """Whether a text looks like a sentence, or like what follows the name of a file."""
    return bool(_SENTENCE.fullmatch(text.strip()) or _PREDICATE.fullmatch(text.strip()))


def text_of(node: ast.expr) -> str | None:
    """The text of a literal or formatted string; a value in it counts as the letter x."""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "x" for part in node.values)
    return literal(node)


def unmarked(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Sentences that are no message, no docstring, and not for operators, logs or models."""
    allowed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a docstring
            allowed.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            allowed.update(map(id, node.values))
        elif isinstance(node, ast.Call):
            name = called(node)
            inside = node.args + [word.value for word in node.keywords]
            if name in ("tr", "trn", "marked", "UnreadPart") or name in REFUSALS:
                allowed.update(map(id, inside))
                yield from (
                    (each.lineno, text_of(each) or "") for each in inside if isinstance(each, ast.JoinedStr)
                )
            elif _NOT_FOR_PEOPLE.fullmatch(name):
                allowed.update(id(each) for one in inside for each in ast.walk(one))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in allowed:
            text = text_of(node)
            if text is not None and is_sentence(text) and not text.startswith(FOR_OPERATORS):
                yield node.lineno, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated(language: str) -> None:
    translated = texts_of(language)
    missing = [one for one in messages() if not all(translated.get(one, ("",)))]
    assert missing == [], "translate them: python -m tests.translations adds them to the files"
    unused = [one for one in translated if one not in messages()]
    assert unused == [], "python -m tests.translations removes them"


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_have_the_same_placeholders(language: str) -> None:
    wrong = [
        (one, form)
        for one, forms in texts_of(language).items()
        for form in forms
        if form and one in messages() and placeholders(form) != placeholders(messages()[one][0].many or one)
    ]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_format_and_commands(language: str) -> None:
    """Italics stay italics, and what people have to type stays as it is."""
    wrong = [
        (one, form)
        for one, forms in texts_of(language).items()
        for form in forms
        if form
        and (
            one.startswith("_") != form.startswith("_")
            or one.endswith("_") != form.endswith("_")
            or sorted(re.findall(r"`[^`]+`", one)) != sorted(re.findall(r"`[^`]+`", form))
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_a_guess(language: str) -> None:
    assert [message.id for message in catalog_of(language) if message.fuzzy] == []


def test_texts_for_people_are_messages() -> None:
    found = [
        f"{path}:{line} {text[:100]!r}"
        for path, tree in modules()
        if not path.startswith(tuple(FOR_MODELS_AND_OPERATORS))
        for line, text in unmarked(tree)
    ]
    assert found == [], "wrap them in tr(), or in marked() if tr() gets them later"


def test_the_search_finds_what_it_is_for() -> None:
    """Field fault 112: a new sentence in the source can't stay English unnoticed."""
    tree = ast.parse(
        'A = "Nothing was found here."\n'
        'raise NotAllowed(f"{name} is not here. Ask again.")\n'
        'B = marked("It is here, {name}.")\n'
        'log.info("This is for operators.")\n'
        'Reply(text=f"Hello {name}, how are you?")\n'
    )
    assert sorted(line for line, _ in unmarked(tree)) == [1, 2, 5]
    assert [each.one for each in messages_in("x.py", tree)] == ["It is here, {name}."]
