"""Renders Jinja templates of other tools, in Jinja's sandbox, with limits on what can hang or eat memory.

Every loop, call, filter and growing operation spends from a budget (`rendering.WorkBudget`).
"""

import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from jinja2 import ChainableUndefined, TemplateSyntaxError, nodes
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.runtime import Macro
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from bot.prompts.imports.rendering import NamedText, Placeholders, TooMuchWork, WorkBudget, printed

_FILTERS = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "forceescape",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "wordcount",
]
"""Those of Jinja's filters whose work can be bounded by their arguments."""
_KEEPING = ("d", "default", "e", "escape", "forceescape", "safe", "string", "trim")
"""Filters that leave a placeholder as it is."""
_METHODS = [
    "append",
    "capitalize",
    "count",
    "endswith",
    "extend",
    "find",
    "get",
    "index",
    "isdigit",
    "items",
    "keys",
    "lower",
    "lstrip",
    "pop",
    "replace",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "title",
    "upper",
    "update",
    "values",
]
_MOST_NUMBER = 10**15
_MOST_ARGUMENT = 10_000
_MOST_DEPTH = 30
"""Of macros that call macros, and of nested blocks."""
_WIDE = re.compile(r"%[^a-z%]*(\d{4,}|\*)")
_CALL_UNITS = 100
_CONTAINERS = (list, tuple, dict)


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


class _BoundedEnvironment(SandboxedEnvironment):
    """One rendering: its budget and its placeholders."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

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
        self.budget, self.placeholders, self.depth = WorkBudget(), Placeholders(), 0
        everything: dict[str, Callable[..., Any]] = dict(self.filters)
        self.filters = {name: self._bounded(name, everything[name]) for name in _FILTERS}
        self.filters |= {"spent": self._spent, "built": self._built, "joined": self._joined}
        self.globals = {key: self.globals[key] for key in ("range", "dict", "namespace", "cycler", "joiner")}

    def shown(self, value: object) -> str:
        """What an expression prints."""
        if isinstance(value, NamedText):
            return self.placeholders.mark(value.name)
        if isinstance(value, _Missing):
            return self.placeholders.mark(value.root) if value.root else ""
        self.budget.spend_on(value)
        return (
            printed(cast(object, value))
            if isinstance(value, _CONTAINERS)
            else str("" if value is None else value)
        )

    # -------------------------------------------------------------- limits

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, int) and abs(side) > _MOST_NUMBER:
                raise TooMuchWork
        if operator == "**" and (abs(left) > _MOST_ARGUMENT or abs(right) > 3):
            raise TooMuchWork
        if operator == "*" and not isinstance(left, int | float):
            left, right = right, left
        if operator == "*" and isinstance(left, int) and hasattr(right, "__len__"):
            self.budget.spend(max(left, 0) * len(right))
        if operator == "%" and isinstance(left, str) and _WIDE.search(left):
            raise TooMuchWork
        if operator == "+" and (isinstance(left, str | _Missing) or isinstance(right, str | _Missing)):
            return self._joined([left, right])
        self.budget.spend_on((left, right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        self = __self
        self.budget.spend(_CALL_UNITS)
        name = getattr(__obj, "__name__", "")
        if name in ("format", "format_map"):  # the sandbox wraps them, so they seem to be no methods
            raise TypeError(f"{name}() is not supported; use ~ to join texts")
        if isinstance(getattr(__obj, "__self__", None), str | list | dict | tuple):
            if name not in _METHODS:
                raise TypeError(f"{name}() is not supported")
            self._check_method(__obj.__self__, name, args)
        if isinstance(__obj, Macro):
            self.budget.spend(self.macro_units)
        self.depth += 1
        try:
            if self.depth > _MOST_DEPTH:
                raise TooMuchWork
            found = super().call(__context, __obj, *args, **kwargs)
        finally:
            self.depth -= 1
        if not isinstance(found, range):
            self.budget.spend_on(found)
        return found

    macro_units = 0
    """Characters that one call of the longest macro prints."""

    def _check_method(self, receiver: Any, name: str, args: tuple[Any, ...]) -> None:
        self.budget.spend_on((receiver, args))
        self._check_numbers(args)
        if name == "replace":
            self.budget.spend((receiver.count(args[0]) + 1) * len(args[1]))

    def _check_numbers(self, values: tuple[Any, ...]) -> None:
        if any(isinstance(value, int | float) and abs(value) > _MOST_ARGUMENT for value in values):
            raise TooMuchWork

    def _bounded(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """A filter that counts what it gets and gives."""
        takes = getattr(original, "jinja_pass_arg", None)

        def counted(*given: Any, **named: Any) -> Any:
            before, (value, *rest) = (given[:1], given[1:]) if takes else ((), given)
            if name in _KEEPING and isinstance(value, NamedText) and (value or name not in ("d", "default")):
                return value
            if isinstance(value, _Missing) and name == "tojson":
                return "null"
            if isinstance(value, Iterator):
                value = list(self._spent(cast("Iterator[object]", value)))
            if name not in ("abs", "round", "int", "float"):
                self.budget.spend_on((value, rest, named))
                self._check_numbers((*rest, *named.values()))
            if name == "replace":
                text, (old, new) = str(value), rest[:2]
                self.budget.spend((text.count(str(old)) + 1) * len(str(new)))
            if name in ("indent", "join"):
                width = max((each if isinstance(each, int) else len(str(each)) for each in rest), default=4)
                self.budget.spend(width * (str(value).count("\n") + len(value or "") + 1))
            found: object = original(*before, value, *rest, **named)
            if isinstance(found, (str, *_CONTAINERS)):
                self.budget.spend_on(cast(object, found))
            return cast(object, found)

        if takes:
            counted.jinja_pass_arg = takes  # pyright: ignore[reportFunctionMemberAccess]
        return counted

    def _spent(self, values: Any, units: int = 0) -> Iterator[object]:
        """The values of a loop, counted one by one. `units` are the characters that its body prints."""
        for value in values or ():
            self.budget.spend(units)
            yield value

    def _built(self, value: object) -> object:
        self.budget.spend_on(value)
        return value

    def _joined(self, values: list[object]) -> str:
        return "".join(self.shown(value) for value in values)


def render(text: str, values: Mapping[str, object]) -> str:
    """The rendered text; `NamedText` values and unknown variables stay as placeholders.

    Raises LineError with the reason and the line of the text, counted from 1.
    """
    environment = _BoundedEnvironment()
    try:
        tree = environment.parse(text)
        _limit(environment, tree)
        template = environment.from_string(tree)
        pieces: list[str] = []
        for piece in template.generate(**values):
            environment.budget.spend(len(piece))
            pieces.append(piece)
    except TemplateSyntaxError as error:
        raise LineError(error.lineno, error.message or "is not valid Jinja") from None
    except (RecursionError, MemoryError, OverflowError):
        raise LineError(1, str(TooMuchWork())) from None
    except SyntaxError:  # of the Python code that Jinja makes
        raise LineError(1, "its blocks are nested too deeply") from None
    except (
        TooMuchWork,
        JinjaError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise LineError(_line(error), str(error)) from None
    return environment.placeholders.restored("".join(pieces))


class LineError(Exception):
    """What is wrong in a line of a template."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(words)
        self.line = line


def _line(error: BaseException) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == "<template>"), 1)


def variables(text: str) -> set[str]:
    """The variables that a template reads. Raises LineError."""
    from jinja2 import meta

    try:
        return meta.find_undeclared_variables(_BoundedEnvironment().parse(text))
    except TemplateSyntaxError as error:
        raise LineError(error.lineno, error.message or "is not valid Jinja") from None
    except (JinjaError, RecursionError) as error:
        raise LineError(1, str(error)) from None


_FORBIDDEN = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def _limit(environment: _BoundedEnvironment, tree: nodes.Template) -> None:
    """Count loops, literals and concatenations, which Jinja's sandbox does not see."""
    for node in tree.find_all(_FORBIDDEN):
        raise LineError(node.lineno, "other files can't be included")
    for node in tree.find_all(nodes.Filter):
        if node.name not in environment.filters or node.name in ("spent", "built", "joined"):
            raise LineError(node.lineno, f"the filter {node.name!r} is not supported")
    macros = list(tree.find_all((nodes.Macro, nodes.CallBlock, nodes.Block)))
    environment.macro_units = max(map(_printed_units, macros), default=0)
    _replace(tree)


def _printed_units(node: nodes.Node) -> int:
    return sum(len(each.data) for each in node.find_all(nodes.TemplateData))


def _filtered(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _replace(node: nodes.Node) -> None:
    """Wrap what grows into filters that count, from the inside out."""
    for child in node.iter_child_nodes():
        _replace(child)
    if isinstance(node, nodes.For):
        node.iter = _filtered(
            cast(nodes.Expr, node.iter), "spent", nodes.Const(_printed_units(node), lineno=node.lineno)
        )
    if isinstance(node, (nodes.Assign, nodes.AssignBlock)) and isinstance(node.target, nodes.Tuple):
        return
    for field in node.fields:
        value = getattr(node, field)
        if isinstance(value, nodes.Expr):
            setattr(node, field, _counted(value))
        elif isinstance(value, list) and not isinstance(node, nodes.Filter | nodes.Concat):
            setattr(node, field, list(map(_counted, cast("list[nodes.Node]", value))))


def _counted(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Concat):
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "joined")
    if isinstance(node, (nodes.List, nodes.Dict)) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        return _filtered(cast(nodes.Expr, node), "built")
    return node
