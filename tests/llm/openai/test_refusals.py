"""Refusals through the whole deployment: what is learnt, what is asked next, and who else is affected."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from bot.domain.errors import BotError, ConfigError, ContentFiltered, ModelUnavailable, NotAllowed, TooLong
from bot.domain.prompts import Parameters, Prompt, ToolSpec
from bot.llm.catalog.catalog import families
from bot.llm.openai.client import Clients, EntraToken
from bot.llm.protocol import DeploymentBroken, RequestRejected
from bot.llm.routing.router import Gateway
from tests.llm.conftest import KEY, Connect, asks, deployment, heard, text_of
from tests.simulators.azure import AzureSimulator

Test = Callable[[dict[str, Any]], Any]
Refusal = tuple[Test, int, Any]
TOOL = ToolSpec(name="draw", description="Draws", schema={"type": "object"})


def turn(text: str = "Hello", **parameters: Any) -> Prompt:
    """A prompt with a system message, tools and parameters."""
    given = Parameters(max_output_tokens=8192, **parameters)
    return msgspec.structs.replace(asks(text, parameters=given), tools=(TOOL,))


def refuses(azure: AzureSimulator, name: str, *answers: Refusal) -> list[dict[str, Any]]:
    """Refuse requests by what their body has: (test of the body, status, body of the refusal). Returns the bodies."""
    asked: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body)
        for test, status, refusal in answers:
            if test(body):
                return web.json_response(refusal, status=status)
        text = b'data: {"choices":[{"delta":{"content":"fine"},"finish_reason":"stop"}]}\n\n'
        return web.Response(body=text, content_type="text/event-stream")

    azure.instead[name] = answer
    return asked


def always(status: int, body: Any) -> Refusal:
    return (lambda _: True, status, body)


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": None, **more}}


def role_is(role: str) -> Test:
    return lambda body: any(item["role"] == role for item in body["messages"])


EFFORT = said(
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function "
    "tools, use /v1/responses or set reasoning_effort to 'none'.",
    param="reasoning_effort",
)
NO_SYSTEM_ROLE = said(
    "'messages[0].role' does not support 'system' with this model.", param="messages[0].role"
)
LEARNT: dict[str, tuple[list[Refusal], Test]] = {
    "tools only without effort": (
        [(lambda body: body.get("tools") and body.get("reasoning_effort") != "none", 400, EFFORT)],
        lambda body: body["reasoning_effort"] == "none" and body["tools"],
    ),
    "no tools": (
        [(lambda body: "tools" in body, 400, {"error": "gemma:latest does not support tools"})],
        lambda body: "tools" not in body,
    ),
    "stream_options by loc": (
        [
            (
                lambda body: "stream_options" in body,
                422,
                {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]},
            )
        ],
        lambda body: "stream_options" not in body,
    ),
    "a parameter without a code": (
        [(lambda body: "reasoning_effort" in body, 400, said("no", param="reasoning_effort"))],
        lambda body: "reasoning_effort" not in body,
    ),
    "fewer output tokens": (
        [
            (
                lambda body: body["max_tokens"] > 4096,
                400,
                said("max_tokens is too large: 8192. This model supports at most 4096 completion tokens, whereas you "
                     "provided 8192.", param="max_tokens"),
            )
        ],
        lambda body: body["max_tokens"] == 4096,
    ),
    "the developer's role": (
        [(role_is("system"), 400, NO_SYSTEM_ROLE)],
        lambda body: [item["role"] for item in body["messages"]] == ["developer", "user"],
    ),
    "no role for instructions": (
        [
            (role_is("system"), 400, {"object": "error", "message": "System role not supported"}),
            (role_is("developer"), 400, {"object": "error", "message": "Unexpected message role."}),
        ],
        lambda body: body["messages"] == [{"role": "user", "content": "Be kind.\n\nHello"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNT)
async def test_what_is_refused_is_learnt(name: str, azure: AzureSimulator, connect: Connect) -> None:
    """Field faults 57, 67: asked again at once, and from then on right the first time."""
    answers, good = LEARNT[name]
    asked = refuses(azure, "chat", *answers)
    model = connect()
    deltas, error = await heard(model.chat(turn(reasoning_effort="low")))
    assert (text_of(deltas), error) == ("fine", None)
    assert good(asked[-1])
    before = len(asked)
    await heard(model.chat(turn(reasoning_effort="low")))
    assert len(asked) == before + 1
    assert not any("," in lesson for lesson in model.refused), "lessons are shared, separated by commas"


SIZES = ToolSpec(name="sizes", description="Lists sizes", schema={"type": "array"})
BAD_TOOL = "Invalid schema for function 'sizes': In context=(), schema must be of type 'object'."


@pytest.mark.parametrize("param", ["tools[1].function.parameters", None], ids=["by place", "by name"])
async def test_one_bad_tool_takes_no_other_along(
    param: str | None, azure: AzureSimulator, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Field fault 57: one tool that a service refuses ended every question, or all tools of the deployment."""
    refusal = said(BAD_TOOL, param=param) | {"code": "invalid_function_parameters"}
    asked = refuses(azure, "chat", (lambda body: "sizes" in str(body.get("tools")), 400, refusal))
    model = connect()
    for _ in range(2):
        deltas, error = await heard(model.chat(msgspec.structs.replace(turn(), tools=(TOOL, SIZES))))
        assert (text_of(deltas), error) == ("fine", None)
    assert [[tool["function"]["name"] for tool in body["tools"]] for body in asked] == [
        ["draw", "sizes"],
        ["draw"],
    ] * 2
    assert not model.refused
    assert "sizes" in caplog.text
    await heard(model.chat(msgspec.structs.replace(turn(), tools=(SIZES,))))
    assert "tools" not in asked[-1]


def test_families_know_that_tools_need_no_effort() -> None:
    """Field fault 57."""
    for name in ("gpt-6-sol", "gpt-5.6-terra", "gpt-5.4", "gpt-6-astra"):
        assert "tools+reasoning_effort" in families()[name].refuses
    assert "tools+reasoning_effort" not in families()["gpt-5"].refuses


async def test_a_known_family_is_asked_rightly_at_once(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 57: also when the template sets an effort; without tools its effort counts."""
    asked = refuses(azure, "chat")
    model = connect(model="gpt-5.6-sol", family="gpt-5.6-sol")
    await heard(model.chat(turn(reasoning_effort="high")))
    await heard(model.chat(asks("Hello", parameters=Parameters(reasoning_effort="high"))))
    assert [body.get("reasoning_effort") for body in asked] == ["none", "high"]


async def test_a_value_out_of_range_is_not_remembered(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 67: one template's wrong temperature leaves those of others alone."""
    wrong = said(
        "Invalid 'temperature': 2.5 is above the maximum", param="temperature", code="decimal_above_max_value"
    )
    asked = refuses(azure, "chat", (lambda body: body.get("temperature", 0) > 2, 400, wrong))
    model = connect()
    deltas, _ = await heard(model.chat(turn(temperature=2.5)))
    assert text_of(deltas) == "fine"
    await heard(model.chat(turn(temperature=0.5)))
    assert asked[-1]["temperature"] == 0.5


# ------------------------------------------------------------------ where to try next


def pair(azure: AzureSimulator, clients: Clients) -> Gateway:
    models = [
        clients.connect(deployment(azure, name=name, order=n), KEY) for n, name in enumerate(("bad", "good"))
    ]
    return Gateway([(model.deployment, model) for model in models])


ELSEWHERE: dict[str, tuple[int, Any]] = {
    "operation": (400, said("The operation does not work with the specified model", code="OperationNotSupported")),
    "unknown model": (400, said("Unknown model: gpt-9")),
    "api version": (400, said("API version not supported", code="BadRequest")),
    "not ready": (400, said("The deployment is not ready", code="DeploymentNotReady")),
    "effort that stays refused": (400, EFFORT),
    "any 400": (400, said("computer says no")),
    "text": (400, "bad gateway configuration"),
    **{str(status): (status, said("no")) for status in (402, 405, 409, 415, 421, 422, 423, 426, 451, 499, 501, 529)},
    "403 about a text": (403, said("Request not accepted")),
    "401": (401, said("Access denied")),
    "a blocked resource": (403, said("Your resource has been temporarily blocked because we detected behavior that "
                                     "may violate our content policy")),
    "a spent budget": (400, said("Budget has been exceeded!", type="budget_exceeded")),
    "a rate limit of tokens": (429, {"message": "Too many tokens, please wait before trying again."}),
    "an error inside a 200": (200, {"object": "error", "message": "Unknown model: gpt-9", "code": 404}),
}  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_client_errors_reach_the_next_deployment(
    name: str, azure: AzureSimulator, clients: Clients
) -> None:
    """Field fault 62 (57, 63 with it): whatever one deployment can't do, another one does."""
    refuses(azure, "bad", always(*ELSEWHERE[name]))
    refuses(azure, "good")
    deltas, error = await heard(pair(azure, clients).chat(turn()))
    assert (text_of(deltas), error) == ("fine", None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said("computer says no")),
        (403, said("Request not accepted")),
        (403, said("Blocked: harmful content")),
        (404, said("No endpoints found that support image input")),
        (422, said("no")),
    ],
)
async def test_one_persons_refusal_stops_nobody(
    status: int, body: Any, azure: AzureSimulator, clients: Clients
) -> None:
    """Field fault 61: the deployment does not rest, whoever repeats the text, and however often."""
    asked = refuses(azure, "bad", (lambda body: "evil" in str(body["messages"]), status, body))
    gateway = Gateway(
        [(model.deployment, model) for model in [clients.connect(deployment(azure, name="bad"), KEY)]]
    )
    for _ in range(5):
        _, error = await heard(gateway.chat(turn("something evil")))
        assert isinstance(error, BotError)
        deltas, _ = await heard(gateway.chat(turn("something kind")))
        assert text_of(deltas) == "fine"
    assert len(asked) == 10


async def test_a_rejected_request_reaches_the_operator(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 62: if nobody accepts it, the reason is in the dead letter."""
    refuses(azure, "chat", always(400, said("computer says no")))
    model = connect()
    _, error = await heard(Gateway([(model.deployment, model)]).chat(turn()))
    assert isinstance(error, ConfigError)
    assert "computer says no" in str(error)


# ------------------------------------------------------------------ what the person reads


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, said("x", code="invalid_prompt"), ContentFiltered, "usage policy"),
        (400, said("The response was filtered: content management policy"), ContentFiltered, "rephrase"),
        (400, said("Your input exceeds the context window of this model"), TooLong, "shorten"),
        (400, said("prompt token count of 140123 exceeds the limit of 128000"), TooLong, "shorten"),
        (
            500,
            said("x", type="exceed_context_size_error", n_ctx=4096, n_prompt_tokens=5000),
            TooLong,
            "shorten",
        ),
        (403, said("Request not accepted"), NotAllowed, "filter in front of the model"),
        (400, said("x", code="image_parse_error"), NotAllowed, "PNG or JPEG"),
        (404, said("No endpoints found that support image input"), NotAllowed, "describe the image"),
    ],
)
async def test_refusals_have_clear_words(
    status: int, body: Any, kind: type[BotError], words: str, azure: AzureSimulator, connect: Connect
) -> None:
    """Field fault 68: whole sentences, and a next step."""
    refuses(azure, "chat", always(status, body))
    model = connect()
    _, error = await heard(Gateway([(model.deployment, model)]).chat(turn()))
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("body", "limit", "asked"),
    [
        (said("prompt token count of 140123 exceeds the limit of 128000"), 128000, 140123),
        (said("prompt is too long: 207791 tokens > 200000 maximum"), 200000, 207791),
        (said("x", type="exceed_context_size_error", n_ctx=4096, n_prompt_tokens=5000), 4096, 5000),
        (said("Requested tokens (2285) exceed context window of 2048"), 2048, 2285),
        (
            said("This model's maximum context length is 8192 tokens. However, you requested 8256 tokens"),
            8192,
            8256,
        ),
        (
            said("This model's maximum prompt length is 131072 but the request contains 217538 tokens."),
            131072,
            217538,
        ),
        (said("the input token count is 40000 but model only supports up to 32768."), 32768, 40000),
    ],
)
async def test_limits_are_read_from_refusals(
    body: Any, limit: int, asked: int, azure: AzureSimulator, connect: Connect
) -> None:
    """Field fault 68: later prompts fit."""
    refuses(azure, "chat", always(400, body))
    _, error = await heard(connect().chat(turn()))
    assert isinstance(error, TooLong)
    assert (error.limit_tokens, error.asked_tokens) == (limit, asked)


# ------------------------------------------------------------------ credentials


async def test_an_expired_token_is_renewed_once(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 61: a single 401 stops nobody."""
    azure.fail("unauthorized")
    model = connect()
    renewed: list[int] = []
    model.on_unauthorized = lambda: renewed.append(1)
    deltas, error = await heard(model.chat(asks("Hello")))
    assert (text_of(deltas), error, renewed) == ("You said: Hello", None, [1])
    azure.fail("unauthorized", times=2)
    _, error = await heard(model.chat(asks("Hello")))
    assert isinstance(error, DeploymentBroken)
    assert error.rest_s <= 60


class Credential:
    """A credential that keeps its token until a claims challenge asks for another."""

    def __init__(self, *, knows_claims: bool) -> None:
        self.knows_claims = knows_claims
        self.number = 1

    async def get_token(self, *scopes: str, claims: str | None = None) -> Any:
        if claims is not None:
            if not self.knows_claims:
                raise ValueError("claims are not supported")
            self.number += 1
        return type("Token", (), {"token": f"token {self.number}"})()


@pytest.mark.parametrize("knows_claims", [True, False])
async def test_a_new_token_passes_the_cache(knows_claims: bool) -> None:
    """Field fault 61: once, and then the cache counts again."""
    token = EntraToken(Credential(knows_claims=knows_claims), "scope")  # pyright: ignore[reportArgumentType]
    assert await token() == "token 1"
    token.renew()
    second = "token 2" if knows_claims else "token 1"
    assert [await token(), await token()] == [second, second]


async def test_no_lesson_without_an_end(azure: AzureSimulator, connect: Connect) -> None:
    """A server that refuses everything is given up after a few requests."""
    asked = refuses(azure, "chat", always(400, EFFORT))
    _, error = await heard(connect().chat(turn(reasoning_effort="low")))
    assert isinstance(error, RequestRejected | ModelUnavailable)
    assert len(asked) <= 8
