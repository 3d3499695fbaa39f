"""The context of one answer: how it is shown and stopped, and where files and thread come from."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.conversation.linked_messages import ReadLinked, no_links
from bot.conversation.thread_context import Context, nothing_before
from bot.domain.prompts import Image
from bot.files.attachments import Fetch
from bot.generation.completion import Show
from bot.generation.image_generation import ImageProgress
from bot.generation.turn_builder import Stop
from bot.llm.protocol import OnPartialImage


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """How one answer is shown and stopped, and where its files and thread come from.

    `on_partial_image` shows partial images, if the platform can. `given` are images of the message that need no
    download. `erasures` is that of the claim. `addressing` is why the message is answered; `private`: only the asker
    may see the answer. `surface` says for the model where the answer is shown.
    """

    show: Show
    fetch: Fetch
    stop: Stop
    read_thread: Context = nothing_before
    read_linked: ReadLinked = no_links
    on_partial_image: OnPartialImage | None = None
    given: Sequence[Image] = ()
    erasures: str = "0"
    addressing: str = ""
    private: bool = False
    surface: str = ""

    @property
    def image_progress(self) -> ImageProgress:
        return ImageProgress(show=self.show, stop=self.stop, on_partial_image=self.on_partial_image)
