"""Templates of other projects, the JSON schema for editors, and `parley prompts`."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml

from bot.cli import main
from bot.domain.errors import TemplateError
from bot.domain.prompts import Example, Match, Parameters, Template
from bot.prompts import lint
from bot.prompts.formats import to_prompty
from bot.prompts.json_schema import schema
from bot.prompts.loader import FOLDER, load
from bot.prompts.prompty import read_text

WILD = {
    "v1 of the first tutorials": """---
name: Contoso Greeter
description: Greets a customer by name.
authors:
  - Ana
model:
  api: chat
  configuration:
    type: azure_openai
    azure_deployment: gpt-35-turbo
  parameters:
    max_tokens: 128
    temperature: 0.2
inputs:
  first_name:
    type: string
    default: friend
sample:
  first_name: Ana
---
system:
You greet people in one line. The customer is called {{first_name}}.
""",
    "v1 with the question as its last user message": """---
name: Trip planner
tags: [travel, demo]
model:
  api: chat
  parameters: {max_tokens: 900, top_p: 0.9, presence_penalty: 0.5, stop: ["###"]}
inputs:
  question:
    type: string
sample:
  question: Three days in Porto?
template: jinja2
---
# system:
You plan trips. Ask for the budget when it is missing.

# user:
{{question}}
""",
    "v1 with few-shot pairs and a bare default": """---
name: Tone checker
model: {api: chat, configuration: {type: azure_openai, azure_deployment: gpt-4o}, response: first}
inputs:
  audience: engineers
---
system:
Say whether a message suits {{audience}}: fits, or does not fit.

user:
pls fix asap!!!

assistant:
does not fit

user:
Could you look at the failing build this afternoon?

assistant:
fits
""",
    "v1 with a version and a seed": """---
name: Extractor
version: "1.2"
model:
  api: chat
  parameters:
    max_completion_tokens: 400
    seed: 42
    frequency_penalty: 0
---
You turn an invoice into JSON with the keys number, date and total. Reply with the JSON alone.
""",
    "v2 with properties as a list": """---
name: summary-of-tickets
displayName: Summary of tickets
description: Sums up support tickets
metadata:
  authors: [Bo]
  tags: [support]
model:
  id: gpt-4.1-mini
  provider: foundry
  apiType: chat
  options:
    temperature: 0.3
    maxOutputTokens: 600
    topP: 0.95
inputs:
  - name: language
    kind: string
    description: The language of the summary
    default: English
    enumValues: [English, German]
  - name: ticket
    kind: string
    required: true
template:
  format: {kind: jinja2}
  parser: {kind: prompty}
---
system:
Write in {{language}}: one line on the problem, one on what was tried, one on what is next.

user:
{{ticket}}
""",
    "v2 with a thread and a developer message": """---
name: tutor
kind: prompt
model:
  id: o4-mini
  options: {additionalProperties: {reasoning_effort: low}}
inputs:
  history: {kind: thread}
  question: {kind: string, example: "What is a prime?"}
---
developer:
You teach by asking back. Never give the solution in the first answer.

{{history}}

user:
{{question}}
""",
    "v2 for the responses API with a model by name": """---
name: rewriter
model: gpt-5-mini
inputs:
  - {name: style, kind: string, default: plain}
template: {format: mustache}
---
system[nonce="x"]:
Rewrite what you are given in a {{style}} style. Keep names, numbers and links.
""",
    "v2 with stop sequences and a marker in capitals": """---
description: Names colours
model:
  apiType: responses
  options: {stopSequences: ["\\n\\n", END], frequencyPenalty: 0.1, presencePenalty: -0.1, seed: 7}
---
System:
Name the colour, nothing else.

User:
#ff0000

Assistant:
red
""",
}


def matter(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


validates = fastjsonschema.compile(schema())


@pytest.mark.parametrize("text", WILD.values(), ids=WILD)
def test_templates_of_other_projects_are_read(text: str) -> None:
    read = read_text(text, "wild").template
    assert read.system
    assert read_text(to_prompty(read), "wild").template == read
    validates(matter(text))


def test_templates_of_other_projects_are_understood() -> None:
    read = {name: read_text(text, "wild").template for name, text in WILD.items()}
    assert read["v1 of the first tutorials"].inputs == {"first_name": "friend"}
    assert read["v1 with the question as its last user message"].examples == ()
    pairs = read["v1 with few-shot pairs and a bare default"].examples
    assert [one.assistant for one in pairs] == ["does not fit", "fits"]
    assert read["v1 with a version and a seed"].parameters == Parameters(
        max_output_tokens=400, seed=42, frequency_penalty=0
    )
    assert read["v2 with properties as a list"].deployment == "gpt-4.1-mini"
    assert "{{" not in read["v2 with a thread and a developer message"].system
    assert read["v2 with a thread and a developer message"].parameters.reasoning_effort == "low"
    assert read["v2 for the responses API with a model by name"].deployment == "gpt-5-mini"
    colours = read["v2 with stop sequences and a marker in capitals"]
    assert colours.parameters.stop == ("\n\n", "END")
    assert colours.examples == (Example(user="#ff0000", assistant="red"),)


def test_a_missing_image_is_refused() -> None:
    text = "system:\nSay what you see.\n\nuser:\n![a cat](cat.png)\n\nassistant:\nA cat.\n"
    with pytest.raises(TemplateError, match=r"wild.prompty:5: the image cat.png is unknown"):
        read_text(text, "wild")


def test_a_link_in_an_example_is_text() -> None:
    text = "system:\nHi.\n\nuser:\n[docs](https://example.org/x.png)\n\nassistant:\n`![a](b)` is a picture.\n"
    assert len(read_text(text, "wild").template.examples) == 1


# ------------------------------------------------------------------ the schema


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (FOLDER / "prompty.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == schema(), "parley prompts schema > prompts/prompty.schema.json"


def test_a_comment_points_editors_at_the_schema() -> None:
    comment = "# yaml-language-server: $schema=prompty.schema.json"
    assert comment in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert read_text(f"---\n{comment}\ndescription: d\n---\nHi.", "mine").template.description == "d"


def test_the_bundled_templates_match_the_schema() -> None:
    for path in FOLDER.glob("*.prompty"):
        validates(matter(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "front",
    [
        "descripton: x",
        "metadata: {parley: {mach: {}}}",
        "metadata: {parley: {match: {comands: [a]}}}",
        "metadata: {parley: {match: {default: 'yes'}}}",
        "metadata: {parley: {shots: 51, pool: a}}",
        "metadata: {parley: {capability: embedding}}",
        "metadata: {parley: {past_messages: -1}}",
        "model: {options: {temprature: 1}}",
        "model: {options: {temperature: 3}}",
        "model: {options: {temperature: hot}}",
        "model: {connection: {apiKey: k}}",
        "model: {configuration: {api_key: k}}",
        "inputs: {a: {defualt: 1}}",
    ],
)
def test_schema_errors_are_errors_in_parley(front: str) -> None:
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validates(yaml.safe_load(front))
    with pytest.raises(TemplateError):
        read_text(f"---\n{front}\n---\nHi.", "mine")


# ------------------------------------------------------------------ doubts


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (Template(name="x", digest="", match=Match(default=True)), "no description"),
        (Template(name="x", digest="", description="d"), "has no match"),
        (
            Template(name="x", digest="", parameters=Parameters(temperature=1, top_p=1)),
            "temperature and topP are both set",
        ),
        (Template(name="x", digest="", system="x" * 12_001), "12001 characters"),
        (Template(name="x", digest="", system="{{b}}", inputs={"a": "1", "b": "2"}), "'a' is not used"),
        (Template(name="x", digest="", examples=(Example(user="Q", assistant="1"),) * 2), "ask 'q'"),
        (
            Template(name="x", digest="", pool="p", examples=(Example(user="q", assistant="1"),)),
            "repeats an example",
        ),
    ],
)
def test_likely_mistakes_are_warned_about(template: Template, words: str) -> None:
    pools = {"p": (Example(user="Q ", assistant="2"),)}
    assert any(words in doubt for doubt in lint.warnings(template, pools))


def test_the_bundled_templates_have_no_warnings() -> None:
    assert [doubt for one in load(FOLDER) for doubt in lint.warnings(one, {})] == []


# ------------------------------------------------------------------ the commands

Run = Callable[..., tuple[int, str, str]]
DEFAULT = "---\ndescription: d\nmetadata: {parley: {match: {default: true}}}\n---\nsystem:\nI help.\n"
SETUP = {
    "systemPrompt": "You know bicycles.",
    "fewShotExamples": [{"userInput": "Oil?", "chatbotResponse": "Chain oil."}],
    "chatParameters": {"deploymentName": "gpt-small", "topProbablities": 0.5, "somethingNew": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "help.prompty").write_text(DEFAULT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def parley(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Runs a command on a folder of templates: (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PARLEY_PROMPTS", str(folder))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["parley", "prompts", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        code = ended.value.code
        received = capsys.readouterr()
        return code if isinstance(code, int) else 0, received.out, received.err

    return run


def test_a_setup_is_imported_and_exported_again(parley: Run, folder: Path) -> None:
    (folder / "My Bicycles.json").write_text(json.dumps(SETUP), encoding="utf-8")
    code, out, _ = parley("import", "My Bicycles.json")
    assert code == 0
    assert "my-bicycles.prompty" in out
    assert "Add a command" in out
    assert "the deployment 'gpt-small'" in out
    assert "kept for an export: chatParameters" in out
    assert "--- assistant\nChain oil." in parley("show", "my-bicycles")[1]
    exported = json.loads(parley("export", "my-bicycles")[1])
    assert exported["fewShotExamples"] == SETUP["fewShotExamples"]
    assert exported["chatParameters"]["somethingNew"] == 1


def test_chat_examples_are_imported(parley: Run, folder: Path) -> None:
    line = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (folder / "pairs.jsonl").write_text(json.dumps(line), encoding="utf-8")
    assert parley("import", "pairs.jsonl", "--name", "mine")[0] == 0
    assert json.loads(parley("export", "mine", "--format", "jsonl")[1]) == line


def test_an_import_overwrites_only_with_force(parley: Run, folder: Path) -> None:
    (folder / "help.json").write_text(json.dumps(SETUP), encoding="utf-8")
    code, _, err = parley("import", "help.json")
    assert code == 2
    assert "Use --force to overwrite it" in err
    assert (folder / "help.prompty").read_text(encoding="utf-8") == DEFAULT


def test_an_import_with_conflicts_is_refused(parley: Run, folder: Path) -> None:
    setup = {**SETUP, "parley": {"match": {"default": True}}}
    (folder / "rival.json").write_text(json.dumps(setup), encoding="utf-8")
    code, _, err = parley("import", "rival.json")
    assert code == 2
    assert "already claimed by help.prompty" in err
    assert not (folder / "rival.prompty").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "gone.json"), "Can't read gone.json"),
        (("import", "My File.prompty"), "copy it to"),
        (("import", "My File.prompty"), "my-file.prompty; `parley prompts lint` then says"),
        (("export", "gone"), "There is no template 'gone'"),
        (("export", "help", "--out", "no/such/file"), "Can't write"),
        (("diff", "help", "gone"), "There is no template 'gone'"),
    ],
)
def test_invalid_arguments_are_refused(parley: Run, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = parley(*arguments)
    assert code == 2
    assert words in err


def test_an_export_can_go_to_a_file(parley: Run, folder: Path) -> None:
    assert parley("export", "help", "--format", "prompty", "--out", "copy.txt")[0] == 0
    assert (folder / "copy.txt").read_text(encoding="utf-8").endswith("system:\nI help.\n")


def test_two_templates_are_compared_by_name_or_file(parley: Run, folder: Path) -> None:
    other = folder / "sub"
    other.mkdir()
    (other / "help.prompty").write_text(DEFAULT.replace("I help", "I help you"), encoding="utf-8")
    out = parley("diff", "help", "sub/help.prompty")[1]
    assert re.findall(r"^[+-][^+-].*$", out, re.MULTILINE) == ["-I help.", "+I help you."]
    assert parley("diff", "help", "help.prompty")[1] == "No differences.\n"


def test_lint_prints_warnings_and_can_be_strict(parley: Run, folder: Path) -> None:
    assert parley("lint") == (0, "1 valid templates, 0 warnings.\n", "")
    (folder / "other.prompty").write_text("---\ndescription: d\n---\nHi.", encoding="utf-8")
    code, out, _ = parley("lint")
    assert code == 0
    assert out.startswith("other.prompty: it has no match")
    assert parley("lint", "--strict")[0] == 1
    sampled = folder / "sampled.prompty"
    sampled.write_text("---\nsample: {name: Jane}\n---\nsystem:\nYou help {{name}}.\n")
    assert "sampled.prompty: {{name}} only has a value in 'sample'" in parley("lint")[1]
    sampled.unlink()
    (folder / "third.prompty").write_text("---\nnmae: d\n---\nHi.", encoding="utf-8")
    code, _, err = parley("lint")
    assert code == 2
    assert "third.prompty:2: unknown field 'nmae'" in err


def test_the_schema_is_printed(parley: Run) -> None:
    assert json.loads(parley("schema")[1]) == schema()
