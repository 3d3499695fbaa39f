"""Splits a stream of bytes into the data of server-sent events, also where a server bends the format."""

from contextlib import suppress

import msgspec

from bot.domain.errors import ModelUnavailable

# Events of chat streams have some hundred bytes, or some hundred thousand if a server sends the whole answer at
# once. A larger one is not a chat stream.
MAX_EVENT_BYTES = 2**20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Splits chunks of bytes into the data of server-sent events.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation; model servers
    use no ids, so only `data` is kept, and the data of an event named `error` becomes `{"error": ...}`.

    Beyond the standard, a line of JSON without `data:` is an event (JSON lines, or an error of a gateway), a body
    that is one JSON document on many lines is one event, and data that is complete ends where the next begins.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        """`most_bytes` is the maximum length of an event; by default that of chat streams."""
        self._most_bytes = most_bytes or MAX_EVENT_BYTES
        self._tail = bytearray()  # of an incomplete line
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._began = False
        self._document = False  # the body is one JSON document on many lines
        self._failed = False  # the event is named `error`

    def feed(self, read: bytes) -> list[bytes]:
        """The data of all events that are complete now. Raises ModelUnavailable if one is too long."""
        if self._after_cr or b"\r" in read:
            read = self._newlines(read)
        if self._document:
            self._tail += read
            self._check()
            return []
        first, *more = read.split(b"\n")
        self._tail += first
        self._check()
        found: list[bytes] = []
        for number, line in enumerate(more):
            whole = bytes(self._tail)
            if not self._began and self._begins_document(whole):
                self._document = True
                self._tail = bytearray(b"\n".join((whole, *more[number:])))
                self._check()
                return found
            self._line(whole, found)
            self._tail = bytearray(line)
            self._check()
        return found

    def end(self) -> list[bytes]:
        """The data of a last event without an empty line after it."""
        if self._document:
            return [bytes(self._tail)]
        return self.feed(b"\n\n")

    def _begins_document(self, line: bytes) -> bool:
        """Whether the first line that isn't empty begins a JSON document that goes on in the next line."""
        line = line.removeprefix(_BYTE_ORDER_MARK).strip()
        self._began = bool(line)
        return line[:1] in (b"{", b"[") and not is_json(line)

    def _check(self) -> None:
        if len(self._tail) + self._data_bytes > self._most_bytes:
            raise ModelUnavailable("The model's stream has an event that is too long")

    def _line(self, line: bytes, found: list[bytes]) -> None:
        """Process a complete line; an empty one ends an event."""
        if not line:
            self._dispatch(found)
            return
        line = line.removeprefix(_BYTE_ORDER_MARK)
        if line[:1] in (b" ", b"\t"):
            line = line.lstrip()
        if line.startswith(b"data:"):
            if len(self._data) == 1 and self._data[0].endswith((b"}", b"]")) and is_json(self._data[0]):
                self._dispatch(found)
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._data_bytes += len(line)
        elif line[:1] in (b"{", b"["):
            self._dispatch(found)
            found.append(line)
        elif line.startswith(b"event:"):
            self._failed = line[6:].strip() == b"error"

    def _dispatch(self, found: list[bytes]) -> None:
        """End the event."""
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            found.append(_as_error(data) if self._failed else data)
            self._data.clear()
        self._data_bytes = 0
        self._failed = False

    def _newlines(self, read: bytes) -> bytes:
        """Normalize CR and CRLF to LF, also across chunks."""
        if self._after_cr and read.startswith(b"\n"):
            read = read[1:]
        self._after_cr = read.endswith(b"\r")
        return read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def is_json(data: bytes) -> bool:
    """Whether the data is one whole JSON value, or the end mark of chat streams."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        msgspec.json.decode(data)
        return True
    return data.strip() == b"[DONE]"


def _as_error(data: bytes) -> bytes:
    """The data of an event named `error`, with the field that tells it."""
    if b'"error"' in data:
        return data
    told = data if is_json(data) else msgspec.json.encode(data.decode(errors="replace"))
    return b'{"error":' + told + b"}"
