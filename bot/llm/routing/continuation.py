"""Continues an answer that broke off, without a visible seam."""

from msgspec.structs import replace

from bot.domain.prompts import Prompt, say

GO_ON = (
    "Your last message was cut off by a lost connection. Go on from exactly where it stopped, in the middle "
    "of a word if it stopped there: your first character is the next one of that message, a space if a new "
    "word begins. Repeat nothing, and say nothing about the interruption."
)

# English and most languages have at most four characters per token.
CHARACTERS_PER_TOKEN = 4

_LAST_WORDS = 4_000
"""Characters at the end of a message in which a repetition may begin, unless it repeats the whole message."""


def go_on(prompt: Prompt, shown: str) -> Prompt:
    """The prompt that asks a model to continue an interrupted answer."""
    return replace(
        prompt,
        messages=(*prompt.messages, say("assistant", shown), say("user", GO_ON)),
        input_tokens=prompt.input_tokens + (len(shown) + len(GO_ON)) // CHARACTERS_PER_TOKEN,
    )


class ContinuationDeduper:
    """Removes what the second part of an answer repeats of the first.

    Models that continue often repeat the last words, or the whole message. Text is held back only while it
    could be such a repetition; every character is compared about once.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._last = shown[-_LAST_WORDS:]
        self._held: list[str] = []
        self._length = 0
        self._whole = True  # the held text may repeat the whole message
        self._done = False

    def feed(self, text: str) -> str:
        """The text that may be shown now."""
        if self._done:
            return text
        self._whole = self._whole and self._shown.startswith(text, self._length)
        self._held.append(text)
        self._length += len(text)
        if self._whole or (self._length <= _LAST_WORDS and "".join(self._held) in self._last):
            return ""
        return self.end()

    def end(self) -> str:
        """The held text without its repetition."""
        held, self._done = "".join(self._held), True
        self._held.clear()
        if self._shown and held.startswith(self._shown):
            return held[len(self._shown) :]
        for length in range(min(len(held), len(self._last)), 0, -1):
            if self._last.endswith(held[:length]) and self._starts_a_word(length):
                return held[length:]
        return held

    def _starts_a_word(self, length: int) -> bool:
        """Whether the last `length` characters start a word: “th” after “oo” does not repeat the end of “tooth”."""
        at = len(self._shown) - length
        return at == 0 or not (self._shown[at - 1].isalnum() and self._shown[at].isalnum())
