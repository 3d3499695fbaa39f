"""Documents: their links resolve, and the files, settings and commands that they name exist."""

import re
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from bot.cli.main import parley
from tests.project.test_project import names

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "prompts").glob("*.md"),
        ROOT / "tests" / "emulators" / "README.md",
    }
)
MOST_LINES = {"README.md": 150, "ARCHITECTURE.md": 150}
SHOWN = r"(?:^(?: {4})?(?:PARLEY_\w+=\S+ )*|`|\.venv/bin/)parley ([a-z][a-z-]+)(?: ([a-z]+))?"
"""A command of ours: at the beginning of a line, or of code in a line."""
TARGETS = r"^\.PHONY: (\S+)$"

each = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@each
def test_links_between_documents_resolve(document: Path) -> None:
    broken: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text(encoding="utf-8"))):
        address, _, anchor = target.partition("#")
        if re.match(r"\w+:", address):
            continue
        path = (document.parent / address).resolve() if address else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@each
def test_files_that_documents_name_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:bot|adapters|tests|deploy|examples|docs)/[\w./-]*)`", text)
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_modules_that_overviews_name_exist(name: str) -> None:
    """A path may be shortened where the one before it says where it is."""
    there = [
        str(path.relative_to(ROOT)) for folder in ("bot", "adapters") for path in (ROOT / folder).rglob("*.*")
    ]
    named = re.findall(r"`([\w/]+\.(?:py|lua|yaml|js|html))`", (ROOT / name).read_text(encoding="utf-8"))
    short = [
        one
        for one in named
        if "NAME" not in one and not one.startswith("build/") and not (ROOT / one).exists()
    ]
    assert [one for one in short if not any(path.endswith(f"/{one}") for path in there)] == []


@pytest.mark.parametrize("name", MOST_LINES)
def test_overviews_are_short(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= MOST_LINES[name]


def test_the_configuration_page_lists_every_setting() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    _, _, table = text.partition("## All settings")
    listed = re.findall(r"`([A-Za-z_]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)))
    assert sorted(listed) == sorted(names())


@each
def test_settings_that_documents_name_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:PARLEY|SLACK|AZURE_OPENAI)_[A-Z_]+[A-Z]\b", text))
    assert named - names() <= {"PARLEY_CHROMIUM", "PARLEY_EMULATORS"}


@each
def test_commands_that_documents_show_exist(document: Path) -> None:
    known = typer.main.get_group(parley).commands
    groups = {name: set(getattr(group, "commands", {})) for name, group in known.items()}
    text = document.read_text(encoding="utf-8")
    wrong: list[str] = []
    found: list[tuple[str, str]] = re.findall(SHOWN, text, re.MULTILINE)
    for command, below in found:
        if command not in known:
            wrong.append(f"parley {command}")
        elif groups[command] and below and below not in groups[command]:
            wrong.append(f"parley {command} {below}")
    assert wrong == []


def test_make_targets_that_documents_show_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(TARGETS, makefile, re.MULTILINE))
    for document in DOCUMENTS:
        shown = set(re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE))
        assert shown <= targets, document.name


def test_decisions_are_numbered_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index) == files


def test_pre_commit_runs_the_project_s_own_tools() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
        assert hook["language"] == "system"
        tool = Path(program).name
        lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
        package = {"lint-imports": "import-linter"}.get(tool, tool)
        assert re.search(rf"^{package}(\[\w+\])?==", lock, re.MULTILINE), tool


def test_the_site_has_every_document_in_its_navigation() -> None:
    """Strict mode does not ask for that: a page that nothing leads to is found by searching only."""
    config = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))
    pages = set(re.findall(r"'([\w./-]+\.md)'", str(config["project"]["nav"])))
    decisions = set((ROOT / "docs" / "decisions").glob("[0-9]*.md"))  # their own list leads to them
    assert pages == {str(path.relative_to(ROOT)) for path in set(DOCUMENTS) - decisions}
