"""Signing in by Microsoft Entra: who comes in, as whom, and what is refused in which words."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar
from playwright.async_api import Page, expect
from yarl import URL

from adapters.studio.auth.guard import COOKIE
from adapters.studio.pages.sign_in import PENDING, way
from bot.app.settings import Settings, load
from bot.domain.errors import ConfigError
from bot.domain.events import now
from bot.storage.usage.reports import UsageReports
from tests.adapters.studio.browser.test_accessibility import faults
from tests.adapters.studio.conftest import Complaints, Studio, start, whole_parley
from tests.adapters.studio.directory import CLIENT, GROUP, SECRET, TENANT, Directory, open_directory
from tests.adapters.studio.playground.test_playground import say
from tests.adapters.studio.stand_ins import MemorySessions

ADA = "aaaaaaaa-0000-0000-0000-000000000001"
BEGIN = "/studio/sign-in/entra"


@pytest.fixture
async def directory() -> AsyncIterator[Directory]:
    async with open_directory() as found:
        yield found


@pytest.fixture
def sessions() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
async def studio(directory: Directory, sessions: MemorySessions) -> AsyncIterator[Studio]:
    running = await start(registration=directory.registration(), sessions=sessions)
    yield running
    await running.stop()


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def come_back(http: ClientSession, studio: Studio) -> URL:
    """To Entra, and with its answer, up to the door."""
    begun = await http.get(studio.url + BEGIN, allow_redirects=False)
    assert begun.status == 303
    answered = await http.get(begun.headers["Location"], allow_redirects=False)
    return URL(answered.headers["Location"])


async def sign_in(http: ClientSession, studio: Studio) -> ClientResponse:
    return await http.get(await come_back(http, studio), allow_redirects=False)


async def refused(response: ClientResponse, words: str) -> None:
    assert response.status == 403
    assert words in await response.text()
    assert COOKIE not in response.cookies


async def test_a_tenant_member_signs_in_by_name(http: ClientSession, studio: Studio) -> None:
    stranger = await http.get(studio.url, allow_redirects=False)
    assert (stranger.status, stranger.headers["Location"]) == (303, "/studio/sign-in")
    assert "Sign in with Microsoft" in await (await http.get(studio.url)).text()
    assert "0;url=/" in await (await sign_in(http, studio)).text()
    page = await (await http.get(studio.url)).text()
    assert "Ada Lovelace" in page
    assert "Editor" in page


async def test_cookies_are_httponly_and_samesite(http: ClientSession, studio: Studio) -> None:
    begun = await http.get(studio.url + BEGIN, allow_redirects=False)
    pending = begun.cookies[PENDING]
    assert (pending["httponly"], pending["samesite"], pending["max-age"]) == (True, "Lax", "600")
    session = (await sign_in(http, studio)).cookies[COOKIE]
    assert (session["httponly"], session["samesite"]) == (True, "Strict")
    assert not session["secure"]
    assert "Ada" not in session.value


async def test_behind_https_the_cookies_are_secure(http: ClientSession, studio: Studio) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    begun = await http.get(studio.url + BEGIN, allow_redirects=False, headers=headers)
    assert begun.cookies[PENDING]["secure"]


async def test_the_person_is_who_asks(http: ClientSession, studio: Studio) -> None:
    await sign_in(http, studio)
    room = f"{studio.url}/studio/conversations/{'c' * 32}"
    headers = {"X-Parley": "studio"}
    received = await http.post(f"{room}/messages", json={"id": "a" * 32, "text": "Hello"}, headers=headers)
    assert received.status == 202
    user = studio.engine.events[0].user
    assert (user.id, user.name) == (ADA, "Ada Lovelace")


async def test_another_process_ends_what_one_began(
    http: ClientSession, studio: Studio, directory: Directory, sessions: MemorySessions
) -> None:
    other = await start(registration=directory.registration(), sessions=sessions)
    back = await come_back(http, studio)
    begun = {PENDING: http.cookie_jar.filter_cookies(URL(studio.url + "/studio/sign-in"))[PENDING].value}
    url = URL(other.url).join(back.relative())
    response = await http.get(url, cookies=begun, headers={"Host": URL(studio.url).authority})
    assert response.status == 200
    async with ClientSession(cookies={COOKIE: response.cookies[COOKIE].value}) as elsewhere:
        assert "Ada Lovelace" in await (await elsewhere.get(studio.url)).text()
    await other.stop()


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another sign-in's"},
        {"nonce": None},
        {"aud": "another app"},
        {"exp": int(time.time()) - 3600},
        {"nbf": int(time.time()) + 3600},
        {"exp": None},
        {"iss": "https://login.microsoftonline.com/another/v2.0"},
        {"tid": "another tenant"},
    ],
    ids=[
        "another nonce",
        "no nonce",
        "aud",
        "past exp",
        "future nbf",
        "no exp",
        "another iss",
        "another tid",
    ],
)
async def test_a_token_with_wrong_claims_is_refused(
    http: ClientSession, studio: Studio, directory: Directory, changed: dict[str, Any]
) -> None:
    directory.changed = changed
    await refused(await sign_in(http, studio), "could not be verified")


async def test_a_token_that_somebody_else_signed_is_refused(
    http: ClientSession, studio: Studio, directory: Directory
) -> None:
    directory.signed_by = "a key of nobody"
    await refused(await sign_in(http, studio), "could not be verified")


async def test_another_tenant_is_refused(http: ClientSession, directory: Directory) -> None:
    other = TENANT.replace("1", "7")
    running = await start(registration=directory.registration(tenant=other))
    await refused(await sign_in(http, running), "could not be verified")
    await running.stop()


async def test_an_unsolicited_sign_in_response_is_refused(http: ClientSession, studio: Studio) -> None:
    back = await come_back(http, studio)
    await refused(await http.get(back.update_query(state="forged")), "begun in another window")
    http.cookie_jar.clear()
    await refused(await http.get(back), "begun in another window")


async def test_a_code_works_once_and_in_time(
    http: ClientSession, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = await come_back(http, studio)
    pending = http.cookie_jar.filter_cookies(URL(studio.url + "/studio/sign-in"))[PENDING].value
    assert (await http.get(back)).status == 200
    cookies = {"Cookie": f"{PENDING}={pending}"}
    await refused(await http.get(back, headers=cookies), "did not complete the sign-in")
    back, present = await come_back(http, studio), time.time()
    monkeypatch.setattr("adapters.studio.auth.entra.time.time", lambda: present + 601)
    await refused(await http.get(back), "expired")


async def test_a_session_has_an_absolute_limit(
    http: ClientSession, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(http, studio)
    later = now() + timedelta(hours=12, seconds=1)
    monkeypatch.setattr("bot.storage.studio.sessions.now", lambda: later)
    assert (await http.get(studio.url, allow_redirects=False)).status == 303


async def test_a_new_client_secret_signs_everybody_out(
    http: ClientSession, studio: Studio, directory: Directory, sessions: MemorySessions
) -> None:
    session = (await sign_in(http, studio)).cookies[COOKIE].value
    other = await start(registration=directory.registration(secret="a new one"), sessions=sessions)
    async with ClientSession(cookies={COOKIE: session}) as elsewhere:
        assert (await elsewhere.get(other.url, allow_redirects=False)).status == 303
    await other.stop()


async def test_a_wrong_client_secret_is_only_logged(
    http: ClientSession, directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    running = await start(registration=directory.registration(secret="a wrong one"))
    await refused(await sign_in(http, running), "log has the reason")
    assert "AADSTS7000215" in caplog.text
    assert "a wrong one" not in caplog.text
    await running.stop()


async def test_a_name_is_one_line_wherever_it_stands(
    http: ClientSession, studio: Studio, directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.person["name"] = "Eve\n[error] forged\x1b[2J <b>"
    caplog.set_level("INFO")
    await sign_in(http, studio)
    assert "Eve [error] forged [2J &lt;b&gt;</b>" in await (await http.get(studio.url)).text()
    assert "Eve [error] forged [2J <b> (ada@contoso.example) (id" in caplog.text


async def test_a_person_without_a_role_is_refused(
    http: ClientSession, studio: Studio, directory: Directory
) -> None:
    directory.person["roles"] = ["Something.Else"]
    response = await sign_in(http, studio)
    await refused(response, "signed in as ada@contoso.example, but have no role here yet")
    assert "Parley.Viewer" in await response.text()
    assert "choose=1" in await response.text()


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"roles": ["Parley.Viewer"]}, "Viewer"),
        ({"roles": ["Parley.Viewer", "Parley.Operator", "Parley.Editor"]}, "Operator"),
        ({"roles": None, "groups": ["other", "group-of-editors"]}, "Editor"),
        ({"roles": None, "groups": [GROUP]}, "Operator"),
        ({"roles": None, "groups": [GROUP.upper()]}, "Operator"),
    ],
)
async def test_app_roles_and_groups_determine_the_role(
    http: ClientSession, studio: Studio, directory: Directory, claims: dict[str, Any], role: str
) -> None:
    """Field fault 121: capital letters in the ids of groups did not match."""
    directory.person |= claims
    await sign_in(http, studio)
    assert f"</b> {role}</span>" in await (await http.get(studio.url)).text()


async def test_too_many_groups_are_the_reason_given(
    http: ClientSession, studio: Studio, directory: Directory
) -> None:
    """Field fault 121: over 200 groups people were not told why they could not sign in."""
    directory.person |= {"roles": None, "_claim_names": {"groups": "src1"}}
    response = await sign_in(http, studio)
    await refused(response, "in too many groups")
    assert "assign you an app role instead of a group" in await response.text()


async def test_what_entra_refuses_is_said_in_its_words(
    http: ClientSession, studio: Studio, directory: Directory
) -> None:
    directory.refusal = "AADSTS65004: <b>The user</b> declined to consent.\r\nTrace ID: 1"
    response = await sign_in(http, studio)
    await refused(response, "AADSTS65004: &lt;b&gt;The user")
    assert "Trace ID" not in await response.text()


async def test_sign_in_returns_to_the_requested_page(
    http: ClientSession, studio: Studio, directory: Directory
) -> None:
    begun = await http.get(
        studio.url + BEGIN, params={"to": "/studio/prompts?a=1#s=x"}, allow_redirects=False
    )
    answered = await http.get(begun.headers["Location"], allow_redirects=False)
    page = await (await http.get(answered.headers["Location"])).text()
    assert 'content="0;url=/studio/prompts?a=1#s=x"' in page


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/a\n/x",
        "javascript:alert(1)",
        "/" + "x" * 3000,
        "",
        None,
    ],
)
def test_no_link_leads_to_another_site(to: str | None) -> None:
    assert way(to) == "/"


def test_a_long_return_path_loses_its_fragment() -> None:
    assert way("/studio/playground#s=" + "x" * 3000) == "/studio/playground"


async def test_token_sign_in_returns_to_the_requested_page(http: ClientSession) -> None:
    running = await start(token="a token of some length")
    stranger = await http.get(running.url + "/?q=1", allow_redirects=False)
    assert stranger.headers["Location"] == "/studio/sign-in?to=%2F%3Fq%3D1"
    page = await (await http.get(running.url + stranger.headers["Location"])).text()
    assert 'name="to" value="/?q=1"' in page
    data = {"token": "a token of some length", "to": "/?q=1"}
    response = await http.post(running.url + "/studio/sign-in", data=data, allow_redirects=False)
    assert response.headers["Location"] == "/?q=1"
    data["to"] = "//evil.example"
    response = await http.post(running.url + "/studio/sign-in", data=data, allow_redirects=False)
    assert response.headers["Location"] == "/"
    await running.stop()


async def test_a_cross_site_link_reloads_with_the_cookie(http: ClientSession, studio: Studio) -> None:
    """A browser leaves a strict cookie at home when another site leads here."""
    session = (await sign_in(http, studio)).cookies[COOKIE].value
    http.cookie_jar.clear()
    abroad = {"Sec-Fetch-Site": "cross-site"}
    page = await (await http.get(studio.url + "/studio/sign-in?to=/x", headers=abroad)).text()
    assert 'href="/studio/sign-in?to=%2Fx&amp;again=1"' in page
    home = {"Sec-Fetch-Site": "same-origin", "Cookie": f"{COOKIE}={session}"}
    again = f"{studio.url}/studio/sign-in?to=%2Fx&again=1"
    response = await http.get(again, headers=home, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/x")


async def test_without_public_url_only_local_hosts_reach_entra(http: ClientSession, studio: Studio) -> None:
    response = await http.get(studio.url + BEGIN, headers={"Host": "evil.example"}, allow_redirects=False)
    assert response.status == 403
    assert "PARLEY_PUBLIC_URL" in await response.text()


async def test_while_entra_is_away_the_page_says_so(http: ClientSession) -> None:
    async with open_directory() as directory:
        registration = directory.registration()
    running = await start(registration=registration)
    response = await http.get(running.url + BEGIN)
    assert response.status == 503
    assert "Entra ID is unavailable" in await response.text()
    (finding,) = await running.adapter.check()
    assert (finding.level, "PARLEY_STUDIO_ENTRA_TENANT" in finding.words) == ("error", True)
    await running.stop()


async def test_check_says_who_signs_in(studio: Studio) -> None:
    (finding,) = await studio.adapter.check()
    assert (finding.level, TENANT in finding.words) == ("ok", True)


async def test_signing_out_asks_which_account_comes_next(
    http: ClientSession, studio: Studio, directory: Directory
) -> None:
    await sign_in(http, studio)
    page = await (await http.post(studio.url + "/studio/sign-out")).text()
    assert "choose=1" in page
    assert (await http.get(studio.url, allow_redirects=False)).status == 303
    await http.get(f"{studio.url}{BEGIN}?choose=1")
    assert directory.asked[-1]["prompt"] == "select_account"


# ------------------------------------------------------------------ settings

WHOLE = {
    "PARLEY_STUDIO_ENTRA_TENANT": TENANT,
    "PARLEY_STUDIO_ENTRA_CLIENT_ID": CLIENT,
    "PARLEY_STUDIO_ENTRA_CLIENT_SECRET": SECRET,
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"PARLEY_STUDIO_ENTRA_CLIENT_ID": ""}, "PARLEY_STUDIO_ENTRA_CLIENT_ID is missing"),
        ({"PARLEY_STUDIO_ENTRA_TENANT": "common"}, "would admit other organisations"),
        ({"HOST": "0.0.0.0"}, "PARLEY_PUBLIC_URL is missing"),
        ({"PARLEY_STUDIO_ENTRA_AUTHORITY": "http://login.example"}, "must begin with https://"),
    ],
)
def test_half_a_registration_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], words: str
) -> None:
    for name, value in (WHOLE | changed).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        load()


def test_roles_are_read_with_commas_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PARLEY_STUDIO_ENTRA_EDITORS", "Parley.Editor, 1f0c")
    settings = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    assert settings.studio_roles["editor"] == {"Parley.Editor", "1f0c"}
    assert settings.studio_is_open


# ------------------------------------------------------------------ in a browser


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_person_signs_in_publishes_and_signs_out(
    page: Page, tmp_path: Path, complaints: Complaints
) -> None:
    async with open_directory() as directory:
        registered = {
            "parley_studio_entra_tenant": TENANT,
            "parley_studio_entra_client_id": CLIENT,
            "parley_studio_entra_client_secret": SECRET,
            "parley_studio_entra_authority": directory.url,
        }
        async with whole_parley(tmp_path, **registered) as whole:
            await page.goto(f"{directory.url}/link?to={whole.url}/studio/playground%23s=damaged")
            await page.get_by_role("link", name="go").click()
            await expect(page.get_by_role("link", name="Sign in with Microsoft")).to_be_visible()
            assert await faults(page) == []
            await page.get_by_role("link", name="Sign in with Microsoft").click()
            await expect(page.get_by_text("The link is incomplete or damaged")).to_be_visible()
            await page.get_by_role("button", name="Publish…").click()
            await page.get_by_label("Reason").fill("By a person of the tenant")
            await page.get_by_label("System message").evaluate("box => box.value += ' Be kind.'")
            await page.get_by_label("System message").dispatch_event("input")
            await page.get_by_role("button", name="Publish", exact=True).click()
            await page.get_by_role("link", name="View versions").click()
            await expect(page.locator(".versions")).to_contain_text("Ada Lovelace (ada@contoso.example)")
            await page.goto(f"{whole.url}/studio/playground")
            await say(page, "What is 2 + 3?")
            await expect(page.locator(".cost")).to_be_visible()
            today = now().date()
            lines = await UsageReports(whole.services.storage.redis).rows(
                today, now().date()
            )  # on either side of midnight
            assert f"studio/{ADA}" in {line.name for line in lines if line.kind == "person"}
            await page.goto(f"{whole.url}/studio/log")
            await expect(page.get_by_text("This requires the operator role")).to_be_visible()
            await page.goto(f"{directory.url}/link?to={whole.url}/studio/prompts")
            await page.get_by_role("link", name="go").click()
            await expect(page.get_by_role("heading", name="Prompts")).to_be_visible()
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_role("link", name="Sign in with Microsoft")).to_be_visible()
    complaints.clear()
