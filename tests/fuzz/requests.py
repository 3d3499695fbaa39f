"""Requests to every route that the application has: near to valid ones, so that they reach the handlers."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, quote_from_bytes

from aiohttp import web

from tests.fuzz import values

RECORDED = Path(__file__).parents[1] / "recorded"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
HEX = "0123456789abcdef" * 2
SETUP = {"template": "assistant", "system": "Be {{mood}}.", "examples": [{"user": "a", "assistant": "b"}]}
QUERIES = (
    *("q", "before", "from", "to", "again", "out", "choose", "state", "code", "error", "error_description"),
    *("rated", "sent", "conversation", "ref", "whole", "days", "by", "only", "hours", "after"),
)
BODIES: dict[str, Any] = {
    "messages": {"id": HEX, "text": "hello"},
    "edit": {"id": HEX, "target": HEX, "text": "hello"},
    "stop": {"id": HEX},
    "rating": {"id": HEX, "post": f"{HEX}.{HEX}", "good": True, "comment": "c"},
    "look": {"setup": SETUP, "question": "why?", "past": [{"user": "a", "assistant": "b"}]},
    "try": {"setup": SETUP, "question": "why?"},
    "code": {"setup": SETUP, "question": "why?"},
    "pool": {"pool": "tone", "question": "why?"},
    "vote": {"comparison": HEX, "choice": "a", "sides": [{"setup": SETUP, "served": "x"}] * 2},
    "saved": {"name": "mine", "setups": [SETUP], "replace": True},
    "rename": {"name": "yours"},
    "publish": {"setup": SETUP, "name": "assistant", "reason": "r", "channels": ["C1"], "percent": 5},
    "export": {"setup": SETUP, "form": "prompty"},
    "import": {"template": "assistant", "file": "a.json", "text": '{"systemPrompt": "x"}'},
    "images": {"prompt": "a cat", "deployment": "nobody", "picture": "aGk=", "mask": "aGk="},
    "evaluations": {"files": ["nothing"], "deployment": "nobody"},
}
FORMS: dict[str, dict[str, str]] = {
    "roll-back": {"number": "1", "reason": "r"},
    "give": {"tenant": "T1", "scope": "channel", "id": "C1", "place": "channel T1 C1"},
    "take": {"place": "channel T1 C1"},
    "embeddings": {"texts": "one\ntwo", "question": "why?", "pool": "tone"},
    "sign-in": {"token": "wrong", "to": "/studio/log"},
    "propose": {"conversation": f"studio:{HEX}", "turn": "t", "pool": "tone"},
    "review": {"verdict": "accept", "id": "x", "user": "a", "assistant": "b"},
}
ODD_HEADERS: dict[str, Sequence[str]] = {
    "Origin": ("http://[::", "null", "", "http://a:99999", "http://\u2028", "x", "http://user@h"),
    "Host": ("", "[::", "a b", "h:99999", "x" * 300, "127.0.0.1:x", "\xff"),
    "Cookie": ("parley_studio=1.\xff", "a", "=", "parley_studio=\x01", "parley_studio=" + "9" * 4000, ";;=;"),
    "Content-Type": (
        "",
        "a",
        "application/json; charset=nonsense",
        'x/y; a="',
        JSON,
        FORM,
        "multipart/form-data",
    ),
    "Authorization": ("Bearer", "Bearer a.b.c", "Bearer \xff", "Bearer e30.e30.e30", "Basic x"),
    "X-Slack-Request-Timestamp": ("", "-1", "9" * 400, "1e9", "\xb2", "now"),
    "X-Slack-Signature": ("", "v0=", "\xff", "v0=" + "0" * 64),
    "X-Forwarded-For": ("", "x", "1.2.3.4, \xff", "[::1", ","),
    "X-Forwarded-Proto": ("https", "x"),
    "Sec-Fetch-Site": ("cross-site", "\xff", "none"),
    "If-None-Match": ('"', "*", 'W/"x", x', "\xff"),
    "Last-Event-ID": ("\xff", "x" * 200, "0-0", "-"),
    "Content-Encoding": ("gzip", "deflate", "br", "x"),
    "Expect": ("100-continue", "x"),
    "Range": ("bytes=x", "bytes=9-1"),
    "Connection": ("close", "upgrade", "\xff"),
}


def recorded(platform: str) -> list[dict[str, Any]]:
    """The real payloads that were recorded."""
    files = sorted((RECORDED / platform).glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8"))["payload"] for file in files]


@dataclass
class Maker:
    """Makes requests for the routes of one application."""

    routes: Sequence[tuple[str, str]]
    """Methods, and paths as the router has them: `/studio/prompts/{name}`."""
    host: str
    cookie: str
    signing_secret: str
    service_url: str
    response_url: str
    """Of the simulated Slack; the recorded ones would be called in the real one."""

    def __post_init__(self) -> None:
        self._slack, self._teams = recorded("slack"), recorded("teams")

    def request(self, random: Random, route: tuple[str, str] | None = None) -> bytes:
        """A whole request, as it goes over the wire."""
        method, path = route or random.choice(self.routes)
        kind, body = self._body(path, random) if method == "POST" else ("", b"")
        headers = self._headers(kind, random) | (self._signed(body) if path.startswith("/slack") else {})
        for name in random.sample(list(ODD_HEADERS), random.choice((0, 0, 0, 0, 1, 1, 2))):
            headers[name] = random.choice(ODD_HEADERS[name])
        if random.random() < 0.02:
            method = random.choice(("PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "X"))
        target = _target(path, random)
        lines = [method.encode() + b" " + target + b" HTTP/1.1"]
        lines += [f"{name}: {value}".encode("latin-1", "replace") for name, value in headers.items()]
        if body or method == "POST":
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def post(self, path: str, kind: str, body: bytes) -> bytes:
        """A request with this body, and nothing odd but that."""
        headers = {"Host": self.host, "Content-Type": kind, "Content-Length": str(len(body))}
        headers |= self._signed(body) if path.startswith("/slack") else {}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def _headers(self, kind: str, random: Random) -> dict[str, str]:
        headers = {"Host": self.host, "Cookie": self.cookie, "X-Parley": "studio"}
        if kind:
            headers["Content-Type"] = kind
        if random.random() < 0.03:
            del headers[random.choice(list(headers))]
        return headers

    def _signed(self, body: bytes) -> dict[str, str]:
        at = str(int(time.time()))
        base = b"v0:" + at.encode() + b":" + body
        signature = hmac.new(self.signing_secret.encode(), base, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signature}"}

    # -------------------------------------------------------------- bodies

    def _body(self, path: str, random: Random) -> tuple[str, bytes]:
        last = path.rstrip("/").rpartition("/")[2]
        if random.random() < 0.03:
            return random.choice((JSON, FORM)), random.choice((b"", b"\xff" * 20, random.randbytes(200)))
        if path.startswith("/slack"):
            return self.slack(random)
        if path == "/api/messages":
            return JSON, values.encoded(self.teams(random), random)
        if last in FORMS:
            return FORM, form(values.mutated(FORMS[last], random, random.randrange(3)), random)
        if last in BODIES:
            return JSON, values.encoded(values.mutated(BODIES[last], random, random.randrange(4)), random)
        # A route that is not known here gets anything.
        if random.random() < 0.5:
            return FORM, form(dict.fromkeys(("a", "name", "id"), "x"), random)
        return JSON, values.encoded(values.value(random, 3), random)

    def slack(self, random: Random, changes: int | None = None) -> tuple[str, bytes]:
        """A payload of Slack's, in the form in which Slack sends its kind."""
        changes = random.randrange(5) if changes is None else changes
        payload = random.choice(self._slack)
        if "response_url" in payload:
            payload = {**payload, "response_url": self.response_url}
        payload = values.mutated(payload, random, changes)
        _renew(payload, random)
        if "command" in payload:
            return FORM, form(payload, random)
        if payload.get("type") in ("block_actions", "view_submission", "shortcut", "message_action"):
            inner = values.encoded(payload, random)
            return FORM, b"payload=" + quote_from_bytes(inner).encode()
        return JSON, values.encoded(payload, random)

    def teams(self, random: Random, changes: int | None = None) -> Any:
        """An activity."""
        changes = random.randrange(5) if changes is None else changes
        activity = random.choice(self._teams)
        activity = values.mutated({**activity, "serviceUrl": self.service_url}, random, changes)
        _renew(activity, random)
        return activity


def _renew(payload: dict[str, Any], random: Random) -> None:
    """Other ids for the same message, as each is taken once only."""
    number = random.randrange(10**6)
    event = payload.get("event")
    if isinstance(event, dict) and isinstance(event.get("ts"), str) and len(event["ts"]) < 20:  # pyright: ignore
        event["ts"] = f"17{random.randrange(10**8):08}.{number:06}"
    if isinstance(payload.get("trigger_id"), str):
        payload["trigger_id"] += str(number)
    if isinstance(payload.get("id"), str):
        payload["id"] += str(number)


def form(fields: Mapping[str, Any], random: Random) -> bytes:
    """A form, now and then badly encoded."""
    pairs = [
        (quote(str(name), errors="surrogatepass"), quote(_plain(field), errors="surrogatepass"))
        for name, field in fields.items()
    ]
    body = "&".join("=".join(pair) for pair in pairs).encode()
    match random.randrange(30):
        case 0:
            return body + b"&a" * 1500
        case 1:
            return body.replace(b"%", b"%z", 1) + b"&b=%ff%fe&c=%"
        case 2:
            return values.spoiled(body, random)
        case _:
            return body


def _plain(field: Any) -> str:
    return field if isinstance(field, str) else json.dumps(field)


def _target(path: str, random: Random) -> bytes:
    """The path with something in its places, and a query."""

    def filled(_: re.Match[str]) -> str:
        good = random.choice((HEX, "assistant", f"studio:{HEX}", "a", "0af3"))
        return quote(
            good if random.random() < 0.6 else values.text(random)[:3000], safe="", errors="surrogatepass"
        )

    target = re.sub(r"\{[^{}]*\}", filled, path).encode()
    names = random.sample(QUERIES, random.choice((0, 0, 1, 2, 3)))
    query = "&".join(f"{name}={quote(values.text(random)[:1500], errors='surrogatepass')}" for name in names)
    if query:
        target += b"?" + query.encode()
    if random.random() < 0.02:
        target += random.choice(
            (b"?\xff", b"?%", b"%", b"?a=%ff%00", b"\x80", b"#x", b"//", b"?" + b"a" * 9000)
        )
    return target


def routes_of(app: web.Application) -> list[tuple[str, str]]:
    """Every route that the application has: a new one is among them without being named here."""
    found: set[tuple[str, str]] = set()
    for route in app.router.routes():
        if route.resource is not None and route.method != "HEAD":
            found.add((route.method, route.resource.canonical))
    return sorted(found)
