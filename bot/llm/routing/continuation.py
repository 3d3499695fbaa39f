"""Goes on with an answer that broke off, so that it reads as one."""

from msgspec.structs import replace

from bot.domain.prompts import Prompt, say

GO_ON = (
    "Your last message was cut off by a lost connection. Go on from exactly where it stopped, in the middle "
    "of a word if it stopped there: your first character is the next one of that message, a space if a new "
    "word begins. Repeat nothing, and say nothing about the interruption."
)

# English, and most languages, have four characters to a token, or fewer.
CHARACTERS_PER_TOKEN = 4

_LAST_WORDS = 4_000
"""Characters at the end of a message in which a repetition may begin; beside it, only the whole message counts."""


def go_on(prompt: Prompt, shown: str) -> Prompt:
    """The prompt that asks a model to finish what another call began."""
    return replace(
        prompt,
        messages=(*prompt.messages, say("assistant", shown), say("user", GO_ON)),
        input_tokens=prompt.input_tokens + (len(shown) + len(GO_ON)) // CHARACTERS_PER_TOKEN,
    )


class ContinuationDeduper:
    """Takes away what the second part of an answer repeats of the first.

    Models asked to go on often begin with the last words again, or with the whole message. Text is held back
    only as long as it could still be such a repetition; every character of it is compared about once.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._last = shown[-_LAST_WORDS:]
        self._held: list[str] = []
        self._length = 0
        self._whole = True  # what is held may be the whole message again
        self._done = False

    def feed(self, text: str) -> str:
        """What of this may be shown now."""
        if self._done:
            return text
        self._whole = self._whole and self._shown.startswith(text, self._length)
        self._held.append(text)
        self._length += len(text)
        if self._whole or (self._length <= _LAST_WORDS and "".join(self._held) in self._last):
            return ""
        return self.end()

    def end(self) -> str:
        """What was held back, without what it repeats."""
        held, self._done = "".join(self._held), True
        self._held.clear()
        if self._shown and held.startswith(self._shown):
            return held[len(self._shown) :]
        for length in range(min(len(held), len(self._last)), 0, -1):
            if self._last.endswith(held[:length]) and self._starts_a_word(length):
                return held[length:]
        return held

    def _starts_a_word(self, length: int) -> bool:
        """Whether the last characters begin a word: “th” after “oo” is no repetition of “tooth”'s end."""
        at = len(self._shown) - length
        return at == 0 or not (self._shown[at - 1].isalnum() and self._shown[at].isalnum())
