"""Import and export: round trips, and errors for what a format can't express."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bot.domain.errors import TemplateError
from bot.domain.events import now
from bot.domain.prompts import Example, Match, Parameters, Template, say
from bot.domain.turns import Reply, Turn
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.prompts.formats import diff, from_jsonl, from_studio, to_jsonl, to_prompty, to_studio
from bot.prompts.loader import FOLDER, load
from bot.prompts.prompty import digest, read_text
from tests.support.acts import received

SETUP: dict[str, Any] = {
    "systemPrompt": "You answer questions about bicycles.\nBe short.",
    "fewShotExamples": [
        {"userInput": "Which oil?", "chatbotResponse": "Chain oil, one drop a link."},
        {"chatbotResponse": "Every 3000 km.", "userInput": "When is a chain worn?"},
    ],
    "chatParameters": {
        "deploymentName": "gpt-small",
        "maxResponseLength": 800,
        "temperature": 0.7,
        "topProbablities": 0.95,
        "stopSequences": None,
        "pastMessagesToInclude": "10",
        "frequencyPenalty": 0,
        "presencePenalty": 0,
    },
}


def setup(**chat: object) -> bytes:
    return json.dumps({**SETUP, "chatParameters": {**SETUP["chatParameters"], **chat}}).encode()


FULL = Template(
    name="full",
    digest="",
    description='Says: "yes" — {braces}, #hash\nand a second line',
    system="Be {{tone}}, {{user_name}}.\n\n---\n# Heading\n- a: b\n  indented",
    examples=(
        Example(user="1 + 1?", assistant="2\n\n    code: yes"),
        Example(user="{{free}} 'quoted'", assistant="№ ✓ \U0001f6b2"),
    ),
    pool="support",
    shots=3,
    tools=("clock",),
    knowledge=("handbook",),
    deployment="gpt: small",
    parameters=Parameters(
        temperature=0.1,
        top_p=1e-05,
        seed=7,
        stop=("END", "\n\n", "no"),
        max_output_tokens=90,
        verbosity="low",
    ),
    inputs={"tone": "12", "on": "yes"},
    match=Match(commands=("full",), prefixes=("full:", "no"), channels=("C1", "19:a@thread.tacv2")),
    past_messages=0,
    extra={"dataSources": [{"x": 1.0, "y": None}], "chatParameters": {"inputTokenLimit": 10}},
)


def turn(number: int) -> Turn:
    return Turn(
        id=f"t{number}",
        received=received(),
        template="",
        messages=(say("user", "?"), say("assistant", f"answer {number}")),
        reply=Reply(text=""),
        outcome="answered",
        began_at=now(),
        ended_at=now(),
    )


def with_digest(template: Template) -> Template:
    return replace(template, digest=digest(template))


def by_prompty(template: Template) -> Template:
    return read_text(to_prompty(template), template.name).template


def by_studio(template: Template) -> Template:
    return from_studio(to_studio(template), template.name)


def by_jsonl(template: Template) -> Template:
    return from_jsonl(to_jsonl(template).encode(), template.name)


ROUNDS: list[Callable[[Template], Template]] = [by_prompty, by_studio, by_jsonl]


@pytest.mark.parametrize("there_and_back", ROUNDS)
def test_a_full_template_survives_every_format(
    there_and_back: Callable[[Template], Template],
) -> None:
    assert there_and_back(FULL) == with_digest(FULL)


@pytest.mark.parametrize("there_and_back", ROUNDS)
def test_the_bundled_templates_survive_every_format(
    there_and_back: Callable[[Template], Template],
) -> None:
    for template in load(FOLDER):
        if template.capability == "chat" or there_and_back is not by_studio:
            assert there_and_back(template) == template


@pytest.mark.parametrize("there_and_back", ROUNDS)
def test_any_text_survives_or_is_refused(there_and_back: Callable[[Template], Template]) -> None:
    chance = random.Random(5)
    pieces = [
        "a",
        "User",
        ":",
        "\n",
        " ",
        "#",
        "---",
        "{",
        "}}",
        "{{",
        "'",
        '"',
        "\\",
        "\t",
        "é",
        "\u2028",
        "0",
    ]
    survived = 0
    for _ in range(300):
        system, user, assistant, description = (
            "".join(chance.choices(pieces, k=chance.randrange(1, 9))) for _ in range(4)
        )
        template = Template(
            name="any",
            digest="",
            description=description,
            system=system.strip(),
            examples=(Example(user=user.strip(), assistant=assistant.strip()),),
            inputs={"a": description},
        )
        try:
            assert there_and_back(template) == with_digest(template)
            survived += 1
        except TemplateError:
            continue
    assert survived > 100


def test_a_setup_of_the_studio_is_read() -> None:
    read = from_studio(json.dumps(SETUP).encode(), "bikes")
    assert read.system == SETUP["systemPrompt"]
    assert [one.user for one in read.examples] == ["Which oil?", "When is a chain worn?"]
    assert (read.name, read.deployment, read.past_messages) == ("bikes", "gpt-small", 10)
    assert read.parameters == Parameters(
        temperature=0.7, top_p=0.95, max_output_tokens=800, frequency_penalty=0, presence_penalty=0
    )
    assert read.digest == digest(read)


def test_a_setup_is_exported_as_imported() -> None:
    once = json.loads(to_studio(from_studio(json.dumps(SETUP).encode(), "bikes")))
    assert once == {**SETUP, "chatParameters": {**SETUP["chatParameters"], "pastMessagesToInclude": 10}}


@pytest.mark.parametrize(
    ("chat", "field", "expected"),
    [
        ({"pastMessagesToInclude": 4}, "past_messages", 4),
        ({"pastMessagesToInclude": None}, "past_messages", None),
        ({"stopSequences": ["END"]}, "parameters.stop", ("END",)),
        ({"stopSequences": "END"}, "parameters.stop", ("END",)),
        ({"stopSequences": []}, "parameters.stop", ()),
        ({"temperature": None}, "parameters.temperature", None),
        ({"deploymentName": ""}, "deployment", None),
    ],
)
def test_every_spelling_of_a_setup_is_read(chat: dict[str, Any], field: str, expected: object) -> None:
    read: Any = from_studio(setup(**chat), "x")
    for name in field.split("."):
        read = getattr(read, name)
    assert read == expected


@pytest.mark.parametrize(("past", "turns"), [("10", 3), (5, 2), (4, 2), (1, 0), (0, 0)])
def test_past_messages_bound_the_history_by_whole_turns(past: str | int, turns: int) -> None:
    template = from_studio(setup(pastMessagesToInclude=past), "x")
    history = [turn(number) for number in range(3)]
    inputs = PromptInputs(template=template, received=received("Now?"), question="Now?", turns=history)
    prompt = build_prompt(inputs, TokenBudget(context_tokens=8000, output_tokens=1000))
    shown = [message.text for message in prompt.messages if message.text.startswith("answer")]
    assert shown == ["answer 0", "answer 1", "answer 2"][3 - turns :]
    assert [one.count for one in prompt.left_out] == ([3 - turns] if turns < 3 else [])


def test_both_spellings_are_read_one_is_written() -> None:
    chat = {key: value for key, value in SETUP["chatParameters"].items() if key != "topProbablities"}
    data = json.dumps({**SETUP, "chatParameters": {**chat, "topProbabilities": 0.5}}).encode()
    read = from_studio(data, "x")
    assert read.parameters.top_p == 0.5
    assert json.loads(to_studio(read))["chatParameters"]["topProbablities"] == 0.5


def test_unknown_fields_are_kept_for_the_export() -> None:
    sources = [{"type": "azure_search", "parameters": {"indexName": "x"}}]
    data = json.dumps({**json.loads(setup(inputTokenLimit=99)), "dataSources": sources}).encode()
    read = from_studio(data, "x")
    assert read.extra == {"dataSources": sources, "chatParameters": {"inputTokenLimit": 99}}
    assert "extra:" in to_prompty(read)
    again = json.loads(to_studio(by_prompty(read)))
    assert again["dataSources"] == sources
    assert again["chatParameters"]["inputTokenLimit"] == 99


def test_kept_fields_do_not_change_the_prompt() -> None:
    assert from_studio(setup(inputTokenLimit=99), "x").digest == from_studio(setup(), "x").digest


def test_empty_examples_and_surrounding_blanks_are_dropped() -> None:
    rows = [{"userInput": "", "chatbotResponse": " "}, {"userInput": " a\r\nb ", "chatbotResponse": "c\n"}]
    read = from_studio(json.dumps({"systemPrompt": " hi\r\n", "fewShotExamples": rows}).encode(), "x")
    assert read.system == "hi"
    assert read.examples == (Example(user="a\nb", assistant="c"),)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not a chat setup"),
        (b'{"messages": []}', "not a chat setup"),
        (b"\xff", "not UTF-8"),
        (b" " * 70_000, "the limit is 65536"),
        (b'{"systemPrompt": 1}', "systemPrompt must be text"),
        (b'{"systemPrompt": ""}', "template is empty"),
        (b'{"systemPrompt": "{{who}}"}', "{{who}} is an unknown placeholder"),
        (b'{"systemPrompt": "a", "fewShotExamples": {}}', "must be a list"),
        (b'{"systemPrompt": "a", "fewShotExamples": [1]}', "number 1 must be a"),
        (b'{"systemPrompt": "a", "fewShotExamples": [{"userInput": "b"}]}', "needs both 'userInput'"),
        (b'{"systemPrompt": "a", "fewShotExamples": [{"user": "b"}]}', "unknown field 'user'"),
        (b'{"systemPrompt": "a", "parley": {"colour": 1}}', "unknown field 'colour'"),
        (b'{"systemPrompt": "a", "chatParameters": []}', "chatParameters must be a JSON object"),
        (setup(temperature="hot"), "Expected `float"),
        (setup(temperature=9), "'temperature' must be from 0 to 2"),
        (setup(pastMessagesToInclude="many"), "'pastMessagesToInclude' is 'many', not a number"),
        (setup(pastMessagesToInclude=-1), "'past_messages' must be from 0"),
    ],
)
def test_an_invalid_setup_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(TemplateError) as raised:
        from_studio(data, "mine")
    assert str(raised.value).startswith("mine")
    assert words in str(raised.value)


def test_image_templates_have_no_chat_setup() -> None:
    with pytest.raises(TemplateError, match="can't be exported as a chat setup"):
        to_studio(Template(name="draw", digest="", capability="image"))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (Template(name="x", digest="", system="a\nuser:\nb"), "no 'assistant:'"),
        (Template(name="x", digest="", system="a\nsystem:\nb"), "read as a role"),
        (Template(name="x", digest="", examples=(Example(user="a\nassistant:\nb", assistant="c"),)), "half"),
        (Template(name="x", digest="", examples=(Example(user="a", assistant="c", tags=("t",)),)), "tags"),
        (Template(name="x", digest="", system="a", extra={"deep": {"s": "${env:HOME}"}}), "${env:}"),
        (Template(name="X!", digest="", system="a"), "lower-case letters"),
        (Template(name="x", digest="", system="\ud800"), "UTF-8"),
    ],
)
def test_text_that_a_format_cannot_hold_is_refused(template: Template, words: str) -> None:
    with pytest.raises(TemplateError) as raised:
        to_prompty(template)
    assert words in str(raised.value)


def test_chat_examples_are_read_as_a_template() -> None:
    line = '{"messages": [{"role": "system", "content": "Be dry."}, {"role": "user", "content": "A?"}, '
    line += '{"role": "assistant", "content": "B.", "weight": 1}]}\n'
    read = from_jsonl(f"\ufeff{line}\n{line}".encode(), "dry")
    assert read.system == "Be dry."
    assert read.examples == (Example(user="A?", assistant="B."),) * 2
    assert [json.loads(one)["messages"][0]["content"] for one in to_jsonl(read).splitlines()] == [
        "Be dry."
    ] * 2


def test_one_line_may_hold_several_pairs() -> None:
    roles = ("user", "assistant", "user", "assistant")
    line = json.dumps({"messages": [{"role": role, "content": str(at)} for at, role in enumerate(roles)]})
    assert from_jsonl(line.encode(), "x").examples == (
        Example(user="0", assistant="1"),
        Example(user="2", assistant="3"),
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("nonsense", "mine:1: not a valid chat example"),
        ('\n{"messages": [{"role": "user", "content": "a"}]}', "mine:2: examples are pairs"),
        ('{"messages": [{"role": "tool", "content": "a"}]}', "mine:1: not a valid chat example"),
        (
            '{"messages": [{"role": "assistant", "content": "a", "weight": 0}]}',
            "mine:1: not a valid chat example",
        ),
        ("\n".join(f'{{"messages": [{{"role": "system", "content": "{n}"}}]}}' for n in (1, 2)), "different"),
        ("", "template is empty"),
    ],
)
def test_invalid_chat_examples_are_refused(data: str, words: str) -> None:
    with pytest.raises(TemplateError) as raised:
        from_jsonl(data.encode(), "mine")
    assert words in str(raised.value)


def test_a_difference_is_shown_line_by_line() -> None:
    old = with_digest(FULL)
    new = with_digest(replace(FULL, system=FULL.system.replace("tone", "on")))
    shown = diff(old, new).splitlines()
    assert shown[:2] == [f"--- {old.version}", f"+++ {new.version}"]
    assert [line for line in shown[2:] if line[0] in "+-"] == [
        "-Be {{tone}}, {{user_name}}.",
        "+Be {{on}}, {{user_name}}.",
    ]
    assert diff(old, old) == ""
