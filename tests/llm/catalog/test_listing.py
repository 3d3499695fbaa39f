"""`parley deployments list` and `test`, as real programs over HTTP, on both styles of API."""

import asyncio
import sys
from pathlib import Path

import pytest

from bot.domain.turns import CheckResult, Prices
from bot.llm.catalog.deployments import DeploymentConfig
from bot.llm.catalog.listing import listed, trials
from bot.llm.catalog.probe import ProbeResult, probe
from bot.llm.demo.model import deployments
from bot.llm.routing import router
from tests.llm.conftest import KEY, Connect, deployment
from tests.llm.scripted import Scripted, named
from tests.simulators.azure import AzureSimulator, Deployed, Kind
from tests.support import processes

FILE = """\
endpoint: {endpoint}
policy: cheapest
hedge_ms: 900
deployments:
  - name: gpt-4o
    region: swedencentral
    tags: [best, eu]
    order: 1
    weight: 2
    requests_per_minute: 60
    tokens_per_minute: 30000
  - {{name: gpt-4o-mini, api_version: 2024-10-21, tags: [fast, cheap]}}
  - {{name: gpt-image-2, prices: {{image_usd: 0.04}}}}
  - {{name: text-embedding-3-small, api_version: 2024-10-21}}
"""
BEHIND = {
    "gpt-4o": Deployed(),
    "gpt-4o-mini": Deployed(model="gpt-4o-mini-2024-07-18"),
    "gpt-image-2": Deployed(),
    "text-embedding-3-small": Deployed(model="text-embedding-3-small"),
}


async def parley(folder: Path, azure: AzureSimulator, *arguments: str, **env: str) -> tuple[int | None, str]:
    """Run `parley deployments ...` with the file above: its exit code, and what it printed."""
    path = folder / "deployments.yaml"
    path.write_text(FILE.format(endpoint=azure.endpoint))
    settings = {"PARLEY_DEPLOYMENTS": str(path), "AZURE_OPENAI_API_KEY": "simulated-key", **env}
    program = [sys.executable, "-m", "bot", "deployments", *arguments]
    run = await processes.start(
        program, settings, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await run.communicate()
    assert "Traceback" not in err.decode()
    return run.returncode, out.decode() + err.decode()


def cells(text: str, name: str) -> str:
    """The line of a deployment, with single spaces."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(f"{name} "))


async def test_the_list_shows_what_each_is_and_takes(azure: AzureSimulator, tmp_path: Path) -> None:
    code, text = await parley(tmp_path, azure, "list")
    host = azure.endpoint.removeprefix("http://")
    assert code == 0
    assert cells(text, "gpt-4o") == (
        f"gpt-4o chat (gpt-4o) {host} (swedencentral) 1, weight 2 128000 + 16384 "
        "2.5 / 1.25 / 10 60 requests/min, 30000 tokens/min best eu"
    )
    assert "0.04 per image" in cells(text, "gpt-image-2")
    assert "policy: cheapest; hedged after 900 ms without a first token" in text
    assert len(azure.journal) == 0
    assert "simulated-key" not in text


async def test_both_styles_of_api_are_probed(azure: AzureSimulator, tmp_path: Path) -> None:
    azure.deployments = BEHIND
    code, text = await parley(tmp_path, azure, "test")
    assert code == 0
    for name in ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small"):
        words = cells(text, name).split()
        assert words[3] == "ok"
        assert float(words[4]) >= 0
        assert words[6].startswith(("$", "<"))
    assert cells(text, "gpt-image-2").endswith("free")
    paths = {asked.path.partition("?")[0] for asked in azure.journal}
    assert paths == {
        "/openai/v1/chat/completions",
        "/openai/deployments/gpt-4o-mini/chat/completions",
        "/openai/v1/images/generations",
        "/openai/deployments/text-embedding-3-small/embeddings",
    }


async def tried(azure: AzureSimulator) -> str:
    """What `parley deployments test` says of two deployments, without a process of its own."""
    both = (deployment(azure, name="gpt-4o"), deployment(azure, name="gpt-4o-mini", classic=False))
    async with router.connect(both, {"AZURE_OPENAI_API_KEY": KEY}) as gateway:
        return trials(await gateway.probe())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unauthorized", "did not accept the key. Check AZURE_OPENAI_API_KEY"),
        ("forbidden", "Request access to this model"),
        ("deployment_not_found", "does not exist. Check the name in the Azure portal"),
        ("gone", "is retired. Deploy a newer model"),
        ("server_error", "check the endpoint and the network"),
    ],
)
async def test_different_problems_are_distinguished(azure: AzureSimulator, kind: Kind, words: str) -> None:
    """Field note 35."""
    azure.fail(kind, deployment="gpt-4o", times=-1)
    text = await tried(azure)
    assert cells(text, "gpt-4o").endswith(" error - -")
    assert cells(text, "gpt-4o-mini").split()[3] == "ok"
    assert words in text
    assert "simulated-key" not in text


async def test_a_busy_deployment_is_there_and_no_error(azure: AzureSimulator) -> None:
    azure.fail("rate_limited", deployment="gpt-4o", times=-1, retry_after_s=12)
    text = await tried(azure)
    assert cells(text, "gpt-4o").endswith(" warning - -")
    assert "12 s" in text
    assert "requests_per_minute" in text


async def test_one_that_fails_makes_the_command_fail(azure: AzureSimulator, tmp_path: Path) -> None:
    azure.deployments = {name: behind for name, behind in BEHIND.items() if name != "gpt-image-2"}
    code, text = await parley(tmp_path, azure, "test")
    assert code == 1
    assert cells(text, "gpt-image-2").endswith(" error - -")


async def test_an_invalid_file_exits_with_code_2(azure: AzureSimulator, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("deployments:\n  - {name: gpt-4o, ordre: 1}\n")
    code, text = await parley(tmp_path, azure, "test", PARLEY_DEPLOYMENTS=str(other))
    assert code == 2
    assert text.startswith(
        f"parley: {other}, line 2, deployment 'gpt-4o': 'ordre' is unknown; did you mean 'order'?"
    )


async def test_the_demo_model_is_listed_and_answers() -> None:
    async with router.connect(deployments(), {}) as gateway:
        text = trials(await gateway.probe())
    for capability in ("chat", "image", "embedding"):
        assert cells(text, f"demo-{capability}").split()[3] == "ok"
    assert "demo-chat" in listed(DeploymentConfig(deployments=deployments()))


async def test_the_first_token_is_timed_not_the_last(azure: AzureSimulator, connect: Connect) -> None:
    azure.first_s = 0.2
    probed = await probe(deployment(azure), connect())
    assert probed.finding.level == "ok"
    assert probed.first_s is not None
    assert probed.first_s >= 0.2


async def test_an_unknown_price_is_not_zero() -> None:
    found = await probe(named("a"), Scripted("a"))
    assert found.usd is None
    assert "unknown" in trials([found])
    assert "? / ? / ?" in listed(DeploymentConfig(deployments=(named("a", prices=Prices()),)))


def test_credentials_in_an_endpoint_are_not_shown() -> None:
    entry = named("a", endpoint="http://me:secret@host:8080/v1/")
    assert "secret" not in listed(DeploymentConfig(deployments=(entry,)))
    finding = CheckResult(level="ok", subject="deployment a", words="answers")
    assert "secret" not in trials([ProbeResult(deployment=entry, finding=finding)])
