"""Recognises what a deployment refuses in a request, so that it is sent without it from then on.

A lesson is the name of a parameter, or one of the words below. Lessons are shared by all processes, separated by
commas.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from bot.llm.failures.reply import ErrorReply

EFFORT_NONE = "tools+reasoning_effort"
"""Tools are only accepted with the reasoning effort `none`."""
NO_SYSTEM = "role:system"
"""System messages are sent as the developer's."""
NO_DEVELOPER = "role:developer"
"""System messages are sent as part of the first user message."""
TOOL = "tool:"
"""The tool of this name is left out."""
_LIMIT = "max_tokens<="

Learn = Literal["tools_with_effort", "tools", "one_tool", "role", "output_limit", "named"]

_WORDY = frozenset({"n", "stop", "stream", "size", "style", "quality", "background", "seed", "temperature"})
"""Parameters that are English words, and count only where a text marks them as names."""
_REFUSAL_CODES = frozenset(
    {
        "unsupported_parameter",
        "unsupported_value",
        "unknown_parameter",
        "invalid_value",
        "extra_forbidden",
        "UnsupportedParamsError",
    }
)
_OUT_OF_RANGE = re.compile(
    r"_(above_max|below_min)_|out of range|(less|greater) than or equal|greater than the max", re.I
)
_REFUSES = re.compile(
    r"unsupported|(not|n't) (be )?(support|permit|allow|recogni[sz]|accept|expect)|unrecogni[sz]ed|unknown|unexpected"
    r"|extra (inputs?|fields?|propert)|additional propert|invalid (field|parameter|argument|property)|extra_forbidden",
    re.IGNORECASE,
)
_MARKED = r"(?:['\"`\[/.]{0}['\"`\],:\s]|(?:parameters?|arguments?|fields?|property|supplied|keyword):?\s+['\"`]?{0}\b)"
_ONE_TOOL = re.compile(
    r"\btools\W{1,4}(?P<place>\d{1,4})\b|schema for (?:function|tool)\W{1,3}(?P<name>[\w-]{1,256})", re.I
)
_LIMITS = (
    re.compile(
        r"(?:at most|maximum(?: allowed)?(?: value)?(?: is| of|:)?|<=|less than or equal to|up to|limited to)"
        r"\D{0,40}(\d+)",
        re.I,
    ),
    re.compile(r"\[\s*\d+\s*,\s*(\d+)\s*\]"),
    re.compile(r"\d+ > (\d+)"),
    re.compile(r"(\d+)\D{0,30}(?:is the maximum|or (?:less|fewer))", re.I),
)


class Lesson(NamedTuple):
    """What to leave out or change. One that is not `lasting` is for this request only."""

    word: str
    lasting: bool = True


def lesson(
    learn: Learn,
    reply: ErrorReply,
    body: Mapping[str, Any],
    optional: Collection[str],
    known: Collection[str],
) -> Lesson | None:
    """What a refusal of `body` teaches; `None` if nothing new. `optional` parameters may be left out."""
    found = _LEARN[learn](reply, body, optional, known)
    return None if found is None or found.word in known else found


def output_limit(known: Collection[str]) -> int | None:
    """The largest number of output tokens that a deployment is known to accept."""
    limits = [int(word.removeprefix(_LIMIT)) for word in known if word.startswith(_LIMIT)]
    return min(limits, default=None)


def _tools_with_effort(
    reply: ErrorReply, body: Mapping[str, Any], optional: Collection[str], known: Collection[str]
) -> Lesson | None:
    if not body.get("tools"):
        return None
    if EFFORT_NONE not in known:
        return Lesson(EFFORT_NONE)
    return Lesson("reasoning_effort") if "reasoning_effort" in body else Lesson("tools")


def _tools(
    reply: ErrorReply, body: Mapping[str, Any], optional: Collection[str], known: Collection[str]
) -> Lesson | None:
    return Lesson("tools") if body.get("tools") else None


def _one_tool(
    reply: ErrorReply, body: Mapping[str, Any], optional: Collection[str], known: Collection[str]
) -> Lesson | None:
    """The tool whose definition is refused. Not lasting: it may be corrected, and other tools are fine."""
    names = [str(tool["function"]["name"]) for tool in body.get("tools") or ()]
    for found in _ONE_TOOL.finditer(f"{reply.param}\n{reply.text}"):
        place = found["place"]
        name = found["name"] if place is None else "".join(names[int(place) : int(place) + 1])
        if name in names:
            return Lesson(f"{TOOL}{name}", lasting=False)
    return None


def _role(
    reply: ErrorReply, body: Mapping[str, Any], optional: Collection[str], known: Collection[str]
) -> Lesson | None:
    roles = {message["role"] for message in body.get("messages") or ()}
    if "developer" in roles:
        return Lesson(NO_DEVELOPER)
    return Lesson(NO_SYSTEM) if "system" in roles else None


def _output_limit(
    reply: ErrorReply, body: Mapping[str, Any], optional: Collection[str], known: Collection[str]
) -> Lesson | None:
    sent = body.get("max_tokens") or body.get("max_completion_tokens")
    if not isinstance(sent, int):
        return None
    for pattern in _LIMITS:
        if (found := pattern.search(reply.text)) and 0 < int(found[1][:9]) < sent:
            return Lesson(f"{_LIMIT}{int(found[1][:9])}")
    return None


def _named(
    reply: ErrorReply, body: Mapping[str, Any], optional: Collection[str], known: Collection[str]
) -> Lesson | None:
    """The parameter in `param`, in `loc`, or named by a text that refuses something."""
    sent = [name for name in optional if name in body and name not in known]
    by_code = not _REFUSAL_CODES.isdisjoint(reply.codes)
    refuses = by_code or bool(_REFUSES.search(reply.text))
    root = re.split(r"[.\[]", reply.param, maxsplit=1)[0]
    if root in sent and (root != "tools" or (refuses and reply.param == root)):
        lasting = by_code or not _OUT_OF_RANGE.search(f"{reply.text} {' '.join(reply.codes)}")
        return Lesson(root, lasting)
    if not refuses:
        return None
    places: list[tuple[int, str]] = []
    for name in sent:
        pattern = _MARKED.format(name) if name in _WORDY else rf"(?<![\w.]){name}(?!\w)"
        if found := re.search(pattern, reply.text):
            places.append((found.start(), name))
    return Lesson(min(places)[1]) if places else None


_LEARN = {
    "tools_with_effort": _tools_with_effort,
    "tools": _tools,
    "one_tool": _one_tool,
    "role": _role,
    "output_limit": _output_limit,
    "named": _named,
}
