"""The context of one answer: how it is shown and stopped, and where files and thread come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bot.conversation.linked_messages import ReadLinked, no_links
from bot.conversation.thread_context import Context, nothing_before
from bot.domain.calls import CallLog
from bot.domain.events import User
from bot.domain.prompts import Image
from bot.files.attachments import Fetch
from bot.generation.completion import Show
from bot.generation.image_generation import ImageProgress
from bot.generation.turn_builder import Stop, TurnBuilder
from bot.llm.protocol import OnPartialImage


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerContext:
    """How one answer is shown and stopped, and where its files and thread come from.

    `on_partial_image` shows partial images, if the platform can. `given` are images of the message that need no
    download. `erasures` is that of the claim. `addressing` is why the message is answered; `private`: only the asker
    may see the answer. `surface` says for the model where the answer is shown.
    `calls` notes the provider calls; `payer` is who asked for them, if not the sender.
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
    calls: CallLog = field(default_factory=CallLog)
    payer: User | None = None

    def of(self, builder: TurnBuilder) -> "AnswerContext":
        """The context of one turn: it notes what is shown, and shows nothing more once the reply is private."""
        if self.private:
            return self

        async def show(text: str) -> bool:
            if builder.outcome.private:
                return True
            builder.shown = True
            return await self.show(text)

        async def on_partial_image(image: Image) -> None:
            if self.on_partial_image is not None and not builder.outcome.private:
                builder.shown = True
                await self.on_partial_image(image)

        return replace(
            self, show=show, on_partial_image=on_partial_image if self.on_partial_image is not None else None
        )

    @property
    def image_progress(self) -> ImageProgress:
        return ImageProgress(show=self.show, stop=self.stop, on_partial_image=self.on_partial_image)
