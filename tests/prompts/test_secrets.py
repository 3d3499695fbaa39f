"""Imports and exports never carry secrets of the setup that they come from."""

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from bot.prompts.editing import PromptEditor
from bot.prompts.example_images import data_only
from bot.prompts.formats import from_jsonl, from_studio, left_out, to_jsonl, to_prompty, to_studio
from bot.prompts.imports.secrets import secret_paths, without_secrets
from bot.prompts.library import PromptLibrary
from bot.prompts.prompty import read_text

SECRET = "Zm9yZ2V0IG1lIG5vdA" + "x7Q"
SHORT = "Qm9iX3Nh"
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
    "a key in an address": {"endpoint": f"https://x.example/search?subscription-key={SHORT}"},
    "an access token in an address": {"endpoint": f"https://x.example/#access_token={SHORT}"},
    "an auth parameter": {"endpoint": f"https://x.example/?auth={SHORT}"},
    "an encoded address": {"endpoint": f"https%3A%2F%2Fx.example%3Fsig%3D{SHORT}"},
    "a key before a host": {"endpoint": f"https://{SHORT}{SHORT}@x.example/1"},
    "a webhook": {"notify": f"https://x.example/api/webhooks/1/{SHORT}"},
    "a field of a webhook": {"webhookUrl": f"https://x.example/{SHORT}"},
    "a header api-key": {"note": f"api-key: {SHORT}"},
    "a header without a colon": {"note": f"x-api-key {SHORT}"},
    "a header in a command": {"note": f"curl -H 'api-key, {SHORT}' https://x.example"},
    "a cookie": {"note": f"Cookie: a={SHORT}"},
    "a bearer token with a colon": {"note": f"bearer:{SHORT}"},
    "an API key as the scheme": {"note": f"ApiKey {SHORT}"},
    "a token as the scheme": {"note": f"Token {SHORT}1"},
    "a connection string of storage": {"note": f"AccountName=a;AccountKey={SHORT};EndpointSuffix=x.example"},
    "a connection string of a database": {"note": f"Server=a;User ID=u;Pwd={SHORT};"},
    "a connection string of a cache": {"note": f"redis://:{SHORT}@x.example:6379"},
    "a SAS token": {"note": f"sv=2022-11-02&ss=b&srt=sco&sp=rl&se=2030-01-01&sig={SHORT}%3D"},
    "a SAS token without its beginning": {"note": f"sig={SHORT}"},
    "numbered keys": {"key1": SHORT, "apiKey2": SHORT},
    "a pass phrase": {"passcode": SHORT, "dbpass": SHORT},
    "a token of GitHub": {"note": f"ghs_{SHORT}{SHORT}"},
    "a token of npm": {"note": f"npm_{SHORT}{SHORT}"},
    "an access key of AWS": {"note": "AKIA" + SHORT.upper() + SHORT.upper()},
    "a key of Google": {"note": f"AIza{SHORT}-{SHORT}-{SHORT}-{SHORT}"},
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
        assert SHORT.lower() not in written.lower()
    paths = left_out("x.json", data)
    assert paths
    assert SECRET not in str(paths)
    assert SHORT not in str(paths)


@pytest.mark.parametrize("name", SETUPS)
def test_exports_leave_stored_secrets_out(name: str) -> None:
    """Field fault 71: a template that an older version stored with a secret is exported without it."""
    stored = replace(from_studio(b'{"systemPrompt": "Be short."}', "x"), extra=SETUPS[name])
    for written in (to_prompty(stored), to_studio(stored).decode(), to_jsonl(stored)):
        assert SECRET not in written
        assert SHORT.lower() not in written.lower()


def test_a_stored_secret_is_not_read() -> None:
    """Field fault 71: nor does one in an existing file get into the studio."""
    text = f"---\nmetadata: {{parley: {{extra: {{dataSources: [{{key: {SECRET}, top: 5}}]}}}}}}\n---\nHi."
    loaded = read_text(text, "x")
    assert loaded.template.extra == {"dataSources": [{"top": 5}]}
    assert loaded.notes == ("line 2: 'extra.dataSources[0].key' is left out, because it may be a secret",)


def test_many_colons_take_little_time() -> None:
    """Field fault 71: no text makes the search for secrets slow."""
    began = time.thread_time()
    without_secrets({"a": "://" * 20_000, "b": "://abcdefg" * 6000, "c": "Token " + " " * 60_000})
    assert time.thread_time() - began < 10


def test_what_was_left_out_is_said() -> None:
    """Field fault 71: an import into the studio names the fields, and what else is not used."""
    registry = SimpleNamespace(load_image=data_only, pools=dict[str, object])
    editor = PromptEditor(cast("PromptLibrary", SimpleNamespace(registry=registry, texts={})))
    setup = json.dumps({"systemPrompt": "Hi.", "endpoint": f"https://x.example?sig={SHORT}"}).encode()
    assert editor.read("x.json", setup, "x").notes == ["Left out, because it may be a secret: endpoint."]
    file = b"---\nname: a\noutputs: {}\n---\nHi."
    assert editor.read("x.prompty", file, "x").notes == ("line 3: 'outputs' is not used",)


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
