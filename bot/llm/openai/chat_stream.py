"""Decodes the bytes of a chat stream into deltas."""

from collections.abc import AsyncIterator

import msgspec

from bot.domain.errors import BotError, ContentFiltered, ModelUnavailable
from bot.domain.turns import Delta, Deployment
from bot.llm.openai.chat_chunk import ChatChunk, ChunkCall, ChunkChoice, ChunkDelta, chunks, fragment_of
from bot.llm.openai.content_filter import blocked, note, note_prompt
from bot.llm.openai.errors import in_stream
from bot.llm.openai.event_parser import EventParser
from bot.llm.openai.loose_json import TokenUsage, loose, skipped, unpaired, usage_of
from bot.llm.openai.reasoning import ReasoningFilter
from bot.llm.openai.tool_call_parts import ToolCallParts
from bot.llm.protocol import AnswerTimeout

# All events of one answer; 128,000 tokens with content filter annotations take half of it.
MAX_STREAM_BYTES = 256 * 2**20

# The maximum length of the arguments of all tool calls of one answer, in characters.
MAX_ARGUMENTS = 2**20

# Consecutive events without text, reasoning or a tool call, after which a stream is given up.
MAX_IDLE_EVENTS = 100_000

_NAME_CHARACTERS = 256  # of a model; services allow 64
_MOST_NOTES = 50  # of the content filter, which knows a dozen categories

_NO_ERROR = (b"null", b'""', b"{}", b"[]", b"false")
_DONE = (b"[DONE]", b'"[DONE]"', b"DONE")
_FINISH = {
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_completion_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
    "content-filter": "content_filter",
}
"""What other servers call the finish reasons of https://platform.openai.com/docs/api-reference/chat/object."""
_ABORTED = ("error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource")


class ChatStream:
    """Collects the chunks of one answer: `read` returns text, the rest is complete at the end.

    The first chunk may have no choices, and the last one only the usage. Chunks are decoded as documented; one
    that differs is read field by field, and what can't be read is skipped and counted. `unopened` is as in
    ReasoningFilter.
    """

    def __init__(self, unopened: int = 0, deployment: Deployment | None = None) -> None:
        self._deployment = deployment
        self._events = EventParser()
        self._reasoning = ReasoningFilter(unopened)
        self._calls = ToolCallParts()
        self._read_bytes = 0
        self._idle = 0
        self._half: str = ""  # of a surrogate pair
        self._noted = b""  # the filter's last annotation; most chunks carry the same
        self._stopped: object = None
        self._done = False
        self._lost = False  # a chunk was no JSON at all
        self._index: int | None = None  # of the only answer that was requested; some servers begin with 1
        self._streamed = False  # the answer came in deltas
        self._counted_last = False  # the last chunk was the usage, which ends a stream
        self.filter: dict[str, str] = {}
        self.finish: str | None = None
        self.counted: TokenUsage | None = None
        self.model = ""
        self.failed: BotError | None = None
        self.retracted = False
        self.grown = 0
        """Chunks with text, reasoning or tool calls."""

    def read(self, data: bytes) -> str:
        """The text in a chunk of bytes; an error after that text is in `failed`. If `retracted` is set, all text
        before it was reasoning.

        Raises ModelUnavailable if an event is too long, AnswerTimeout if there are too many bytes.
        """
        self._read_bytes += len(data)
        if self._read_bytes > MAX_STREAM_BYTES:
            raise AnswerTimeout("The model's answer is too long")
        return self._take(self._events.feed(data))

    def end(self) -> str:
        """The text of a last incomplete event. An interrupted answer sets `failed`."""
        text = self._take(self._events.end())
        counted = self._counted_last and not self._calls
        complete = self._done or self.finish is not None or counted
        text += self._reasoning.end(complete and self.finish != "length")
        if self.failed:
            return text
        if not complete or self.finish in _ABORTED:
            self.failed = ModelUnavailable(
                "The connection to the model broke off in the middle of the answer"
            )
        elif self._lost and self._calls:
            self.failed = ModelUnavailable("A part of the model's tool calls could not be read")
        return text

    def calls(self) -> list[Delta]:
        """The complete tool calls, and the number of dropped ones."""
        return self._calls.deltas()

    @property
    def reasoned(self) -> bool:
        """Whether the model wrote reasoning, which is not part of the answer."""
        return self._reasoning.found or bool(self.counted and self.counted.reasoning_tokens)

    @property
    def orphaned(self) -> bool:
        """Whether reasoning ended that never began: the model's chat template holds the opening tag."""
        return self._reasoning.orphaned

    @property
    def unopened(self) -> int:
        """The number of answers in sequence, with this one, whose reasoning had no opening tag."""
        return self._reasoning.unopened

    def check(self) -> None:
        """Raises ContentFiltered if the content filter ended the answer."""
        if self.finish == "content_filter":
            raise blocked("answer", self._stopped, self.filter)

    def _take(self, events: list[bytes]) -> str:
        text = ""
        for data in events:
            if data in _DONE or data.strip() in _DONE:
                self._done = True
                continue
            self._idle += 1
            for chunk in self._chunks(data):
                if self._note(chunk):
                    for choice in chunk.choices or ():
                        if self._index is None:
                            self._index = choice.index or 0
                        if (choice.index or 0) == self._index:
                            piece = self._choose(choice)
                            if self.orphaned and not self.retracted:
                                self.retracted, text = True, ""
                            text += piece
            if self._calls.characters > MAX_ARGUMENTS:
                self.failed = ModelUnavailable("The model's tool calls are too long")
            elif self._idle > MAX_IDLE_EVENTS:
                self.failed = ModelUnavailable("The model's stream has no answer")
            if self.failed:
                break
        return text

    def _chunks(self, data: bytes) -> list[ChatChunk]:
        """The chunk of an event; several if a server sends a list of them."""
        try:
            found = chunks(data)
        except ValueError:
            found = []
            self._lost = self._lost or bool(data.strip())
        if not found:
            skipped("event")
        return found

    def _note(self, chunk: ChatChunk) -> bool:
        """Note what a chunk says beside its choices. Returns whether it is no error."""
        if chunk.error and bytes(chunk.error) not in _NO_ERROR:
            self.failed = in_stream(loose(chunk.error), deployment=self._deployment)
            return False
        self._counted_last = bool(chunk.usage and not chunk.choices and self._count(chunk.usage))
        if chunk.usage and chunk.choices:
            self._count(chunk.usage)
        if chunk.model:
            self.model = chunk.model[:_NAME_CHARACTERS]
        if chunk.prompt_filter_results:
            note_prompt(self.filter, loose(chunk.prompt_filter_results))
        return True

    def _count(self, usage: msgspec.Raw) -> bool:
        """Note the counts of a `usage` object. Returns whether there are any."""
        counted = usage_of(loose(usage)) if bytes(usage) != b"null" else None
        if counted is not None:
            self.counted = (self.counted or TokenUsage()).updated(counted)
        return counted is not None and counted != TokenUsage()

    def _choose(self, choice: ChunkChoice) -> str:
        text, received = "", self._received(choice)
        if received is not None:
            if content := received.content:
                text += self._reasoning.feed(self._paired(content))
            if received.refusal:
                text += self._reasoning.feed(received.refusal)
            fragments = [fragment_of(call) for call in received.tool_calls or ()]
            if received.function_call:
                fragments.append(fragment_of(ChunkCall(function=received.function_call)))
            self._calls.gather(fragments)
            if reasoned := any(raw and bytes(raw) not in _NO_ERROR for raw in received.all_reasoning):
                self._reasoning.found = True
            if content or received.refusal or fragments or reasoned:
                self._idle = 0
                self.grown += 1
        if finish := (choice.finish_reason or "").lower():
            self.finish = _FINISH.get(finish, finish)
        if choice.usage:
            self._count(choice.usage)
        if choice.content_filter_results:
            self._annotate(bytes(choice.content_filter_results))
        return text

    def _received(self, choice: ChunkChoice) -> ChunkDelta | None:
        """What a choice adds: its delta, or its message unless deltas have shown it, as some servers repeat it."""
        delta = choice.delta
        self._streamed = self._streamed or bool(delta and (delta.content or delta.tool_calls))
        if choice.message is not None and not self._streamed:
            return choice.message
        return ChunkDelta(content=choice.text) if delta is None and choice.text else delta

    def _paired(self, text: str) -> str:
        """The text as valid Unicode; emoji may be split over two chunks."""
        if self._half:
            text, self._half = self._half + text, ""
        try:
            text.encode()
        except UnicodeEncodeError:
            text, self._half = unpaired(text)
        return text

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


async def deltas(reads: AsyncIterator[bytes], answer: ChatStream) -> AsyncIterator[Delta]:
    """The text of a stream, one delta per read, then its tool calls; the rest is in `answer`.

    Raises what interrupted the answer, after the text before it.
    """
    retracted = shown = False
    async for data in reads:
        text = answer.read(data)
        shown = shown or bool(text)
        if answer.retracted and not retracted:
            retracted = True
            yield Delta(text=text, retracts=True)
        elif text:
            yield Delta(text=text)
        if answer.failed:
            raise _interrupted(answer.failed, shown)
    text = answer.end()
    if text or answer.retracted != retracted:
        yield Delta(text=text, retracts=answer.retracted and not retracted)
    if answer.failed:
        raise _interrupted(answer.failed, shown or bool(text))
    for delta in answer.calls():
        yield delta


def _interrupted(failed: BotError, shown: bool) -> BotError:
    """The error of a stream; after visible text it is an interruption, whatever its reason, unless it was filtered."""
    return failed if not shown or isinstance(failed, ContentFiltered) else ModelUnavailable(str(failed))
