"""A deployment's chat and vectors, on the simulator: what is sent, what comes back, what goes wrong."""

import asyncio
import math
from contextlib import aclosing
from typing import Any, cast

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from bot.domain.errors import BotError, ConfigError, ContentFiltered, ModelUnavailable, TooLong
from bot.domain.prompts import Image, Message, Parameters, Prompt, Text, ToolCall, ToolResult, ToolSpec, say
from bot.domain.turns import Prices
from bot.llm.openai.chat_request import chat_body
from bot.llm.openai.client import Clients
from bot.llm.openai.model import AzureModel, Timeouts
from bot.llm.protocol import AnswerTimeout, DeploymentBroken, ServiceFault
from tests.llm.conftest import KEY, Connect, asks, deployment, heard, table_prices, text_of
from tests.simulators.azure import REASONING, Answer, AzureSimulator, Deployed, Kind

# ------------------------------------------------------------------ what is sent


async def test_classic_paths_contain_the_deployment(azure: AzureSimulator, connect: Connect) -> None:
    deltas = [delta async for delta in connect(name="my chat/1").chat(asks("Hello"))]
    assert text_of(deltas) == "You said: Hello"
    asked = azure.journal[-1]
    assert asked.path == "/openai/deployments/my%20chat%2F1/chat/completions?api-version=2024-10-21"
    assert asked.headers["api-key"] == "simulated-key"
    assert asked.body["stream_options"] == {"include_usage": True}


async def test_the_v1_wire_needs_no_version(azure: AzureSimulator, connect: Connect) -> None:
    deltas = [delta async for delta in connect(classic=False).chat(asks("Hello"))]
    assert text_of(deltas) == "You said: Hello"
    asked = azure.journal[-1]
    assert asked.path == "/openai/v1/chat/completions"
    assert asked.headers["authorization"] == "Bearer simulated-key"
    assert asked.body["model"] == "chat"


async def test_a_plain_openai_compatible_server_works_too(azure: AzureSimulator, clients: Clients) -> None:
    plain = deployment(azure, classic=False, endpoint=f"{azure.endpoint}/v1/")
    azure.key = None
    deltas = [delta async for delta in clients.connect(plain, None).chat(asks("Hello"))]
    assert text_of(deltas) == "You said: Hello"
    assert azure.journal[-1].path == "/v1/chat/completions"


async def test_only_the_parameters_that_are_set_are_sent(azure: AzureSimulator, connect: Connect) -> None:
    parameters = Parameters(temperature=0.0, stop=("END",), max_output_tokens=50, seed=7)
    async for _ in connect().chat(asks("Hello", parameters=parameters)):
        pass
    body = azure.journal[-1].body
    assert {name: body[name] for name in ("temperature", "stop", "max_tokens", "seed")} == {
        "temperature": 0.0,
        "stop": ["END"],
        "max_tokens": 50,
        "seed": 7,
    }
    assert not {"top_p", "tools", "verbosity", "max_completion_tokens"} & set(body)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{"x": 1}', '{"x": 1}'),
        ('{"x": "cut o', "{}"),
        ('{"x": "he said "no""}', "{}"),
        ('"text"', "{}"),
        ("[1]", "{}"),
        ("null", "{}"),
        ("\ud800", "{}"),
        ("[" * 9_999, "{}"),
    ],
)
def test_invalid_arguments_are_not_sent_back(azure: AzureSimulator, written: str, sent: str) -> None:
    """Field fault 91: many servers refuse the whole request for arguments that their model cut short."""
    call = Message(role="assistant", parts=(ToolCall(id="a", name="draw", arguments=written),))
    prompt = Prompt(template="t", messages=(say("user", "Draw"), call), capability="chat")
    wired = chat_body(prompt, deployment(azure), ())["messages"][1]["tool_calls"][0]
    assert wired["function"] == {"name": "draw", "arguments": sent}


def test_ids_of_other_providers_are_shortened(azure: AzureSimulator) -> None:
    """Field fault 62: the next round of tools may go to another deployment, and OpenAI refuses long ids."""
    ids = [f"call_1__thought__{'Q' * 900}{end}" for end in "ab"]
    calls = Message(role="assistant", parts=tuple(ToolCall(id=id, name="look", arguments="{}") for id in ids))
    results = Message(role="tool", parts=tuple(ToolResult(id=id, text="ok") for id in ids))
    prompt = Prompt(template="t", messages=(say("user", "Look"), calls, results), capability="chat")
    here = deployment(azure, classic=False)
    for endpoint, kept in (
        ("http://127.0.0.1:4000/v1", True),
        ("https://acme.openai.azure.com/openai/v1/", False),
    ):
        messages = chat_body(prompt, replace(here, endpoint=endpoint), ())["messages"]
        sent = [call["id"] for call in messages[1]["tool_calls"]]
        assert [message["tool_call_id"] for message in messages[2:]] == sent
        assert len(set(sent)) == 2
        assert (sent == ids) is kept
        assert kept or max(map(len, sent)) <= 40


def test_the_cache_key_of_a_conversation_is_anonymous(azure: AzureSimulator) -> None:
    here = deployment(azure, classic=False)
    on_azure = replace(here, endpoint="https://acme.openai.azure.com/openai/v1/")
    keys = [
        chat_body(asks(text, sticky=sticky), item, ()).get("prompt_cache_key")
        for text, sticky, item in (
            ("Hello", "slack:T1:C1", on_azure),
            ("And more", "slack:T1:C1", on_azure),
            ("Hello", "slack:T1:C2", on_azure),
            ("Hello", "slack:T1:C1", here),
            ("Hello", "slack:T1:C1", replace(on_azure, wire="azure")),
            ("Hello", "", on_azure),
        )
    ]
    assert keys[0] == keys[1] != keys[2]
    assert "slack" not in str(keys[0])
    assert keys[3:] == [None] * 3


async def test_messages_of_every_kind_have_their_shape(azure: AzureSimulator, connect: Connect) -> None:
    call = ToolCall(id="call_1", name="weather", arguments='{"city":"Bern"}')
    messages = (
        say("system", "Be kind."),
        Message(role="user", parts=(Text(text="What is this?"), Image(mime="image/png", data=b"PNG"))),
        Message(
            role="assistant", parts=(Text(text="See: "), Image(mime="image/png", data=b"x", alt="a cat"))
        ),
        say("user", "And the weather?"),
        Message(role="assistant", parts=(call,)),
        Message(role="tool", parts=(ToolResult(id="call_1", text="3 °C"), ToolResult(id="call_2", text="-"))),
    )
    tool = ToolSpec(name="weather", description="The weather", schema={"type": "object"})
    prompt = Prompt(template="t", capability="chat", messages=messages, tools=(tool,))
    async for _ in connect().chat(prompt):
        pass
    body = azure.journal[-1].body
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}}
    called = {"id": "call_1", "type": "function"}
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]},
        {"role": "assistant", "content": "See: [picture: a cat]"},
        {"role": "user", "content": "And the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{**called, "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3 °C"},
        {"role": "tool", "tool_call_id": "call_2", "content": "-"},
    ]
    described = {"name": "weather", "description": "The weather", "parameters": {"type": "object"}}
    assert body["tools"] == [{"type": "function", "function": described}]


# ------------------------------------------------------------------ what comes back


async def test_tool_calls_come_whole(azure: AzureSimulator, connect: Connect) -> None:
    azure.answer = lambda messages: Answer(calls=(("call_1", "weather", '{"city":"Bern"}'),))
    deltas = [delta async for delta in connect().chat(asks("Weather?"))]
    assert [delta.call for delta in deltas if delta.call] == [
        ToolCall(id="call_1", name="weather", arguments='{"city":"Bern"}')
    ]
    assert deltas[-1].finish == "tool_calls"


async def test_the_last_delta_carries_usage_and_price(azure: AzureSimulator, connect: Connect) -> None:
    azure.cached_tokens = 40
    prices = Prices(input_usd=2.0, cached_usd=0.5, output_usd=8.0)
    deltas = [delta async for delta in connect(prices=prices).chat(asks("Hello"))]
    usage = deltas[-1].usage
    assert usage is not None
    assert [delta.usage for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert (usage.deployment, usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (
        "chat",
        80,
        40,
        4,
    )
    assert usage.usd == pytest.approx((40 * 2.0 + 40 * 0.5 + 4 * 8.0) / 1e6)


async def test_a_price_that_nobody_knows_is_none(azure: AzureSimulator, clients: Clients) -> None:
    azure.deployments = {"chat": Deployed(model="house-brand-7b")}
    model = clients.connect(deployment(azure), KEY)
    deltas = [delta async for delta in model.chat(asks("Hello"))]
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.usd is None


async def test_the_answering_model_sets_the_price(azure: AzureSimulator, connect: Connect) -> None:
    """Field note 33."""
    azure.deployments = {"gpt-5": Deployed(model="gpt-4o-mini-2024-07-18")}
    hinted = connect(name="gpt-5", family="gpt-5", prices=table_prices("gpt-5"), stated_prices=Prices())
    usage = [delta async for delta in hinted.chat(asks("Hello"))][-1].usage
    assert usage is not None
    assert usage.usd == pytest.approx((usage.input_tokens * 0.15 + usage.output_tokens * 0.6) / 1e6)
    assert (usage.model, usage.price) == ("gpt-4o-mini-2024-07-18", "gpt-4o-mini@2024-07-18")


async def test_text_is_shown_while_the_model_still_writes(azure: AzureSimulator, connect: Connect) -> None:
    azure.answer = lambda messages: Answer(text="one two three", chunks=3)
    azure.interval_s = 0.02
    texts = [delta.text async for delta in connect().chat(asks("Count"))]
    assert "".join(texts) == "one two three"
    assert len([text for text in texts if text]) == 3


async def test_the_connection_is_kept_for_the_next_question(azure: AzureSimulator, connect: Connect) -> None:
    model = connect()
    for _ in range(3):
        assert [delta async for delta in model.chat(asks("Hello"))]
    assert len({asked.peer for asked in azure.journal}) == 1


async def test_a_reader_who_leaves_early_closes_the_stream(azure: AzureSimulator, connect: Connect) -> None:
    azure.fail("stalled", after=1)
    stream = connect().chat(asks("Tell me a long story"))
    async with aclosing(cast("Any", stream)):
        assert (await anext(stream)).text
    assert [delta async for delta in connect().chat(asks("Next"))]


# ------------------------------------------------------------------ what is learnt


async def test_refused_parameters_are_learnt_once(azure: AzureSimulator, connect: Connect) -> None:
    """Field note 33."""
    azure.deployments = {"chat": Deployed(model="gpt-5-2025-08-07", refuses=REASONING)}
    model = connect()
    parameters = Parameters(max_output_tokens=100, temperature=0.3, top_p=0.9)
    for _ in range(2):
        deltas = [delta async for delta in model.chat(asks("Hello", parameters=parameters))]
        assert text_of(deltas) == "You said: Hello"
    assert len(azure.journal) == 3 + 1 + 1  # three lessons, then one request per answer
    body = azure.journal[-1].body
    assert body["max_completion_tokens"] == 100
    assert not set(REASONING) & set(body)


@pytest.mark.parametrize("code", ["unsupported_value", "unknown_parameter", "in words only"])
async def test_all_forms_of_parameter_refusals_are_recognised(
    azure: AzureSimulator, connect: Connect, code: str
) -> None:
    """Field note 33."""
    azure.fail("unsupported", param="seed", code=code)
    deltas = [d async for d in connect().chat(asks("Hello", parameters=Parameters(seed=1)))]
    assert text_of(deltas) == "You said: Hello"
    assert "seed" not in azure.journal[-1].body


async def test_a_stated_reasoning_model_needs_no_lesson(azure: AzureSimulator, connect: Connect) -> None:
    azure.deployments = {"chat": Deployed(model="o4-mini", refuses=REASONING)}
    model = connect(model="o4-mini", family="o4-mini")
    parameters = Parameters(max_output_tokens=100, temperature=0.3)
    async for _ in model.chat(asks("Hello", parameters=parameters)):
        pass
    assert len(azure.journal) == 1


async def test_required_parameters_are_not_dropped(azure: AzureSimulator, connect: Connect) -> None:
    azure.fail("unsupported", param="messages")
    with pytest.raises(ConfigError, match="messages"):
        await anext(connect().chat(asks("Hello")))


# ------------------------------------------------------------------ what goes wrong


async def failed(model: AzureModel) -> BotError:
    """What the model raised in place of an answer."""
    deltas, error = await heard(model.chat(asks("Hello")))
    assert deltas == []
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("kind", "expected", "words"),
    [
        ("server_error", ServiceFault, "500"),
        ("unauthorized", DeploymentBroken, "AZURE_OPENAI_API_KEY"),
        ("forbidden", DeploymentBroken, "role"),
        ("deployment_not_found", DeploymentBroken, "does not exist"),
        ("gone", DeploymentBroken, "retired"),
        ("too_long", TooLong, "shorten"),
        ("blocked", ContentFiltered, "violence"),
    ],
)
@pytest.mark.parametrize("classic", [True, False])
async def test_a_refusal_has_words_for_whom_it_concerns(
    azure: AzureSimulator, connect: Connect, classic: bool, kind: Kind, expected: type[Exception], words: str
) -> None:
    azure.fail(kind, times=2)  # a 401 is answered with a new token once
    error = await failed(connect(classic=classic))
    assert type(error) is expected
    assert words in str(error)
    assert "simulated-key" not in str(error)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({"retry_after_s": 17}, 17.0), ({"retry_after_ms": 250, "retry_after_s": 17}, 0.25), ({}, 1.0)],
)
async def test_a_busy_deployment_says_for_how_long(
    azure: AzureSimulator, connect: Connect, asked: dict[str, float], expected: float
) -> None:
    azure.fail("rate_limited", **asked)
    error = await failed(connect())
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after_s == expected


async def test_a_filtered_answer_ends_after_its_text(azure: AzureSimulator, connect: Connect) -> None:
    """Field note 30."""
    azure.answer = lambda messages: Answer(text="The battle began", filtered=("violence", "self_harm"))
    deltas, error = await heard(connect().chat(asks("A story")))
    assert text_of(deltas) == "The battle began"
    assert isinstance(error, ContentFiltered)
    assert set(error.categories) == {"violence", "self-harm"}
    assert "violence" in str(error)
    assert deltas[-1].usage is not None  # what was written is paid for


@pytest.mark.parametrize("kind", ["dropped", "malformed", "stream_error"])
async def test_a_stream_that_breaks_leaves_what_came_before(
    azure: AzureSimulator, connect: Connect, kind: Kind
) -> None:
    azure.answer = lambda messages: Answer(text="one two three", chunks=3)
    azure.interval_s = 0.02
    azure.fail(kind, after=2)
    deltas, error = await heard(connect().chat(asks("Count")))
    assert isinstance(error, ModelUnavailable)
    assert deltas
    assert "one two three".startswith(text_of(deltas))


async def test_a_deployment_that_never_begins_is_given_up(azure: AzureSimulator) -> None:
    clients = Clients(Timeouts(first_token_s=0.05))
    azure.fail("stalled", after=0)
    assert isinstance(await failed(clients.connect(deployment(azure), KEY)), ModelUnavailable)
    await clients.aclose()


async def test_a_deployment_that_falls_silent_is_given_up(azure: AzureSimulator) -> None:
    clients = Clients(Timeouts(first_token_s=5, between_tokens_s=0.05))
    azure.fail("stalled", after=1)
    deltas, error = await heard(clients.connect(deployment(azure), KEY).chat(asks("Hello")))
    assert deltas
    assert "silent" in str(error)
    await clients.aclose()


async def test_an_answer_takes_no_longer_than_it_may(azure: AzureSimulator) -> None:
    clients = Clients(Timeouts(whole_s=0.4))
    azure.answer = lambda messages: Answer(text="x" * 400, chunks=400)
    azure.interval_s = 0.02
    deltas, error = await heard(clients.connect(deployment(azure), KEY).chat(asks("Hello")))
    assert deltas
    assert isinstance(error, AnswerTimeout)
    await clients.aclose()


async def test_an_endpoint_that_is_not_there_is_away(clients: Clients, azure: AzureSimulator) -> None:
    nowhere = deployment(azure, endpoint="http://127.0.0.1:9/")
    assert isinstance(await failed(clients.connect(nowhere, KEY)), ModelUnavailable)


async def test_a_wrong_key_is_for_the_operator(clients: Clients, azure: AzureSimulator) -> None:
    model = clients.connect(deployment(azure, key_env="SWEDEN_KEY"), SecretStr("wrong-key"))
    error = await failed(model)
    assert isinstance(error, DeploymentBroken)
    assert "SWEDEN_KEY" in str(error)
    assert "wrong-key" not in str(error)


async def test_a_wrong_version_is_for_the_operator(azure: AzureSimulator, clients: Clients) -> None:
    model = clients.connect(deployment(azure, api_version="soon"), KEY)
    error = await failed(model)
    assert isinstance(error, DeploymentBroken)
    assert "OPENAI_API_VERSION" in str(error)


# ------------------------------------------------------------------ vectors and health


async def test_vectors_keep_their_order_and_have_length_one(azure: AzureSimulator, connect: Connect) -> None:
    model = connect(name="vectors", capability="embedding", family="text-embedding-3-small", model="")
    texts = [f"text {n}" for n in range(2100)]
    vectors, usage = await model.embed(texts)
    assert len(azure.journal) == 2
    assert len(vectors) == len(texts)
    assert math.fsum(number * number for number in vectors[2099]) == pytest.approx(1.0)
    alone, _ = await model.embed([texts[2099]])
    assert alone[0] == pytest.approx(vectors[2099])
    assert usage.input_tokens == sum((len(text) + 3) // 4 for text in texts)


async def test_an_empty_text_has_a_vector_too(connect: Connect) -> None:
    vectors, _ = await connect(capability="embedding").embed(["", "x"])
    assert len(vectors) == 2


@pytest.mark.parametrize("param", ["encoding_format"])
async def test_a_server_that_knows_no_base64_sends_numbers(
    azure: AzureSimulator, connect: Connect, param: str
) -> None:
    azure.fail("unsupported", param=param)
    vectors, _ = await connect(capability="embedding").embed(["x"])
    assert math.fsum(number * number for number in vectors[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("capability", ["chat", "image", "embedding"])
async def test_a_check_says_that_a_deployment_answers(connect: Connect, capability: str) -> None:
    finding = await connect(capability=capability).check()
    assert finding.level == "ok"


@pytest.mark.parametrize("capability", ["chat", "image", "embedding"])
async def test_a_check_says_what_to_do(azure: AzureSimulator, connect: Connect, capability: str) -> None:
    azure.deployments = {}
    finding = await connect(capability=capability).check()
    assert finding.level == "error"
    assert "Azure portal" in finding.words


async def test_a_missing_endpoint_is_explained(azure: AzureSimulator, clients: Clients) -> None:
    finding = await clients.connect(deployment(azure, endpoint="http://127.0.0.1:9/"), KEY).check()
    assert finding.level == "error"
    assert "check the endpoint" in finding.words


async def test_many_at_once_do_not_disturb_each_other(connect: Connect) -> None:
    model = connect()

    async def one(n: int) -> str:
        return text_of([delta async for delta in model.chat(asks(f"number {n}"))])

    assert await asyncio.gather(*(one(n) for n in range(20))) == [f"You said: number {n}" for n in range(20)]
