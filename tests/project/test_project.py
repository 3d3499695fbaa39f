"""What surrounds the code: settings, the Makefile, the Procfile and the lock agree with it."""

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from pydantic import AliasChoices

from bot.app.settings import Settings
from bot.prompts.loader import load

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names() -> set[str]:
    """What the environment calls each setting."""
    found: set[str] = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        found.add(str(alias.choices[0]) if isinstance(alias, AliasChoices) else name.upper())
    return found


def documented() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_example_documents_every_setting_and_nothing_else() -> None:
    assert set(documented()) == names()


def test_each_example_setting_has_a_comment() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    wordless = [
        line
        for above, line in itertools.pairwise(lines)
        if "=" in line and not line.startswith("#") and (not above or above.startswith("# ---"))
    ]
    assert wordless == []


def test_the_example_shows_the_defaults() -> None:
    example = Settings(_env_file=ROOT / ".env.example")  # pyright: ignore[reportCallIssue]
    assert example == Settings(_env_file=None)  # pyright: ignore[reportCallIssue]


def test_the_procfile_runs_commands_that_exist() -> None:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    processes = dict(line.split(": ", 1) for line in lines)
    assert processes == {"release": "parley check", "web": "parley web", "worker": "parley worker"}


def test_make_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    run = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    explained = set(re.findall(r"make (\w+)", run.stdout))
    assert explained == targets - {"help"}


def test_what_is_imported_is_a_declared_dependency() -> None:
    declared = {
        re.split(r"[\[<>=;! ]", one, maxsplit=1)[0].lower() for one in PROJECT["project"]["dependencies"]
    }
    optional = {
        re.split(r"[\[<>=;! ]", one, maxsplit=1)[0].lower()
        for extra in PROJECT["project"]["optional-dependencies"].values()
        for one in extra
    }
    owners = packages_distributions()
    undeclared: set[str] = set()
    for path in [*(ROOT / "bot").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            undeclared |= {name.partition(".")[0] for name in names} - {
                "pydantic_core"
            }  # pydantic's own half
    undeclared -= {*sys.stdlib_module_names, *optional, "bot", "adapters"}
    named = {name: {owner.lower().replace("_", "-") for owner in owners[name]} for name in undeclared}
    assert [name for name, distributions in named.items() if not distributions & declared] == []


def test_the_example_of_the_prompts_readme_loads(tmp_path: Path) -> None:
    readme = (ROOT / "prompts" / "README.md").read_text(encoding="utf-8")
    example = re.search(r"^```yaml\n(---\n.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert example is not None
    (tmp_path / "haiku.prompty").write_text(example[1], encoding="utf-8")
    (tmp_path / "assistant.prompty").write_text(
        "---\nmetadata: {parley: {match: {default: true}}}\n---\nHi.", encoding="utf-8"
    )
    haiku = load(tmp_path)[1]
    assert haiku.match.commands == ("haiku",)
    assert haiku.inputs == {"season": "any season"}
    assert [one.user for one in haiku.examples] == ["rain"]


def test_the_image_uses_the_lock_without_root() -> None:
    """Field fault 95: a container runs what the lock pins, as nobody in particular, and holds no settings."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    installs = re.findall(r"pip install [^&]*", text)
    assert all("--no-deps" in one for one in installs)
    assert [one for one in installs if "requirements.lock" in one and "--require-hashes" in one]
    final = steps[max(at for at, (word, _) in enumerate(steps) if word == "FROM") :]
    received = dict(final)
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", received["USER"])
    assert json.loads(received["ENTRYPOINT"]) == ["parley"]  # no shell: SIGTERM reaches the process
    assert json.loads(received["CMD"]) == ["serve"]
    check = json.loads(received["HEALTHCHECK"].partition("CMD ")[2])
    compile(check[2], "HEALTHCHECK", "exec")
    assert received["VOLUME"] in received["ENV"]
    assert not re.search(
        r"(?i)(token|secret|password|api_key)\w*=", text.replace("PARLEY_STUDIO_TOKEN=...", "")
    )
    settings = set(re.findall(r"([A-Z_]+)=", received["ENV"])) - {"PATH"}
    assert {one for one in settings if not one.startswith("PYTHON")} <= names()


def test_the_image_copies_only_what_it_needs() -> None:
    """Field fault 95: neither .env nor data can get into an image."""
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#"
    ]
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    copied = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name for line in copied for name in line.split()} == let_in
    assert "**/.env*" in rules
