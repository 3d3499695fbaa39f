"""The rules of the house that a reader would otherwise have to remember."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 500
MOST_FUNCTION_LINES = 40
MOST_CONSTRUCTOR_PARAMETERS = 7
MOST_MODULES = 15
MOST_WORDS_OF_A_TEST = 8
BANNED_NAMES = {"core", "utils", "helpers", "common", "base", "manager", "handler", "service", "misc"}
SKIPPED = {
    ".git",
    ".hypothesis",
    ".venv",
    ".venv-docs",
    "build",
    ".parley",
    "node_modules",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
}
# Addresses of a machine that somebody worked on, spelt so that this file holds none.
MACHINE = re.compile(r"(?<![\w.~$}/-])/(?:" + "|".join(("work", "root", "farm", "Users", "home")) + r")/\w")

Parsed = tuple[Path, str, ast.Module]


def files(*folders: str, suffix: str = ".py") -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
            if path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts):
                yield path


@pytest.fixture(scope="module")
def code() -> list[Parsed]:
    """The modules of the product, parsed."""
    found: list[Parsed] = []
    for path in files("bot", "adapters"):
        text = path.read_text(encoding="utf-8")
        found.append((path.relative_to(ROOT), text, ast.parse(text)))
    return found


def size(text: str) -> int:
    """Lines that aren't empty."""
    return sum(bool(line.strip()) for line in text.splitlines())


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every `name.attribute` and every import of a module, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def test_imports_point_down() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[run.stdout.find("Broken contracts") :]


def test_every_module_has_its_place_in_the_layers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = " ".join(project["tool"]["importlinter"]["contracts"][0]["layers"])
    rooms = {
        f"{folder}.{path.stem}"
        for folder in ("bot", "adapters")
        for path in (ROOT / folder).iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").is_file())
    }
    assert rooms == set(re.findall(r"[\w.]+", layers))


def test_a_file_is_named_with_what_it_owns() -> None:
    named = [
        path.relative_to(ROOT) for path in files("bot", "adapters", "tests") if path.stem in BANNED_NAMES
    ]
    assert named == [], "a file is named with the noun of the domain that it owns"


def test_modules_are_short(code: list[Parsed]) -> None:
    long = [f"{path}: {size(text)}" for path, text, _ in code if size(text) > MOST_LINES]
    assert long == [], f"more than {MOST_LINES} lines: look for the second thing that the module does"


def test_packages_are_small() -> None:
    sizes = Counter(
        path.parent.relative_to(ROOT) for path in files("bot", "adapters") if path.stem != "__init__"
    )
    assert {str(folder): size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.stmt) -> int:
    """Lines of a definition, with its signature and its docstring."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short(code: list[Parsed]) -> None:
    long = [
        f"{path}:{node.lineno} {node.name}: {lines_of(node)}"
        for path, _, tree in code
        for node in functions(tree)
        if lines_of(node) > MOST_FUNCTION_LINES
    ]
    assert long == [], f"more than {MOST_FUNCTION_LINES} lines: name a part of what they do"


def test_names_of_tests_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in files("tests")
        if path.name.startswith("test_")
        for node in functions(ast.parse(path.read_text(encoding="utf-8")))
        if node.name.startswith("test_")
        and len(node.name.removeprefix("test_").split("_")) > MOST_WORDS_OF_A_TEST
    ]
    assert long == [], f"more than {MOST_WORDS_OF_A_TEST} words: the rest belongs into the docstring"


def test_class_names_are_unique(code: list[Parsed]) -> None:
    places: dict[str, list[str]] = {}
    for path, _, tree in code:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_constructors_take_few_parameters(code: list[Parsed]) -> None:
    """Constructors that are written out; the fields of a value are not counted."""
    long = [
        f"{path}:{node.lineno}"
        for path, _, tree in code
        for node in functions(tree)
        if node.name == "__init__"
        and len(node.args.args) + len(node.args.kwonlyargs) - 1 > MOST_CONSTRUCTOR_PARAMETERS
    ]
    assert long == [], "group what belongs together into a value with a name"


def test_every_module_has_a_docstring(code: list[Parsed]) -> None:
    silent = [str(path) for path, _, tree in code if not ast.get_docstring(tree)]
    assert silent == [], "without a docstring"


def test_only_settings_read_the_environment(code: list[Parsed]) -> None:
    readers = [
        f"{path}:{line} {name}"
        for path, _, tree in code
        for line, name in uses(tree)
        if name in {"os.environ", "os.getenv", "os.environb"} and path != Path("bot/app/settings.py")
    ]
    assert readers == [], "bot/app/settings.py is the only reader of the environment"


def test_nothing_blocks_the_loop(code: list[Parsed]) -> None:
    blocking = {"time.sleep", "requests", "urllib.request", "urllib.request.urlopen", "subprocess.run"}
    without_a_loop = {Path("bot/storage/embedded/watchdog.py")}
    found = [
        f"{path}:{line} {name}"
        for path, _, tree in code
        for line, name in uses(tree)
        if name in blocking and path not in without_a_loop
    ]
    assert found == [], "the loop waits for nobody"


def test_the_tree_names_no_path_of_a_machine() -> None:
    found: list[str] = []
    for path in files("", suffix=""):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE.search(line)
        ]
    assert found == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-docs.lock"])
def test_the_lock_names_no_index_and_pins_everything(name: str) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index" not in lock
    pins = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert [line for line in pins if "==" not in line] == []
    assert lock.count("--hash=sha256:") >= len(pins)
