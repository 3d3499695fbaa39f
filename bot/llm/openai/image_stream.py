"""The stream of an image: partial images, then the complete one."""

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

# Base64 is a third longer than the image; the event has some other fields.
_MAX_EVENT_BYTES = MAX_IMAGE_BYTES * 4 // 3 + 64 * 1024


# Two partial images are requested; more are limited.
_MOST_UNFINISHED = 8


class _Event(msgspec.Struct):
    type: str = ""
    b64_json: str | None = None
    revised_prompt: str | None = None
    usage: ImageUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Event).decode


class ImageStream:
    """Collects the events of a generated or edited image. `failed` is the error, if any."""

    def __init__(self) -> None:
        self._events = EventParser(_MAX_EVENT_BYTES)
        self._read_bytes = 0
        self._unfinished = 0
        self.made = ImagesResponse()
        self.failed: BotError | None = None

    def read(self, data: bytes) -> list[str]:
        """The partial images in a chunk of bytes, as base64. Raises ModelUnavailable."""
        self._read_bytes += len(data)
        if self._read_bytes > MAX_RESPONSE_BYTES:
            raise ImageInterrupted("The model's image stream is too long.")
        return self._take(self._events.feed(data))

    def end(self) -> None:
        """Process a last incomplete event. An interrupted stream sets `failed`."""
        self._take(self._events.end())
        if not self.made.data and not self.failed:
            self.failed = ImageInterrupted(
                "The connection to the model broke off before the image was complete."
            )

    def _take(self, events: list[bytes]) -> list[str]:
        unfinished: list[str] = []
        for data in events:
            if data == b"[DONE]":
                continue
            try:
                event = _decode(data)
            except (msgspec.DecodeError, RecursionError):
                self.failed = ImageInterrupted("The model sent an invalid image.")
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
