"""Field fault 72: `.prompty` files in the shapes that public repositories have, each with texts of our own."""

from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from bot.domain.errors import TemplateError
from bot.domain.prompts import Example
from bot.generation.prompt_builder import PromptInputs, TokenBudget, build_prompt
from bot.prompts.formats import to_prompty
from bot.prompts.loader import fill, fill_question
from bot.prompts.prompty import LoadedTemplate, read, read_text
from tests.support.acts import received


class Shape(NamedTuple):
    """A front matter and a body, and what must come of them."""

    front: str
    body: str
    system: str = "Be brief."
    question: str = ""
    inputs: dict[str, str] | None = None
    examples: int = 0
    note: str = ""


ASK = "system:\nBe brief.\n\nuser:\n{{question}}\n"
HI = "name: a\n"
LOOP = "{% for item in chat_history %}\n{{item.role}}:\n{{item.content}}\n{% endfor %}\n"
CHAT = f"system:\nBe brief.\n\n{LOOP}\nuser:\n{{{{question}}}}\n"
V1 = "name: a\nmodel:\n  api: chat\n  configuration:\n    type: azure_openai\n    azure_deployment: gpt\n"

FRONTS: dict[str, Shape] = {
    "stream": Shape(V1 + "  parameters:\n    stream: true\n", ASK, note="stream"),
    "top-level stream": Shape(HI + "stream: true\n", ASK, note="stream"),
    "response_format as a mapping": Shape(
        V1 + "  parameters:\n    response_format: {type: json_object}\n", ASK
    ),
    "response_format as a text": Shape(
        V1 + "  parameters:\n    response_format: json\n", ASK, note="response_format"
    ),
    "n and response": Shape(V1 + "  parameters:\n    n: 3\n  response: all\n", ASK),
    "outputs as a mapping": Shape(HI + "outputs:\n  answer: {type: string}\n", ASK, note="outputs"),
    "outputs as a list": Shape(
        HI + "outputs:\n  - {name: b, kind: integer, required: true}\n", ASK, note="outputs"
    ),
    "tools as a list": Shape(
        HI + "tools:\n  - {name: w, kind: function, parameters: [{name: c}]}\n", ASK, note="tools"
    ),
    "tools as a mapping": Shape(HI + "tools:\n  w: {type: function}\n", ASK, note="tools"),
    "tools as a file": Shape(
        V1 + "  parameters:\n    tools: ${file:tools.json}\n    tool_choice: auto\n", ASK
    ),
    "an MCP server": Shape(
        HI + "tools:\n  - {name: f, kind: mcp, connection: {kind: reference, name: s}}\n", ASK
    ),
    "a connection by name": Shape(
        HI + "model:\n  api: chat\n  connection: open_ai\n", ASK, note="connection"
    ),
    "a connection in the configuration": Shape(V1 + "    connection: open_ai\n", ASK),
    "a connection with a deployment": Shape(
        HI + "model: {connection: {type: azure, azure_deployment: g}}\n", ASK
    ),
    "a connection as a file": Shape(
        HI + "model:\n  id: g\n  connection: ${file:shared.json}\n", ASK, note="connection"
    ),
    "a key by reference": Shape(HI + "model: {connection: {kind: key, apiKey: '${env:KEY}'}}\n", ASK),
    "an endpoint in capitals": Shape(V1 + "    azure_endpoint: ${ENV:ENDPOINT}\n", ASK),
    "a deployment by reference": Shape(
        HI + "model:\n  configuration:\n    azure_deployment: ${env:D}\n", ASK
    ),
    "a configuration of another provider": Shape(
        HI + "model:\n  configuration: {type: snow, account: a, user: u, password: p, model: l}\n",
        ASK,
        note="account",
    ),
    "a serverless configuration": Shape(HI + "model:\n  configuration: {type: serverless, model: m}\n", ASK),
    "deployment_name in the parameters": Shape(
        V1 + "  parameters: {deployment_name: g, max_tokens: 9}\n", ASK
    ),
    "model_id and service_id": Shape(
        V1 + "    service_id: s\n  parameters: {model_id: m, top_p: 1.0}\n", ASK
    ),
    "parameters without values": Shape(V1 + "  parameters:\n    max_tokens:\n    stop:\n", ASK),
    "unusual parameters": Shape(V1 + "  parameters: {top_k: 5, guardrails: true}\n", ASK, note="guardrails"),
    "the API completion": Shape(HI + "model: {api: completion}\n", ASK, note="completion"),
    "the API agent": Shape(HI + "model: {api: agent}\n", ASK, note="agent"),
    "a model as a reference": Shape(HI + "model: ${env:MODEL}\n", ASK, note="model"),
    "is_chat_input": Shape(
        HI
        + "inputs:\n  question: {type: string, is_chat_input: true}\n"
        + "  chat_history: {type: list, is_chat_history: true}\n",
        CHAT,
    ),
    "a list as default": Shape(
        HI + "inputs:\n  chat_history: {type: list, default: []}\n  question: {type: string}\n", CHAT
    ),
    "a list as value": Shape(HI + "inputs:\n  firstName: Jane\n  chat_history: []\n", CHAT),
    "a mapping as default": Shape(
        HI + "inputs:\n  c: {type: object, default: {d: 1}}\n", ASK, inputs={"c": '{"d": 1}'}
    ),
    "a mapping as value": Shape(
        HI + "inputs:\n  customer: {firstName: Jo, orders: [{n: tent}]}\n",
        "system:\nTo {{customer.firstName}}:{% for o in customer.orders %} {{o.n}}{% endfor %}\n",
        system="To Jo: tent",
    ),
    "inputs as a file": Shape(HI + "inputs: ${file:in.json}\n", ASK, note="inputs"),
    "inputs as a list": Shape(
        HI + "inputs:\n  - {name: who, type: string, sample: Jo}\n",
        "system:\nTo {{who}}.\nuser:\n{{question}}",
        system="To {{who}}.",
        inputs={"who": "Jo"},
    ),
    "inputs as names": Shape(HI + "inputs: [question]\n", ASK),
    "inputs as a JSON schema": Shape(
        HI
        + "inputs:\n  type: object\n  properties:\n    tone: {type: string, default: dry}\n  required: [tone]\n",
        "system:\nBe {{tone}}.",
        system="Be {{tone}}.",
        inputs={"tone": "dry"},
    ),
    "inputSchema": Shape(
        HI + "inputSchema:\n  properties:\n    - {name: topic, kind: string, default: tea}\n",
        "system:\nBe brief.\nuser:\nAbout {{topic}}.",
        question="About {{topic}}.",
    ),
    "inputs with enums": Shape(HI + "inputs:\n  a: {type: string, enum: [b], title: A, format: f}\n", ASK),
    "a sample as a file": Shape(HI + "sample: ${file:s.json}\n", ASK, note="sample"),
    "a sample as a file name": Shape(HI + "sample: s.json\n", ASK, note="sample"),
    "a sample with quotes": Shape(HI + 'sample:\n  "question": "Who?"\n', ASK),
    "samples in files": Shape(
        HI + "sample:\n  research: ${file:r.json}\n  question: Who?\n",
        "system:\nBe brief.{% for r in research.web %}{{r.url}}{% endfor %}"
        "{% if research.news|length > 0 %}N{% endif %}",
    ),
    "a sample with messages": Shape(
        HI
        + "sample:\n  chat_history:\n    - {role: user, content: 'One?'}\n    - {role: assistant, content: Two.}\n",
        CHAT,
    ),
    "authors, tags and version": Shape(HI + "authors: [b]\ntags: [c]\nversion: 1.0.0\nid: d\n", ASK),
    "metadata of others": Shape(HI + "metadata: {authors: [b], tags: [c], version: '2', custom: d}\n", ASK),
    "template as a mapping": Shape(HI + "template: {format: jinja2, parser: prompty}\n", ASK),
    "template, strict": Shape(HI + "template: {format: mustache, parser: prompty, strict: true}\n", ASK),
    "template, v2": Shape(HI + "template: {format: {kind: mustache}, parser: {kind: prompty}}\n", ASK),
    "template, unknown": Shape(HI + "template: {format: fake, parser: fake}\n", ASK),
    "unknown fields": Shape(HI + "environment: x\nisPreview: true\n", ASK, note="environment"),
    "unknown fields that are alike": Shape(HI + "setting1: x\nsetting2: y\n", ASK, note="setting2"),
    "a folded description": Shape("name: a\ndescription: >-\n  One\n  two\n", ASK),
    "an empty line first": Shape("", "\n---\nname: a\n---\nsystem:\nBe brief.\n"),
    "no front matter fields": Shape("", "---\n---\nBe brief."),
}
BODIES: dict[str, Shape] = {
    "history as a loop": Shape(HI, CHAT),
    "history last": Shape(HI, f"system:\nBe brief.\n\n{LOOP}"),
    "history under other names": Shape(
        HI, CHAT.replace("chat_history", "past_messages").replace("item.", "m.").replace("item ", "m ")
    ),
    "history with brackets": Shape(
        HI, CHAT.replace("item.role", 'item["role"]').replace("item.content", "item['content']")
    ),
    "history as exchanges": Shape(
        HI,
        "# system:\nBe brief.\n{% for item in chat_history %}\n# user:\n{{item.inputs.question}}\n# assistant:\n"
        "{{item.outputs.answer}}\n{% endfor %}\n# user:\n{{question}}",
    ),
    "history, indented": Shape(
        HI,
        "system:\nBe brief.\n{% for item in chat_history %}\n   {{item.role}}: {{item.content}}\n{% endfor %}\n"
        "user:\n{{question}}",
    ),
    "history as a placeholder": Shape(HI, "system:\nBe brief.\n\n{{chat_history}}\n\nuser:\n{{question}}"),
    "history inside a line": Shape(HI, "system:\nBe brief.{{ conversation_history }}", note="history"),
    "history as an image": Shape(HI, "system:\nBe brief.\n\n![thread]\nuser:\n{{question}}"),
    "history after the question": Shape(
        HI, 'system:\nBe brief.\nuser[name="{{name}}"]:\n{{question}}\n\n![thread]'
    ),
    "history in a condition": Shape(
        HI,
        "system:\nBe brief.\nuser:\n{% if past_messages is defined and past_messages|length > 0 %}\nSo far:\n"
        "{% for m in past_messages %}\n{{ m.role }}:\n{{ m.content }}\n{% endfor %}\nuser:\n{% endif %}\n"
        "{{ question }}",
    ),
    "history as a Mustache section": Shape(
        HI,
        "system:\nBe brief.\n{{#rules}}\n{{rule}}\n{{/rules}}\n"
        "{{#chat_history}}\n{{role}}:\n{{content}}\n{{/chat_history}}\nuser:\n{{input}}",
    ),
    "text before the question": Shape(
        HI, "system:\nBe brief.\nuser:\nSearch for: {{ user_query }}", question="Search for: {{ user_query }}"
    ),
    "text after the question": Shape(
        HI + "sample: {assignment: Write}\n",
        "system:\nBe brief.\nuser:\n{{assignment}}\nUse Markdown.",
        question="{{assignment}}\nUse Markdown.",
    ),
    "several inputs around the question": Shape(
        HI + "inputs:\n  context: {type: string, default: tents}\n  question: {type: string}\n",
        "system:\nBe brief.\nuser:\nIn {{context}}: {{question}}",
        question="In {{context}}: {{question}}",
        inputs={"context": "tents"},
    ),
    "inputs without a question": Shape(
        HI + "sample: {role: cook, company: Inn}\n",
        "system:\nBe brief.\nuser:\nAn advert for a {{role}} at {{company}}.",
        question="An advert for a {{role}} at {{company}}.",
        inputs={"role": "cook"},
    ),
    "a last user without a placeholder": Shape(
        HI, "system:\nBe brief.\nuser:\nGo on.", question="Go on.\n\n{{question}}"
    ),
    "only a user": Shape(HI, "user:\n{{question}}", system="", question="{{question}}"),
    "only a user with text": Shape(HI, "user:\nShorten {{text}}", system="", question="Shorten {{text}}"),
    "an empty answer last": Shape(HI, "system:\nBe brief.\nuser:\n{{question}}\nassistant:\n"),
    "a prefilled answer last": Shape(
        HI, "system:\nBe brief.\nuser:\n{{question}}\nassistant:\nWell,", note="left out"
    ),
    "a greeting first": Shape(
        HI, "system:\nBe brief.\nassistant:\nHello!\nuser:\n{{question}}", note="left out"
    ),
    "the question in the system message": Shape(
        HI,
        "system:\nAbout {{question}}.\nuser:\n{{question}}",
        system="About the user's message.",
        note="message",
    ),
    "roles in capitals": Shape(HI, "System:\nBe brief.\n\nUser:\n{{question}}\n"),
    "roles twice": Shape(
        HI, "system:\nSYSTEM:  \nBe brief.\n\nUSER:  \nRate: {{query}}", question="Rate: {{query}}"
    ),
    "roles with attributes": Shape(HI, 'system[name="x"]:\nBe brief.\nuser [a=b]:\n{{question}}'),
    "a developer": Shape(HI, "developer:\nBe brief.\nuser:\n{{question}}"),
    "functions and tools": Shape(
        HI, "system:\nBe brief.\nfunction:\n{}\ntool:\n{}\nuser:\n{{question}}", note="function"
    ),
    "a system message later": Shape(
        HI, "user:\nOne?\nassistant:\nTwo.\nsystem:\nBe brief.\nuser:\n{{q}}", examples=1
    ),
    "two users in a row": Shape(
        HI, "system:\nBe brief.\nuser:\nOne.\nuser:\nTwo: {{q}}", question="One.\n\nTwo: {{q}}"
    ),
    "examples with inputs": Shape(
        HI + "inputs: {n: Jo}\n",
        "system:\nBe brief.\nuser:\nI am {{n}}.\nassistant:\nHi {{n}}.\nuser:\n{{q}}",
        examples=1,
    ),
    "tools before the system message": Shape(
        HI, "tools:\n  - id: x\n\nsystem:\nBe brief.", system="tools:\n  - id: x\n\nBe brief."
    ),
    "a field of an unknown input": Shape(HI, "system:\nBe brief.{{customer.name}}\nuser:\n{{question}}"),
    "an undeclared input": Shape(
        HI,
        "system:\nTo {{who}}.\nuser:\n{{question}}",
        system="To {{who}}.",
        inputs={"who": ""},
        note="'who'",
    ),
    "an input without a default": Shape(
        HI + "inputs: {who: {type: string}}\n",
        "system:\nTo {{who}}.",
        system="To {{who}}.",
        inputs={"who": ""},
        note="'who'",
    ),
    "pictures": Shape(
        HI,
        "system:\nBe brief.\nuser:\n{{ q }}\n{% for i in images %}\n![Image]({{i}})\n{% endfor %}\n"
        "{% if sources is defined %}\nSources:\n{% endif %}",
    ),
    "a picture of an input": Shape(
        HI, "system:\nBe brief.\nuser:\n{{question}}\n![pic]({{photo}})", question="{{question}}\n![pic]"
    ),
    "if and else": Shape(
        HI,
        "system:\n{% if override %}\n{{ override }}\n{% else %}\nBe brief.\n{{ injected }}\n{% endif %}\nuser:\n{{q}}",
        system="Be brief.",
    ),
    "if with a default": Shape(
        HI + "inputs:\n  - {name: text, kind: string}\n  - {name: context, kind: string, default: ''}\n",
        "system:\nBe brief.\n{% if context %}\nContext: {{context}}\n{% endif %}\nuser:\n{{text}}",
    ),
    "a flag in the sample": Shape(
        HI + "sample: {follow: true}\n",
        "system:\nBe brief.{% if follow %} Ask.{% endif %}",
        system="Be brief. Ask.",
    ),
    "filters": Shape(
        HI + "inputs: {a: [b, c], n: 2}\n",
        "system:\n{{ a | join(', ') | upper }} {{ n + 1 }} {{ x | default('d') }}",
        system="B, C 3 d",
    ),
    "set": Shape(HI, "system:\n{% set a = 'brief' %}Be {{ a }}.\nuser:\n{{question}}"),
    "comments": Shape(HI, "system:\n{# why #}Be brief.\nuser:\n{{question}}"),
    "whitespace control": Shape(HI, "system:\nBe{%- if true %} brief.{%- endif -%}\n"),
    "a tag that takes the line end before a role": Shape(
        HI,
        "system:\nBe brief.{% if true %} Yes.{% endif %}\nuser:\nAbout {{question}}",
        question="About",
        system="Be brief. Yes.",
    ),
    "a tag that takes all space before a role": Shape(
        HI, "system:\nBe brief.{% if true -%}{%- endif -%}\nuser:\nAbout {{question}}", question="About"
    ),
    "an expression that takes all space before a role": Shape(
        HI, "system:\n{{ 'Be brief.' -}}\nuser:\nAbout {{question}}", question="About"
    ),
    "a tag that takes all space after a role": Shape(
        HI,
        "system:\nBe brief.\nuser:\n{%- if true %}\nAbout {{question}}\n{%- endif %}",
        question="About {{question}}",
    ),
    "code in examples only": Shape(
        HI + "sample: {n: 2}\n",
        "system:\nBe brief.\nuser:\nHow many?\nassistant:\n{% if n %}Two{% endif %}\nuser:\n{{question}}",
        examples=1,
    ),
    "half characters that belong together": Shape(
        HI + 'inputs: {a: "\\ud83d\\ude00"}\n', "system:\n{{a}}", system="{{a}}", inputs={"a": "😀"}
    ),
    "half characters that belong together, in code": Shape(
        HI, "system:\n{{ '\\ud83d\\ude00' }}", system="😀"
    ),
    "a tag inside raw at a line end": Shape(
        HI, "system:\n{% raw %}x {% if %}{% endraw %}", system="x { % if %}"
    ),
    "raw": Shape(HI, "system:\n{% raw %}Be {{x}}.{% endraw %}", system="Be { {x} }."),
    "macros": Shape(HI, "system:\n{% macro m(a) %}Be {{ a }}.{% endmacro %}{{ m('brief') }}"),
    "a loop over a sample": Shape(
        HI + "sample: {docs: [{t: A}, {t: B}]}\n",
        "system:\n{% for d in docs %}{{d.t}};{% endfor %}",
        system="A;B;",
    ),
    "JSON around placeholders": Shape(
        HI, 'system:\nBe brief.\nuser:\n{"A": {{answer}}}\nOutput:', question='{"A": {{answer}}}'
    ),
    "three braces at an end": Shape(
        HI + "sample: {who: Jo}\n", "system:\nTo {{who}}}.\nuser:\n{{question}}", system="To {{who}}}."
    ),
    "Mustache sections": Shape(
        HI + "template: mustache\nsample: {docs: [{t: A}], no: false}\n",
        "system:\n{{! why }}\n{{#docs}}\n{{t}}\n{{/docs}}\n{{^no}}\nBe brief.\n{{/no}}\n{{> partial }}\n"
        "user:\n{{question}}",
        system="A\nBe brief.",
    ),
    "Mustache, unescaped": Shape(
        HI + "template: mustache\n", "system:\nBe brief.\nuser:\nOn {{{q}}} now", question="On {{q}} now"
    ),
    "a reference in the body": Shape(HI, "system:\nBe brief. ${env:X}", note="references"),
    "Handlebars": Shape(
        HI + "sample: {docs: [{t: A}], so: true}\n",
        "system:\n{{#each docs}}\n{{t}}\n{{/each}}\n{{#if so}}\nB\n{{/if}}\n{{#unless so}}\nC\n{{/unless}}\n"
        '{{#each history}}\n<m role="{{role}}">{{content}}</m>\n{{/each}}\n',
        system="A\nB",
    ),
    "the question only in the system message": Shape(
        HI + "inputs: {question: {type: string}}\n",
        "system:\nAbout {{question}}.",
        system="About the user's message.",
    ),
    "text without roles": Shape(HI, "Be brief."),
    "a word that is nearly a role": Shape(
        HI, "system:\nBe brief.\nusers:\nmany", system="Be brief.\nusers :\nmany"
    ),
}
SHAPES = FRONTS | BODIES


def load(shape: Shape, name: str = "x") -> LoadedTemplate:
    return read_text(f"---\n{shape.front}---\n{shape.body}" if shape.front else shape.body, name)


@pytest.mark.parametrize("name", SHAPES)
def test_a_public_shape_is_read(name: str) -> None:
    """Field fault 72: harmless fields are noted, code is rendered, and the text around the question is kept."""
    shape = SHAPES[name]
    template, _, _, _, notes = load(shape)
    assert template.system.startswith(shape.system)
    assert template.system or not shape.system
    assert template.question.startswith(shape.question)
    assert bool(template.question) == bool(shape.question)
    assert template.inputs.items() >= (shape.inputs or {}).items()
    assert len(template.examples) == shape.examples
    assert shape.note in "\n".join(notes)
    assert not shape.note or notes


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_read_can_be_published(name: str) -> None:
    """Field fault 72: it is filled without rest, and is the same after an export."""
    template = load(SHAPES[name]).template
    values = {**template.inputs, **dict.fromkeys(("user_name", "date", "channel", "platform"), "y")}
    assert "{%" not in template.system + template.question
    fill(template.system, values)
    if template.question:
        assert fill_question(template.question, "WHY?", values).count("WHY?") == 1
    assert read_text(to_prompty(template), "x").template == template


def test_there_are_enough_shapes() -> None:
    """Field fault 72: most of what is public has one of these shapes."""
    assert len(SHAPES) > 90


NAMED = "the person who is named before each message"


def test_text_around_the_question_is_sent() -> None:
    """Field fault 72: the last `user:` of a file is what the model gets, with the question in its place."""
    shape = Shape(
        HI + "inputs: {n: 3}\n", "system:\nHi.\nuser:\nIn {{n}} words for {{user_name}}: {{query}}!"
    )
    template = load(shape).template
    asked = received("why?")
    budget = TokenBudget(context_tokens=9000, output_tokens=100)
    prompt = build_prompt(PromptInputs(template=template, received=asked, question="why {{n}}?"), budget)
    assert prompt.messages[-1].text == f"In 3 words for {NAMED}: why {{{{n}}}}?!"


def test_all_problems_are_reported_together() -> None:
    """Field fault 72: a file is mended in one go, so each error has its line."""
    text = """---
descripton: a
model:
  apiType: embedding
  options: {temperature: 9, temprature: 1}
inputs:
  a: {defualt: 1}
metadata:
  parley: {shots: 99, match: {commands: [/go], comands: [b]}}
---
system:
Hi {{nmae}} and {{other}}.
user:
One?
user:
Two?
"""
    with pytest.raises(TemplateError) as raised:
        read_text(text, "x")
    lines = [int(line.split(":")[1]) for line in str(raised.value).splitlines()]
    assert lines == sorted(lines)
    assert {2, 4, 5, 7, 9, 12, 15} <= set(lines)
    assert len(lines) >= 10


def test_code_in_examples_is_run() -> None:
    """Field fault 72: examples of another tool's file are sent as that tool would send them."""
    (example,) = load(SHAPES["code in examples only"]).template.examples
    assert example.assistant == "Two"


def test_exported_code_in_examples_is_text() -> None:
    """Field fault 72: an export has a model and inputs, as files of other tools do, and yet is not run."""
    examples = (Example(user="A loop?", assistant="{% for x in y %}{{ x }}{% endfor %}"),)
    template = replace(load(FRONTS["inputs with enums"]).template, examples=examples, deployment="gpt")
    assert read_text(to_prompty(template), "x").template.examples == examples


def test_code_in_examples_is_text(tmp_path: Path) -> None:
    """Field fault 72: a template of Parley's own that explains Jinja stays as it is, to the byte."""
    text = "---\ndescription: a\n---\nsystem:\nHi.\nuser:\nA loop?\nassistant:\n{% for x in y %}{{ x }}{% endfor %}\n"
    (tmp_path / "x.prompty").write_text(text, encoding="utf-8")
    (example,) = read(tmp_path / "x.prompty").template.examples
    assert example.assistant == "{% for x in y %}{{ x }}{% endfor %}"
