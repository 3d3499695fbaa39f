"""The stream of a picture that is being drawn: what there is of it so far, and at last the whole."""

import msgspec

from bot.domain.errors import BotError, ModelUnavailable
from bot.llm.openai.chat_stream import EventParser, loose
from bot.llm.openai.errors import in_stream
from bot.llm.openai.images import (
    MAX_IMAGE_BYTES,
    MAX_IMAGES,
    MAX_RESPONSE_BYTES,
    ImageItem,
    ImagesResponse,
    ImageUsage,
)
from bot.llm.protocol import ImageInterrupted

MIME = "text/event-stream"

# A picture as base64 is a third longer than its bytes; beside it there are some words.
_MAX_EVENT_BYTES = MAX_IMAGE_BYTES * 4 // 3 + 64 * 1024


# Two are asked for; whoever sends more is not shown for ever.
_MOST_UNFINISHED = 8


class _Event(msgspec.Struct):
    type: str = ""
    b64_json: str | None = None
    revised_prompt: str | None = None
    usage: ImageUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Event).decode


class ImageStream:
    """Gathers the events of one drawing, or of one change of a picture: they differ in name only.

    `failed` is what went wrong, once something did.
    """

    def __init__(self) -> None:
        self._events = EventParser(_MAX_EVENT_BYTES)
        self._read_bytes = 0
        self._unfinished = 0
        self.made = ImagesResponse()
        self.failed: BotError | None = None

    def read(self, data: bytes) -> list[str]:
        """The unfinished pictures in one read of the socket, as base64. Raises ModelUnavailable."""
        self._read_bytes += len(data)
        if self._read_bytes > MAX_RESPONSE_BYTES:
            raise ImageInterrupted("The model's drawing has no end.")
        return self._take(self._events.feed(data))

    def end(self) -> None:
        """Take what came without an ending. A drawing that was cut off has `failed`."""
        self._take(self._events.end())
        if not self.made.data and not self.failed:
            self.failed = ImageInterrupted(
                "The connection to the model broke off before the picture was done."
            )

    def _take(self, events: list[bytes]) -> list[str]:
        unfinished: list[str] = []
        for data in events:
            if data == b"[DONE]":
                continue
            try:
                event = _decode(data)
            except (msgspec.DecodeError, RecursionError):
                self.failed = ImageInterrupted("The model sent something that is no picture.")
                break
            if event.error and bytes(event.error) != b"null":
                failed = in_stream(loose(event.error), "picture")
                self.failed = (
                    ImageInterrupted(str(failed)) if isinstance(failed, ModelUnavailable) else failed
                )
                break
            if event.type.endswith(".completed"):
                if len(self.made.data) < MAX_IMAGES:
                    self.made.data.append(
                        ImageItem(b64_json=event.b64_json, revised_prompt=event.revised_prompt)
                    )
                self.made.usage = event.usage or self.made.usage
            elif (
                event.type.endswith(".partial_image")
                and event.b64_json
                and self._unfinished < _MOST_UNFINISHED
            ):
                self._unfinished += 1
                unfinished.append(event.b64_json)
        return unfinished
