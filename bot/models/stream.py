"""The bytes of a chat stream, decoded into deltas with only the fields that are needed."""

import msgspec

from bot.errors import BotError, ModelUnavailable
from bot.models.failures import in_stream
from bot.models.filter import blocked, note, note_prompt
from bot.types import Delta, ToolCall

# One event of a chat stream is some hundred bytes; a larger one is not a chat stream.
MAX_EVENT_BYTES = 4 * 2**20


# ------------------------------------------------------------------ server-sent events


class Events:
    """Splits bytes, however they are cut, into the data of server-sent events.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation; the names
    and ids of events are not used by any model server, so only `data` is kept.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        """`most_bytes` is how long a line may be, unless it is a chat's."""
        self._most_bytes = most_bytes or MAX_EVENT_BYTES
        self._tail = b""
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, read: bytes) -> list[bytes]:
        """The data of every event that is complete now. Raises ModelUnavailable if one has no end."""
        if self._after_cr or b"\r" in read:
            read = self._newlines(read)
        lines = (self._tail + read).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > self._most_bytes:
            raise ModelUnavailable("The model's stream could not be read")
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        return found

    def end(self) -> list[bytes]:
        """The data of a last event that no empty line ended."""
        return self.feed(b"\n\n")

    def _newlines(self, read: bytes) -> bytes:
        """CR and CRLF as LF, also where a read ended between the two."""
        if self._after_cr and read.startswith(b"\n"):
            read = read[1:]
        self._after_cr = read.endswith(b"\r")
        return read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


# ------------------------------------------------------------------ chunks


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    finish_reason: str | None = None
    content_filter_results: msgspec.Raw = msgspec.Raw()


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class Counted(msgspec.Struct):
    """The usage object of a chat completion or of embeddings."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None

    @property
    def cached_tokens(self) -> int:
        """The part of the prompt that was read from the cache."""
        return (self.prompt_tokens_details.cached_tokens or 0) if self.prompt_tokens_details else 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Counted | None = None
    model: str | None = None
    prompt_filter_results: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Chunk).decode


class Answer:
    """Gathers the chunks of one answer: `read` gives what may be shown, the rest is known at the end.

    Both the first chunk, without choices, and the last, with nothing but the usage, are normal.
    """

    def __init__(self) -> None:
        self._events = Events()
        self._calls: dict[int, list[str]] = {}
        self._noted = b""  # the filter's last annotation; most chunks carry the same
        self._stopped: object = None
        self.filter: dict[str, str] = {}
        self._done = False
        self.finish: str | None = None
        self.counted: Counted | None = None
        self.model = ""
        self.failed: BotError | None = None

    def read(self, data: bytes) -> str:
        """The text in one read of the socket; what went wrong after that text is in `failed`.

        Raises ModelUnavailable when the bytes are no events at all.
        """
        return self._take(self._events.feed(data))

    def end(self) -> str:
        """Text that came without an ending. An answer that was cut off has `failed`."""
        text = self._take(self._events.end())
        if not self._done and self.finish is None and not self.failed:
            self.failed = ModelUnavailable(
                "The connection to the model broke off in the middle of the answer"
            )
        return text

    def calls(self) -> list[Delta]:
        """The tool calls, whole."""
        return [
            Delta(call=ToolCall(id=id or f"call_{index}", name=name, arguments=arguments or "{}"))
            for index, (id, name, arguments) in sorted(self._calls.items())
        ]

    def check(self) -> None:
        """Raises ContentFiltered when the filter ended the answer."""
        if self.finish == "content_filter":
            raise blocked("answer", self._stopped, self.filter)

    def _take(self, events: list[bytes]) -> str:
        text: list[str] = []
        for data in events:
            if data == b"[DONE]":
                self._done = True
                continue
            try:
                chunk = _decode(data)
            except msgspec.DecodeError:
                self.failed = ModelUnavailable("The model sent something that is no answer")
                break
            if chunk.error and bytes(chunk.error) != b"null":
                self.failed = in_stream(msgspec.json.decode(chunk.error))
                break
            if chunk.usage:
                self.counted = chunk.usage
            if chunk.model:
                self.model = chunk.model
            if chunk.prompt_filter_results:
                note_prompt(self.filter, msgspec.json.decode(chunk.prompt_filter_results))
            for choice in chunk.choices or ():
                self._choose(choice, text)
        return "".join(text)

    def _choose(self, choice: _Choice, text: list[str]) -> None:
        said = choice.delta
        if said:
            if said.content:
                text.append(said.content)
            if said.refusal:
                text.append(said.refusal)
            for call in said.tool_calls or ():
                self._gather(call)
        if choice.finish_reason:
            self.finish = choice.finish_reason
        if choice.content_filter_results:
            self._annotate(bytes(choice.content_filter_results))

    def _annotate(self, raw: bytes) -> None:
        stopped = self.finish == "content_filter"
        if raw == self._noted and not stopped:
            return
        self._noted = raw
        results = msgspec.json.decode(raw)
        note(self.filter, "answer", results)
        if stopped:
            self._stopped = results

    def _gather(self, call: _Call) -> None:
        held = self._calls.setdefault(call.index, ["", "", ""])
        held[0] = call.id or held[0]
        if call.function:
            held[1] += call.function.name or ""
            held[2] += call.function.arguments or ""
