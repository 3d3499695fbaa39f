"""Field fault 72: code in files of other tools, however hostile, ends soon, with an error for its file alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import TemplateError
from bot.prompts import loader, prompty
from bot.prompts.imports import process
from bot.prompts.imports.rendering import LineError
from bot.prompts.prompty import read_text

DEFAULT = "---\nmetadata: {parley: {match: {default: true}}}\n---\nHi.\n"
CODE = "---\nname: a\n---\nsystem:\n{% if true %}Be brief.{% endif %}\n"
HOSTILE = {
    "a long loop": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}x"
    "{% endfor %}{% endfor %}{% endfor %}",
    "a long text": "{{ 'a' * 10**9 }}",
    "a large number": "{{ 9**(9**9) }}",
    "a wide format": "{{ '%1000000000s' % 1 }}",
    "a wide text": "{{ 'a'.center(10**9) }}",
    "a format of a text": "{{ '{:1000000000}'.format(1) }}",
    "a long replacement": "{{ ('a' * 90000) | replace('a', 'b' * 90000) }}",
    "a wide indentation": "{{ 'a' | indent(10**9) }}",
    "recursion": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "a loop of itself": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "doubling with ~": "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling with +": "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "doubling a list": "{% set n = namespace(x=[1]) %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "doubling a block": "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set y %}{{ n.x }}{{ n.x }}"
    "{% endset %}{% set n.x = y %}{% endfor %}",
    "a large body": "{% for i in range(9999) %}" + "x" * 9000 + "{% endfor %}",
    "a deep expression": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if true %}" * 300 + "{% endif %}" * 300,
    "another file": "{% include '/etc/passwd' %}",
    "an unknown filter": "{{ 'a' | nothing }}",
    "an open block": "{% for x in y %}",
    "an open section": "{{#a}}b",
    "many spaces": ("{{#" + " " * 1900 + "\n") * 20 + "{{#a}}b",
    "deep sections": "{{#a}}" * 99 + "{{/a}}" * 99,
    "sections in sections": "{{#xs}}" * 9 + "x" + "{{/xs}}" * 9,
    "a huge list": "{{ range(10**10) | list }}",
    "a huge sum": "{{ range(10**9) | sum }}",
    "a huge centre": "{{ 'a' | center(10**9) }}",
    "a wide number": '{{ "%999999999d" % 1 }}',
    "a wide number by a filter": "{{ '%*d' | format(999999999, 1) }}",
    "a number as bytes": "{{ (5).to_bytes(10**9, 'big') }}",
    "replacements of replacements": "{{ ('a' * 10000) | replace('a', 'b' * 10000) | replace('b', 'c' * 10000) }}",
    "a doubled list as JSON": "{% set n = namespace(x=[1]) %}{% for i in range(99) %}"
    "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
    "a join of long texts": "{{ (['a' * 1000] * 100000) | join('b' * 100000) }}",
    "huge slices": "{{ range(10**9) | slice(10**9) | list }}",
    "a huge batch": "{{ [1] | batch(10**10, 'x') | list }}",
    "work in one step": "{{ ('a.com ' * 10**6) | urlize }}",
    "a macro of a macro": "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('ab') }}",
    "a block of itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "a deep list": "{{ " + "[" * 2000 + "]" * 2000 + " }}",
    "a long chain": "{{ a" + "|trim" * 9000 + " }}",
    "half a character": r"{{ '\ud800' }}",
    "half a character in an error": r"{{ '{:\ud800}'.format(1) }}",
    "a list of itself as JSON": "{% set l = [] %}{% do l.append(l) %}{{ l | tojson }}",
    "a wrong argument": "{{ 'a' | tojson(1, 2, 3) }}",
    "a wrong key": "{{ ({}).pop('a') }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_refused(name: str) -> None:
    """Field fault 72: code can neither hang nor fill the memory; the error, of one line, names the line."""
    text = f"---\nname: a\nsample: {{xs: [{', '.join('1' * 50)}]}}\n---\nsystem:\n{HOSTILE[name]}\n"
    with pytest.raises(TemplateError, match=r"\Ax\.prompty:\d+: its code can't be used: .+\Z") as raised:
        read_text(text, "x")
    assert len(str(raised.value).encode()) < 500


MEASURED = """
import resource, sys, time
from bot.prompts.imports import process
from bot.prompts.imports.rendering import LineError
began = time.monotonic()
for code in sys.argv[1:]:
    try:
        process.render(False, code, {})
    except LineError:
        continue
    raise SystemExit(f"{code} was not refused")
process.close()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss // 1024, used.ru_utime + used.ru_stime)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can't measure it")
def test_hostile_code_takes_little_memory_and_time() -> None:
    """Field fault 72: below 200 MB, and a few seconds of the processor for all of these."""
    names = ["a long text", "doubling with +", "a huge list", "a large number", "work in one step"]
    given = [sys.executable, "-c", MEASURED, *(HOSTILE[name] for name in names)]
    done = subprocess.run(given, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    megabytes, seconds = map(float, done.stdout.split())
    assert 0 < megabytes < 200
    assert seconds < 5 * 2


@pytest.mark.parametrize(
    "code", ["{{ ''.__class__.__mro__ }}", "{{ x.__init__.__globals__ }}", "{{ range.__self__ }}"]
)
def test_code_can_t_leave_the_sandbox(code: str) -> None:
    """Field fault 72: attributes that lead out of a template are empty."""
    assert read_text(f"---\nname: a\n---\nBe brief.{code}", "x").template.system == "Be brief."


# ------------------------------------------------------------------ the process


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The processes that were started for code."""
    process.close()
    processes: list[object] = []
    popen = subprocess.Popen

    def start(*given: Any, **options: Any) -> object:
        processes.append(popen(*given, **options))
        return processes[-1]

    monkeypatch.setattr("bot.prompts.imports.process.subprocess.Popen", start)
    yield processes
    process.close()


def test_no_process_without_code(started: list[object]) -> None:
    """Field fault 72: the bundled templates have no code, so the start of the bot needs no other process."""
    assert loader.load(loader.FOLDER)
    assert started == []


def test_one_process_for_all_files(started: list[object], tmp_path: Path) -> None:
    """Field fault 72: the files of a folder share one process, as starting one takes longer than a file."""
    (tmp_path / "zz.prompty").write_text(DEFAULT)
    for number in range(30):
        (tmp_path / f"t{number}.prompty").write_text(CODE)
    assert len(loader.load(tmp_path)) == 31
    assert len(started) == 1


def test_code_after_hostile_code_is_run(tmp_path: Path) -> None:
    """Field fault 72: a process that was killed is replaced, and the other files load."""
    hostile = HOSTILE["a large number"]
    for name, text in {"a": CODE, "b": CODE.replace("Be brief.", hostile), "c": CODE, "zz": DEFAULT}.items():
        (tmp_path / f"{name}.prompty").write_text(text)
    found = loader.load_usable(tmp_path)
    assert [one.name for one in found.templates] == ["a", "c", "zz"]
    assert [problem.partition("b.prompty:4: ")[2] for problem in found.problems] == [
        "its code can't be used: it repeats too much: a loop or text is too large"
    ]


def test_without_a_process_other_files_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Field fault 72: if no process can be started, only files with code are skipped."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no memory")

    process.close()
    monkeypatch.setattr("bot.prompts.imports.process.subprocess.Popen", fail)
    (tmp_path / "a.prompty").write_text(CODE)
    (tmp_path / "zz.prompty").write_text(DEFAULT)
    found = loader.load_usable(tmp_path)
    assert [one.name for one in found.templates] == ["zz"]
    assert "could not be run at the moment" in found.problems[0]


def test_a_value_too_large_is_refused() -> None:
    """Field fault 72: a number with too many digits to be written is an error of its file."""
    with pytest.raises(LineError, match="too large"):
        process.render(False, "{{ a }}", {"a": 10**5000})


# ------------------------------------------------------------------ files that nobody foresaw


def test_an_unforeseen_error_skips_one_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Field fault 72: whatever goes wrong with one file does not stop the load of the others."""
    read_body = prompty.read_body

    def failing(source: Any, *rest: Any) -> Any:
        if source.name.endswith("a.prompty"):
            raise KeyError("surprise")
        return read_body(source, *rest)

    monkeypatch.setattr(prompty, "read_body", failing)
    for name in ("a", "b"):
        (tmp_path / f"{name}.prompty").write_text("Hi.")
    (tmp_path / "zz.prompty").write_text(DEFAULT)
    found = loader.load_usable(tmp_path)
    assert [one.name for one in found.templates] == ["b", "zz"]
    assert "a.prompty:1: the file can't be read" in found.problems[0]
    assert "surprise" not in found.problems[0]


@pytest.mark.parametrize(
    ("front", "line", "words"),
    [
        ('description: "a\\ud83d"', 2, "half a character"),
        ('name: a\nsample: {a: "\\ude00"}', 3, "half a character"),
        (
            f"name: a\nsample: {{a: 0x{'f' * 20000}}}",
            5,
            "its code can't be used: a value of its inputs is too large",
        ),
        ("a: " + "[" * 30000, 2, "nested too deeply"),
        ("a: " + "[" * 9000 + "]" * 9000, 2, "nested too deeply"),
    ],
    ids=["surrogate", "surrogate in a sample", "a number of 24,000 digits", "open lists", "deep lists"],
)
def test_an_odd_value_is_an_error(front: str, line: int, words: str) -> None:
    """Field fault 72: the error has the line of the value."""
    with pytest.raises(TemplateError) as raised:
        read_text(f"---\n{front}\n---\nsystem:\n{{% if a %}}{{{{a}}}}{{% endif %}}", "x")
    assert f"x.prompty:{line}: " in str(raised.value)
    assert words in str(raised.value)


NAMES = [f"n{number}x" for number in range(6000)]
MANY = {
    "unknown placeholders": "system:\n" + "\n".join(f"{{{{{name}}}}}" for name in NAMES),
    "undeclared inputs": "---\nname: a\n---\nsystem:\n{% if 1 %}"
    + "\n".join(f"{{{{{name}}}}}" for name in NAMES)
    + "{% endif %}",
    "unknown fields": "---\n" + "\n".join(f"{name}: 1" for name in NAMES[:4000]) + "\n---\nHi.",
    "roles": "---\nname: a\n---\n" + "user:\na\nsystem:\nb\n" * 3000 + "{# a #}",
    "nearly roles": "usera:\nsystemb:\nassistent:\n" * 2000,
}


@pytest.mark.parametrize("name", MANY)
def test_many_problems_take_little_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Field fault 72: the time grows with the size of a file, not with its square; that took more than a minute."""
    steps = 0

    def counted(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(counted)
    try:
        with pytest.raises(TemplateError) as raised:
            read_text(MANY[name], "x")
    finally:
        sys.setprofile(None)
    assert len(str(raised.value).splitlines()) <= 51
    assert steps < 8_000_000
