"""Templates and pools: what is read, and errors with file name and line number."""

from pathlib import Path

import pytest

from bot.domain.errors import TemplateError
from bot.domain.prompts import Example, Match, Template
from bot.prompts.body import BUILT_IN
from bot.prompts.loader import FOLDER, fill, load, load_pools, load_usable, load_usable_pools

DEFAULT = "---\nmetadata:\n  parley:\n    match: {default: true}\n---\nsystem:\nYou help.\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.prompty").write_text(text, encoding="utf-8")
    return folder


def template(folder: Path, text: str, name: str = "mine") -> Template:
    write(folder, zz=DEFAULT, **{name: text})
    return next(one for one in load(folder) if one.name == name)


def parley(fields: str, body: str = "system:\nHi.") -> str:
    return f"---\nmetadata:\n  parley: {{{fields}}}\n---\n{body}\n"


def test_every_bundled_template_loads_and_fills() -> None:
    values = dict.fromkeys(BUILT_IN, "x")
    pools = load_pools(FOLDER)
    loaded = load(FOLDER)
    assert {one.name for one in loaded} >= {"assistant", "summarise", "translate", "draw"}
    assert [one.name for one in loaded if one.match.default] == ["assistant"]
    for one in loaded:
        assert "{{" not in fill(one.system, {**one.inputs, **values})
        assert one.pool is None or len(pools[one.pool]) >= one.shots > 0


def test_the_second_version_of_the_format_is_read(tmp_path: Path) -> None:
    read = template(
        tmp_path,
        """---
name: Mine
displayName: My template
description: Says things
model:
  id: gpt-small
  apiType: chat
  options: {temperature: 0.5, maxOutputTokens: 100, topP: 1, stopSequences: [END],
            additionalProperties: {reasoning_effort: low}}
inputs:
  - {name: tone, kind: string, default: dry}
  - {name: history, kind: thread}
  - {name: question, kind: string, required: true}
template: {format: {kind: mustache}, parser: {kind: prompty}}
metadata:
  editor: {colour: blue}
  parley:
    match: {commands: [mine], prefixes: [mine of], channels: [C1]}
    tools: [clock]
    knowledge: handbook
---
system:
Be {{tone}}, {{ user_name }}.

{{history}}

user:
One?

assistant:
Two.

user:
{{question}}
""",
    )
    assert read.system == "Be {{tone}}, {{ user_name }}."
    assert read.examples == (Example(user="One?", assistant="Two."),)
    assert read.match == Match(commands=("mine",), prefixes=("mine of",), channels=("C1",))
    assert (read.deployment, read.tools, read.knowledge) == ("gpt-small", ("clock",), ("handbook",))
    assert (read.parameters.temperature, read.parameters.top_p) == (0.5, 1.0)
    assert (read.parameters.max_output_tokens, read.parameters.stop) == (100, ("END",))
    assert read.parameters.reasoning_effort == "low"
    assert fill(read.system, {**read.inputs, "user_name": "Ada"}) == "Be dry, Ada."


def test_the_first_version_of_the_format_is_read(tmp_path: Path) -> None:
    read = template(
        tmp_path,
        """---
name: Basic Prompt
authors: [somebody]
tags: [a]
model:
  api: chat
  configuration: {type: azure_openai, azure_deployment: gpt-35}
  parameters: {max_tokens: 128, temperature: 0.2}
  response: first
inputs:
  firstName: {type: string, default: you}
  lastName: Doe
sample: {firstName: Jane}
template: jinja2
---
# system:
You talk to {{firstName}} {{lastName}}.
""",
    )
    assert read.deployment == "gpt-35"
    assert read.parameters.max_output_tokens == 128
    assert fill(read.system, read.inputs) == "You talk to you Doe."


def test_a_sample_fills_inputs_without_a_default(tmp_path: Path) -> None:
    read = template(
        tmp_path,
        """---
inputs:
  firstName: {type: string}
  question: {type: string}
sample:
  firstName: Jane
  context: |
    Tents come in green.
  question: What can you do?
  unused: 7
---
system:
You help {{firstName}}. Use this: {{context}}

user:
{{question}}
""",
    )
    assert read.inputs == {"firstName": "Jane", "context": "Tents come in green."}
    assert read.examples == ()


@pytest.mark.parametrize(
    "where",
    [
        """  configuration:
    type: azure_openai
    azure_endpoint: ${env:AZURE_OPENAI_ENDPOINT}
    azure_deployment: ${env:AZURE_OPENAI_DEPLOYMENT:gpt-35}
    api_key: ${env:AZURE_OPENAI_API_KEY}
    api_version: 2024-10-21""",
        """  id: ${env:MODEL}
  connection:
    kind: key
    endpoint: ${env:AZURE_OPENAI_ENDPOINT}
    apiKey: ${env:AZURE_OPENAI_API_KEY}""",
    ],
    ids=["v1", "v2"],
)
def test_model_configurations_of_other_tools_are_accepted(tmp_path: Path, where: str) -> None:
    read = template(tmp_path, f"---\nsample: ${{file:sample.json}}\nmodel:\n{where}\n---\nHi.")
    assert (read.system, read.deployment) == ("Hi.", None)


def test_a_model_and_a_stop_may_be_strings(tmp_path: Path) -> None:
    assert template(tmp_path, "---\nmodel: gpt-small\n---\nHi.").deployment == "gpt-small"
    read = template(tmp_path, "---\nmodel: {options: {stopSequences: END}}\n---\nHi.")
    assert read.parameters.stop == ("END",)


def test_text_before_any_role_is_the_system_message(tmp_path: Path) -> None:
    assert template(tmp_path, "Just help.\r\n").system == "Just help."


def test_an_image_template_may_have_no_body(tmp_path: Path) -> None:
    read = template(tmp_path, parley("capability: image, match: {commands: [paint]}", ""))
    assert (read.capability, read.system) == ("image", "")


def test_values_are_not_searched_for_placeholders() -> None:
    assert fill("{{a}} {{b}}", {"a": "{{b}}", "b": r"\1 {{a}} ${env:X}"}) == r"{{b}} \1 {{a}} ${env:X}"


def test_the_digest_covers_the_prompt_only(tmp_path: Path) -> None:
    first = template(tmp_path, parley("match: {commands: [a]}"))
    moved = template(tmp_path, parley("match: {commands: [b]}, deployment: other"))
    reworded = template(tmp_path, parley("match: {commands: [a]}", "system:\nHi!"))
    assert first.digest == moved.digest != reworded.digest
    assert len(first.digest) == 12
    assert int(first.digest, 16)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("---\ndescripton: x\n---\nHi.", 2, "unknown field 'descripton'; did you mean 'description'?"),
        ("---\nmetadata:\n  parly: {}\n---\nHi.", 3, "did you mean 'parley'?"),
        ("---\nmetadata:\n  parley:\n    mach: {}\n---\nHi.", 4, "did you mean 'match'?"),
        (
            "---\nmetadata:\n  parley:\n    match:\n      comands: [a]\n---\nHi.",
            5,
            "did you mean 'commands'?",
        ),
        ("---\nmodel:\n  options:\n    temprature: 1\n---\nHi.", 4, "did you mean 'temperature'?"),
        ("---\nmodel:\n  options:\n    temperature: 3\n---\nHi.", 4, "'temperature' must be from 0 to 2"),
        ("---\nmodel:\n  options:\n    temperature: hot\n---\nHi.", 4, "'temperature'"),
        (
            "---\nmodel: {apiType: embedding}\n---\nHi.",
            2,
            "'embedding' is not supported; use 'chat' or 'image'",
        ),
        ("---\nmodel:\n  connection: {kind: key, apiKey: k}\n---\nHi.", 3, "settings"),
        ("---\nmodel:\n  connection: {kind: key, endpont: k}\n---\nHi.", 3, "endpont"),
        ("---\n---\nSee\n  endpoint: ${env:HOME}", 4, "${env:}"),
        ("---\nmodel:\n  configuration:\n    api_key: k\n---\nHi.", 4, "settings"),
        ("---\ndescription: ${env:HOME}\n---\nHi.", 2, "${env:}"),
        ("Hi.\n${file:secret.txt}", 2, "${file:}"),
        ("---\ndescription: x\n", 1, "no closing"),
        ("---\n- a\n---\nHi.", 1, "must be a mapping"),
        ("---\nname: [\n---\nHi.", 2, "expected"),
        ("---\na: &x [1]\nb: *x\n---\nHi.", 3, "aliases"),
        ("---\nname: a\nname: b\n---\nHi.", 3, "'name' appears twice"),
        ("---\ninputs: {a: {defualt: 1}}\n---\nHi.", 2, "did you mean 'default'?"),
        (parley("shots: 3"), 3, "must be used together"),
        (parley("shots: 51, pool: a"), 3, "from 0 to 50"),
        (parley("shots: -1, pool: a"), 3, "from 0 to 50"),
        (parley("pool: nowhere, shots: 2"), 3, "the pool 'nowhere' is missing"),
        (parley("capability: embedding"), 3, "'chat' or 'image'"),
        (parley("match: {commands: [no]}"), 3, "must be a list of texts"),
        (parley("match: {commands: [/draw]}"), 3, "without the slash"),
        (parley("match: {commands: [Draw]}"), 3, "one lower-case word"),
        (parley("match: {commands: [draw it]}"), 3, "one lower-case word"),
        (parley("match: {prefixes: ['']}"), 3, "can't be empty"),
        (parley("match: {default: 'yes'}"), 3, "must be true or false"),
        ("system:\nHi {{nmae}}.", 2, "unknown placeholder; known: channel, date, platform, user_name"),
        ("system:\nHi {{user_nam}}.", 2, "did you mean 'user_name'?"),
        (
            "---\ninputs: {a: {kind: string}}\nmetadata: {parley: {}}\n---\nsystem:\nHi {{a}}.",
            6,
            "add a default",
        ),
        ("---\ninputs: {h: {kind: thread}}\n---\nsystem:\nHi {{h}}.", 5, "a line of its own"),
        ("system:\nHi {{q}}.\nuser:\n{{q}}", 2, "is the question"),
        ("system:\n{% if x %}", 2, "its code can't be used: Unexpected end of template"),
        ("sytem:\nHi.", 1, "did you mean 'system'?"),
        ("system:\nHi.\nuser:\nOne?", 3, "no 'assistant:' after it"),
        ("system:\nHi.\nassistant:\nTwo.", 3, "half an example"),
        ("user:\nOne?\nuser:\nOne?\nassistant:\nTwo.", 3, "half an example"),
        ("user:\nOne?\nassistant:\n\n", 3, "is empty"),
        ("user:\n{{date}}?\nassistant:\nTwo.", 1, "only work in 'system:'"),
        ("user:\nOne?\nassistant:\nTwo.\nsystem:\nLater.", 5, "before the examples"),
        ("", 1, "template is empty"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    write(tmp_path, mine=text, zz=DEFAULT)
    with pytest.raises(TemplateError) as raised:
        load(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}/mine.prompty:{line}: ")
    assert words in str(raised.value)


def test_all_invalid_files_are_reported_together(tmp_path: Path) -> None:
    write(tmp_path, a="---\nx: 1\n---\nHi.", b="user:\nOne?", c=DEFAULT)
    with pytest.raises(TemplateError) as raised:
        load(tmp_path)
    assert [line.split(":")[0][-9:] for line in str(raised.value).splitlines()] == ["a.prompty", "b.prompty"]


def test_an_unusable_file_is_skipped(tmp_path: Path) -> None:
    """Field fault 72: one bad file does not stop the bot; what is wrong with it is said."""
    same = parley("match: {commands: [go]}")
    write(tmp_path, a="user:\nOne?\n", b=same, c=same, d="---\nname: [\n---\nHi.", zz=DEFAULT)
    templates, problems, _ = load_usable(tmp_path)
    assert [one.name for one in templates] == ["b", "zz"]
    assert [problem.split(":")[0][-9:] for problem in problems] == ["a.prompty", "c.prompty", "d.prompty"]


def test_what_is_no_file_is_skipped(tmp_path: Path) -> None:
    """Field fault 72: a folder, a dangling link or an editor's lock file does not stop the bot."""
    write(tmp_path, zz=DEFAULT)
    (tmp_path / "folder.prompty").mkdir()
    (tmp_path / "link.prompty").symlink_to(tmp_path / "gone")
    (tmp_path / ".#zz.prompty").symlink_to("ada@laptop.1234")
    (tmp_path / ".hidden.prompty").write_text("---\nname: [\n")
    (tmp_path / "pools").mkdir()
    (tmp_path / "pools" / "folder.jsonl").mkdir()
    found = load_usable(tmp_path)
    assert [one.name for one in found.templates] == ["zz"]
    assert [problem.removeprefix(f"{tmp_path}/") for problem in found.problems] == [
        "folder.prompty:1: not a file; move it out of the folder",
        "link.prompty:1: the file can't be read: No such file or directory",
    ]
    pools, problems = load_usable_pools(tmp_path)
    assert pools == {"folder": ()}
    assert problems == (f"{tmp_path}/pools/folder.jsonl:1: not a file; move it out of the folder",)


def test_notes_are_kept_by_template(tmp_path: Path) -> None:
    """Field fault 72: what is not used of a file is known as long as the file is there."""
    write(tmp_path, a="---\nname: a\noutputs: {}\n---\nHi.", zz=DEFAULT)
    assert load_usable(tmp_path).notes == {"a": ("line 3: 'outputs' is not used",), "zz": ()}


def test_an_unusable_default_is_an_error(tmp_path: Path) -> None:
    """Field fault 72: without a default template nothing would be answered."""
    with pytest.raises(TemplateError, match=r"a.prompty:3(.|\n)*no template is the default"):
        load_usable(write(tmp_path, a=parley("match: {default: 'yes'}"), b="Hi."))


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("commands: [go]", "'go' of commands is already claimed by a.prompty"),
        ("prefixes: [go]", "'go' of prefixes is already claimed by a.prompty"),
        ("channels: [C1]", "'C1' of channels is already claimed by a.prompty"),
        ("default: true", "default: true is already claimed by a.prompty"),
    ],
)
def test_two_templates_can_t_claim_the_same(tmp_path: Path, claim: str, words: str) -> None:
    text = parley(f"match: {{{claim}}}")
    write(tmp_path, a=text, b=text, **({} if "default" in claim else {"zz": DEFAULT}))
    with pytest.raises(TemplateError) as raised:
        load(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}/b.prompty:3: ")
    assert words in str(raised.value)


def test_one_template_must_be_the_default(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no template is the default"):
        load(write(tmp_path, a=parley("match: {commands: [a]}")))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no template"):
        load(tmp_path)


def test_a_large_or_binary_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, a="x" * 70_000, b=DEFAULT)
    (tmp_path / "c.prompty").write_bytes(b"one\n\xff")
    with pytest.raises(TemplateError) as raised:
        load(tmp_path)
    assert "a.prompty:1: the file has 70000 bytes" in str(raised.value)
    assert "c.prompty:2: not UTF-8 text" in str(raised.value)


def test_too_many_templates_are_refused(tmp_path: Path) -> None:
    for number in range(201):
        (tmp_path / f"t{number}.prompty").touch()
    with pytest.raises(TemplateError, match="201 templates; the limit is 200"):
        load(tmp_path)


def test_an_invalid_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="lower-case letters"):
        load(write(tmp_path, **{"My Template": DEFAULT}))


PAIR = '{"messages": [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]}'


def pool(folder: Path, text: str) -> Path:
    (folder / "pools").mkdir()
    (folder / "pools" / "mine.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_a_pool_is_fine_tuning_data(tmp_path: Path) -> None:
    tagged = PAIR.replace('"messages": [', '"tags": ["t"], "messages": [{"role": "system", "content": "s"}, ')
    pools = load_pools(pool(tmp_path, f"{PAIR}\n\n{tagged}\n"))
    pair = Example(user="a\u2028b", assistant="c")
    assert pools == {"mine": (pair, Example(user="a\u2028b", assistant="c", tags=("t",)))}


def test_pools_are_optional(tmp_path: Path) -> None:
    assert load_pools(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        (f"{PAIR}\nnonsense", 2, "not a valid chat example"),
        (f'{PAIR}\n{{"messages": []}}', 2, "one 'user' message and one 'assistant'"),
        (PAIR.replace('"c"', '" "'), 1, "both messages of an example need text"),
        (PAIR.replace('"c"', '"c", "wieght": 1'), 1, "wieght"),
        (f"{PAIR}\n" * 1001, 1001, "the limit is 1000"),
    ],
)
def test_an_error_in_a_pool_names_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(TemplateError) as raised:
        load_pools(pool(tmp_path, text))
    assert str(raised.value).startswith(f"{tmp_path}/pools/mine.jsonl:{line}: ")
    assert words in str(raised.value)


def test_an_unusable_line_of_a_pool_is_skipped(tmp_path: Path) -> None:
    """Field fault 72: the other examples of the pool are used, and each bad line is named."""
    half = PAIR.replace("a\u2028b", "\\ud83d")
    pools, problems = load_usable_pools(pool(tmp_path, f"nonsense\n{PAIR}\n{half}\n[]\n"))
    assert pools == {"mine": (Example(user="a\u2028b", assistant="c"),)}
    assert [problem.split(":")[1] for problem in problems] == ["1", "3", "4"]
    assert all("not a valid chat example" in problem for problem in problems)
