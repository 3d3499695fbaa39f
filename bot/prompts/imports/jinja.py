"""Renders Jinja templates of other tools, in Jinja's sandbox.

Runs in a process that is killed at its limits of time and memory (`process.py`), so nothing is counted here.
"""

import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

from jinja2 import ChainableUndefined, TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Undefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from bot.prompts.imports.rendering import (
    MOST_CHARACTERS,
    LineError,
    NamedText,
    Placeholders,
    TooMuchWork,
    printed,
)

_KEEPING = ("d", "default", "e", "escape", "forceescape", "safe", "string", "trim")
"""Filters that leave a placeholder as it is."""
_TAG = re.compile(r"\{%.*?%\}|\{#.*?#\}")
_FORBIDDEN = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _Missing(ChainableUndefined):
    """A value that the file does not give: empty, smaller than everything, and callable."""

    def _less(self, other: object) -> bool:
        return False

    def __call__(self, *args: object, **kwargs: object) -> "_Missing":
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _less  # pyright: ignore[reportAssignmentType]

    @property
    def root(self) -> str:
        """Its name, if it is a variable and no field of one."""
        return str(self._undefined_name or "") if self._undefined_obj is missing else ""


class _Generator(CodeGenerator):
    """Lets `~` print placeholders, as `+` does."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Environment(SandboxedEnvironment):
    """One rendering and its placeholders."""

    intercepted_binops = frozenset("+")
    code_generator_class = _Generator

    def __init__(self) -> None:
        super().__init__(
            undefined=_Missing,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            optimized=False,
            cache_size=0,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
            finalize=self.shown,
        )
        self.placeholders = Placeholders()
        filters: dict[str, Callable[..., Any]] = dict(self.filters)
        self.filters |= {name: _keeping(name, filters[name]) for name in _KEEPING}
        self.filters["tojson"] = _tojson(filters["tojson"])
        self.globals.pop("lipsum")

    def shown(self, value: object) -> str:
        """What an expression prints."""
        if isinstance(value, NamedText):
            return self.placeholders.mark(value.name)
        if isinstance(value, _Missing):
            return self.placeholders.mark(value.root) if value.root else ""
        if isinstance(value, list | tuple | dict):
            return printed(cast(object, value))
        return "" if value is None else str(value)

    def joined(self, values: tuple[object, ...]) -> str:
        """Several values as one text."""
        return "".join(map(self.shown, values))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, str | _Missing) or isinstance(right, str | _Missing):
            return self.joined((left, right))
        return super().call_binop(context, operator, left, right)


def _keeping(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def kept(value: Any, *args: Any, **named: Any) -> Any:
        if isinstance(value, NamedText) and (value or name not in ("d", "default")):
            return value
        return original(value, *args, **named)

    return kept


def _tojson(original: Callable[..., Any]) -> Callable[..., Any]:
    def tojson(context: Any, value: Any, *args: Any, **named: Any) -> Any:
        return "null" if isinstance(value, Undefined) else original(context, value, *args, **named)

    tojson.jinja_pass_arg = getattr(original, "jinja_pass_arg")  # pyright: ignore  # noqa: B009
    return tojson


def render(text: str, values: Mapping[str, object]) -> str:
    """The rendered text; `NamedText` values and unknown variables stay as placeholders.

    Raises LineError with the reason and the line of the text, counted from 1.
    """
    environment = _Environment()
    try:
        tree = environment.parse(_with_line_ends(text))
        for node in tree.find_all(_FORBIDDEN):
            raise LineError(node.lineno, "other files can't be included")
        pieces: list[str] = []
        size = 0
        for piece in environment.from_string(tree).generate(**values):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_CHARACTERS:
                raise TooMuchWork
        return environment.placeholders.restored("".join(pieces))
    except LineError:
        raise
    except TemplateSyntaxError as error:
        raise LineError(error.lineno, error.message or "is not valid Jinja") from None
    except (RecursionError, MemoryError, OverflowError) as error:
        raise LineError(_line(error), str(TooMuchWork())) from None
    except SyntaxError:  # of the Python code that Jinja makes
        raise LineError(1, "its blocks are nested too deeply") from None
    except Exception as error:  # whatever the code of a file may cause
        raise LineError(_line(error), str(error)) from None


def _with_line_ends(text: str) -> str:
    """Keep the line end after a tag that ends a line of text. Other tags take theirs away."""
    if "endraw" in text:  # a tag inside is text
        return text
    return "\n".join(map(_with_line_end, text.split("\n")))


def _with_line_end(line: str) -> str:
    ends = [tag.end() for tag in _TAG.finditer(line)][-1:]
    has_text = bool(_TAG.sub("", line).strip())
    return f"{line[:-2]}+{line[-2:]}" if has_text and ends == [len(line)] and line[-3] not in "+-" else line


def _line(error: BaseException) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == "<template>"), 1)
