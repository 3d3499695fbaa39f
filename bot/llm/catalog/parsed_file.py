"""Reads YAML and TOML of operators so that mistakes are reported with their line."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec
import yaml

from bot.domain.errors import ConfigError
from bot.llm.bundled_files import BundledLoader

FieldPath: TypeAlias = Sequence[str | int]
"""Where a value stands: the names of fields and the numbers of entries that lead to it."""


class _UndatedLoader(yaml.SafeLoader):
    """YAML without dates: an api_version such as 2024-10-21 stays text."""


_UndatedLoader.yaml_implicit_resolvers = BundledLoader.yaml_implicit_resolvers


class ParsedFile(NamedTuple):
    """A file's content, and where it stands: the tree of a YAML file, the lines of a TOML file's entries."""

    body: dict[str, Any]
    tree: yaml.Node | None
    entries: list[int]

    def line(self, path: FieldPath) -> str:
        """Where the nearest thing to this path stands, as `, line 3`; empty when nobody knows."""
        if self.tree is not None:
            return f", line {_line(self.tree, path)}"
        at = next((step for step in path if isinstance(step, int)), len(self.entries))
        return f", line {self.entries[at]}" if at < len(self.entries) else ""


def parse(text: str, name: str, entries: str, *, is_bundled: bool = False) -> ParsedFile:
    """Parse TOML if the file's name says so, else YAML. `entries` is the name of its list.

    A file that comes with Parley (`is_bundled`) is read faster. Raises ConfigError, which begins with the name.
    """
    raw: Any
    tree: yaml.Node | None = None
    lines: list[int] = []
    try:
        if name.endswith(".toml"):
            raw = tomllib.loads(text)
            lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == f"[[{entries}]]"]
        else:
            loader: Any = (BundledLoader if is_bundled else _UndatedLoader)(text)
            tree = loader.get_single_node()
            raw = None if tree is None else loader.construct_document(tree)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{name}: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: must contain a list `{entries}`")
    return ParsedFile(cast("dict[str, Any]", raw), tree, lines)


def _line(node: yaml.Node, path: FieldPath) -> int:
    """The line, from 1, of the node at this path, or of its nearest ancestor."""
    line = node.start_mark.line + 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == step), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def explain(error: msgspec.ValidationError, names: Iterable[str]) -> tuple[FieldPath, str]:
    """Path and text of an error, from msgspec's message. `names` are the fields that may be meant by an unknown one."""
    words, _, place = str(error).partition(" - at `$")
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", place)
    path: list[str | int] = [name or int(number) for name, number in steps]
    unknown = re.search(r"unknown field `([^`]+)`", words)
    if unknown is None:
        return path, f"{'.'.join(map(str, path))}: {words}" if path else words
    name = unknown[1]
    if "key" in name.lower() and name != "key_env":
        hint = f"{name!r} is unknown; keys are not allowed in this file: `key_env` names a variable"
        return [*path, name], hint
    near = difflib.get_close_matches(name, list(names), n=1)
    return [*path, name], f"{name!r} is unknown" + (f"; did you mean {near[0]!r}?" if near else "")
