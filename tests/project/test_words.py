"""Names and messages use the field's standard terms: one word for one thing, and no metaphors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

_NAMES = """
    anew atelier ballot bench bill bills bury buried desk easel examiner fleet glimpse
    graveyard heed heeds holes house knobs manner manners nearness nudge office paper payers press
    reception recollect recollection rivals room rooms roster rota said scene seam shelf
    shots sketch stage surfaces tally thank turned vault whisper wish wishes wording workbench
"""
IN_NAMES = frozenset(_NAMES.split())
IN_TEXTS = re.compile(
    r"\b(anew|atelier|bur(y|ied)|catalogue|desk|easel|heed(s|ed)?|is away|manners?|nobody|nudge[ds]?|of late|"
    r"roster|rota|shelf|thank(s|ed)|whoever|wish(es|ed)?)\b",
    re.I,
)
NAMES_THAT_STAY = {
    "bot/files/documents.py": {"office"},  # Microsoft Office
    "bot/prompts/front_matter.py": {"shots"},  # a key of prompt files
    "bot/domain/prompts.py": {"shots"},
    "bot/llm/demo/figures.py": {"house"},  # that is drawn
    "adapters/studio/playground/config.py": {"shots"},
}
TEXTS_THAT_STAY = {
    "bot/cli/main.py": {"buried"},  # the old name of a command
    "bot/llm/demo": {"thanks", "wish", "nobody"},  # small talk
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("bot", "adapters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def names(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module calls things: itself, classes, functions, parameters, variables, fields."""
    yield 1, Path(path).stem
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case _:
                pass


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Strings of more than one word that are no docstrings."""
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        if " " in node.value.strip() and id(node) not in described:
            yield node.lineno, node.value


def stays(allowed: dict[str, set[str]], path: str, word: str) -> bool:
    return any(path.startswith(start) and word in words for start, words in allowed.items())


def test_names_are_standard_terms() -> None:
    found = [
        f"{path}:{line} {name}"
        for path, tree in modules()
        for line, name in names(path, tree)
        for word in re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())
        if word in IN_NAMES and not stays(NAMES_THAT_STAY, path, word)
    ]
    assert found == []


def test_messages_are_plain_english() -> None:
    found = [
        f"{path}:{line} {text[:100]!r}"
        for path, tree in modules()
        for line, text in texts(tree)
        for word in IN_TEXTS.finditer(text)
        if not stays(TEXTS_THAT_STAY, path, word[0].lower())
    ]
    assert found == []


def test_the_lists_find_what_they_are_for() -> None:
    tree = ast.parse('def said(wish):\n    """A docstring anew."""\n    return "It was buried here."')
    assert [name for _, name in names("bot/x.py", tree)] == ["x", "said", "wish"]
    assert [text for _, text in texts(tree)] == ["It was buried here."]
    assert IN_TEXTS.search("It was buried here.")
