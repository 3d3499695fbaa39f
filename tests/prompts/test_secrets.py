"""Imports and exports never carry secrets of the setup that they come from."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from bot.prompts.formats import from_jsonl, from_studio, left_out, to_jsonl, to_prompty, to_studio
from bot.prompts.imports.secrets import secret_paths, without_secrets
from bot.prompts.prompty import read_text

SECRET = "Zm9yZ2V0IG1lIG5vdA" + "x7Q"
LONG = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"

SETUPS: dict[str, dict[str, Any]] = {
    "dataSources, key": {
        "dataSources": [{"type": "AzureCognitiveSearch", "parameters": {"indexName": "i", "key": SECRET}}]
    },
    "data_sources, authentication": {
        "data_sources": [
            {"type": "azure_search", "parameters": {"authentication": {"type": "api_key", "key": SECRET}}}
        ]
    },
    "embedding dependency": {
        "data_sources": [
            {
                "parameters": {
                    "embedding_dependency": {"endpoint": "https://e", "authentication": {"key": SECRET}}
                }
            }
        ]
    },
    "embeddingKey": {
        "dataSources": [{"parameters": {"embeddingEndpoint": "https://e", "embeddingKey": SECRET}}]
    },
    "connection string": {"data_sources": [{"parameters": {"connection_string": f"AccountKey={SECRET}"}}]},
    "connectionString in a text": {"note": f"Endpoint=sb://x/;SharedAccessKey={SECRET}"},
    "api_key": {"api_key": SECRET},
    "apiKey": {"apiKey": SECRET},
    "API-KEY": {"API-KEY": SECRET},
    "apikey": {"apikey": SECRET},
    "searchkey": {"searchkey": SECRET},
    "keys, in a list": {"keys": [SECRET]},
    "headers": {"headers": {"X-Custom": SECRET}},
    "headers, as pairs": {"request": [{"name": "Ocp-Apim-Subscription-Key", "value": SECRET}]},
    "authorization": {"extra_headers": [{"header": "Authorization", "value": f"Bearer {SECRET}"}]},
    "bearer in a text": {"note": f"use Bearer {SECRET}"},
    "access token": {"authentication": {"type": "access_token", "access_token": SECRET}},
    "token": {"auth": {"token": SECRET}},
    "clientSecret": {"identity": {"clientId": "a", "clientSecret": SECRET}},
    "password": {"elasticsearch": {"username": "u", "password": SECRET}},
    "encoded_api_key": {"authentication": {"encoded_api_key": SECRET}},
    "SAS address": {"blob": f"https://a.blob.core.windows.net/c/f?sv=2024&sig={SECRET}"},
    "function code": {"url": f"https://a.azurewebsites.net/api/f?code={SECRET}"},
    "password in an address": {"mongo": f"mongodb://user:{SECRET}@host/db"},
    "JSON in a text": {"settings": json.dumps({"apiKey": SECRET})},
    "a key by its looks": {"chatParameters": {"thing": LONG + SECRET}},
    "a JWT": {"x": f"eyJhbGciOiJIUzI1NiJ9.{SECRET}.{SECRET}"},
    "as a name": {"x": {f"sk-{LONG}{SECRET}": 1}},
    "deep": {"a": {"b": [{"c": [[{"d": {"Api Key": SECRET}}]]}]}},
    "very deep": {"a": json.loads('{"a":' * 60 + json.dumps({"x": SECRET}) + "}" * 60)},
    "in chatParameters": {"chatParameters": {"azureSearchKey": SECRET}},
    "in parley": {"parley": {"extra": {"dataSources": [{"key": SECRET}]}}},
}


@pytest.mark.parametrize("name", SETUPS)
def test_an_imported_secret_is_left_out(name: str) -> None:
    """Field fault 71: in no spelling and at no depth a secret gets into a template, and the import says so."""
    data = json.dumps({"systemPrompt": "Be short.", **SETUPS[name]}).encode()
    read = from_studio(data, "x")
    for written in (to_prompty(read), to_studio(read).decode(), to_jsonl(read), repr(read)):
        assert SECRET not in written
    paths = left_out("x.json", data)
    assert paths
    assert SECRET not in str(paths)


@pytest.mark.parametrize("name", SETUPS)
def test_exports_leave_stored_secrets_out(name: str) -> None:
    """Field fault 71: a template that an older version stored with a secret is exported without it."""
    stored = replace(from_studio(b'{"systemPrompt": "Be short."}', "x"), extra=SETUPS[name])
    for written in (to_prompty(stored), to_studio(stored).decode(), to_jsonl(stored)):
        assert SECRET not in written


def test_a_stored_secret_is_not_read() -> None:
    """Field fault 71: nor does one in an existing file get into the studio."""
    text = f"---\nmetadata: {{parley: {{extra: {{dataSources: [{{key: {SECRET}, top: 5}}]}}}}}}\n---\nHi."
    assert read_text(text, "x").template.extra == {"dataSources": [{"top": 5}]}


def test_chat_examples_leave_secrets_out() -> None:
    """Field fault 71: the fields of a JSONL file are kept without secrets."""
    line = {
        "messages": [{"role": "system", "content": "Hi."}],
        "parley": {"extra": {"apiKey": SECRET, "top": 1}},
    }
    data = json.dumps(line).encode()
    assert from_jsonl(data, "x").extra == {"top": 1}
    assert left_out("x.jsonl", data) == ("parley.extra.apiKey",)


def test_what_is_no_secret_is_kept() -> None:
    """Field fault 71: names, counts, flags and addresses stay for the export."""
    fields = {
        "dataSources": [
            {
                "type": "azure_search",
                "parameters": {
                    "endpoint": "https://example.search.windows.net",
                    "indexName": "products-2024-large-index",
                    "fieldsMapping": {"titleField": "title", "keyField": "id", "contentFields": ["a", "b"]},
                    "embeddingDeploymentName": "text-embedding-3-large-2024-01-25",
                    "topNDocuments": 5,
                    "inScope": True,
                    "clientId": "00001111-aaaa-2222-bbbb-3333cccc4444",
                },
            }
        ],
        "chatParameters": {"max_tokens": 800, "maxTokens": 5, "inputTokenLimit": 9, "stop": None},
    }
    assert without_secrets(fields) == fields
    assert secret_paths(fields) == ()


def test_paths_name_what_was_left_out() -> None:
    """Field fault 71: an author learns which parts to set again."""
    fields = {
        "data_sources": [{"parameters": {"key": SECRET, "authentication": {"type": "system"}}}],
        "key": "",
    }
    assert secret_paths(fields) == (
        "data_sources[0].parameters.key",
        "data_sources[0].parameters.authentication",
    )
