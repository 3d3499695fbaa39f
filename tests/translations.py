"""The messages of the source and their translations: `python -m tests.translations` brings the files up to date.

A message that is new in the source is added to each file without a translation, one that is gone is removed.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import yaml
from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from bot.domain.words import LANGUAGES, LOCALES

ROOT = Path(__file__).parents[1]
FOLDERS = ("bot", "adapters")
FOR_OPERATORS = (
    *(
        "bot/app",
        "bot/cli",
        "bot/evals",
        "bot/llm/demo",
        *(f"bot/prompts/{name}" for name in ("assignments", "editing", "publisher", "review")),
        "bot/storage/prompts/saved_configs.py",
    ),
    *("adapters/studio", "adapters/terminal.py", "bot/conversation/playground.py"),
    *("bot/conversation/addressing.py", "bot/conversation/builtin_tools.py"),
)
"""Paths whose texts stay English: pages, commands and templates of operators, what models are told, and the built-in
model for trying out."""
REFUSALS = frozenset(
    ("Refused", "RateLimited", "BudgetSpent", "UnknownPrice", "TooLong", "ContentFiltered", "NotAllowed")
)
"""Errors whose first argument is a message to a person."""
PLURALS = {
    "de": "nplurals=2; plural=n != 1;",
    "es": "nplurals=2; plural=n != 1;",
    "fr": "nplurals=2; plural=n > 1;",
    "ja": "nplurals=1; plural=0;",
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, order=True)
class Found:
    """A message of the source; `many` is its plural, if it has one."""

    one: str
    path: str
    many: str = ""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The modules with texts for people."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(FOR_OPERATORS):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def literal(node: ast.expr | None) -> str | None:
    """The text of a literal string."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def messages_in(path: str, tree: ast.AST) -> Iterator[Found]:
    """The messages of a module: literal arguments of `tr`, `marked`, `trn`, refusals and unread parts."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if name == "UnreadPart":
            given = {word.arg: literal(word.value) for word in node.keywords}
            yield from (Found(text, path) for word in ("name", "reason") if (text := given.get(word)))
        if not node.args or (one := literal(node.args[0])) is None:
            continue
        if name in ("tr", "marked", "notice") or name in REFUSALS:
            yield Found(one, path)
        elif name == "trn" and (many := literal(node.args[1])) is not None:
            yield Found(one, path, many)


@cache
def messages() -> Mapping[str, tuple[Found, ...]]:
    """Every message of the source, by its text (of a message with a plural: the singular)."""
    found = [each for path, tree in modules() for each in messages_in(path, tree)]
    errors = "bot/llm/failures/errors.yaml"
    rows = yaml.safe_load((ROOT / errors).read_text(encoding="utf-8"))
    found += [Found(row["person"], errors) for row in rows if row.get("person")]
    grouped: dict[str, tuple[Found, ...]] = {}
    for each in sorted(set(found), key=lambda each: (each.path, each.one)):
        if each.one:
            grouped[each.one] = (*grouped.get(each.one, ()), each)
    return grouped


def placeholders(text: str) -> set[str]:
    """The names of the placeholders of a message."""
    return set(_PLACEHOLDER.findall(text))


def catalog_of(language: str) -> Catalog:
    """The file of a language as it is."""
    path = LOCALES / f"{language}.po"
    with path.open("rb") if path.exists() else BytesIO() as file:
        return read_po(file, language)


def texts_of(language: str) -> dict[str, tuple[str, ...]]:
    """The translations in the file of a language, by message; each in all its forms."""
    return {
        (each.id if isinstance(each.id, str) else each.id[0]): (
            (each.string,) if isinstance(each.string, str) else tuple(each.string or ())
        )
        for each in catalog_of(language)
        if each.id
    }


def updated(language: str, known: Mapping[str, tuple[str, ...]]) -> bytes:
    """The file of a language for the messages of the source, with the translations that are known."""
    catalog = Catalog(locale=language, fuzzy=False)
    catalog.mime_headers = [("Plural-Forms", PLURALS[language])]
    for one, places in messages().items():
        many = next((each.many for each in places if each.many), "")
        forms = known.get(one, ())
        count = 1 if language == "ja" else 2
        catalog.add(
            (one, many) if many else one,
            (forms + ("",) * count)[:count] if many else (forms or ("",))[0],
            locations=[(path, 0) for path in dict.fromkeys(each.path for each in places)],
        )
    file = BytesIO()
    write_po(file, catalog, width=110, include_lineno=False, omit_header=True)
    header = f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"Plural-Forms: {PLURALS[language]}\\n"\n'
    return (header + '"Content-Type: text/plain; charset=utf-8\\n"\n\n').encode() + file.getvalue()


def main() -> None:
    for language in LANGUAGES:
        known = texts_of(language)
        (LOCALES / f"{language}.po").write_bytes(updated(language, known))
        missing = sum(not all(known.get(one, ("",))) for one in messages())
        print(f"{language}: {missing} messages to translate")


if __name__ == "__main__":
    main()
