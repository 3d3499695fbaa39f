"""Every browser is a person of its own, and a conversation belongs to one of them."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar

from adapters.studio.auth import browsers
from adapters.studio.auth.guard import COOKIE
from bot.storage.redis import keys
from tests.adapters.studio.conftest import PATIENCE_S, Whole, whole_parley

TOKENS = {
    "parley_studio_token": "the operator's long token",
    "parley_studio_editor_token": "the editor's long token",
    "parley_studio_viewer_token": "the viewer's long token",
}
WRITE = {"X-Parley": "studio"}
C, M, N = "c" * 32, "a" * 32, "b" * 32
CONVERSATION = f"/studio/conversations/{C}"


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Whole]:
    """A Parley that people sign in to by a token."""
    async with whole_parley(tmp_path, **TOKENS) as running:
        yield running


@pytest.fixture
async def unlocked(tmp_path: Path) -> AsyncIterator[Whole]:
    """A Parley that is open to its own machine."""
    async with whole_parley(tmp_path) as running:
        yield running


class People:
    """Browsers that are at one Parley."""

    def __init__(self, stack: AsyncExitStack, whole: Whole) -> None:
        self._stack = stack
        self.url = whole.url

    async def browser(self) -> ClientSession:
        return await self._stack.enter_async_context(
            ClientSession(self.url, cookie_jar=CookieJar(unsafe=True))
        )

    async def signed_in(
        self, role: str = "viewer", name: str = "Ada", http: ClientSession | None = None
    ) -> ClientSession:
        http = http or await self.browser()
        form = {"token": f"the {role}'s long token", "name": name}
        answer = await http.post("/studio/sign-in", data=form, allow_redirects=False)
        assert answer.status == 303
        return http


@pytest.fixture
async def people(locked: Whole) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        yield People(stack, locked)


async def send(http: ClientSession, text: str, id: str = M, place: str = CONVERSATION) -> ClientResponse:
    return await http.post(f"{place}/messages", json={"id": id, "text": text}, headers=WRITE)


async def answer(http: ClientSession, event: str = M, place: str = CONVERSATION) -> str:
    """What an answer says, once it is whole."""
    async with http.get(f"{place}/events") as response:
        async for line in response.content:
            frame: dict[str, object] = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if frame.get("kind") == "done" and frame["event"] == event:
                return str(frame["text"])
    raise AssertionError("the stream ended")


async def who(http: ClientSession) -> str:
    """The id of the person whom the page is drawn for."""
    page = await (await http.get("/")).text()
    (id,) = re.findall(r'data-person="([0-9a-f]{32})"', page)
    return id


async def turns(http: ClientSession, place: str = CONVERSATION) -> list[str]:
    body = await (await http.get(place)).json()
    return [turn["asked"]["text"] for turn in body["turns"]]


async def written(http: ClientSession, *texts: str, place: str = CONVERSATION) -> bool:
    """Until exactly these questions are kept: an answer is shown a moment before it is written down."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while await turns(http, place) != [*texts]:  # noqa: ASYNC110 - the page has no event for it
            await asyncio.sleep(0.02)
    return True


# ------------------------------------------------------------------ who somebody is


async def test_people_sharing_token_and_name_are_distinct(people: People) -> None:
    """Field fault 81: with tokens, all people were one user `me`."""
    ada, namesake = await people.signed_in(), await people.signed_in()
    assert await who(ada) != await who(namesake)


async def test_signing_in_again_gives_the_same_person(people: People) -> None:
    http = await people.signed_in(name="Ada")
    before = await who(http)
    page = await (await http.post("/studio/sign-out")).text()
    assert 'value="Ada"' in page, "the name is proposed, and asked for again"
    await people.signed_in(role="operator", name=" ada ", http=http)
    assert await who(http) == before
    await http.post("/studio/sign-out")
    await people.signed_in(name="Bob", http=http)
    assert await who(http) != before


async def test_a_browser_can_forget_who_used_it(people: People) -> None:
    http = await people.signed_in(name="Ada")
    before = await who(http)
    page = await (await http.post("/studio/sign-in/forget")).text()
    assert "Ada" not in page
    await people.signed_in(name="Ada", http=http)
    assert await who(http) != before


@pytest.mark.parametrize("name", ["", "  ", "\x00\u202e", "\n"])
async def test_sign_in_requires_a_name(people: People, name: str) -> None:
    http = await people.browser()
    form = {"token": TOKENS["parley_studio_token"], "name": name}
    response = await http.post("/studio/sign-in", data=form)
    assert response.status == 400
    assert "Enter your name" in await response.text()
    assert COOKIE not in response.cookies


async def test_control_characters_are_removed_from_names(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    http = await people.signed_in(name="Eve\n[error] \u202eforged\x1b[2J<b>" + "x" * 200)
    page = await (await http.get("/")).text()
    assert "Eve [error] forged [2J&lt;b&gt;xxx" in page
    assert "\x1b" not in caplog.text
    assert "x" * 61 not in page


async def test_the_page_cannot_forge_an_identity(people: People) -> None:
    ada = await people.signed_in(name="Ada")
    cookies = {one.key: one for one in ada.cookie_jar}
    for name in (COOKIE, browsers.COOKIE):
        assert cookies[name]["httponly"]
    expires, who_, signature = cookies[COOKIE].value.split(".")
    for forged in (f"{expires}.{who_[:-4]}AAAA.{signature}", f"{expires}..{signature}", f"{expires}.{who_}"):
        http = await people.browser()
        answer = await http.get(CONVERSATION, headers={"Cookie": f"{COOKIE}={forged}"})
        assert answer.status == 401
    other = await people.browser()
    forged = f"{await who(ada)}{'A' * 11}.QWRh"  # the id is known, not what it is made from
    form = {"token": TOKENS["parley_studio_token"], "name": "Ada"}
    await other.post("/studio/sign-in", data=form, headers={"Cookie": f"{browsers.COOKIE}={forged}"})
    assert await who(other) != await who(ada)


async def test_renaming_keeps_the_identity(people: People, caplog: pytest.LogCaptureFixture) -> None:
    """Field fault 81: one identity per sign-in; the log says which."""
    caplog.set_level(logging.INFO)
    http = await people.signed_in(role="operator", name="Ada")
    before = await who(http)
    response = await http.post("/studio/name", data={"name": "Ada L.", "to": "/studio/log"})
    assert (response.status, response.url.path) == (200, "/studio/log")
    assert "<b" in (page := await (await http.get("/")).text())
    assert "Ada L." in page
    assert await who(http) == before
    assert f"listed in the studio by Ada L. (id {before})" in caplog.text
    assert (await http.post("/studio/name", data={"name": " "})).status == 400


async def test_without_sign_in_each_browser_is_a_person(unlocked: Whole) -> None:
    """Field fault 118: two people on one machine saw each other's chats."""
    async with AsyncExitStack() as stack:
        people = People(stack, unlocked)
        one, other = await people.browser(), await people.browser()
        first = await one.get("/")
        cookie = first.cookies[browsers.COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", str(400 * 86_400))
        assert await who(one) == await who(one) != await who(other)
        assert (await send(one, "mine")).status == 202
        assert await answer(one)
        assert (await other.get(CONVERSATION)).status == 404
        embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        response = await (await people.browser()).get(CONVERSATION, headers=embedded)
        assert browsers.COOKIE not in response.cookies


# ------------------------------------------------------------------ whose a conversation is


@pytest.mark.parametrize("role", ["viewer", "editor", "operator"])
async def test_only_the_owner_can_access_a_conversation(people: People, role: str) -> None:
    """Field fault 118: whoever knew the id read a chat, edited, reset, rated, stopped and followed it."""
    ada, bob = await people.signed_in(), await people.signed_in(role, "Bob")
    assert (await send(ada, "my secret")).status == 202
    assert await answer(ada)
    assert await written(ada, "my secret")
    for path in ("", "/events", "/images/x"):
        assert (await bob.get(CONVERSATION + path)).status == 404, path
    bodies = {
        "messages": {"id": N, "text": "reset"},
        "edit": {"id": N, "target": M, "text": "changed"},
        "stop": {"id": N},
        "rating": {"id": N, "post": f"{C}.{M}", "good": False},
    }
    for path, body in bodies.items():
        response = await bob.post(f"{CONVERSATION}/{path}", json=body, headers=WRITE)
        assert response.status == 404, path
        assert "belongs to someone else" in (await response.json())["words"]
    assert (await send(bob, "stop", "d" * 32)).status == 404
    assert (await send(bob, "my secret", M)).status == 404, "the same event id is no way in"
    await send(ada, "and more", "e" * 32)
    assert await answer(ada, "e" * 32)
    assert await written(ada, "my secret", "and more")
    page = await (await bob.get(f"/studio/log/studio:{C}")).text()
    assert ("my secret" in page) == (role == "operator"), "operators have their own, logged view"


async def test_waiting_at_an_unused_id_reveals_nothing(people: People) -> None:
    """Field fault 118: a chat was followed live by whoever knew its id."""
    ada, bob = await people.signed_in(), await people.signed_in(name="Bob")
    async with bob.get(f"{CONVERSATION}/events") as waiting:
        assert waiting.status == 200
        await send(ada, "my secret")
        seen = b"".join([line async for line in waiting.content if not line.startswith(b":")])
    assert b"secret" not in seen


async def test_conversations_of_older_versions_keep_their_owner(people: People, locked: Whole) -> None:
    """Field fault 118: what `me` wrote is everybody's no more; operators read it in Conversations."""
    ada, bob = await people.signed_in("operator"), await people.signed_in(name="Bob")
    await send(ada, "mine")
    assert await answer(ada)
    assert await written(ada, "mine")
    redis = locked.services.storage.redis
    await redis.call("DEL", keys.of("owner", f"studio:{C}"))
    assert (await bob.get(CONVERSATION)).status == 404
    assert (await send(bob, "also mine", N)).status == 404
    assert await turns(ada) == ["mine"]
    name = keys.of("turns", f"studio:{C}")
    (stored,) = await redis.call("LRANGE", name, 0, -1)
    await redis.call("LSET", name, 0, stored.replace((await who(ada)).encode(), b"me"))
    for one in (ada, bob):
        assert (await one.get(CONVERSATION)).status == 404
        assert (await send(one, "also mine", N)).status == 404
    assert "mine" in await (await ada.get(f"/studio/log/studio:{C}")).text()


async def test_a_saved_configuration_belongs_to_its_owner(people: People) -> None:
    """Field fault 118: for other editors it doesn't exist until it is shared, and then they may only open it."""
    ada, bob = await people.signed_in("editor"), await people.signed_in("editor", "Bob")
    operator = await people.signed_in("operator", "Olga")
    path, setup = "/studio/playground/saved", {"template": "assistant", "base": "", "system": "Be brief."}

    async def post(http: ClientSession, where: str, **body: object) -> ClientResponse:
        return await http.post(path + where, json=body, headers=WRITE)

    async def names(http: ClientSession) -> list[str]:
        return [one["name"] for one in (await (await http.get(path)).json())["saved"]]

    saved = await post(ada, "", name="mine", setups=[setup])
    assert saved.status == 200, await saved.text()
    id = (await saved.json())["id"]
    changes = {"/delete": {}, "/rename": {"name": "yours"}, "/share": {"shared": True}}
    assert (await bob.get(f"{path}/{id}")).status == 404
    assert await names(bob) == []
    for where, body in changes.items():
        assert (await post(bob, f"/{id}{where}", **body)).status == 404, where
    assert (await post(bob, "", name="mine", setups=[setup])).status == 200, "a name says nothing of others"
    assert await names(ada) == ["mine"]
    assert sorted(await names(operator)) == ["mine", "mine"], "operators keep their number in bounds"
    assert (await post(bob, f"/{(await own(bob))['id']}/rename", name="bob's")).status == 200

    shared = await post(ada, f"/{id}/share", shared=True)
    assert (await shared.json())["shared"]
    assert (await bob.get(f"{path}/{id}")).status == 200
    for where, body in (changes | {"": {"name": "mine", "setups": [setup], "replace": True}}).items():
        response = await post(bob, f"/{id}{where}" if where else "", **body)
        assert response.status == 403, where
        assert "Only Ada and operators" in (await response.json())["words"]
    assert (await post(ada, f"/{id}/share", shared=False)).status == 200
    assert (await bob.get(f"{path}/{id}")).status == 404, "sharing ends at once"
    assert (await post(operator, f"/{id}/delete")).status == 200


async def own(http: ClientSession) -> dict[str, str]:
    """The only saved configuration of an editor."""
    (found,) = (await (await http.get("/studio/playground/saved")).json())["saved"]
    return found


async def test_earlier_saved_configurations_stay_shared(people: People, locked: Whole) -> None:
    """Field fault 118: what an older version saved stays open to editors; without an owner, operators change it."""
    bob, operator = await people.signed_in("editor", "Bob"), await people.signed_in("operator", "Olga")
    earlier = {"id": "e", "name": "old", "author": "me", "at": "2026-01-01T00:00:00Z", "setups": "[]"}
    await locked.services.storage.redis.call("HSET", keys.SAVED_CONFIGS, "e", json.dumps(earlier))
    path = "/studio/playground/saved/e"
    assert (await (await bob.get(path)).json())["shared"]
    assert (await bob.post(f"{path}/delete", json={}, headers=WRITE)).status == 403
    assert (await operator.post(f"{path}/delete", json={}, headers=WRITE)).status == 200


async def test_a_viewer_deletes_only_their_own_data(people: People) -> None:
    """Field fault 81: a viewer typed "Forget!", and 158 answers of the operator were gone."""
    operator, viewer = await people.signed_in("operator", "Olga"), await people.signed_in(name="Vic")
    await send(operator, "of the operator")
    await answer(operator)
    place, words = f"/studio/conversations/{'d' * 32}", ""
    for number, text in enumerate(("Forget!", "forget me", "forget me now")):
        event = f"{number:032x}"
        assert (await send(viewer, text, event, place)).status == 202
        words = await answer(viewer, event, place)
        assert ("deleted" in words) == (number == 2), words
    assert "I deleted 1 answer " in words
    assert await written(operator, "of the operator")
    assert await written(viewer, place=place)
