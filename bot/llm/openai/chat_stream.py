"""Decodes the bytes of a chat stream into deltas."""

import msgspec

from bot.domain.errors import BotError, ModelUnavailable
from bot.domain.prompts import ToolCall
from bot.domain.turns import MAX_TOOL_CALLS, Delta
from bot.llm.openai.content_filter import blocked, note, note_prompt
from bot.llm.openai.errors import in_stream
from bot.llm.protocol import AnswerTimeout

# Events of chat streams have some hundred bytes, or some hundred thousand if a server sends the whole answer at
# once. A larger one is not a chat stream.
MAX_EVENT_BYTES = 2**20

# All events of one answer; 128,000 tokens with content filter annotations take half of it.
MAX_STREAM_BYTES = 256 * 2**20

# The maximum length of the arguments of all tool calls of one answer, in characters.
MAX_ARGUMENTS = 2**20

_NAME_CHARACTERS = 256  # of a tool, a call or a model; services allow 64
_MOST_NOTES = 50  # of the content filter, which knows a dozen categories


# ------------------------------------------------------------------ server-sent events


class EventParser:
    """Splits chunks of bytes into the data of server-sent events.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation; model servers
    use no event names and ids, so only `data` is kept.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        """`most_bytes` is the maximum length of a line; by default that of chat streams."""
        self._most_bytes = most_bytes or MAX_EVENT_BYTES
        self._tail = bytearray()  # of an incomplete line
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False

    def feed(self, read: bytes) -> list[bytes]:
        """The data of all events that are complete now. Raises ModelUnavailable if one is too long."""
        if self._after_cr or b"\r" in read:
            read = self._newlines(read)
        first, *more = read.split(b"\n")
        self._tail += first
        self._check()
        found: list[bytes] = []
        for line in more:
            self._line(bytes(self._tail), found)
            self._tail = bytearray(line)
            self._check()
        return found

    def _check(self) -> None:
        if len(self._tail) + self._data_bytes > self._most_bytes:
            raise ModelUnavailable("The model's stream has an event that is too long")

    def _line(self, line: bytes, found: list[bytes]) -> None:
        """Process a complete line; an empty one ends an event."""
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._data_bytes += len(line)
        elif not line and self._data:
            found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
            self._data.clear()
            self._data_bytes = 0

    def end(self) -> list[bytes]:
        """The data of a last event without an empty line after it."""
        return self.feed(b"\n\n")

    def _newlines(self, read: bytes) -> bytes:
        """Normalize CR and CRLF to LF, also across chunks."""
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


class _PartialToolCall(msgspec.Struct):
    """A tool call that is still being received."""

    id: str = ""
    name: str = ""
    arguments: list[str] = []


class _ChoiceDelta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _ChoiceDelta | None = None
    finish_reason: str | None = None
    content_filter_results: msgspec.Raw = msgspec.Raw()


class _PromptTokenDetails(msgspec.Struct):
    cached_tokens: int | None = None


class ChatUsage(msgspec.Struct):
    """The usage object of a chat completion or of embeddings."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptTokenDetails | None = None

    @property
    def cached_tokens(self) -> int:
        """The prompt tokens that were read from the cache."""
        return (self.prompt_tokens_details.cached_tokens or 0) if self.prompt_tokens_details else 0


def sane(count: int) -> int:
    """A token count, limited to plausible values, because totals would overflow otherwise."""
    return max(0, min(count, 10**9))


def loose(raw: msgspec.Raw | bytes) -> object:
    """JSON of any shape; None if it is nested too deeply."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    model: str | None = None
    prompt_filter_results: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Chunk).decode


class ChatStream:
    """Collects the chunks of one answer: `read` returns text, the rest is complete at the end.

    The first chunk may have no choices, and the last one only the usage.
    """

    def __init__(self) -> None:
        self._events = EventParser()
        self._calls: dict[int, _PartialToolCall] = {}
        self._dropped = 0
        self._last_dropped: int | None = None
        self._arguments = 0  # characters of all calls
        self._read_bytes = 0
        self._noted = b""  # the filter's last annotation; most chunks carry the same
        self._stopped: object = None
        self.filter: dict[str, str] = {}
        self._done = False
        self.finish: str | None = None
        self.counted: ChatUsage | None = None
        self.model = ""
        self.failed: BotError | None = None

    def read(self, data: bytes) -> str:
        """The text in a chunk of bytes; an error after that text is in `failed`.

        Raises ModelUnavailable if the bytes are not events, AnswerTimeout if there are too many.
        """
        self._read_bytes += len(data)
        if self._read_bytes > MAX_STREAM_BYTES:
            raise AnswerTimeout("The model's answer is too long")
        return self._take(self._events.feed(data))

    def end(self) -> str:
        """The text of a last incomplete event. An interrupted answer sets `failed`."""
        text = self._take(self._events.end())
        if not self._done and self.finish is None and not self.failed:
            self.failed = ModelUnavailable(
                "The connection to the model broke off in the middle of the answer"
            )
        return text

    def calls(self) -> list[Delta]:
        """The complete tool calls, and the number of dropped ones."""
        deltas = [
            Delta(
                call=ToolCall(
                    id=call.id or f"call_{index}", name=call.name, arguments="".join(call.arguments) or "{}"
                )
            )
            for index, call in sorted(self._calls.items())
        ]
        return [*deltas, Delta(dropped=self._dropped)] if self._dropped else deltas

    def check(self) -> None:
        """Raises ContentFiltered if the content filter ended the answer."""
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
            except (msgspec.DecodeError, RecursionError):
                self.failed = ModelUnavailable("The model sent an invalid answer")
                break
            if chunk.error and bytes(chunk.error) != b"null":
                self.failed = in_stream(loose(chunk.error))
                break
            if chunk.usage:
                self.counted = chunk.usage
            if chunk.model:
                self.model = chunk.model[:_NAME_CHARACTERS]
            if chunk.prompt_filter_results:
                note_prompt(self.filter, loose(chunk.prompt_filter_results))
            for choice in chunk.choices or ():
                if not choice.index:  # only one answer was requested
                    self._choose(choice, text)
            if self._arguments > MAX_ARGUMENTS:
                self.failed = ModelUnavailable("The model's tool calls are too long")
                break
        return "".join(text)

    def _choose(self, choice: _Choice, text: list[str]) -> None:
        received = choice.delta
        if received:
            if received.content:
                text.append(received.content)
            if received.refusal:
                text.append(received.refusal)
            for call in received.tool_calls or ():
                self._gather(call)
        if choice.finish_reason:
            self.finish = choice.finish_reason
        if choice.content_filter_results:
            self._annotate(bytes(choice.content_filter_results))

    def _annotate(self, raw: bytes) -> None:
        stopped = self.finish == "content_filter"
        if len(self.filter) > _MOST_NOTES:
            self.filter = dict(list(self.filter.items())[:_MOST_NOTES])
        if raw == self._noted and not stopped:
            return
        self._noted = raw
        results = loose(raw)
        note(self.filter, "answer", results)
        if stopped:
            self._stopped = results

    def _gather(self, call: _Call) -> None:
        held = self._calls.get(call.index)
        if held is None and len(self._calls) >= MAX_TOOL_CALLS:
            # Only counted: each has its own index, and its fragments are consecutive.
            self._dropped += call.index != self._last_dropped
            self._last_dropped = call.index
            return
        if held is None:
            held = self._calls[call.index] = _PartialToolCall()
        held.id = (call.id or held.id)[:_NAME_CHARACTERS]
        if call.function:
            held.name = (held.name + (call.function.name or ""))[:_NAME_CHARACTERS]
            if call.function.arguments:
                held.arguments.append(call.function.arguments)
                self._arguments += len(call.function.arguments)
