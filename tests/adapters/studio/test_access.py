"""Who may call what: every route and stream of the studio, for every role, for owners and for others.

The routes are those of the application as it runs: one that is missing in the table fails the test.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar, web
from aiohttp.test_utils import TestServer
from yarl import URL

from adapters.studio.auth.session import ROLES, Role
from bot.app.server import find_adapters, web_app
from bot.app.services import Services, open_services
from bot.app.settings import Settings
from bot.app.studio import studio_sessions
from bot.domain.events import now
from bot.domain.prompts import Image
from bot.domain.turns import Reply, Turn
from bot.storage.conversations.turns import pack_image
from bot.storage.redis import keys
from bot.storage.redis.client import Redis
from bot.storage.studio.sessions import Session
from tests.adapters.studio.conftest import red_picture
from tests.support.acts import received

SIGN_IN = "sign in"
"""The outcome for strangers: 401, or for a page the way to the sign-in."""
WRITE = {"X-Parley": "studio"}
CONVERSATION = "/studio/conversations/{id}"
SAVED = "/studio/playground/saved"
CONFIG = {"template": "assistant", "base": "", "system": "Be brief."}
EVERYBODY = ("stranger", *ROLES)


@dataclass(frozen=True)
class Row:
    """What a route answers.

    `need` is the role that it takes, "" for none; with it the answer is `answer`. `others` is what those with the role
    get whose object it isn't, and `operators` what operators get of it; where it is nobody's object, all get `answer`.
    `data` is the body: a form for a page, else JSON. Most bodies are refused (400), after the person was let in.
    """

    need: Role | str
    answer: int
    others: int | None = None
    operators: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    form: bool = False
    strangers: int | None = None

    def expected(self, role: str, *, owner: bool) -> int | str:
        """The outcome for a person."""
        if role == "stranger":
            return self.strangers or (SIGN_IN if self.need else self.answer)
        if self.need and ROLES.index(role) < ROLES.index(self.need):  # pyright: ignore[reportArgumentType]
            return 403
        if owner or self.others is None:
            return self.answer
        return self.operators if self.operators and role == "operator" else self.others


def own(answer: int = 200, **data: Any) -> Row:
    """Of a conversation: for its owner only, whatever the role of others."""
    return Row("viewer", answer, others=404, data=data)


def saved(answer: int = 200, **data: Any) -> Row:
    """Of a saved configuration that is not shared: operators keep their number in bounds."""
    return Row("editor", answer, others=404, operators=200, data=data)


def page(need: str, answer: int = 200) -> Row:
    """Nobody's own: the role decides."""
    return Row(need, answer)


def form(need: str, answer: int, **data: Any) -> Row:
    return Row(need, answer, data=data, form=True)


ID, POST = "{new}", "{post}"  # filled in for each request
TABLE: dict[str, Row] = {
    # signing in and out
    "GET /studio/sign-in": Row("", 303, strangers=200),
    "POST /studio/sign-in": form("", 400, name="", token=""),
    "POST /studio/sign-in/forget": form("", 303),
    "GET /studio/sign-in/entra": Row("", 503),  # nobody is at the address of this tenant
    "GET /studio/sign-in/return": Row("", 403),
    "POST /studio/sign-out": form("viewer", 303),
    "POST /studio/name": form("viewer", 303, name="Another"),
    "GET /studio/static/{file}": Row("", 200),
    # sessions
    "GET /studio/sessions": page("viewer"),
    "POST /studio/sessions/end": Row(
        "viewer", 303, others=404, operators=303, data={"id": "{session}"}, form=True
    ),
    "POST /studio/sessions/end-others": form("viewer", 303),
    # conversations
    "GET /": page("viewer"),
    f"GET {CONVERSATION}": own(),
    f"GET {CONVERSATION}/events": own(),
    f"GET {CONVERSATION}/images/{{ref}}": own(),
    f"POST {CONVERSATION}/messages": own(202, id=ID, text="again"),
    f"POST {CONVERSATION}/edit": own(202, id=ID, target=ID, text="changed"),
    f"POST {CONVERSATION}/stop": own(202, id=ID),
    f"POST {CONVERSATION}/rating": own(202, id=ID, post=POST, good=True),
    f"POST {CONVERSATION}/link": own(200, shared=True),
    "GET /studio/shared/{id}/{secret}": page("viewer"),  # the link makes readers of all who have it
    "GET /studio/shared/{id}/{secret}/images/{ref}": page("viewer"),
    # what people wrote, for operators
    "GET /studio/log": page("operator"),
    "GET /studio/log/{conversation}": page("operator"),
    "GET /studio/pictures": page("operator", 404),
    "GET /studio/live": page("operator"),
    "GET /studio/live/events": page("operator"),
    "GET /studio/feedback": page("operator"),
    "POST /studio/feedback/propose": form("operator", 404),
    "POST /studio/feedback/review": form("operator", 409),
    # the playground
    "GET /studio/playground": page("editor"),
    "POST /studio/playground/look": page("editor", 400),
    "POST /studio/playground/try": page("editor", 400),
    "POST /studio/playground/code": page("editor", 400),
    "POST /studio/playground/publish": page("editor", 400),
    "POST /studio/playground/export": page("editor", 400),
    "POST /studio/playground/import": page("editor", 400),
    "POST /studio/playground/pool": page("editor"),
    "POST /studio/playground/vote": page("editor", 400),
    f"GET {SAVED}": page("editor"),
    f"POST {SAVED}": page("editor", 400),
    f"GET {SAVED}/{{id}}": saved(),
    f"POST {SAVED}/{{id}}/rename": saved(name="{new}"),
    f"POST {SAVED}/{{id}}/share": saved(shared=True),
    f"POST {SAVED}/{{id}}/delete": saved(),
    "GET /studio/images": page("editor"),
    "POST /studio/images": page("editor", 400),
    "GET /studio/embeddings": page("editor"),
    "POST /studio/embeddings": form("editor", 200),
    # what belongs to the organisation
    "GET /studio/prompts": page("viewer"),
    "GET /studio/prompts/{name}": page("viewer"),
    "POST /studio/prompts/{name}/roll-back": form("editor", 400),
    "POST /studio/prompts/{name}/give": form("editor", 400),
    "POST /studio/prompts/{name}/take": form("editor", 400),
    "GET /studio/channels": page("viewer"),
    "POST /studio/channels": form("editor", 409),
    "GET /studio/evaluations": page("viewer"),
    "GET /studio/evaluations/{id}": page("viewer", 404),
    "POST /studio/evaluations": page("editor", 400),
    "GET /studio/usage": page("viewer"),
    "GET /studio/deployments": page("viewer"),
    "POST /studio/deployments": form("editor", 200),
    "POST /studio/deployments/wake": form("operator", 404),
}
NOT_OF_THE_STUDIO = {"GET /healthz", "GET /readyz", "GET /metrics"}


@dataclass
class Visitor:
    """A browser, and the person who is signed in with it."""

    http: ClientSession
    role: str
    id: str = ""


class Installation:
    """A whole Parley without a worker, and what people own in it."""

    def __init__(self, services: Services, app: web.Application, url: URL) -> None:
        self.redis = services.storage.redis
        self.sessions = studio_sessions(services.settings, self.redis)
        self.routes = {
            f"{route.method} {_path(route)}" for route in app.router.routes() if route.method != "HEAD"
        }
        self._url = url
        self._stack = AsyncExitStack()

    async def visitor(self, role: str) -> Visitor:
        jar = CookieJar(unsafe=True)
        http = await self._stack.enter_async_context(ClientSession(self._url, cookie_jar=jar))
        return await self.sign_in(Visitor(http, role))

    async def sign_in(self, visitor: Visitor) -> Visitor:
        """Begin a session, unless they are a stranger; a browser that was forgotten is a new person."""
        if visitor.role != "stranger":
            before = {one.id for one in await self.sessions.all()}
            data = {"token": f"the {visitor.role}'s long token", "name": "Ada"}
            answer = await visitor.http.post("/studio/sign-in", data=data, allow_redirects=False)
            assert answer.status == 303
            (visitor.id,) = {one.person for one in await self.sessions.all() if one.id not in before}
        return visitor

    async def close(self) -> None:
        await self._stack.aclose()

    async def call(self, route: str, row: Row, by: Visitor, owner: Visitor) -> int | str:
        """The outcome of a request for what `owner` owns."""
        filled = {"new": token_hex(16)}
        if row.others is not None or "shared" in route:
            filled |= await self._owned(route, owner)
        method, path = route.split(" ", 1)
        data = {
            name: value.format(**filled) if isinstance(value, str) else value
            for name, value in row.data.items()
        }
        defaults = {
            "file": "studio.js",
            "conversation": filled.get("talk", ""),
            "name": "assistant",
            "id": "x",
        }
        url = path.format(**{**defaults, "ref": "red", **filled})
        if "log/" in url:
            url = path.format(conversation=(await self._owned(CONVERSATION, owner))["talk"])
        if method == "GET":
            response = await by.http.get(url, allow_redirects=False)
        elif row.form:
            response = await by.http.post(url, data=data, allow_redirects=False)
        else:
            response = await by.http.post(url, json=data, headers=WRITE, allow_redirects=False)
        try:
            return _outcome(response)
        finally:
            response.close()

    async def _owned(self, route: str, owner: Visitor) -> dict[str, str]:
        """Something that belongs to the owner, of the kind that the route is for."""
        if SAVED in route:
            body = {"name": token_hex(8), "setups": [CONFIG]}
            response = await owner.http.post(SAVED, json=body, headers=WRITE)
            return {"id": (await response.json())["id"]} if response.status == 200 else {"id": "x"}
        if "sessions" in route:
            session = Session(
                id=token_hex(16),
                person=owner.id,
                name="Ada",
                role=owner.role,
                way=owner.role,
                began_at=now(),
                ends_at=now(),
            )
            await self.sessions.begin(session)
            return {"session": session.id}
        return await self._conversation(owner)

    async def _conversation(self, owner: Visitor) -> dict[str, str]:
        id, event = token_hex(16), token_hex(16)
        talk, place = f"studio:{id}", f"/studio/conversations/{id}"
        body = {"id": event, "text": "mine"}
        await owner.http.post(f"{place}/messages", json=body, headers=WRITE)
        asked = received("mine", event=event, conversation=talk)
        turn = Turn(
            id=event,
            received=asked,
            template="assistant@0",
            messages=(),
            reply=Reply(text="Yours."),
            outcome="answered",
            began_at=now(),
            ended_at=now(),
        )
        picture = Image(mime="image/png", data=red_picture(), ref="red")
        for name, command, value in (
            (keys.of("turns", talk), "RPUSH", msgspec.json.encode(turn)),
            (keys.of("picture", talk, "red"), "SET", pack_image(picture)),
        ):
            await self.redis.call(command, name, value)
            await self.redis.call("EXPIRE", name, 60)
        response = await owner.http.post(f"{place}/link", json={"shared": True}, headers=WRITE)
        link = (await response.json()).get("link", "/x")
        return {"id": id, "talk": talk, "post": f"{id}.{event}", "secret": link.rpartition("/")[2]}


def _path(route: web.AbstractRoute) -> str:
    """The pattern of a route; the static files are one."""
    path = route.resource.canonical if route.resource else ""
    return "/studio/static/{file}" if path.startswith("/studio/static/") else path


def _outcome(response: ClientResponse) -> int | str:
    to = response.headers.get("Location", "")
    stranger = response.status == 303 and to.startswith("/studio/sign-in") and "out=1" not in to
    signed_out = response.status == 401 or (stranger and "/forget" not in response.url.path)
    return SIGN_IN if signed_out else response.status


@pytest.fixture
async def installation(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Installation]:
    settings = Settings(
        _env_file=None,  # pyright: ignore[reportCallIssue]
        redis_url=redis_url,  # pyright: ignore[reportArgumentType]
        parley_data_dir=tmp_path,
        parley_studio_token="the operator's long token",  # pyright: ignore[reportArgumentType]
        parley_studio_editor_token="the editor's long token",  # pyright: ignore[reportArgumentType]
        parley_studio_viewer_token="the viewer's long token",  # pyright: ignore[reportArgumentType]
        parley_studio_entra_tenant="contoso.example",
        parley_studio_entra_client_id="the app",
        parley_studio_entra_client_secret="its secret",  # pyright: ignore[reportArgumentType]
        parley_studio_entra_authority="http://127.0.0.1:9",
    )
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings))
        adapters = [await stack.enter_async_context(adapter) for adapter in find_adapters(services)]
        app = web_app(services, adapters)
        server = await stack.enter_async_context(TestServer(app))
        made = Installation(services, app, server.make_url("/"))
        stack.push_async_callback(made.close)
        yield made
        for adapter in adapters:
            await adapter.__aexit__(None, None, None)  # the streams, for which the server would wait


async def test_every_route_is_in_the_table(installation: Installation) -> None:
    """Field fault 118: a new route says whose its objects are, and who else may call it."""
    assert installation.routes == TABLE.keys() | NOT_OF_THE_STUDIO


async def test_the_table_holds_for_everybody(installation: Installation) -> None:
    """Field fault 118: any viewer who knew an id read, edited, reset and followed what was another's."""
    owners = {role: await installation.visitor(role) for role in ROLES}
    others = {role: await installation.visitor(role) for role in EVERYBODY}
    differences: list[str] = []

    async def compare(route: str, row: Row, by: Visitor, owner: Visitor) -> None:
        expected = row.expected(by.role, owner=by is owner)
        outcome = await installation.call(route, row, by, owner)
        if outcome != expected:
            whose = "their own" if by is owner else "another's"
            differences.append(f"{route} of {whose} by a {by.role}: {outcome} instead of {expected}")
        if "sign-out" in route or "forget" in route:
            await installation.sign_in(by)
            by.id = by.id

    for route, row in TABLE.items():
        for role in EVERYBODY:
            owner = owners[row.need if row.need in ROLES else "viewer"]
            await compare(route, row, others[role], owner)
        for owner in owners.values():
            await compare(route, row, owner, owner)
    assert differences == [], "\n".join(differences)
