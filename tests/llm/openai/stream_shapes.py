"""What servers send in place of the documented stream of a chat completion, and what it means.

Each shape was seen at a real service or gateway: Azure OpenAI, API Management, vLLM, llama.cpp, Ollama, LiteLLM,
OpenRouter, Mistral, DeepSeek, Moonshot, and proxies that rewrite them.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

Ends = Literal["answer", "empty", "failed", "blocked"]

HELLO = "Hello, world. \u4e16\u754c"
A, B = ("draw", '{"x":1}'), ("draw", '{"x":2}')
LOOK = ("look", "{}")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A stream, and what it is: its text and tool calls as (name, arguments), and how it ends.

    `usage` is the count of input and output tokens, if it is reported.
    """

    sent: bytes
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    ends: Ends = "answer"
    usage: tuple[int, int] | None = None


def data(value: object, *, space: str = " ", end: str = "\n\n") -> bytes:
    """One event."""
    return f"data:{space}{json.dumps(value, ensure_ascii=False)}{end}".encode()


def chunk(delta: object, finish: object = None, **more: object) -> dict[str, Any]:
    """The chunk of one choice; `more` are fields of the chunk."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def says(content: object) -> bytes:
    return data(chunk({"content": content}))


def call(name: str | None = None, arguments: object = None, **more: object) -> dict[str, Any]:
    function: dict[str, object] = {"name": name} if name is not None else {}
    if arguments is not None:
        function["arguments"] = arguments
    return {**more, "function": function}


def calls(*fragments: object) -> bytes:
    return data(chunk({"tool_calls": list(fragments)}))


STOP, CALLED, LENGTH = (data(chunk({}, finish)) for finish in ("stop", "tool_calls", "length"))
DONE = b"data: [DONE]\n\n"
END = STOP + DONE
CALLS_END = CALLED + DONE
HEAD, TAIL = says("Hello, "), says("world. \u4e16\u754c")
TEXT = HEAD + TAIL


def counts(usage: object) -> bytes:
    return data({"choices": [], "usage": usage})


def hello(sent: bytes, **more: Any) -> Shape:
    return Shape(sent=sent, text=HELLO, **more)


def whole(message: object, finish: str | None = "stop", **more: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def pretty(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


_NUMBERS = {"prompt_tokens": 7, "completion_tokens": 3}
_ROLE = data(chunk({"role": "assistant", "content": "", "refusal": None}))
_FILTER = {"hate": {"filtered": False, "severity": "safe"}}
_BLOCKED = {"violence": {"filtered": True, "severity": "high"}}

FRAMES: dict[str, Shape] = {
    "as documented": hello(_ROLE + TEXT + STOP + counts(_NUMBERS) + DONE, usage=(7, 3)),
    "without a space after the colon": hello(
        b"".join(data(chunk({"content": part}), space="") for part in ("Hello, ", "world. \u4e16\u754c"))
        + b"data:[DONE]\n\n"
    ),
    "several spaces after the colon": hello(
        b"".join(data(chunk({"content": part}), space="  ") for part in ("Hello, ", "world. \u4e16\u754c"))
        + END
    ),
    "CRLF": hello((TEXT + END).replace(b"\n", b"\r\n")),
    "CR alone": hello((TEXT + END).replace(b"\n", b"\r")),
    "comments and keep-alives": hello(b": PROCESSING\n\n" + HEAD + b":\n\n: keep-alive\n" + TAIL + END),
    "event names and ids": hello(
        b"event: message\nid: 1\n" + HEAD + b"retry: 500\nevent: ping\n\nevent: message\n" + TAIL + END
    ),
    "a ping with data": hello(HEAD + b'event: ping\ndata: {"type": "ping"}\n\n' + TAIL + END),
    "one event on many lines": hello(
        b"".join(
            b"".join(b"data: " + line + b"\n" for line in pretty(chunk({"content": part})).split(b"\n"))
            + b"\n"
            for part in ("Hello, ", "world. \u4e16\u754c")
        )
        + END
    ),
    "no empty lines between events": hello((TEXT + END).replace(b"\n\n", b"\n")),
    "a byte order mark": hello(b"\xef\xbb\xbf" + TEXT + END),
    "a byte order mark before JSON": hello(b"data: \xef\xbb\xbf" + HEAD.removeprefix(b"data: ") + TAIL + END),
    "data: null": hello(HEAD + b"data: null\n\n" + TAIL + b"data: null\n\n" + END),
    "empty data": hello(b"data:\n\n" + HEAD + b"data: \n\n" + TAIL + END),
    "data that is a number, a list, a string": hello(
        HEAD + b'data: 1\n\ndata: []\n\ndata: "x"\n\ndata: true\n\n' + TAIL + END
    ),
    "data twice": hello(b"data: " + HEAD + b"data: data: " + TAIL.removeprefix(b"data: ") + END),
    "an indented line": hello(b" " + HEAD + b"\t" + TAIL + END),
    "JSON that is none between": hello(HEAD + b'data: {"choices": [{"del\n\n' + TAIL + END),
    "text that is no JSON between": hello(HEAD + b"data: upstream reconnected\n\n" + TAIL + END),
    "bytes that are not UTF-8": Shape(
        sent=HEAD + b'data: {"choices":[{"delta":{"content":"\xff!"}}]}\n\n' + END, text="Hello, \ufffd!"
    ),
    "NaN": hello(HEAD + TAIL + b'data: {"choices":[],"usage":{"prompt_tokens":NaN}}\n\n' + END),
    "half an emoji in each chunk": Shape(
        sent=b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"\\ude00!"}}]}\n\n' + END,
        text="\U0001f600!",
    ),
    "a list of chunks in one event": hello(
        data([chunk({"content": "Hello, "}), chunk({"content": "world. \u4e16\u754c"})]) + END
    ),
    "DONE in quotes": hello(TEXT + b'data: "[DONE]"\n\n'),
    "DONE without a finish reason": hello(TEXT + DONE),
    "a finish reason without DONE": hello(TEXT + STOP),
    "text after the finish reason's usage": hello(HEAD + counts(_NUMBERS) + TAIL + END, usage=(7, 3)),
    "the end after the usage": hello(TEXT + counts(_NUMBERS), usage=(7, 3)),
    "usage after DONE": hello(TEXT + END + counts(_NUMBERS), usage=(7, 3)),
    "only chunks without choices": Shape(sent=data({"choices": []}) * 3 + DONE, ends="empty"),
    "JSON lines": hello(lines(chunk({"content": HELLO}), chunk({}, "stop"))),
    "Ollama's own lines": hello(
        lines(
            {"message": {"role": "assistant", "content": HELLO}, "done": False},
            {
                "done": True,
                "done_reason": "stop",
                "message": {"content": ""},
                "prompt_eval_count": 7,
                "eval_count": 3,
            },
        ),
        usage=(7, 3),
    ),
}

BODIES: dict[str, Shape] = {
    "plain JSON": hello(json.dumps(whole({"content": HELLO}, usage=_NUMBERS)).encode(), usage=(7, 3)),
    "plain JSON on many lines": hello(pretty(whole({"role": "assistant", "content": HELLO}))),
    "plain JSON with a tool call": Shape(
        sent=pretty(whole({"content": None, "tool_calls": [call(*A, id="a")]}, "tool_calls")), calls=(A,)
    ),
    "plain JSON after a byte order mark": hello(b"\xef\xbb\xbf" + pretty(whole({"content": HELLO}))),
    "a JSON list of chunks": hello(pretty([chunk({"content": HELLO}), chunk({}, "stop")])),
    "a whole message in an event": hello(data(whole({"content": HELLO})) + DONE),
    "the whole message again at the end": hello(TEXT + data(whole({"content": HELLO})) + DONE),
    "the whole message so far in every event": hello(
        data({"choices": [{"delta": {"content": "Hello, "}, "message": {"content": "Hello, "}}]})
        + data({"choices": [{"delta": {"content": "world. \u4e16\u754c"}, "message": {"content": HELLO}}]})
        + END
    ),
    "a whole message beside an empty delta": hello(
        data({"choices": [{"delta": {}, "message": {"content": HELLO}, "finish_reason": "stop"}]})
    ),
    "nothing": Shape(sent=b"", ends="failed"),
    "a web page": Shape(sent=b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", ends="failed"),
    "only DONE": Shape(sent=DONE, ends="empty"),
    "stop without text": Shape(sent=_ROLE + END, ends="empty"),
    "stop after white space": Shape(sent=says("\n\n") + says("  ") + END, ends="empty"),
    "content that is null": Shape(sent=says(None) + END, ends="empty"),
    "a finish reason without calls": Shape(sent=_ROLE + CALLS_END, ends="empty"),
    "only reasoning": Shape(sent=data(chunk({"reasoning_content": "Hm."})) + END, ends="empty"),
    "reasoning up to the limit": Shape(
        sent=_ROLE
        + LENGTH
        + counts({**_NUMBERS, "completion_tokens_details": {"reasoning_tokens": 3}})
        + DONE,
        ends="empty",
        usage=(7, 3),
    ),
}

ERRORS: dict[str, Shape] = {
    "an error": Shape(sent=data({"error": {"code": "server_error", "message": "no"}}), ends="failed"),
    "an error that is a string": Shape(sent=data({"error": "overloaded"}), ends="failed"),
    "an object that is an error": Shape(
        sent=pretty(
            {"object": "error", "message": "Internal error", "type": "InternalServerError", "code": 500}
        ),
        ends="failed",
    ),
    "an event named error": Shape(sent=b'event: error\ndata: {"message": "no"}\n\n', ends="failed"),
    "an event named error with text": Shape(sent=b"event: error\ndata: upstream failed\n\n", ends="failed"),
    "a gateway's error": Shape(
        sent=b'{"statusCode": 429, "message": "Rate limit is exceeded. Try again in 20 seconds."}',
        ends="failed",
    ),
    "a detail": Shape(sent=data({"detail": "worker died"}), ends="failed"),
    "an error after text": Shape(
        sent=TEXT + b'{"error": {"message": "out of memory", "code": 500}}\n', text=HELLO, ends="failed"
    ),
    "a finish reason that is an error": Shape(
        sent=TEXT + data(chunk({}, "error")), text=HELLO, ends="failed"
    ),
    "an error beside an empty delta": Shape(
        sent=HEAD + data(chunk({"content": ""}, "error", error={"code": "server_error", "message": "gone"})),
        text="Hello, ",
        ends="failed",
    ),
    "a rate limit in the words of a long text": Shape(
        sent=b'event: exception\ndata: {"message": "Too many tokens, please wait before trying again."}\n\n',
        ends="failed",
    ),
    "an error that is null": hello(
        data(chunk({"content": HELLO}, error=None)) + data(chunk({}, "stop", error=None))
    ),
    "an error that is empty": hello(
        data(chunk({"content": HELLO}, error={})) + data(chunk({}, "stop", error=""))
    ),
    "the content filter": Shape(
        sent=HEAD
        + data(
            {"choices": [{"index": 0, "finish_reason": "content_filter", "content_filter_results": _BLOCKED}]}
        ),
        text="Hello, ",
        ends="blocked",
    ),
    "the content filter as an error": Shape(
        sent=data({"error": {"code": "content_filter", "innererror": {"content_filter_result": _BLOCKED}}}),
        ends="blocked",
    ),
}

FIELDS: dict[str, Shape] = {
    "usage that is null": hello(TEXT + counts(None) + END),
    "usage of nulls": hello(
        TEXT + STOP + counts({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}) + DONE,
        usage=(0, 0),
    ),
    "usage of fractions": hello(
        TEXT + STOP + counts({"prompt_tokens": 7.0, "completion_tokens": 2.6}) + DONE, usage=(7, 3)
    ),
    "usage of strings": hello(
        TEXT + STOP + counts({"prompt_tokens": "7", "completion_tokens": "3"}) + DONE, usage=(7, 3)
    ),
    "usage by other names": hello(
        TEXT + STOP + counts({"input_tokens": 7, "output_tokens": 3}) + DONE, usage=(7, 3)
    ),
    "usage that is a list": hello(TEXT + STOP + counts([7, 3]) + DONE),
    "usage with odd details": hello(
        TEXT
        + STOP
        + counts({**_NUMBERS, "prompt_tokens_details": "none", "completion_tokens_details": []})
        + DONE,
        usage=(7, 3),
    ),
    "usage in every chunk": hello(
        data(chunk({"content": "Hello, "}, usage={"prompt_tokens": 7, "completion_tokens": 1}))
        + data(chunk({"content": "world. \u4e16\u754c"}, "stop", usage=_NUMBERS)),
        usage=(7, 3),
    ),
    "usage in the choice": hello(
        TEXT + data({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": _NUMBERS}]}),
        usage=(7, 3),
    ),
    "content as parts": hello(
        says([{"type": "text", "text": "Hello, "}]) + says(["world. \u4e16\u754c"]) + END
    ),
    "content as one part": hello(says({"type": "text", "text": {"value": HELLO}}) + END),
    "content with parts of thinking": hello(
        says([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}])
        + says([{"text": HELLO}])
        + END
    ),
    "content that is a number": Shape(sent=says("1 + 1 = ") + says(2) + END, text="1 + 1 = 2"),
    "content of an unknown kind": hello(
        HEAD + says({"type": "audio", "audio": {}}) + says(True) + TAIL + END
    ),
    "choices that are null": hello(data({"choices": None}) + TEXT + END),
    "choices that are one object": hello(
        data({"choices": {"delta": {"content": HELLO}}}) + data({"choices": {"finish_reason": "stop"}})
    ),
    "choices without a delta": hello(
        TEXT + data({"choices": [{"index": 0, "content_filter_offsets": None}]}) + END
    ),
    "a delta that is null": hello(TEXT + data(chunk(None)) + data(chunk(None, "stop"))),
    "a delta that is a string": hello(data(chunk(HELLO)) + END),
    "text in place of a delta": hello(data({"choices": [{"text": HELLO, "finish_reason": None}]}) + END),
    "an index that is null": hello(
        data({"choices": [{"index": None, "delta": {"content": HELLO}, "finish_reason": "stop"}]})
    ),
    "an index that begins with 1": hello(
        data({"choices": [{"index": 1, "delta": {"content": HELLO}, "finish_reason": "stop"}]})
    ),
    "an index that is a string": hello(
        data(
            {
                "choices": [
                    {"index": "0", "delta": {"content": HELLO}},
                    {"index": "1", "delta": {"content": "no"}},
                ]
            }
        )
        + END
    ),
    "names and ids that are numbers": hello(
        data(chunk({"content": HELLO}, id=17, model=4, created="now", object=None)) + END
    ),
    "a finish reason that is empty": hello(
        data(chunk({"content": "Hello, "}, "")) + data(chunk({"content": "world. \u4e16\u754c"}, "")) + END
    ),
    "a finish reason beside the last text": hello(
        HEAD + data(chunk({"content": "world. \u4e16\u754c"}, "stop")) + DONE
    ),
    "text after the finish reason": hello(HEAD + STOP + TAIL + DONE),
    "a finish reason in capitals": hello(TEXT + data(chunk({}, "STOP"))),
    "a finish reason that is unknown": hello(TEXT + data(chunk({}, "eos_token"))),
    "a finish reason that is an object": hello(TEXT + data(chunk({}, {"type": "stop"})) + DONE),
    "annotations of an odd shape": hello(
        data({"choices": [], "prompt_filter_results": {"hate": 1}})
        + data({"choices": [{"delta": {"content": HELLO}, "content_filter_results": [_FILTER, None]}]})
        + END
    ),
    "a refusal": Shape(sent=data(chunk({"content": None, "refusal": "I can't."})) + END, text="I can't."),
    "fields that nobody knows": hello(
        data(chunk({"content": HELLO, "audio": [], "annotations": None}, obfuscation="x", service_tier=None))
        + END
    ),
}

CALLS: dict[str, Shape] = {
    "as documented": Shape(
        sent=calls(call("draw", "", index=0, id="a"))
        + calls(call(None, '{"x"', index=0))
        + calls(call(None, ":1}", index=0))
        + calls(call("draw", "", index=1, id="b"))
        + calls(call(None, '{"x":2}', index=1))
        + CALLS_END,
        calls=(A, B),
    ),
    "interleaved": Shape(
        sent=calls(call("draw", "", index=0, id="a"), call("draw", "", index=1, id="b"))
        + calls(call(None, '{"x"', index=0), call(None, '{"x"', index=1))
        + calls(call(None, ":2}", index=1), call(None, ":1}", index=0))
        + CALLS_END,
        calls=(A, B),
    ),
    "no index": Shape(sent=calls(call(*A, id="a")) + calls(call(*B, id="b")) + CALLS_END, calls=(A, B)),
    "no index in one chunk": Shape(sent=calls(call(*A, id="a"), call(*B, id="b")) + CALLS_END, calls=(A, B)),
    "no index and fragments": Shape(
        sent=calls(call("draw", "", id="a"))
        + calls(call(None, '{"x":1}'))
        + calls(call("draw", "", id="b"))
        + calls(call(None, '{"x"'))
        + calls(call(None, ":2}"))
        + CALLS_END,
        calls=(A, B),
    ),
    "no index and no id": Shape(sent=calls(call(*A)) + calls(call(*B)) + CALLS_END, calls=(A, B)),
    "no index, no id, fragments in parallel": Shape(
        sent=calls(call("draw", '{"x"'), call("look", "{"))
        + calls(call(None, ":1}"), call(None, "}"))
        + CALLS_END,
        calls=(A, LOOK),
    ),
    "an index that is null": Shape(
        sent=calls(call("draw", "", index=None, id="a"))
        + calls(call(None, '{"x":1}', index=None, id=None))
        + calls(call("look", "{}", index=None, id="b"))
        + CALLS_END,
        calls=(A, LOOK),
    ),
    "the index 0 for every call": Shape(
        sent=calls(call(*A, index=0, id="a")) + calls(call(*B, index=0, id="b")) + CALLS_END, calls=(A, B)
    ),
    "the index 0 for every call, in one chunk": Shape(
        sent=calls(call(*A, index=0, id="a"), call(*LOOK, index=0, id="b")) + CALLS_END, calls=(A, LOOK)
    ),
    "the index 0 for every call, without ids": Shape(
        sent=calls(call(*A, index=0), call(*B, index=0)) + CALLS_END, calls=(A, B)
    ),
    "the index 0 for every call, in fragments": Shape(
        sent=calls(call("draw", "", index=0, id="a"))
        + calls(call(None, '{"x":1}', index=0))
        + calls(call("draw", "", index=0, id="b"))
        + calls(call(None, '{"x":2}', index=0))
        + CALLS_END,
        calls=(A, B),
    ),
    "the name in every fragment": Shape(
        sent=calls(call("draw", "", index=0, id="a"))
        + calls(call("draw", '{"x"', index=0))
        + calls(call("draw", ":1}", index=0))
        + CALLS_END,
        calls=(A,),
    ),
    "name and id in every fragment": Shape(
        sent=b"".join(calls(call("draw", part, index=0, id="a")) for part in ("", '{"x"', ":1}"))
        + b"".join(calls(call("draw", part, index=1, id="b")) for part in ("", '{"x"', ":2}"))
        + CALLS_END,
        calls=(A, B),
    ),
    "name and id in every fragment, no index": Shape(
        sent=b"".join(calls(call("draw", part, id="a")) for part in ('{"x"', ":1}"))
        + b"".join(calls(call("draw", part, id="b")) for part in ('{"x"', ":2}"))
        + CALLS_END,
        calls=(A, B),
    ),
    "the name in every fragment, no index, no id": Shape(
        sent=b"".join(calls(call("draw", part)) for part in ('{"x"', ":1}", '{"x"', ":2}")) + CALLS_END,
        calls=(A, B),
    ),
    "name and id again beside the finish reason": Shape(
        sent=calls(call("draw", '{"x"', index=0, id="a"))
        + data(chunk({"tool_calls": [call("draw", ":1}", index=0, id="a")]}, "tool_calls"))
        + DONE,
        calls=(A,),
    ),
    "markers of gpt-oss in the name": Shape(
        sent=calls(call("functions.draw<|channel|>commentary", '{"x":1}', index=0, id="a")) + CALLS_END,
        calls=(A,),
    ),
    "arguments that are encoded twice": Shape(
        sent=calls(call("draw", json.dumps('{"x":1}'), index=0, id="a")) + CALLS_END, calls=(A,)
    ),
    "arguments that are the word null": Shape(
        sent=calls(call("look", "null", index=0, id="a")) + CALLS_END, calls=(LOOK,)
    ),
    "a new id in every fragment": Shape(
        sent=calls(call("draw", '{"x"', index=0, id="a"))
        + calls(call(None, ":1}", index=0, id="b"))
        + CALLS_END,
        calls=(A,),
    ),
    "a new id and the name in every fragment": Shape(
        sent=calls(call("draw", "", index=0, id="a"))
        + calls(call("draw", '{"x"', index=0, id="b"))
        + calls(call("draw", ":1}", index=0, id="c"))
        + CALLS_END,
        calls=(A,),
    ),
    "one id for all calls": Shape(
        sent=calls(call(*A, index=0, id="a")) + calls(call(*B, index=1, id="a")) + CALLS_END, calls=(A, B)
    ),
    "the id later": Shape(
        sent=calls(call("draw", "", index=0)) + calls(call(None, '{"x":1}', index=0, id="a")) + CALLS_END,
        calls=(A,),
    ),
    "a name in two parts": Shape(
        sent=calls(call("dr", "", index=0, id="a")) + calls(call("aw", '{"x":1}', index=0)) + CALLS_END,
        calls=(A,),
    ),
    "ids and indexes of other types": Shape(
        sent=calls(call(*A, index="0", id=17)) + calls(call(*B, index=1.0, id=18)) + CALLS_END, calls=(A, B)
    ),
    "arguments that are an object": Shape(
        sent=calls(call("draw", {"x": 1}, index=0, id="a")) + CALLS_END, calls=(A,)
    ),
    "arguments that are null": Shape(
        sent=calls({"index": 0, "id": "a", "function": {"name": "look", "arguments": None}}) + CALLS_END,
        calls=(LOOK,),
    ),
    "an empty object as a placeholder": Shape(
        sent=calls(call("draw", "{}", index=0, id="a")) + calls(call(None, '{"x":1}', index=0)) + CALLS_END,
        calls=(A,),
    ),
    "one call in place of a list": Shape(
        sent=data(chunk({"tool_calls": call(*A, index=0, id="a")})) + CALLS_END, calls=(A,)
    ),
    "a call that is null": Shape(sent=calls(None, call(*A, index=0, id="a")) + CALLS_END, calls=(A,)),
    "a call without a name": Shape(
        sent=calls(call(None, "{}", index=0, id="a"), call(*B, index=1, id="b")) + CALLS_END, calls=(B,)
    ),
    "the finish reason stop": Shape(sent=calls(call(*A, index=0, id="a")) + END, calls=(A,)),
    "a legacy function call": Shape(
        sent=data(chunk({"function_call": {"name": "draw", "arguments": ""}}))
        + data(chunk({"function_call": {"arguments": '{"x":1}'}}))
        + data(chunk({}, "function_call"))
        + DONE,
        calls=(A,),
    ),
    "text and a call": hello(TEXT + calls(call(*A, index=0, id="a")) + CALLS_END, calls=(A,)),
    "a fragment of a call that can't be read": Shape(
        sent=calls(call("draw", '{"x"', index=0, id="a"))
        + b"data: {oops\n\n"
        + calls(call(None, ":1}", index=0))
        + END,
        ends="failed",
    ),
}

REASONING: dict[str, Shape] = {
    "between tags": hello(says("<think>Hm.</think>") + TEXT + END),
    "between split tags": hello(
        b"".join(
            says(part)
            for part in ("<th", "ink>H", "m.</", "thi", "nk>", "\n\nHello, ", "world. \u4e16\u754c")
        )
        + END
    ),
    "in one chunk with the answer": hello(says(f"<think>\nHm.\n</think>\n\n{HELLO}") + END),
    "without a closing tag": Shape(sent=says("<think>Hm, ") + says("so") + END, ends="empty"),
    "cut by the limit": Shape(sent=says("<think>Hm, ") + LENGTH + DONE, ends="empty"),
    "without an opening tag": hello(says("Hm, ") + says("so.\n</think>\n\n") + TEXT + END),
    "without an opening tag, in one chunk": hello(says(f"Hm.\n</think>\n\n{HELLO}") + END),
    "in a field of its own": hello(data(chunk({"reasoning_content": "Hm.", "content": None})) + TEXT + END),
    "in another field": hello(data(chunk({"reasoning": "Hm.", "reasoning_details": ["Hm."]})) + TEXT + END),
    "in capitals": hello(says("<THINK>Hm.</THINK>") + TEXT + END),
    "by other names": hello(says("<thought>Hm.</thought>\n") + TEXT + END),
    "of Magistral": hello(says("[THINK]Hm.[/THINK]") + TEXT + END),
    "of gpt-oss": hello(
        says("<|channel|>analysis<|message|>Hm.")
        + says("<|end|><|start|>assistant<|channel|>final<|message|>")
        + TEXT
        + END
    ),
    "of Gemma": hello(says("<|channel>thought\nHm.") + says("<channel|>") + TEXT + END),
    "in the middle": Shape(
        sent=HEAD + says("\n<think>Hm.</think>\n") + says("world") + END, text="Hello, \n\nworld"
    ),
    "in the middle of a line": Shape(sent=says("Hello <think>Hm.</think>world") + END, text="Hello world"),
    "as text about the tag": Shape(
        sent=says("Models write `<think>` first, and `</think>` at the end.") + END,
        text="Models write `<think>` first, and `</think>` at the end.",
    ),
    "as text about the tag, not marked": Shape(
        sent=says("Models write <think> fi") + says("rst.") + END, text="Models write <think> first."
    ),
    "as code": Shape(
        sent=says("```xml\n<think>\nHm.\n</think>\n```\n") + END, text="```xml\n<think>\nHm.\n</think>\n```\n"
    ),
    "white space at the beginning": Shape(sent=says(" ") + says(" go on") + END, text="  go on"),
    "that is empty": hello(says("<think>\n\n</think>\n\n") + TEXT + END),
    "less than": Shape(sent=says("1 <") + says(" 2 and <t") + says("able>") + END, text="1 < 2 and <table>"),
    "an open bracket at the end": Shape(sent=says("x <") + END, text="x <"),
}

SHAPES: dict[str, Shape] = {
    f"{group}: {name}": shape
    for group, shapes in {
        "frames": FRAMES,
        "bodies": BODIES,
        "errors": ERRORS,
        "fields": FIELDS,
        "calls": CALLS,
        "reasoning": REASONING,
    }.items()
    for name, shape in shapes.items()
}
