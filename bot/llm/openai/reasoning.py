"""Separates an answer from the reasoning that open models write in front of it, between tags."""

from collections.abc import Mapping

_CLOSED_BY: Mapping[str, str] = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "[think]": "[/think]",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
    "<|channel>": "<channel|>",
}
"""Opening and closing tags, in lower case: of DeepSeek R1 and Qwen; of others; Magistral; Kimi; gpt-oss; Gemma 4."""

_ANYWHERE = ("<think>", "<thinking>")
"""Tags that begin reasoning in the middle of an answer, too; the others are more often part of the text there."""

_ORPHANS = ("</think>", "</thinking>", "[/think]")
"""Closing tags whose opening tag may be part of the model's chat template, so that the answer begins inside."""

_FIRST = frozenset(tag[0] for tag in (*_CLOSED_BY, *_ORPHANS))
_LONGEST = max(map(len, (*_CLOSED_BY, *_CLOSED_BY.values())))
_FENCE = "```"

_CERTAIN = 2
"""After as many answers that began inside reasoning, an incomplete one is taken for reasoning, too."""


class ReasoningFilter:
    """Removes reasoning from the text of an answer, whatever the text is split into.

    A tag in code stays, because the answer is about it. A tag in the middle of a line only counts if it is
    closed. `unopened` is the number of answers in sequence, with this one, in which this model left out the opening
    tag. `found` is set by any reasoning; `orphaned` by a closing tag alone at the beginning of a line: then everything
    before it, shown or not, was reasoning.
    """

    def __init__(self, unopened: int = 0) -> None:
        begins_inside = unopened > 0
        self.unopened = unopened
        self.found = False
        self.orphaned = False
        self._held: str = ""
        self._closing: str = "</think>" if begins_inside else ""
        self._guessed = begins_inside
        self._mention: str = ""  # an opening tag in the middle of a line, which may be only mentioned
        self._started = False
        self._strip = begins_inside  # white space between reasoning and answer belongs to neither
        self._line: str = ""
        self._fenced = False

    def feed(self, text: str) -> str:
        """The text that is part of the answer. `orphaned` is to be looked at after each call."""
        if self._started and not self._held and not self._closing and _FIRST.isdisjoint(text):
            self._follow(text)
            return text
        self._held += text
        given: list[str] = []
        while self._step(given):
            pass
        return "".join(given)

    def end(self, complete: bool = True) -> str:
        """The rest: a tag that was not completed, or only mentioned. An answer that is `complete` without the
        closing tag that this model usually writes had no reasoning; and also an incomplete one is given back, unless
        that is certain.
        """
        rest, self._held = self._held, ""
        if self._closing:
            given_back = self._guessed and (complete or self.unopened < _CERTAIN)
            if self._guessed and complete:
                self.unopened = 0
            if self._mention or given_back:
                return self._mention + rest
            self.found = True
            return ""
        return rest if self._started or rest.strip() else ""

    def _step(self, given: list[str]) -> bool:
        """Decide about some of the held text. Returns whether that may go on."""
        if self._closing:
            return self._skip()
        if not self._started:
            if self._strip:
                self._held = self._held.lstrip()
            if not self._held.strip():
                return False
        low = self._held.lower()
        found = [(at, tag) for tag in (*_CLOSED_BY, *_ORPHANS) if (at := low.find(tag)) >= 0]
        if not found:
            keep = _partial(low, (*_CLOSED_BY, *_ORPHANS))
            if not self._started and not self._held[: len(self._held) - keep].strip():
                return False
            self._give(len(self._held) - keep, given)
            return False
        at, tag = min(found, key=lambda item: (item[0], -len(item[1])))
        if not self._started and not self._held[:at].strip() and tag not in _ORPHANS:
            self._held, at = self._held[at:], 0
        self._give(at, given)
        counts = not self._in_code() and (tag in _ANYWHERE or not self._started or tag in _ORPHANS)
        if not counts or (tag in _ORPHANS and (self.found or self._line.strip())):
            self._give(len(tag), given)
        elif tag in _ORPHANS:
            self._held = self._held[len(tag) :]
            self.found = self.orphaned = True
            self.unopened += 1
            self._started, self._line, self._fenced, self._strip = False, "", False, True
            given.clear()
        else:
            self._strip = True
            self._closing = _CLOSED_BY[tag]
            self._mention = self._held[: len(tag)] if self._line.strip() else ""
            self._held = self._held[len(tag) :]
        return True

    def _skip(self) -> bool:
        """Drop held text up to the closing tag. Returns whether it was found."""
        at = self._held.lower().find(self._closing)
        if at < 0:
            if not (self._mention or self._guessed):
                self.found = self.found or bool(self._held.strip())
                self._held = self._held[-_LONGEST:]
            return False
        self._held = self._held[at + len(self._closing) :]
        self.found = True
        self.unopened += self._guessed
        self._closing, self._mention, self._guessed = "", "", False
        return True

    def _give(self, length: int, given: list[str]) -> None:
        text, self._held = self._held[:length], self._held[length:]
        if text:
            given.append(text)
            self._started = True
            self._follow(text)

    def _follow(self, text: str) -> None:
        """Keep track of the current line, and of code fences."""
        *lines, last = text.split("\n")
        for line in lines:
            if (self._line + line).lstrip().startswith(_FENCE):
                self._fenced = not self._fenced
            self._line: str = ""
        self._line += last

    def _in_code(self) -> bool:
        line = self._line
        return self._fenced or line.lstrip().startswith(_FENCE) or line.count("`") % 2 == 1


def _partial(low: str, tags: tuple[str, ...]) -> int:
    """The length of the end of the text that may be the beginning of a tag."""
    for length in range(min(len(low), _LONGEST - 1), 0, -1):
        if low[-length] in _FIRST and any(tag.startswith(low[-length:]) for tag in tags):
            return length
    return 0
