"""Embedding deployments that are broken, or take few texts at once."""

import json
from typing import Any

import pytest
from aiohttp import web

from bot.domain.errors import ModelUnavailable, NotAllowed, TooLong
from bot.llm.protocol import RequestRejected
from bot.llm.routing.router import Gateway
from tests.llm.conftest import Connect
from tests.simulators.azure import AzureSimulator


def limited(azure: AzureSimulator, most: int, message: str, status: int = 400) -> list[int]:
    """Refuse more than `most` inputs. Returns the sizes of the requests."""
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = json.loads(await request.read())
        sizes.append(len(body["input"]))
        if sizes[-1] > most:
            return web.json_response({"error": {"message": message, "code": None}}, status=status)
        data = [{"embedding": [1.0, float(text)], "index": n} for n, text in enumerate(body["input"])]
        return web.json_response({"data": data, "usage": None, "model": None})

    azure.instead["chat"] = answer
    return sizes


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Too many inputs. The max number of inputs is 16."),
        (422, "batch size 40 > maximum allowed batch size 16"),
        (413, "Payload Too Large"),
        (400, "'$.input' is invalid. Please check the API reference."),
    ],
)
async def test_batches_become_smaller(
    status: int, message: str, azure: AzureSimulator, connect: Connect
) -> None:
    """Field fault 66: and stay so."""
    sizes = limited(azure, 16, message, status)
    model = connect(capability="embedding")
    texts = [str(n) for n in range(40)]
    vectors, _ = await model.embed(texts)
    assert [round(vector[1] / vector[0]) for vector in vectors] == list(range(40))
    before = len(sizes)
    await model.embed(texts)
    assert max(sizes[before:]) <= 16


async def test_one_text_that_is_refused_changes_no_batches(azure: AzureSimulator, connect: Connect) -> None:
    """Field fault 66: only a deployment that accepts all texts, in smaller batches, gets these from then on."""
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        inputs: list[str] = json.loads(await request.read())["input"]
        sizes.append(len(inputs))
        if "too long" in inputs:
            return web.json_response({"error": {"message": "This text is too long."}}, status=400)
        return web.json_response({"data": [{"embedding": [1.0], "index": n} for n in range(len(inputs))]})

    azure.instead["chat"] = answer
    model = connect(capability="embedding")
    with pytest.raises((RequestRejected, TooLong)):
        await model.embed([*map(str, range(30)), "too long"])
    await model.embed([*map(str, range(300))])
    assert sizes[-1] == 300


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_broken_embeddings_are_only_unavailable(
    status: int, azure: AzureSimulator, connect: Connect
) -> None:
    """Field fault 66: answers are given without examples and passages, so nothing else may be raised."""
    limited(azure, 0, "no", status)
    model = connect(capability="embedding")
    gateway = Gateway([(model.deployment, model)])
    for _ in range(2):
        with pytest.raises((ModelUnavailable, NotAllowed)):
            await gateway.vectors(["one"])
