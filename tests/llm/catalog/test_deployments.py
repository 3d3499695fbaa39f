"""Which deployments there are: what a file may say, and how its mistakes are named."""

from pathlib import Path
from typing import get_args

import pytest

from bot.domain.errors import ConfigError
from bot.domain.turns import Deployment, Prices
from bot.llm.catalog.catalog import key_names
from bot.llm.catalog.deployments import DeploymentConfig, Policy, load, simple

ENDPOINT = "https://name.openai.azure.com"
DOCS = Path(__file__).parents[3] / "docs"
# What a file can't state: they come from the model and the endpoint.
FIELDS = set(Deployment.__struct_fields__) - {"family", "wire", "stated_prices"}


def test_the_simple_case_names_one_deployment_per_capability() -> None:
    chat, picture = simple(ENDPOINT, None, "my-chat", "gpt-image-2", None)
    assert (chat.name, chat.capability, chat.model, chat.family) == ("my-chat", "chat", "", "unknown-chat")
    assert (picture.name, picture.capability, picture.family) == ("gpt-image-2", "image", "gpt-image-2")


FILE = """\
endpoint: https://name.openai.azure.com
deployments:
  - name: fast
    capability: chat
    model: gpt-4o-mini
    tags: [eu, cheap]
  - name: gpt-4o
    endpoint: https://other.openai.azure.com
    api_version: 2024-10-21
    key_env: OTHER_KEY
    order: 1
    weight: 3
    context_tokens: 1000
    prices: {input_usd: 1, output_usd: 2.5}
  - name: vectors
    model: text-embedding-3-small
"""


def test_missing_fields_come_from_the_family(tmp_path: Path) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text(FILE)
    fast, second, vectors = load(path).deployments
    assert (fast.capability, fast.model, fast.family) == ("chat", "gpt-4o-mini", "gpt-4o-mini")
    assert (fast.context_tokens, fast.output_tokens, fast.tags) == (128_000, 16_384, ("eu", "cheap"))
    assert (fast.endpoint, fast.wire, fast.prices.input_usd) == (ENDPOINT + "/openai/v1/", "v1", 0.15)
    assert (second.endpoint, second.wire) == ("https://other.openai.azure.com/", "azure")
    assert (second.api_version, second.order, second.weight) == ("2024-10-21", 1, 3)
    assert (second.context_tokens, second.model) == (1000, "")
    assert second.stated_prices == Prices(input_usd=1.0, output_usd=2.5)
    assert second.prices == Prices(
        input_usd=1.0, cached_usd=1.0, output_usd=2.5, id="deployments file, gpt-4o@2024-08-06"
    )
    assert vectors.capability == "embedding"
    assert key_names((fast, second, vectors)) == ("AZURE_OPENAI_API_KEY", "OTHER_KEY")


def test_a_file_sets_policy_and_limits(tmp_path: Path) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text(
        "policy: cheapest\nhedge_ms: 800\nregion: swedencentral\ndeployments:\n"
        "  - {name: gpt-4o, requests_per_minute: 60, tokens_per_minute: 30000}\n"
        "  - {name: gpt-4o-mini, region: eastus2}\n"
    )
    found = load(path, ENDPOINT)
    assert (found.policy, found.hedge_ms) == ("cheapest", 800)
    first, second = found.deployments
    assert (first.region, first.requests_per_minute, first.tokens_per_minute) == ("swedencentral", 60, 30_000)
    assert (second.region, second.requests_per_minute) == ("eastus2", None)


def test_the_default_policy_is_ordered(tmp_path: Path) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text("deployments:\n  - name: gpt-4o\n")
    found = load(path, ENDPOINT)
    assert found == DeploymentConfig(deployments=found.deployments, policy="ordered", hedge_ms=None)


def test_a_toml_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "deployments.toml"
    path.write_text(
        'endpoint = "https://name.openai.azure.com"\n[[deployments]]\nname = "gpt-4o"\norder = 2\n'
    )
    (only,) = load(path).deployments
    assert (only.name, only.family, only.order) == ("gpt-4o", "gpt-4o", 2)


def test_settings_fill_in_missing_fields(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("deployments:\n  - name: gpt-4o\n")
    (only,) = load(path, ENDPOINT, "2024-10-21").deployments
    assert (only.endpoint, only.api_version) == (ENDPOINT + "/", "2024-10-21")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deployments:\n  - {name: a, capability: chat, endpont: x}\n", ["line 2", "'a'", "endpoint"]),
        ("deployments:\n  - name: gpt-4o\n  - name: b\n    order: soon\n", ["line 4", "'b'", "order"]),
        (
            "deployments:\n  - name: gpt-4o\n    prices:\n      input_usd: -1\n",
            ["line 4", "prices.input_usd"],
        ),
        ("deployments:\n  - name: gpt-4o\n    prices:\n      input: 1\n", ["line 4", "input_usd"]),
        (
            "deployments:\n  - name: gpt-4o\n    prices: {input_usd: 1, currency: EUR}\n",
            ["line 3", "these prices are in US dollars"],
        ),
        ("deployments:\n  - name: gpt-4o\n    tags:\n      - eu\n      - 7\n", ["line 5", "tags"]),
        ("deployments:\n  - name: gpt-4o\n    tokens_per_minute: 0\n", ["line 3", "tokens_per_minute"]),
        ("deployments:\n  - name: gpt-4o\n    api_key: x\n", ["line 3", "key_env"]),
        ("deployments:\n  - name: gpt-4o\n    endpoint: nowhere\n", ["line 3", "is not a URL"]),
        ("# head\nendpoint: nowhere\ndeployments:\n  - name: gpt-4o\n", ["line 2", "is not a URL"]),
        ("deployments:\n  - name: gpt-4o\npolicy: fair\n", ["line 3", "policy", "fair"]),
        ("hedge_ms: 0\ndeployments:\n  - name: gpt-4o\n", ["line 1", "hedge_ms"]),
        ("deployments:\n  - name: house\n", ["line 2", "capability"]),
        ("deployments:\n  - name: gpt-4o\n    weight: 0\n", ["weight"]),
        ("deployments:\n  - name: ''\n    capability: chat\n", ["name"]),
        ("deployments:\n  - just text\n", ["line 2", "name"]),
        ("deployments:\n  - name: gpt-4o\n  - name: gpt-4o\n", ["line 3", "duplicate"]),
        ("deployments: []\n", ["is empty"]),
        ("deployments: {}\n", ["list"]),
        ("- name: a\n", ["list"]),
        ("endpiont: x\ndeployments: []\n", ["endpiont"]),
        ("deployments: [\n", ["line 2"]),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "deployments.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, ENDPOINT)
    for word in ["deployments.yaml", *words]:
        assert word in str(caught.value)


def test_an_error_in_toml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text('[[deployments]]\nname = "gpt-4o"\n\n[[deployments]]\nname = "b"\n')
    with pytest.raises(ConfigError, match=r"line 4, deployment 'b'.*capability"):
        load(path, ENDPOINT)


@pytest.mark.parametrize("name", ["missing.yaml", "broken.toml"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.toml").write_text("= 1")
    with pytest.raises(ConfigError, match=name):
        load(tmp_path / name)


def test_an_entry_without_an_endpoint_is_said(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text("deployments:\n  - name: gpt-4o\n")
    with pytest.raises(ConfigError, match="endpoint"):
        load(path)


def test_the_commented_example_is_valid() -> None:
    found = load(DOCS / "deployments.example.yaml")
    assert found.policy == "ordered"
    assert {deployment.capability for deployment in found.deployments} == {"chat", "image", "embedding"}
    tags = {tag for deployment in found.deployments for tag in deployment.tags}
    assert {"fast", "cheap", "best", "fine-tuned"} <= tags
    assert all(deployment.prices.input_usd is not None for deployment in found.deployments)


def test_every_field_is_documented_in_the_example() -> None:
    guide = (DOCS / "deployments.md").read_text("utf-8")
    example = (DOCS / "deployments.example.yaml").read_text("utf-8")
    for name in (*FIELDS, *Prices.__struct_fields__, *get_args(Policy), "policy", "hedge_ms"):
        assert f"`{name}`" in guide, name
    for name in FIELDS:
        assert f"{name}:" in example, name
