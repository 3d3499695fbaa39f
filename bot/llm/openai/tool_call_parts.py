"""Puts tool calls together from the fragments of a stream, by index, id and order."""

from contextlib import suppress

import msgspec

from bot.domain.prompts import ToolCall
from bot.domain.turns import MAX_TOOL_CALLS, Delta
from bot.llm.openai.event_parser import is_json
from bot.llm.openai.loose_json import skipped

_NAME_CHARACTERS = 256  # of a tool; services allow 64
# LiteLLM puts the signature of Gemini's reasoning into the id, and needs it back as it was (BerriAI/litellm#16895).
_ID_CHARACTERS = 8192


class CallFragment(msgspec.Struct):
    """A fragment of a tool call. What a server left out, or wrote in another type, is `None` or empty."""

    index: int | None = None
    id: str = ""
    name: str = ""
    arguments: str = ""


class _PartialToolCall(msgspec.Struct):
    """A tool call that is still being received."""

    index: int | None = None
    id: str = ""
    name: str = ""
    arguments: list[str] = []

    @property
    def begun(self) -> bool:
        return any(self.arguments)

    @property
    def complete(self) -> bool:
        """Whether its arguments are a whole JSON value."""
        last = next((part.rstrip() for part in reversed(self.arguments) if part.strip()), "")
        return last.endswith("}") and is_json("".join(self.arguments).encode(errors="replace"))


class ToolCallParts:
    """The tool calls of one answer. `characters` is the length of all their arguments.

    Servers number calls by `index`, name them by `id`, or do neither: some give every call the index 0 or no
    index, some repeat the name in every fragment, some send no ids or a new id in every fragment.
    """

    def __init__(self) -> None:
        self.characters = 0
        self._calls: list[_PartialToolCall] = []
        self._dropped = 0
        self._last_dropped: CallFragment | None = None

    def __bool__(self) -> bool:
        return bool(self._calls)

    def gather(self, fragments: list[CallFragment]) -> None:
        """Add the fragments of one chunk."""
        for place, fragment in enumerate(fragments):
            fragment.id, fragment.name = fragment.id[:_ID_CHARACTERS], fragment.name[:_NAME_CHARACTERS]
            held = self._continued(fragment, place, len(fragments))
            if held is None:
                held = self._begin(fragment)
            if held is not None:
                self._add(held, fragment)

    def deltas(self) -> list[Delta]:
        """The complete calls, in the order in which they began, and the number of dropped ones."""
        deltas: list[Delta] = []
        order = sorted(range(len(self._calls)), key=lambda n: (_rank(self._calls[n], n), n))
        for number, call in enumerate(self._calls[n] for n in order):
            if not call.name:
                skipped("tool_call")
                continue
            arguments = _unwrapped("".join(call.arguments))
            deltas.append(
                Delta(
                    call=ToolCall(id=call.id or f"call_{number}", name=_bare(call.name), arguments=arguments)
                )
            )
        return [*deltas, Delta(dropped=self._dropped)] if self._dropped else deltas

    def _continued(self, fragment: CallFragment, place: int, together: int) -> _PartialToolCall | None:
        """The call that a fragment continues; `None` if it begins one."""
        same = [call for call in self._calls if _same_id(call, fragment)]
        held = same[-1] if same else self._numbered(fragment, place, together)
        if held is None or _begins_again(held, fragment):
            return None
        if same or not fragment.id or not held.id or not fragment.name:
            return held
        # another id: another call, except from servers that send a new id with every fragment
        going_on = held.begun and not held.complete
        beginning = not held.begun and fragment.name == held.name and bool(fragment.arguments)
        return held if going_on or beginning else None

    def _numbered(self, fragment: CallFragment, place: int, together: int) -> _PartialToolCall | None:
        """The last call with the index of a fragment; without one, the call at its place in the chunk."""
        if fragment.index is not None:
            return next((call for call in reversed(self._calls) if call.index == fragment.index), None)
        if self._last_dropped is not None:
            return None
        unnumbered = [call for call in self._calls if call.index is None]
        if together > 1:
            unnumbered = unnumbered[place : place + 1]
        if unnumbered:
            return unnumbered[-1]
        return self._calls[-1] if self._calls and not fragment.name else None

    def _begin(self, fragment: CallFragment) -> _PartialToolCall | None:
        if len(self._calls) >= MAX_TOOL_CALLS:
            before, self._last_dropped = self._last_dropped, fragment
            named = bool(fragment.name) and fragment.index is None
            self._dropped += (
                before is None
                or fragment.index != before.index
                or (fragment.id not in ("", before.id))
                or named
            )
            return None
        call = _PartialToolCall(index=fragment.index, arguments=[])
        self._calls.append(call)
        return call

    def _add(self, held: _PartialToolCall, fragment: CallFragment) -> None:
        held.id = held.id or fragment.id
        if fragment.name and fragment.name != held.name:
            # a name may be split, too; or be repeated as far as it is known
            grown = fragment.name if fragment.name.startswith(held.name) else held.name + fragment.name
            held.name = grown[:_NAME_CHARACTERS]
        if fragment.arguments:
            if "".join(held.arguments[:2]) == "{}" and fragment.arguments.lstrip().startswith("{"):
                held.arguments.clear()  # a placeholder
            held.arguments.append(fragment.arguments)
            self.characters += len(fragment.arguments)


def _bare(name: str) -> str:
    """The name of a tool without the markers and the namespace of gpt-oss (vllm-project/vllm#32587)."""
    return name.partition("<|")[0].removeprefix("functions.").strip() or name


def _unwrapped(arguments: str) -> str:
    """The arguments as a JSON object, also where a server encodes it twice, or writes null for none."""
    if not arguments.strip() or arguments.strip() == "null":
        return "{}"
    if arguments.lstrip().startswith('"'):
        with suppress(msgspec.DecodeError, UnicodeError):
            inner = msgspec.json.decode(arguments.encode(errors="replace"), type=str)
            if inner.lstrip().startswith("{") and is_json(inner.encode(errors="replace")):
                return inner
    return arguments


def _same_id(call: _PartialToolCall, fragment: CallFragment) -> bool:
    if not fragment.id or call.id != fragment.id:
        return False
    return call.index == fragment.index or None in (call.index, fragment.index)


def _begins_again(held: _PartialToolCall, fragment: CallFragment) -> bool:
    """Whether a fragment that could continue a call begins another one: it has a name although the call is complete,
    or another name although its arguments have begun.
    """
    if not fragment.name:
        return False
    if fragment.name != held.name and (held.begun or fragment.index is None):
        return True
    return bool(fragment.arguments.strip()) and held.complete


def _rank(call: _PartialToolCall, number: int) -> int:
    return number if call.index is None else call.index
