"""Azure OpenAI as a local HTTP server, with its wire, its limits and its faults."""

import argparse
import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.simulators import azure_wire
from tests.simulators.azure_wire import Answer

Kind = Literal[
    "rate_limited",
    "server_error",
    "unauthorized",
    "forbidden",
    "deployment_not_found",
    "gone",
    "blocked",
    "too_long",
    "unsupported",
    "slow",
    "dropped",
    "malformed",
    "stalled",
    "stream_error",
]


@dataclass(kw_only=True)
class Fault:
    """Something that goes wrong, `times` times (-1: always), for one deployment or for all.

    The last four kinds happen after `after` text chunks of a stream.
    """

    kind: Kind
    times: int = 1
    deployment: str | None = None
    retry_after_s: float | None = None
    retry_after_ms: int | None = None
    param: str = "temperature"
    code: str = "unsupported_parameter"
    categories: tuple[str, ...] = ("violence",)
    first_s: float = 1.0
    after: int = 2


@dataclass(kw_only=True)
class Deployed:
    """What stands behind a deployment's name; `requests` and `tokens` are its limits in any `window_s`."""

    model: str = "gpt-4o-2024-11-20"
    refuses: tuple[str, ...] = ()
    pictures: Literal["gpt-image", "dalle"] = "gpt-image"
    dimensions: int = 1536
    requests: int | None = None
    tokens: int | None = None
    window_s: float = 60.0
    served: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def admit(self, now: float, tokens: int) -> tuple[float, dict[str, str]]:
        """The seconds to wait (0: come in), and the headers that say what is left of the limits."""
        while self.served and self.served[0][0] <= now - self.window_s:
            self.served.popleft()
        limits = {"requests": self.requests, "tokens": self.tokens}
        used = {"requests": len(self.served), "tokens": sum(item for _, item in self.served)}
        wants = {"requests": 1, "tokens": tokens}
        full = any(limit is not None and used[name] + wants[name] > limit for name, limit in limits.items())
        if not full:
            self.served.append((now, tokens))
            used = {name: used[name] + wants[name] for name in used}
        reset_s = max(0.0, self.served[0][0] + self.window_s - now) if self.served else 0.0
        headers: dict[str, str] = {}
        for name, limit in limits.items():
            if limit is not None:
                headers[f"x-ratelimit-limit-{name}"] = str(limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - used[name]))
                headers[f"x-ratelimit-reset-{name}"] = f"{reset_s * 1000:.0f}ms"
        return (reset_s if full else 0.0), headers


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    deployment: str
    headers: dict[str, str]
    raw: bytes
    peer: object = None
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def body(self) -> dict[str, Any]:
        """The JSON, or the fields of a form (files as their bytes)."""
        return self.fields or json.loads(self.raw)


def echo(messages: list[Any]) -> Answer:
    """The answer unless another is set: what was said last, once more."""
    return Answer(text=f"You said: {azure_wire.last_user_text(messages)}")


Instead = Callable[[web.Request], Awaitable[web.StreamResponse]]
REASONING = ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty")
_LIMITS = web.RequestKey("limits", dict[str, str])
_GPT_IMAGE_REFUSES = ("response_format", "style")
_DALLE_REFUSES = (
    "output_format",
    "background",
    "output_compression",
    "moderation",
    "stream",
    "partial_images",
)


class AzureSimulator:
    """Serves classic paths, `/openai/v1/...` and plain `/v1/...` on 127.0.0.1.

    `deployments` that is not None makes every other name a 404; `key` that is None accepts any.
    Bearer tokens that look like Entra's (`eyJ...`) are accepted beside the key.
    """

    def __init__(
        self,
        *,
        key: str | None = "simulated-key",
        deployments: dict[str, Deployed] | None = None,
        first_s: float = 0.0,
        interval_s: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.key = key
        self.deployments = deployments
        self.first_s = first_s
        self.interval_s = interval_s
        self.answer: Callable[[list[Any]], Answer | str] = echo
        self.faults: list[Fault] = []
        self.journal: deque[Asked] = deque(maxlen=1000)
        self.cached_tokens = 0
        self.turned_away = 0
        self.async_filter = False
        self.picture_path = "/_images/"
        self.picture_faults: list[int] = []  # statuses of the next downloads of images
        self.instead: dict[str, Instead] = {}  # by deployment: what answers in the simulator's place
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None

    # -------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._answer_instead])
        for prefix in ("/openai/deployments/{deployment}", "/openai/v1", "/v1"):
            app.router.add_post(prefix + "/chat/completions", self._chat)
            app.router.add_post(prefix + "/images/generations", self._draw)
            app.router.add_post(prefix + "/images/edits", self._draw)
            app.router.add_post(prefix + "/images/variations", self._draw)
            app.router.add_post(prefix + "/embeddings", self._embed)
        for prefix in ("/openai", "/openai/v1", "/v1"):
            app.router.add_get(prefix + "/models", self._models)
        app.on_response_prepare.append(_say_limits)
        app.router.add_get("/_images/{size}.png", self._picture)
        app.router.add_get("/_moved/{size}.png", self._moved)
        app.router.add_get("/_control/journal", self._show_journal)
        app.router.add_post("/_control/faults", self._add_faults)
        app.router.add_post("/_control/reset", self._reset)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def endpoint(self) -> str:
        """What AZURE_OPENAI_ENDPOINT would be."""
        return f"http://{self._host}:{self._port}"

    def fail(self, kind: Kind, **more: Any) -> Fault:
        """Add a fault, and return it, so that a test may end it by `times = 0`."""
        fault = Fault(kind=kind, **more)
        self.faults.append(fault)
        return fault

    # -------------------------------------------------------------- who asks for what

    @web.middleware
    async def _answer_instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.instead and request.method == "POST":
            deployment = request.match_info.get("deployment") or (await request.json())["model"]
            handler = self.instead.get(deployment, handler)
        return await handler(request)

    async def _asked(self, request: web.Request) -> Asked:
        """Read and note down a request. Raises the HTTP error that Azure would answer."""
        fields: dict[str, Any] = {}
        if request.content_type == "multipart/form-data":
            form = await request.post()
            for name, value in form.items():
                read = value.file.read() if isinstance(value, web.FileField) else value
                if name.endswith("[]"):
                    fields.setdefault(name, []).append(read)
                else:
                    fields[name] = read
            raw, body = b"", fields
        else:
            raw = await request.read()
            body = json.loads(raw)
        deployment = request.match_info.get("deployment") or str(body.get("model", ""))
        asked = Asked(
            method=request.method,
            path=request.path_qs,
            deployment=deployment,
            headers={name.lower(): value for name, value in request.headers.items()},
            raw=raw,
            peer=request.transport.get_extra_info("peername") if request.transport else None,
            fields=fields,
        )
        self.journal.append(asked)
        self._admit(request, asked)
        return asked

    def _admit(self, request: web.Request, asked: Asked) -> None:
        given = asked.headers.get("api-key") or asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key and not given.startswith("eyJ"):
            message = "Access denied due to invalid subscription key or wrong API endpoint."
            raise _refusal(401, azure_wire.error("401", message))
        if "/deployments/" in request.path and not re.fullmatch(
            r"\d{4}-\d\d-\d\d(-preview)?", request.query.get("api-version", "")
        ):
            raise _refusal(404, azure_wire.error("404", "Resource not found"))
        if self.deployments is not None and asked.deployment not in self.deployments:
            raise _not_found()
        for fault in self._due(asked.deployment):
            self._strike(fault)
        asked_for = azure_wire.tokens(asked.raw.decode(errors="replace")) + int(
            asked.body.get("max_tokens") or 0
        )
        wait_s, headers = self._behind(asked.deployment).admit(time.monotonic(), asked_for)
        request[_LIMITS] = headers
        if wait_s:
            self.turned_away += 1
            raise _too_many(Fault(kind="rate_limited", retry_after_s=wait_s))

    def _due(self, deployment: str) -> list[Fault]:
        return [f for f in self.faults if f.times and f.deployment in (None, deployment)]

    def _strike(self, fault: Fault) -> None:
        """Answer with the fault, if it is one that comes before a stream begins."""
        message = "simulated"
        answers: dict[str, Callable[[], web.HTTPException]] = {
            "rate_limited": lambda: _too_many(fault),
            "server_error": lambda: _refusal(500, azure_wire.error("InternalServerError", message)),
            "unauthorized": lambda: _refusal(401, azure_wire.error("401", "Access denied")),
            "forbidden": lambda: _refusal(403, azure_wire.error("403", "Public access is disabled.")),
            "deployment_not_found": _not_found,
            "gone": lambda: _refusal(410, azure_wire.error("ModelDeprecated", "The model has been retired.")),
            "blocked": lambda: _refusal(400, azure_wire.blocked_prompt(fault.categories)),
            "too_long": lambda: _refusal(
                400,
                azure_wire.error(
                    "context_length_exceeded",
                    "This model's maximum context length is 128000 tokens. However, your messages resulted "
                    "in 200000 tokens. Please reduce the length of the messages.",
                    param="messages",
                    type="invalid_request_error",
                ),
            ),
            "unsupported": lambda: _unsupported(fault.param, fault.code),
        }
        make = answers.get(fault.kind)
        if make is not None:
            fault.times -= 1
            raise make()

    def _behind(self, deployment: str) -> Deployed:
        return (self.deployments or {}).get(deployment) or Deployed()

    # -------------------------------------------------------------- chat

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        body = asked.body
        behind = self._behind(asked.deployment)
        for name in behind.refuses:
            if name in body:
                raise _unsupported(name, "unsupported_parameter")
        received = self.answer(body["messages"])
        answer = Answer(text=received) if isinstance(received, str) else received
        size = azure_wire.tokens(asked.raw.decode()) if self.cached_tokens == 0 else self.cached_tokens * 2
        azure = "/openai/" in request.path
        if not body.get("stream"):
            return web.json_response(azure_wire.completion(answer, behind.model, size, azure))
        options: dict[str, Any] = body.get("stream_options") or {}
        events = azure_wire.stream(
            answer,
            behind.model,
            size,
            self.cached_tokens,
            azure,
            bool(options.get("include_usage")),
            self.async_filter,
        )
        return await self._stream(request, asked.deployment, events, 2 if azure else 1)

    async def _stream(
        self, request: web.Request, deployment: str, events: Iterable[bytes], lead: int
    ) -> web.StreamResponse:
        """Send the events at the set pace; the first `lead` of them carry no text."""
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        response.headers["apim-request-id"] = "00000000-0000-4000-8000-000000000000"
        fault = next(iter(self._due(deployment)), None)
        first_s = fault.first_s if fault and fault.kind == "slow" else self.first_s
        if fault:
            fault.times -= 1
        await response.prepare(request)
        for index, data in enumerate(events):
            if fault and index == lead + fault.after and await self._break(request, response, fault):
                return response
            if index == lead and first_s:
                await asyncio.sleep(first_s)
            elif index > lead and self.interval_s:
                await asyncio.sleep(self.interval_s)
            await response.write(data)
        await response.write_eof()
        return response

    async def _break(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> bool:
        if fault.kind == "dropped" and request.transport:
            request.transport.close()
        elif fault.kind == "malformed":
            await response.write(b'data: {"choices": [{"delta": {"content": \n\n')
        elif fault.kind == "stream_error":
            await response.write(
                azure_wire.event(azure_wire.error("server_error", "The server had an error."))
            )
        elif fault.kind == "stalled":
            await asyncio.Event().wait()  # until the server is stopped
        else:
            return False
        return True

    # -------------------------------------------------------------- pictures, vectors, models

    async def _draw(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        body = asked.body
        pictures = self._behind(asked.deployment).pictures
        own = _GPT_IMAGE_REFUSES if pictures == "gpt-image" else _DALLE_REFUSES
        for name in (*own, *self._behind(asked.deployment).refuses):
            if name in body:
                raise _unsupported(name, "unknown_parameter")
        if not body.get("prompt") and "/variations" not in request.path:
            raise _refusal(400, azure_wire.error("invalid_request", "prompt is empty", param="prompt"))
        size = str(body.get("size") or "1024x1024").replace("auto", "1024x1024")
        width, height = (int(number) for number in size.split("x"))
        url = f"{self.endpoint}{self.picture_path}{width}x{height}.png"
        encoded = azure_wire.base64.b64encode(azure_wire.png(width, height)).decode()
        count = int(body.get("n") or 1)
        if pictures == "dalle":
            revised = {"revised_prompt": f"{body.get('prompt', 'it')}, in the style of a photograph"}
            image = {"b64_json": encoded} if body.get("response_format") == "b64_json" else {"url": url}
            return web.json_response({"created": 1780000000, "data": [{**image, **revised}] * count})
        details = {"image_tokens": 200 if "image[]" in body else 0, "text_tokens": 20, "cached_tokens": 0}
        asked_tokens = details["image_tokens"] + 20
        spent = {"input_tokens": asked_tokens, "output_tokens": 1000 * count, "input_tokens_details": details}
        if str(body.get("stream", "")).lower() == "true":
            events = azure_wire.drawing(
                "image_edit" if "image[]" in body else "image_generation",
                int(body.get("partial_images") or 0),
                (width, height),
                {**spent, "total_tokens": asked_tokens + 1000},
            )
            return await self._stream(request, asked.deployment, events, 0)
        data = [{"b64_json": encoded}] * count
        made = {"created": 1780000000, "output_format": "png", "size": size, "data": data}
        return web.json_response({**made, "usage": {**spent, "total_tokens": asked_tokens + 1000 * count}})

    async def _embed(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        body = asked.body
        texts: list[str] = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if len(texts) > 2048 or not all(texts):
            raise _refusal(400, azure_wire.error("invalid_request", "'$.input' is invalid.", param="input"))
        behind = self._behind(asked.deployment)
        encoded = body.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": n,
                "embedding": azure_wire.embedding(t, behind.dimensions, encoded),
            }
            for n, t in enumerate(texts)
        ]
        count = sum(azure_wire.tokens(text) for text in texts)
        spent = {"prompt_tokens": count, "total_tokens": count}
        return web.json_response({"object": "list", "data": data, "model": behind.model, "usage": spent})

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model"} for name in self.deployments or {"gpt-4o": 0}]
        return web.json_response({"object": "list", "data": data})

    async def _picture(self, request: web.Request) -> web.Response:
        if self.picture_faults:
            return web.Response(status=self.picture_faults.pop())
        width, height = (int(number) for number in request.match_info["size"].split("x"))
        return web.Response(body=azure_wire.png(width, height), content_type="image/png")

    async def _moved(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/_images/{request.match_info['size']}.png")

    # -------------------------------------------------------------- control

    async def _show_journal(self, request: web.Request) -> web.Response:
        return web.json_response([{"path": a.path, "deployment": a.deployment} for a in self.journal])

    async def _add_faults(self, request: web.Request) -> web.Response:
        for raw in await request.json():
            self.faults.append(Fault(**raw))
        return web.json_response({"faults": len(self.faults)})

    async def _reset(self, request: web.Request) -> web.Response:
        self.faults.clear()
        self.journal.clear()
        return web.json_response({})


async def _say_limits(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(request.get(_LIMITS, {}))


# ------------------------------------------------------------------ refusals


def _refusal(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> web.HTTPException:
    made: web.HTTPException = _Refusal(
        status, headers=headers, text=json.dumps(body), content_type="application/json"
    )
    return made


class _Refusal(web.HTTPException):
    """An HTTP error whose status is given, not fixed by its class."""

    def __init__(self, status: int, **more: Any) -> None:
        self.status_code = status
        super().__init__(**more)


def _too_many(fault: Fault) -> web.HTTPException:
    headers: dict[str, str] = {}
    if fault.retry_after_s is not None:
        headers["retry-after"] = f"{fault.retry_after_s:g}"
    if fault.retry_after_ms is not None:
        headers["retry-after-ms"] = str(fault.retry_after_ms)
    message = "Requests to the ChatCompletions_Create Operation have exceeded token rate limit."
    return _refusal(429, azure_wire.error("429", message), headers)


def _not_found() -> web.HTTPException:
    message = "The API deployment for this resource does not exist."
    return _refusal(404, azure_wire.error("DeploymentNotFound", message))


def _unsupported(param: str, code: str) -> web.HTTPException:
    messages = {
        "unsupported_parameter": f"Unsupported parameter: '{param}' is not supported with this model.",
        "unsupported_value": f"Unsupported value: '{param}' does not support 0.7 with this model.",
        "unknown_parameter": f"Unknown parameter: '{param}'.",
    }
    if code not in messages:  # what older API versions say: no code, no param
        words = f"Unrecognized request argument supplied: {param}"
        return _refusal(
            400, {"error": {"message": words, "type": "invalid_request_error", "param": None, "code": None}}
        )
    return _refusal(400, azure_wire.error(code, messages[code], param=param, type="invalid_request_error"))


# ------------------------------------------------------------------ standing alone


async def serve(host: str, port: int, chunks: int | None, interval_s: float, first_s: float) -> None:
    """Run until cancelled; with `chunks`, every answer has so many text chunks."""
    azure = AzureSimulator(key=None, host=host, port=port, interval_s=interval_s, first_s=first_s)
    if chunks:
        told = Answer(text=" ".join(f"word{n:02}" for n in range(chunks)), chunks=chunks)
        azure.answer = lambda messages: told
    async with azure:
        print(azure.endpoint, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """`python -m tests.simulators.azure --port 4020 --chunks 50`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4020)
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--interval-ms", type=float, default=0.0)
    parser.add_argument("--first-ms", type=float, default=0.0)
    given = parser.parse_args()
    run = serve(given.host, given.port, given.chunks, given.interval_ms / 1000, given.first_ms / 1000)
    try:
        uvloop.run(run)  # a load of its own is to be light
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
