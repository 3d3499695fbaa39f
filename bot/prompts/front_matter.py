"""Reads YAML front matter with line numbers, for precise error messages."""

import difflib
import re
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import msgspec
import yaml

from bot.domain.errors import TemplateError

_T = TypeVar("_T")
REFERENCE = re.compile(r"\$\{(env|file):", re.IGNORECASE)
MOST_PROBLEMS = 50
"""Of one file that are reported."""
_DEEP = re.compile(r"(?:[\[{]\s*){50}")
"""Nested so deeply, YAML takes seconds before it fails."""
_NEAR = 0.85
"""Similarity from which an unknown field of a file of another tool is taken for a misspelt one."""
_UNUSED = re.compile(
    r"\s+(azure_endpoint|azure_deployment|api_key|api_version|base_url|endpoint|apiKey|id)\s*:|sample\s*:"
)
"""Lines of files of the first version that describe the model endpoint; they are not used."""


class SourceFile:
    """The text of a file, with the name used in errors: `prompts/assistant.prompty:12`.

    `foreign` files were written for other tools: what Parley does not use is noted, not refused.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        self.foreign = False
        self.problems: list[TemplateError] = []
        self.notes: dict[str, None] = {}
        """In the order in which they were made."""

    def error(self, line: int, words: str) -> TemplateError:
        """An error with file name and line number."""
        return TemplateError(f"{self.name}:{line}: {words}")

    def note(self, line: int, words: str) -> None:
        """Note something that is not used, or not as the author may expect."""
        self.notes[f"line {line}: {words}"] = None

    @contextmanager
    def collecting(self) -> Generator[None]:
        """Collect a TemplateError, so that all problems of a file are reported together."""
        try:
            yield
        except TemplateError as error:
            self.problems.append(error)

    def attempt(self, default: _T, read: Callable[..., _T], *args: object) -> _T:
        """What `read` returns, or `default` if it raises TemplateError, which is collected."""
        with self.collecting():
            return read(*args)
        return default

    def check(self) -> None:
        """Raise a TemplateError with a line for each collected problem, in the order of the file."""
        found = {line: None for problem in self.problems for line in str(problem).split("\n")}
        lines = sorted(found, key=self._line_of)
        if len(lines) > MOST_PROBLEMS:
            more = f"{self.name}: and {len(lines) - MOST_PROBLEMS} more problems"
            lines = [*lines[:MOST_PROBLEMS], more]
        if lines:
            raise TemplateError("\n".join(lines))

    def _line_of(self, problem: str) -> int:
        number = problem.removeprefix(f"{self.name}:").partition(":")[0]
        return int(number) if number.isdigit() else 0


def open_source(path: Path, most_bytes: int) -> SourceFile:
    """Read a file. Raises TemplateError if it can't be read, is too large, or is not UTF-8."""
    try:
        if path.exists() and not path.is_file():  # a directory, or a pipe, which would be waited for
            raise TemplateError(f"{path}:1: not a file; move it out of the folder")
        size = path.stat().st_size
        if size > most_bytes:
            raise TemplateError(f"{path}:1: the file has {size} bytes; the limit is {most_bytes}")
        return SourceFile(str(path), path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise TemplateError(f"{path}:1: the file can't be read: {words}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TemplateError(f"{path}:{line}: not UTF-8 text") from None


class _MappingWithLines(dict[str, object]):
    """A mapping with the line number of each key."""

    def __init__(self, values: dict[str, object], lines: dict[str, int]) -> None:
        super().__init__(values)
        self.lines = lines


class _FrontMatterLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which also rejects aliases (they can expand without limit) and duplicate keys."""

    first = 1
    """The line of the file where the YAML begins."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = cast(yaml.Mark, self.peek_event().start_mark)  # pyright: ignore[reportUnknownMemberType]
            raise yaml.MarkedYAMLError(None, None, "YAML aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        table = _MappingWithLines({}, {})
        for key_node, value_node in node.value:
            key = str(self._value(key_node))
            if key in table:
                raise yaml.MarkedYAMLError(None, None, f"{key!r} appears twice", key_node.start_mark)
            table[key] = self._value(value_node)
            table.lines[key] = key_node.start_mark.line + self.first
        return cast(dict[Hashable, object], table)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """A text; two escaped halves of a character, as JSON has them, are joined."""
        value = super().construct_scalar(node)
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            words = "half a character (a surrogate)"
            raise yaml.MarkedYAMLError(None, None, words, node.start_mark) from None

    def _value(self, node: yaml.Node) -> object:
        return self.construct_object(node, deep=True)  # pyright: ignore[reportUnknownMemberType]


_FrontMatterLoader.add_constructor("tag:yaml.org,2002:map", _FrontMatterLoader.construct_mapping)


class MappingReader:
    """The fields of one mapping.

    As a context manager, it raises TemplateError at the end for fields that were never read, and suggests
    the nearest known name. All methods raise TemplateError for values of the wrong type.
    """

    def __init__(self, source: SourceFile, data: object, line: int, where: str = "") -> None:
        if data is None:
            data = _MappingWithLines({}, {})
        if not isinstance(data, _MappingWithLines):
            raise source.error(line, f"{where or 'this'} must be a mapping, `name: value`")
        self._source, self._data, self._line, self._where = source, data, line, where
        self._read: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        unknown = [] if kind is not None else [key for key in self._data if key not in self._read]
        known = frozenset(self._read)
        problems = [
            str(self.error(key, f"unknown field {key!r}{nearest(key, known)}"))
            for key in unknown[:MOST_PROBLEMS]
            if not self._noted(key, known)
        ]
        for key in unknown[MOST_PROBLEMS:]:
            self.note(key)
        if problems:
            raise TemplateError("\n".join(problems))

    def _noted(self, key: str, known: frozenset[str]) -> bool:
        """Whether an unknown field is one of another tool's, which is noted; a misspelt one is not."""
        if not self._source.foreign or difflib.get_close_matches(key, known, 1, _NEAR):
            return False
        self.note(key)
        return True

    def note(self, *keys: str) -> None:
        """Accept fields of other tools, and note those that are there."""
        for key in keys:
            self._read.add(key)
            if key in self._data:
                where = f"{self._where}.{key}" if self._where else key
                self._source.note(self.line(key), f"{where!r} is not used")

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def line(self, key: str) -> int:
        """The line number of a field, or of the mapping if the field is missing."""
        return self._data.lines.get(key, self._line)

    def error(self, key: str, words: str) -> TemplateError:
        return self._source.error(self.line(key), f"{words} (in {self._where})" if self._where else words)

    def any(self, key: str) -> object:
        """A value of any type, None if missing."""
        self._read.add(key)
        return self._data.get(key)

    def ignore(self, *keys: str) -> None:
        """Accept fields that only other tools use."""
        self._read.update(keys)

    def text(self, key: str) -> str | None:
        """A text, None if missing."""
        return self._typed(key, str, "text")

    def first_text(self, *keys: str) -> str | None:
        """The first of several fields that is set: the versions of the format use different names."""
        return next((text for text in [self.text(key) for key in keys] if text), None)

    def flag(self, key: str) -> bool:
        """A boolean, false if missing."""
        return self._typed(key, bool, "true or false") or False

    def count(self, key: str, most: int) -> int:
        """A whole number from 0 to `most`, 0 if missing."""
        value = self._typed(key, int, "a whole number") or 0
        if not 0 <= value <= most:
            raise self.error(key, f"{key!r} must be from 0 to {most}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or a single text; empty if missing."""
        value = self.any(key)
        listed = [] if value is None else [value] if isinstance(value, str) else value
        try:
            return msgspec.convert(listed, tuple[str, ...])
        except msgspec.ValidationError:
            raise self.error(
                key, f"{key!r} must be a list of texts (put words such as yes, no, on in quotes)"
            ) from None

    def plain(self, key: str) -> dict[str, Any]:
        """A mapping of any JSON values, which are not checked; empty if missing."""
        value = self.any(key)
        if value is not None and not isinstance(value, _MappingWithLines):
            raise self.error(key, f"{key!r} must be a mapping")
        try:
            return msgspec.json.decode(msgspec.json.encode(value or {}))
        except (TypeError, msgspec.MsgspecError, UnicodeError):
            raise self.error(key, f"{key!r} has a value that JSON does not support") from None

    def fields(self, key: str) -> "MappingReader":
        """A mapping; empty if missing."""
        where = f"{self._where}.{key}" if self._where else key
        return MappingReader(self._source, self.any(key), self.line(key), where)

    def entries(self, key: str) -> list[tuple[str, "MappingReader"]]:
        """Mappings by name, or (v2) a list of mappings with a `name`; a plain value is a default."""
        value = self.any(key)
        where = f"{self._where}.{key}" if self._where else key
        if isinstance(value, _MappingWithLines) and _is_schema(value):
            return self.fields(key).entries("properties")
        if isinstance(value, list):
            read = [self._item(item, self.line(key), where) for item in cast(list[object], value)]
            return [(fields.text("name") or fields.text("id") or "", fields) for fields in read]
        table = self.fields(key)
        found: list[tuple[str, MappingReader]] = []
        for name in table._data:
            entry = table.any(name)
            if not isinstance(entry, _MappingWithLines):
                entry = _MappingWithLines({"default": entry}, {"default": table._data.lines[name]})
            found.append((name, MappingReader(self._source, entry, table.line(name), f"{where}.{name}")))
        return found

    def _item(self, item: object, line: int, where: str) -> "MappingReader":
        """An item of a list of named mappings, or just its name."""
        if isinstance(item, str):
            item = _MappingWithLines({"name": item}, {"name": line})
        if isinstance(item, _MappingWithLines):
            line = min(item.lines.values(), default=line)
        return MappingReader(self._source, item, line, where)

    def each(self, key: str) -> list["MappingReader"]:
        """A list of mappings; empty if missing."""
        value = self.any(key)
        if value is not None and not isinstance(value, list):
            raise self.error(key, f"{key!r} must be a list; begin each item with a dash")
        found: list[MappingReader] = []
        for number, item in enumerate(cast("list[object]", value or []), 1):
            line = (
                min(item.lines.values(), default=self.line(key))
                if isinstance(item, _MappingWithLines)
                else self.line(key)
            )
            found.append(MappingReader(self._source, item, line, f"{key}, number {number}"))
        return found

    def _typed(self, key: str, kind: type[_T], words: str) -> _T | None:
        value = self.any(key)
        if value is None or type(value) is kind:
            return cast("_T | None", value)
        raise self.error(key, f"{key!r} must be {words}")


def _is_schema(value: _MappingWithLines) -> bool:
    """Whether a mapping is a JSON schema of an object, and has no input called `properties`."""
    properties = value.get("properties")
    if isinstance(properties, list):
        return True
    known = {
        "type",
        "properties",
        "required",
        "description",
        "additionalProperties",
        "$schema",
        "strict",
        "title",
    }
    return (
        isinstance(properties, _MappingWithLines)
        and value.keys() <= known
        and all(isinstance(each, dict) for each in properties.values())
    )


def nearest(word: str, words: Iterable[str]) -> str:
    """A suggestion to append to an error about an unknown word: the nearest known one, or all of them."""
    known = sorted(words)
    matches = difflib.get_close_matches(word, known, 1, 0.6)
    if matches:
        return f"; did you mean {matches[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def front_matter(source: SourceFile) -> tuple[MappingReader, int]:
    """The fields between the two `---`, and the number of lines that they take (0 if there are none)."""
    begin = next((number for number, line in enumerate(source.lines) if line.strip()), 0)
    if not source.lines or source.lines[begin].rstrip() != "---":
        return MappingReader(source, None, 1), 0
    lines = enumerate(source.lines[begin + 1 :], begin + 2)
    end = next((number for number, line in lines if line.rstrip() == "---"), None)
    if end is None:
        raise source.error(begin + 1, "the front matter has no closing '---'")
    return MappingReader(
        source, _parsed(source, source.lines[begin + 1 : end - 1], begin + 2), begin + 1
    ), end


def check_references(source: SourceFile, end: int) -> None:
    """Refuse references to the environment and to files, which are never resolved, in a file of Parley's own.

    Fields of the front matter, its first `end` lines, that are not used may have some. Raises TemplateError.
    """
    for number, line in enumerate(source.lines, 1):
        if not REFERENCE.search(line) or (number < end and (source.foreign or _UNUSED.match(line))):
            continue
        words = "${env:} and ${file:} references are not supported"
        if not source.foreign:
            raise source.error(number, words)
        source.note(number, f"{words}: it is sent as text")


def whole(source: SourceFile) -> MappingReader:
    """The fields of a file that consists of YAML only."""
    return MappingReader(source, _parsed(source, source.lines, 1), 1)


def _parsed(source: SourceFile, lines: list[str], first: int) -> object:
    """Parse YAML lines of which the first is line `first` of the file."""
    text = "\n".join(lines)
    if _DEEP.search(text):
        raise source.error(first, "not valid YAML: it is nested too deeply")
    loader = _FrontMatterLoader(text)
    loader.first = first
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise source.error(mark.line + first if mark else first, error.problem or str(error)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise source.error(1, f"not valid YAML: {error}") from None
    finally:
        loader.dispose()
