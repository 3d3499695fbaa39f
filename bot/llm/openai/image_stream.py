"""The stream of an image: partial images, then the complete one."""

from typing import Any

from bot.domain.errors import BotError, ModelUnavailable
from bot.llm.failures.reply import record
from bot.llm.openai.errors import in_stream
from bot.llm.openai.event_parser import EventParser
from bot.llm.openai.images import (
    MAX_IMAGE_BYTES,
    MAX_IMAGES,
    MAX_RESPONSE_BYTES,
    ImagesResponse,
    image_item,
    images_of,
)
from bot.llm.openai.loose_json import skipped, text_of, usage_of, value_of
from bot.llm.protocol import ImageInterrupted

MIME = "text/event-stream"

# Base64 is a third longer than the image; the event has some other fields.
_MAX_EVENT_BYTES = MAX_IMAGE_BYTES * 4 // 3 + 64 * 1024


# Two partial images are requested; more are limited.
_MOST_UNFINISHED = 8


class ImageStream:
    """Collects the events of a generated or edited image. `failed` is the error, if any."""

    def __init__(self) -> None:
        self._events = EventParser(_MAX_EVENT_BYTES)
        self._read_bytes = 0
        self._unfinished = 0
        self.made = ImagesResponse(data=[])
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
            if data.strip() == b"[DONE]":
                continue
            try:
                event = record(value_of(data))
            except ValueError:
                event = {}
            if not event:
                skipped("event")
            unfinished += self.add(event)
            if self.failed:
                break
        return unfinished

    def add(self, event: dict[str, Any]) -> list[str]:
        """Add the image of an event, and return it if it is a partial one."""
        if event.get("error") or event.get("object") == "error":
            failed = in_stream(event.get("error") or event, "picture")
            self.failed = ImageInterrupted(str(failed)) if isinstance(failed, ModelUnavailable) else failed
            return []
        kind, item = text_of(event.get("type")) or "", image_item(event)
        if "data" in event:  # a response that is not streamed
            whole = images_of(event)
            self.made.data = [*self.made.data, *whole.data][:MAX_IMAGES]
            self.made.usage = whole.usage or self.made.usage
        elif kind.endswith(".partial_image"):
            if item.b64_json and self._unfinished < _MOST_UNFINISHED:
                self._unfinished += 1
                return [item.b64_json]
        elif kind.endswith(".completed") or (not kind and item.b64_json):
            if len(self.made.data) < MAX_IMAGES:
                self.made.data.append(item)
            self.made.usage = usage_of(event.get("usage")) or self.made.usage
        return []


def images_in(data: bytes) -> ImagesResponse:
    """The images of a whole response; some servers send events although none were requested.

    Raises ValueError if it is neither, and what an error in a response with status 200 means.
    """
    drawing = ImageStream()
    try:
        whole = record(value_of(data))
    except ValueError:
        drawing.read(data)
        drawing.end()
        if not drawing.made.data and not drawing.failed:
            raise
    else:
        drawing.add(whole)
    if drawing.failed and not drawing.made.data:
        raise drawing.failed
    return drawing.made
