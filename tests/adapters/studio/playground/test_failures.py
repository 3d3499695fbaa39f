"""What editors and operators read when a model fails."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from adapters.studio import StudioAdapter
from adapters.studio.auth.guard import Guard
from adapters.studio.auth.session import ROLES
from adapters.studio.pages.embeddings import EmbeddingsPage
from adapters.studio.pages.evaluations import EvaluationsPage
from adapters.studio.pages.images import ImagesPage
from adapters.studio.playground.playground import PlaygroundPage
from bot.conversation.playground import Playground
from bot.domain.errors import ConfigError, ModelUnavailable, NotAllowed, TemplateError
from bot.domain.events import now
from bot.domain.prompts import Template
from bot.evals.results import Result, Run, total
from bot.evals.runner import EvalReport, EvalRunner
from bot.prompts.library import PromptLibrary
from tests.adapters.studio.stand_ins import MemoryFeed, MemoryHistory, MemorySessions
from tests.adapters.studio.test_registry import SCRIPT, Client, accept, sign_in

INTERNAL = "https://contoso-secret.openai.azure.com returned 401"
QUESTION = {"setup": {"template": "assistant"}, "question": "What is 2+2?"}
PICTURE = {"prompt": "a cat", "deployment": "image"}
TEXTS = {"texts": "one\ntwo"}


class FailingModels:
    """Stands for the playground and the library; whatever needs a model raises `error`."""

    error: Exception

    def templates(self) -> Sequence[Template]:
        return [Template(name="assistant", digest="d")]

    def deployments(self) -> Sequence[Any]:
        return []

    def placeholders(self, text: str) -> Sequence[str]:
        return []

    @property
    def registry(self) -> SimpleNamespace:
        return SimpleNamespace(pools=dict)

    async def preview(self, *given: object, **named: object) -> None:
        raise self.error

    run = embed = preview


class PastRuns:
    """Stands for the runner of evaluations; the only run has failed."""

    at = now()

    async def reports(self) -> Sequence[EvalReport]:
        result = Result(
            case="mine:1",
            template="assistant",
            version="assistant@000000000000",
            deployment="",
            question="Why?",
            answer="",
            failures=("No answer.",),
            cause=INTERNAL,
            seconds=0.5,
        )
        run = Run(at=self.at, files=("mine.yaml",), results=(result,))
        row = total(run.results)
        return [EvalReport(run=run, total=row, rows=(row,), change=None)]


@pytest.fixture
def models() -> FailingModels:
    return FailingModels()


@pytest.fixture
async def client(models: FailingModels) -> AsyncIterator[Client]:
    playground, unused = cast("Playground", models), cast("Any", SimpleNamespace(library=None))
    pages = [
        PlaygroundPage(playground, unused, unused, unused),
        ImagesPage(playground),
        EmbeddingsPage(cast("PromptLibrary", models), lambda _: nullcontext()),
        EvaluationsPage(cast("EvalRunner", PastRuns())),
    ]
    guard = Guard({role: SecretStr(f"the {role}'s long token") for role in ROLES}, sessions=MemorySessions())
    adapter = StudioAdapter(MemoryFeed(), MemoryHistory(), guard, pages)
    app = web.Application()
    app.add_routes(adapter.routes(accept))
    async with adapter, TestClient(TestServer(app)) as client:
        yield client


async def said(client: Client, path: str) -> str:
    """All of a response, as one text."""
    if path == "embeddings":
        response = await client.post(f"/studio/{path}", data=TEXTS)
    else:
        body = PICTURE if path == "images" else QUESTION
        response = await client.post(f"/studio/{path}", json=body, headers=SCRIPT)
    text = await response.text()
    return text if path == "embeddings" else "".join(str(json.loads(line)) for line in text.splitlines())


PATHS = ["playground/try", "playground/look", "playground/code", "images", "embeddings"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("error", [ModelUnavailable(INTERNAL), ConfigError(INTERNAL)], ids=repr)
async def test_only_operators_see_the_cause(
    client: Client, models: FailingModels, path: str, error: Exception
) -> None:
    """Field fault 89: the cause is for operators; editors got the text of the error, with hosts and paths."""
    models.error = error
    await sign_in(client, "editor")
    words = await said(client, path)
    assert "contoso-secret" not in words
    assert "The model " in words
    assert ("choose another deployment" in words.lower()) is (path != "embeddings")
    await sign_in(client, "operator")
    assert INTERNAL in await said(client, path)


async def test_the_cause_in_results_is_for_operators(client: Client) -> None:
    """Field fault 89: viewers read it in the results of evaluations."""
    (report,) = await PastRuns().reports()
    seen: dict[str, bool] = {}
    for role in ROLES:
        await sign_in(client, role)
        response = await client.get(f"/studio/evaluations/{report.run.id}")
        page = await response.text()
        assert "No answer." in page
        seen[role] = INTERNAL in page
    assert seen == {role: role == "operator" for role in ROLES}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("error", [NotAllowed("Only cats."), TemplateError("Only cats.")], ids=repr)
async def test_everybody_sees_what_they_can_mend(
    client: Client, models: FailingModels, path: str, error: Exception
) -> None:
    """Field fault 89: a refusal, or a mistake in the template, is the editor's to mend."""
    models.error = error
    await sign_in(client, "editor")
    assert "Only cats." in await said(client, path)
